//! Loops over long vectors: inner products accumulated in f64 in a fixed order, and blocked orthogonalisation.
//!
//! Sums use a fixed number of partial sums whatever the processor's vector width, so a result depends neither on the
//! machine's instruction set nor on the number of threads.

use pulp::Arch;

use super::Real;

/// Partial sums of an inner product.
const LANES: usize = 16;

/// Entries of a vector that orthogonalisation handles at once: small enough for the panel of a whole basis to stay in
/// cache.
const PANEL: usize = 512;

#[inline(always)]
fn dot_lanes<T: Real>(x: &[T], y: &[T], sums: &mut [f64; LANES]) {
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    for (x_block, y_block) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            sums[lane] += x_block[lane].to_f64() * y_block[lane].to_f64();
        }
    }
    for (lane, (&x_entry, &y_entry)) in x_rest.iter().zip(y_rest).enumerate() {
        sums[lane] += x_entry.to_f64() * y_entry.to_f64();
    }
}

#[inline(always)]
fn sum_lanes(sums: &[f64; LANES]) -> f64 {
    let mut folded = *sums;
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            folded[lane] += folded[lane + width];
        }
        width /= 2;
    }
    folded[0]
}

/// `<x, y>`.
pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0; LANES];
            dot_lanes(x, y, &mut sums);
            sum_lanes(&sums)
        },
    )
}

/// Euclidean norm.
pub(super) fn norm<T: Real>(x: &[T]) -> f64 {
    dot(x, x).sqrt()
}

/// Whether every entry is finite.
pub(super) fn all_finite<T: Real>(x: &[T]) -> bool {
    // Zero times a number is zero exactly when the number is finite; the sum has no branches.
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let (blocks, rest) = x.as_chunks::<LANES>();
            let mut sums = [0.0_f64; LANES];
            for block in blocks {
                for lane in 0..LANES {
                    sums[lane] += 0.0 * block[lane].to_f64();
                }
            }
            sums.iter().sum::<f64>() == 0.0 && rest.iter().all(|entry| entry.is_finite())
        },
    )
}

/// `out = factor * x`.
pub(super) fn scale_into<T: Real>(factor: f64, x: &[T], out: &mut [T]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (entry, &value) in out.iter_mut().zip(x) {
                *entry = T::from_f64(factor * value.to_f64());
            }
        },
    );
}

/// `x = factor * x`.
pub(super) fn scale<T: Real>(factor: f64, x: &mut [T]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for entry in x {
                *entry = T::from_f64(factor * entry.to_f64());
            }
        },
    );
}

/// `y = y + factor * x`.
pub(super) fn add_scaled<T: Real>(factor: f64, x: &[T], y: &mut [T]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (entry, &value) in y.iter_mut().zip(x) {
                *entry = T::from_f64(entry.to_f64() + factor * value.to_f64());
            }
        },
    );
}

/// `y = y - factor * x`, and its Euclidean norm, of the entries as they are rounded.
pub(super) fn subtract_and_norm<T: Real>(factor: f64, x: &[T], y: &mut [T]) -> f64 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0; LANES];
            for (panel, x) in y.chunks_mut(PANEL).zip(x.chunks(PANEL)) {
                for (entry, &value) in panel.iter_mut().zip(x) {
                    *entry = T::from_f64(entry.to_f64() - factor * value.to_f64());
                }
                dot_lanes(panel, panel, &mut sums);
            }
            sum_lanes(&sums).sqrt()
        },
    )
}

/// `y = x + factor * y`.
pub(super) fn scale_and_add<T: Real>(factor: f64, x: &[T], y: &mut [T]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (entry, &value) in y.iter_mut().zip(x) {
                *entry = T::from_f64(value.to_f64() + factor * entry.to_f64());
            }
        },
    );
}

/// `out = sum_i coefficients[i] * basis_i` for the vectors `basis_i` stored one after the other, each as long as `out`.
pub(super) fn combine<T: Real>(basis: &[T], coefficients: &[f64], out: &mut [T]) {
    out.fill(T::from_f64(0.0));
    add_combination(basis, coefficients, 1.0, out);
}

/// `out += factor * sum_i coefficients[i] * basis_i`, each entry summed in f64 and rounded once.
fn add_combination<T: Real>(basis: &[T], coefficients: &[f64], factor: f64, out: &mut [T]) {
    let length = out.len();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (index, panel) in out.chunks_mut(PANEL).enumerate() {
                add_to_panel(basis, length, coefficients, factor, index * PANEL, panel);
            }
        },
    );
}

#[inline(always)]
fn add_to_panel<T: Real>(basis: &[T], length: usize, coefficients: &[f64], factor: f64, start: usize, panel: &mut [T]) {
    let mut sums = [0.0_f64; PANEL];
    let sums = &mut sums[..panel.len()];
    for (sum, &entry) in sums.iter_mut().zip(panel.iter()) {
        *sum = entry.to_f64();
    }
    for (vector, &coefficient) in basis.chunks_exact(length).zip(coefficients) {
        let scaled = factor * coefficient;
        for (sum, &entry) in sums.iter_mut().zip(&vector[start..start + panel.len()]) {
            *sum += scaled * entry.to_f64();
        }
    }
    for (entry, &sum) in panel.iter_mut().zip(sums.iter()) {
        *entry = T::from_f64(sum);
    }
}

/// Length of the scratch that [`orthogonalise`] needs for a basis of `size` vectors.
pub(super) fn orthogonalise_scratch(size: usize) -> usize {
    size * (LANES + 2)
}

/// Makes `vector` orthogonal to an orthonormal basis by two passes of classical Gram-Schmidt and returns its norm
/// afterwards.
///
/// The basis vectors lie one after the other in `basis`, each as long as `vector`. The first `basis.len() /
/// vector.len()` numbers of `scratch` are then the components that were taken out.
///
/// Two passes give orthogonality to rounding (Giraud, Langou, Rozloznik, van den Eshof 2005, "Rounding error analysis
/// of the classical Gram-Schmidt orthogonalization process"). The subtraction of the first pass and the inner products
/// of the second share one sweep, panel by panel, so the basis is read three times and not four.
pub(super) fn orthogonalise<T: Real>(basis: &[T], vector: &mut [T], scratch: &mut [f64]) -> f64 {
    let length = vector.len();
    let size = basis.len() / length;
    if size == 0 {
        return norm(vector);
    }
    let (components, scratch) = scratch.split_at_mut(size);
    let (corrections, scratch) = scratch.split_at_mut(size);
    let (lanes, _) = scratch.as_chunks_mut::<LANES>();
    let lanes = &mut lanes[..size];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (component, member) in components.iter_mut().zip(basis.chunks_exact(length)) {
                let mut sums = [0.0; LANES];
                dot_lanes(member, vector, &mut sums);
                *component = sum_lanes(&sums);
            }
            lanes.fill([0.0; LANES]);
            for (index, panel) in vector.chunks_mut(PANEL).enumerate() {
                let start = index * PANEL;
                add_to_panel(basis, length, components, -1.0, start, panel);
                for (sums, member) in lanes.iter_mut().zip(basis.chunks_exact(length)) {
                    dot_lanes(&member[start..start + panel.len()], panel, sums);
                }
            }
            for (correction, sums) in corrections.iter_mut().zip(lanes.iter()) {
                *correction = sum_lanes(sums);
            }
            let mut sums = [0.0; LANES];
            for (index, panel) in vector.chunks_mut(PANEL).enumerate() {
                add_to_panel(basis, length, corrections, -1.0, index * PANEL, panel);
                dot_lanes(panel, panel, &mut sums);
            }
            for (component, &correction) in components.iter_mut().zip(corrections.iter()) {
                *component += correction;
            }
            sum_lanes(&sums).sqrt()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_of_floats_is_accumulated_in_double_precision() {
        let mut x = vec![1.0_f32; 1001];
        x[0] = 1e7;
        // In single precision the thousand ones would vanish beside 1e14.
        assert_eq!(dot(&x, &x), 1e14 + 1000.0);
    }

    #[test]
    fn a_combination_is_the_sum_of_scaled_vectors() {
        let mut out = [9.0; 3];
        combine(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &[2.0, -1.0], &mut out);
        assert_eq!(out, [-8.0, -16.0, -24.0]);
    }

    #[test]
    fn not_a_number_is_found_in_any_place() {
        for place in 0..37 {
            let mut x = vec![1.0_f32; 37];
            assert!(all_finite(&x));
            x[place] = if place % 2 == 0 { f32::NAN } else { f32::INFINITY };
            assert!(!all_finite(&x));
        }
    }

    #[test]
    fn the_norm_after_a_subtraction_is_that_of_the_entries_as_rounded() {
        let length = 1100;
        let x: Vec<f32> = (0..length).map(|i| (i % 13) as f32 - 6.0).collect();
        let before: Vec<f32> = (0..length).map(|i| (i % 7) as f32 / 3.0).collect();
        let mut y = before.clone();
        let found = subtract_and_norm(0.3, &x, &mut y);
        for ((y, before), x) in y.iter().zip(&before).zip(&x) {
            assert_eq!(*y, (f64::from(*before) - 0.3 * f64::from(*x)) as f32);
        }
        assert!((found - norm(&y)).abs() < 1e-12 * found);
    }

    #[test]
    fn orthogonalising_takes_out_the_components_and_returns_the_norm_of_the_rest() {
        let length = 1500;
        let mut basis = vec![0.0_f64; 2 * length];
        basis[3] = 1.0;
        basis[length + 1200] = 1.0;
        let mut vector = vec![0.0; length];
        (vector[3], vector[1200], vector[700]) = (5.0, -2.0, 0.25);
        let mut scratch = vec![f64::NAN; orthogonalise_scratch(2)];
        assert_eq!(orthogonalise(&basis, &mut vector, &mut scratch), 0.25);
        assert_eq!(&scratch[..2], [5.0, -2.0]);
        assert_eq!((vector[3], vector[1200], vector[700]), (0.0, 0.0, 0.25));
    }

    #[test]
    fn orthogonality_survives_cancellation_of_all_but_the_last_digits() {
        let length = 300;
        let first: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32 - 50.0) / 500.0).collect();
        let mut basis = vec![0.0; length];
        scale_into(1.0 / norm(&first), &first, &mut basis);
        let mut vector: Vec<f32> = basis.clone();
        for (index, entry) in vector.iter_mut().enumerate() {
            *entry += 1e-5 * ((index % 7) as f32 - 3.0) / 17.0;
        }
        let rest = orthogonalise(&basis, &mut vector, &mut vec![0.0; orthogonalise_scratch(1)]);
        assert!(rest < 1e-4);
        assert!(dot(&basis, &vector).abs() < 1e-7 * rest);
    }
}
