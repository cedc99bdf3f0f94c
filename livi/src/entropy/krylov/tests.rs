use super::*;
use crate::activation::Activation;
use crate::entropy::{JacobianMap, JacobianPrograms};
use crate::sampler::MlpSampler;
use crate::spectral::test_maps::{dense_half_log, dense_solve, gallery, matrix_with, normals, singular_values};
use crate::spectral::{GolubKahan, LinearMap};
use autograd::Device;

/// What plans run on here: the processor, and with the feature `emulated` the kernels of a card in its place.
fn devices() -> Vec<Device> {
    let processor = Device::Cpu { threads: 1 };
    if cfg!(feature = "emulated") { vec![processor, Device::Emulated] } else { vec![processor] }
}

/// Asks about a matrix: the Jacobian of an affine sampler.
fn with_map<T: Real + Element, A>(
    device: Device,
    (rows, cols, matrix): (usize, usize, &[f64]),
    (probes, steps): (usize, usize),
    ask: impl FnOnce(&mut JacobianMap<'_, T>) -> A,
) -> A {
    let sampler = MlpSampler::new(cols, &[], rows, Activation::Elu).unwrap();
    let mut tape = Tape::new();
    let parameters = [tape.input(&[rows, cols], T::DTYPE), tape.input(&[rows], T::DTYPE)];
    let dtype = T::DTYPE;
    let programs =
        JacobianPrograms::record_samples(&mut tape, &sampler, &parameters, dtype, 1, probes, Some(steps)).unwrap();
    let mut machine = Machine::on(device).unwrap();
    let jacobian = programs.load(&mut machine).unwrap();
    machine.write_f64(parameters[0], matrix).unwrap();
    jacobian.fold(&mut machine).unwrap();
    jacobian.linearise(&mut machine, &vec![0.0; cols]).unwrap();
    ask(&mut jacobian.map(&mut machine))
}

/// The process of the map with the same memory here.
fn process_here<T: Real + Element>(map: &mut JacobianMap<'_, T>, steps: usize, starts: &[T]) -> GolubKahan<T> {
    let count = starts.len() / map.cols();
    let mut process = GolubKahan::new(map.rows(), map.cols(), count, steps).unwrap();
    process.run(map, count, starts).unwrap();
    process
}

/// All right vectors of start vector `probe`.
fn right_vectors<T: Real + Element>(process: &KrylovProcess<'_, T>, probe: usize) -> Vec<T> {
    let cols = process.bidiagonals.cols();
    let all = process.machine.read::<T>(process.krylov.memory.basis).unwrap();
    let (each, count) = (process.krylov.probes * cols, process.bidiagonals.right_vectors(probe));
    (0..count).flat_map(|k| all[k * each + probe * cols..][..cols].to_vec()).collect()
}

/// Largest distance of the inner products of vectors from those of an orthonormal basis.
fn gram_defect<T: Real>(vectors: &[T], length: usize) -> f64 {
    let dot = |x: &[T], y: &[T]| x.iter().zip(y).map(|(x, y)| x.to_f64() * y.to_f64()).sum::<f64>();
    let rows: Vec<&[T]> = vectors.chunks_exact(length).collect();
    let pairs =
        rows.iter().enumerate().flat_map(|(i, x)| rows[..=i].iter().enumerate().map(move |(j, y)| (i, j, x, y)));
    pairs.map(|(i, j, x, y)| (dot(x, y) - f64::from(u8::from(i == j))).abs()).fold(0.0, f64::max)
}

#[test]
fn coefficients_of_the_first_steps_are_those_of_the_process_here() {
    for device in devices() {
        for (name, rows, cols, matrix) in gallery() {
            let (probes, starts) = (3, normals::<f64>(3, cols, 1));
            with_map::<f64, _>(device, (rows, cols, &matrix), (probes, 10), |map| {
                let here = process_here(map, 10, &starts);
                let mut process = map.krylov(probes, 10).unwrap().unwrap();
                process.run(probes, &starts).unwrap();
                let (found, expected) = (process.bidiagonals(), here.bidiagonals());
                assert_eq!(found.count(), expected.count());
                let scale = singular_values(&matrix, rows, cols)[0];
                for probe in 0..probes {
                    // Where a Krylov space is exhausted, what is left is rounding, and either may take it for more or not.
                    let pairs = |of: &Bidiagonals| -> Vec<(f64, f64)> {
                        of.alpha(probe).iter().copied().zip(of.beta(probe).iter().copied()).collect()
                    };
                    let mut real = 0;
                    for ((alpha, beta), (known_alpha, known_beta)) in pairs(found).into_iter().zip(pairs(expected)) {
                        let close = |a: f64, b: f64| (a - b).abs() <= 1e-10 * scale;
                        assert!(close(alpha, known_alpha) && close(beta, known_beta), "{name} {probe}: {alpha} {beta}");
                        real += 1;
                        if known_beta < 1e-4 * scale {
                            break;
                        }
                    }
                    assert!(real > 0 || name == "zero", "{name}");
                }
            });
        }
    }
}

/// Quadratures at full depth against those of the process here, and that brackets hold the dense truth up to rounding.
fn check_quadratures<T: Real + Element>(tolerance: f64) {
    for device in devices() {
        for (name, rows, cols, matrix) in gallery() {
            let matrix: Vec<f64> = matrix.iter().map(|&entry| T::from_f64(entry).to_f64()).collect();
            let (probes, starts) = (2, normals::<T>(2, cols, 2));
            // More steps than there are dimensions, and too few.
            for steps in [100, 4] {
                with_map::<T, _>(device, (rows, cols, &matrix), (probes, steps), |map| {
                    let mut here = process_here(map, steps, &starts);
                    let mut process = map.krylov(probes, steps).unwrap().unwrap();
                    process.run(probes, &starts).unwrap();
                    let (found, expected) = (process.bidiagonals(), here.bidiagonals_mut());
                    for (probe, start) in starts.chunks_exact(cols).enumerate() {
                        let unit: Vec<f64> = start.iter().map(|x| x.to_f64() / squared_norm(start).sqrt()).collect();
                        let exact = dense_half_log(&matrix, rows, cols, 0.1, &unit);
                        let depths = (found.depth(probe), expected.depth(probe));
                        let upper = found.gauss(probe, depths.0).unwrap().half_log(0.1);
                        let lower = found.gauss_radau(probe, depths.0).unwrap().half_log(0.1);
                        let known = expected.gauss(probe, depths.1).unwrap().half_log(0.1);
                        let slack = tolerance * (1.0 + exact.abs());
                        assert!((upper - known).abs() < slack, "{name}, {steps} steps: {upper} {known}");
                        assert!(
                            lower <= exact + slack && exact <= upper + slack,
                            "{name}, {steps}: {lower} {exact} {upper}"
                        );
                        if steps == 100 {
                            assert!(upper - lower < 2.0 * slack, "{name}: {lower} {upper}");
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn quadratures_are_those_of_the_process_here_and_hold_the_exact_form_in_both_precisions() {
    check_quadratures::<f64>(1e-11);
    check_quadratures::<f32>(1e-4);
}

#[test]
fn exhausted_spaces_end_where_those_of_the_process_here_do() {
    for device in devices() {
        let ends = |matrix: &[f64], (rows, cols): (usize, usize), starts: &[f64]| {
            with_map::<f64, _>(device, (rows, cols, matrix), (1, 50), |map| {
                let here = process_here(map, 50, starts);
                let expected = (here.bidiagonals().depth(0), here.bidiagonals().is_invariant(0));
                let mut process = map.krylov(1, 50).unwrap().unwrap();
                process.run(1, starts).unwrap();
                assert_eq!((process.bidiagonals.depth(0), process.bidiagonals.is_invariant(0)), expected);
                expected
            })
        };
        // Two of six singular vectors; the null space; fewer rows than columns; and all of the space.
        let mut diagonal = vec![0.0; 36];
        (0..6).for_each(|k| diagonal[k * 7] = 1.0 + k as f64);
        assert_eq!(ends(&diagonal, (6, 6), &[0.0, 1.0, 0.0, 0.0, -1.0, 0.0]), (2, true));
        assert_eq!(ends(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], (2, 3), &[0.0, 0.0, 3.0]), (0, true));
        assert_eq!(ends(&normals::<f64>(4, 9, 3), (4, 9), &normals(1, 9, 4)), (4, true));
        assert_eq!(ends(&normals::<f64>(12, 7, 5), (12, 7), &normals(1, 7, 6)), (7, true));
    }
}

#[test]
fn on_a_wide_spectrum_in_single_precision_right_vectors_stay_orthonormal_and_singular_values_right() {
    let (rows, cols) = (150, 100);
    let values: Vec<f64> = (0..cols).map(|i| 10.0_f64.powf(-6.0 * i as f64 / 99.0)).collect();
    let matrix: Vec<f64> = matrix_with(&values, rows, cols, 7).iter().map(|&x| f64::from(x as f32)).collect();
    for device in devices() {
        with_map::<f32, _>(device, (rows, cols, &matrix), (2, cols), |map| {
            let mut process = map.krylov(2, cols).unwrap().unwrap();
            process.run(2, &normals(2, cols, 8)).unwrap();
            for probe in 0..2 {
                assert!(process.bidiagonals.depth(probe) >= 60, "{}", process.bidiagonals.depth(probe));
                let defect = gram_defect(&right_vectors(&process, probe), cols);
                assert!(defect < 2e-6, "{defect:e}");
                for (found, exact) in process.bidiagonals.ritz_values(probe).unwrap().iter().zip(&values).take(40) {
                    assert!((found - exact).abs() < 2e-6, "{found:e} {exact:e}");
                }
            }
        });
    }
}

#[test]
fn solves_agree_with_dense_ones_and_residuals_are_what_they_say() {
    let sigma = 0.3;
    for device in devices() {
        for (name, rows, cols, matrix) in gallery() {
            let starts = normals::<f64>(2, cols, 9);
            for steps in [cols, 3] {
                with_map::<f64, _>(device, (rows, cols, &matrix), (2, steps), |map| {
                    let mut process = map.krylov(2, steps).unwrap().unwrap();
                    process.run(2, &starts).unwrap();
                    let solved: Vec<_> = (0..2).map(|probe| process.bidiagonals.solve(probe, sigma).unwrap()).collect();
                    let (coefficients, predicted): (Vec<_>, Vec<_>) = solved.into_iter().unzip();
                    let mut solutions = vec![0.0; 2 * cols];
                    let residuals = process.combine(sigma, &coefficients, &starts, &mut solutions).unwrap();
                    let pairs = starts.chunks_exact(cols).zip(solutions.chunks_exact(cols));
                    for (probe, (start, solution)) in pairs.enumerate() {
                        let exact = dense_solve(&matrix, rows, cols, sigma, start);
                        let difference: Vec<f64> = solution.iter().zip(&exact).map(|(w, e)| w - e).collect();
                        let distance = (squared_norm(&difference) / squared_norm(&exact)).sqrt();
                        let (measured, predicted) = (residuals[probe], predicted[probe]);
                        assert!(
                            (measured - predicted).abs() < 1e-11 + 1e-8 * predicted,
                            "{name}: {measured} {predicted}"
                        );
                        if steps == cols {
                            assert!(distance < 1e-10 && measured < 1e-10, "{name}: {distance:e} {measured:e}");
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn fewer_start_vectors_than_there_is_room_for_change_no_bit_and_neither_does_a_second_run() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    let starts = normals::<f32>(3, cols, 10);
    for device in devices() {
        with_map::<f32, _>(device, (rows, cols, &matrix), (3, 8), |map| {
            let mut process = map.krylov(3, 8).unwrap().unwrap();
            let mut coefficients = |count: usize| {
                process.run(count, &starts[..count * cols]).unwrap();
                assert_eq!(process.bidiagonals.count(), count);
                let of = |probe| [process.bidiagonals.alpha(probe), process.bidiagonals.beta(probe)].concat();
                (0..count).map(of).collect::<Vec<_>>()
            };
            let all = coefficients(3);
            assert_eq!(coefficients(3), all);
            assert_eq!(coefficients(2), all[..2]);
            assert_eq!(coefficients(3), all);
        });
    }
}

#[test]
fn a_zero_start_and_a_product_that_overflows_are_refused() {
    for device in devices() {
        with_map::<f32, _>(device, (1, 1, &[1e30]), (1, 1), |map| {
            let mut process = map.krylov(1, 1).unwrap().unwrap();
            assert!(matches!(process.run(1, &[0.0]), Err(Error::Argument { .. })));
            assert!(matches!(process.run(1, &[1.0]), Err(Error::Numerical { .. })));
        });
    }
}

#[test]
fn the_memory_taken_is_the_memory_announced_and_the_basis_is_in_it_once() {
    let (rows, cols, probes, steps) = (60, 50, 4, 30);
    let sampler = MlpSampler::new(cols, &[], rows, Activation::Elu).unwrap();
    let mut tape = Tape::new();
    let parameters = [tape.input(&[rows, cols], DType::F32), tape.input(&[rows], DType::F32)];
    let linearised = Linearised::record(&mut tape, &sampler, &parameters, DType::F32, 1).unwrap();
    let krylov = Krylov::record(&mut Planner::new(&mut tape), &linearised, probes, steps).unwrap();
    let announced = Plan::peak_bytes_together(krylov.plans());
    let basis = (steps + 1) * probes * cols * 4;
    assert!(announced > basis && announced < 2 * basis, "{announced} {basis}");
    for device in devices() {
        let mut machine = Machine::on(device).unwrap();
        krylov.clone().load(&mut machine).unwrap();
        // The arena that is announced ends at a multiple of 64 bytes.
        let taken = machine.held_bytes() + machine.arena_bytes();
        assert!(taken <= announced && announced < taken + 64, "{taken} {announced}");
    }
}
