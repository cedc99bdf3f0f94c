//! Noise: distributions, and independence of everything but seed, step, stream and position.

use super::support::*;
use crate::op::Distribution;
use crate::plan::step::Action;
use crate::{DType, Tape};

fn draw(distribution: Distribution, stream: u32, count: usize, dtype: DType) -> Vec<f64> {
    let mut bench = Bench::new();
    let out = bench.output(count, dtype);
    bench.step(Action::Noise { distribution, stream, out: dense(out, &[count], dtype) });
    bench.values(out)
}

fn mean(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    values.iter().map(|&x| f(x)).sum::<f64>() / values.len() as f64
}

const COUNT: usize = 400_000;

#[test]
fn normals_have_the_first_four_moments() {
    for dtype in [DType::F32, DType::F64] {
        let z = draw(Distribution::Normal, 3, COUNT, dtype);
        // Five standard errors: sqrt(E[x^2k] - E[x^k]^2) / sqrt(n) for k = 1..4.
        for (k, right, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)] {
            let found = mean(&z, |x| x.powi(k));
            let bound = 5.0 * (variance / COUNT as f64).sqrt();
            assert!((found - right).abs() < bound, "{dtype}: moment {k} is {found}");
        }
    }
}

/// Standard normal distribution function, by its series and continued fraction (Abramowitz and Stegun, 26.2.10 and 26.2.14).
fn normal_cdf(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for k in 1..60 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 + density * sum
    } else {
        let mut fraction = 0.0;
        for k in (1..60).rev() {
            fraction = f64::from(k) / (x.abs() + fraction);
        }
        let tail = density / (x.abs() + fraction);
        if x > 0.0 { 1.0 - tail } else { tail }
    }
}

#[test]
fn normals_pass_a_kolmogorov_smirnov_test() {
    for dtype in [DType::F32, DType::F64] {
        let mut z = draw(Distribution::Normal, 11, COUNT, dtype);
        z.sort_by(f64::total_cmp);
        let n = COUNT as f64;
        let distance = z
            .iter()
            .enumerate()
            .map(|(i, &x)| {
                let p = normal_cdf(x);
                (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs())
            })
            .fold(0.0, f64::max);
        // The 0.1 % point of Kolmogorov's distribution.
        assert!(distance * n.sqrt() < 1.95, "{dtype}: {}", distance * n.sqrt());
    }
}

#[test]
fn neighbouring_normals_and_their_squares_are_uncorrelated() {
    for dtype in [DType::F32, DType::F64] {
        let z = draw(Distribution::Normal, 4, COUNT, dtype);
        for lag in 1..5 {
            let (mut product, mut squares) = (0.0, 0.0);
            for i in lag..COUNT {
                product += z[i] * z[i - lag];
                squares += (z[i] * z[i] - 1.0) * (z[i - lag] * z[i - lag] - 1.0);
            }
            let n = (COUNT - lag) as f64;
            assert!((product / n).abs() < 5.0 / n.sqrt(), "{dtype}: lag {lag}");
            assert!((squares / n).abs() < 10.0 / n.sqrt(), "{dtype}: squares at lag {lag}");
        }
    }
}

#[test]
fn uniform_numbers_fill_the_unit_interval_evenly() {
    for dtype in [DType::F32, DType::F64] {
        let u = draw(Distribution::Uniform, 0, COUNT, dtype);
        assert!(u.iter().all(|x| (0.0..1.0).contains(x)));
        let mut cells = [0_u32; 100];
        u.iter().for_each(|x| cells[(x * 100.0) as usize] += 1);
        let expected = COUNT as f64 / 100.0;
        let chi_squared: f64 = cells.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        // 99 degrees of freedom: mean 99, standard deviation 14.
        assert!((chi_squared - 99.0).abs() < 70.0, "{dtype}: {chi_squared}");
    }
}

#[test]
fn rademacher_numbers_are_signs_and_balanced() {
    for dtype in [DType::F32, DType::F64] {
        let s = draw(Distribution::Rademacher, 0, COUNT, dtype);
        assert!(s.iter().all(|x| x.abs() == 1.0));
        assert!(mean(&s, |x| x).abs() < 5.0 / (COUNT as f64).sqrt());
    }
}

#[test]
fn the_first_numbers_of_a_leaf_do_not_depend_on_its_length() {
    for distribution in [Distribution::Normal, Distribution::Uniform, Distribution::Rademacher] {
        for dtype in [DType::F32, DType::F64] {
            let long = draw(distribution, 2, 20_001, dtype);
            for count in [1, 2, 3, 5, 255, 256, 257, 8191, 8193] {
                assert_eq!(draw(distribution, 2, count, dtype), long[..count]);
            }
        }
    }
}

#[test]
fn uniform_single_numbers_are_the_words_of_philox() {
    use crate::exec::philox::philox;
    let u = draw(Distribution::Uniform, 9, 8, DType::F32);
    for block in 0..2 {
        let words = philox([block, 7, 0, 9], [42, 0]);
        for (w, word) in words.iter().enumerate() {
            assert_eq!(u[4 * block as usize + w], f64::from(word >> 8) / 16_777_216.0);
        }
    }
}

#[test]
fn seed_step_and_stream_each_change_the_numbers() {
    let mut machine = machine_with(1).unwrap();
    let mut tape = Tape::new();
    let var = tape.input(&[16], DType::F64);
    let buffer =
        crate::plan::step::Buffer { dtype: DType::F64, elements: 16, place: crate::plan::step::Place::Persistent(var) };
    let noise = |stream| {
        let out = dense(crate::plan::step::BufferId(0), &[16], DType::F64);
        vec![step(Action::Noise { distribution: Distribution::Normal, stream, out })]
    };
    let first = machine.load_steps(noise(0), vec![buffer.clone()], &[]).unwrap();
    let second = machine.load_steps(noise(1), vec![buffer], &[]).unwrap();
    let mut seen: Vec<Vec<f64>> = Vec::new();
    for (plan, seed, step) in
        [(first, 0, 0), (first, 1, 0), (first, 0, 1), (second, 0, 0), (first, 1 << 32, 0), (first, 0, 1 << 32)]
    {
        machine.set_noise(seed, step);
        machine.run(plan).unwrap();
        let values = machine.read::<f64>(var).unwrap().to_vec();
        assert!(!seen.contains(&values), "seed {seed}, step {step}");
        seen.push(values);
        // Until another seed or step is set, runs repeat the numbers.
        machine.run(plan).unwrap();
        assert_eq!(Some(&machine.read::<f64>(var).unwrap().to_vec()), seen.last());
    }
    machine.set_noise(0, 0);
    machine.run(first).unwrap();
    assert_eq!(machine.read::<f64>(var).unwrap(), seen[0]);
}

#[test]
fn the_bits_are_the_same_on_every_device() {
    // Sums of the bit patterns times odd numbers, modulo 2^64, as the processor has them.
    let checksum = |values: &[f64]| -> u64 {
        values.iter().zip(0_u64..).fold(0, |sum, (x, k)| sum.wrapping_add(x.to_bits().wrapping_mul(2 * k + 1)))
    };
    let distributions = [Distribution::Normal, Distribution::Uniform, Distribution::Rademacher];
    let found = distributions
        .map(|distribution| [DType::F32, DType::F64].map(|dtype| checksum(&draw(distribution, 5, COUNT + 3, dtype))));
    let right = [
        [0x8521_1e98_8000_0000, 0xd94f_e73f_df19_5966],
        [0x57d3_bd38_6000_0000, 0x07fa_f4eb_e011_7bdf],
        [0xcf70_0000_0000_0000; 2],
    ];
    assert_eq!(found, right, "{found:#018x?}");
}
