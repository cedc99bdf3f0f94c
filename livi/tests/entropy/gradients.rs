//! Gradients of every method with respect to the sampler's weights.

use crate::cases::{Case, dense_jacobian, evaluate, half_log_det, record, singular_values, small, uniform, with_map};
use autograd::{DType, Machine, Plan, Request, Tape, Var};
use livi::entropy::{Direction, DirectionInputs, Method, Settings, estimate, record_exact, record_surrogate};
use livi::spectral::mean_and_standard_error;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub const SIGMA: f64 = 0.2;

/// Directions of a method at the case's latent.
fn directions(case: &Case, method: Method, settings: &Settings, seed: u64) -> Vec<Direction> {
    with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 4, |map| {
        estimate(method, map, SIGMA, settings, &mut StdRng::seed_from_u64(seed)).unwrap().directions
    })
}

/// The plan of the surrogate's gradient for K directions.
struct Surrogate {
    machine: Machine,
    plan: autograd::PlanId,
    inputs: DirectionInputs,
    gradients: Vec<Var>,
}

impl Surrogate {
    fn new(case: &Case, count: usize) -> Self {
        let mut tape = Tape::new();
        let vars: Vec<Var> = case.sampler.parameters().iter().map(|p| tape.input(&p.shape, DType::F64)).collect();
        let latents = tape.input(&[1, case.d()], DType::F64);
        let recorded = case.sampler.record(&mut tape, &vars, latents).unwrap();
        let inputs = DirectionInputs {
            v: tape.input(&[count, 1, case.d()], DType::F64),
            w: tape.input(&[count, 1, case.d()], DType::F64),
            factors: tape.input(&[count, 1], DType::F64),
        };
        let surrogate = record_surrogate(&mut tape, &recorded, inputs).unwrap().value;
        let gradients = tape.grad(surrogate, &vars).unwrap();
        let plan = Plan::new(&tape, &Request::outputs(&gradients)).unwrap();
        let mut machine = Machine::cpu(1).unwrap();
        let plan = machine.load(plan).unwrap();
        crate::cases::fill(&mut machine, &vars, &case.parameters);
        crate::cases::fill(&mut machine, &[latents], std::slice::from_ref(&case.latent));
        Self { machine, plan, inputs, gradients }
    }

    fn gradient(&mut self, directions: &[Direction]) -> Vec<Vec<f64>> {
        let v: Vec<f64> = directions.iter().flat_map(|d| d.v.clone()).collect();
        let w: Vec<f64> = directions.iter().flat_map(|d| d.w.clone()).collect();
        let factors: Vec<f64> = directions.iter().map(|d| d.factor).collect();
        for (var, values) in [(self.inputs.v, v), (self.inputs.w, w), (self.inputs.factors, factors)] {
            self.machine.write(var, &values).unwrap();
        }
        self.machine.run(self.plan).unwrap();
        self.gradients.iter().map(|&g| self.machine.read_f64(g).unwrap()).collect()
    }
}

pub fn gradient_of(case: &Case, directions: &[Direction]) -> Vec<Vec<f64>> {
    Surrogate::new(case, directions.len()).gradient(directions)
}

/// Gradients of the exact value: through the factorisation, and of its surrogate.
pub fn exact_gradients(case: &Case) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut recording = record(case.sampler.as_ref());
    let exact = record_exact(&mut recording.tape, &recording.recorded, SIGMA).unwrap();
    let vars = recording.parameters.clone();
    let total = recording.tape.sum_all(exact.half_log_det).unwrap();
    let through = recording.tape.grad(total, &vars).unwrap();
    let surrogate = recording.tape.grad(exact.surrogate, &vars).unwrap();
    let both: Vec<Var> = through.iter().chain(&surrogate).copied().collect();
    let mut values = evaluate(&recording, &both, &case.parameters, &case.latent);
    let second = values.split_off(vars.len());
    (values, second)
}

pub fn relative_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let (a, b) = (a.concat(), b.concat());
    let difference: f64 = a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum();
    let scale: f64 = b.iter().map(|y| y * y).sum();
    (difference / scale).sqrt()
}

fn inner(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| x * y).sum()
}

/// A random direction of unit length in the space of the sampler's weights.
fn weight_direction(case: &Case, seed: u64) -> Vec<Vec<f64>> {
    let mut parts: Vec<Vec<f64>> =
        case.parameters.iter().enumerate().map(|(k, p)| uniform(p.len(), 1000 * seed + k as u64)).collect();
    let length = inner(&parts, &parts).sqrt();
    parts.iter_mut().flatten().for_each(|x| *x /= length);
    parts
}

/// Slope of `value` along a direction of the weights: central differences with two steps, extrapolated (Richardson).
fn slope(case: &Case, direction: &[Vec<f64>], step: f64, value: impl Fn(&[Vec<f64>]) -> f64) -> f64 {
    let at = |step: f64| {
        let moved: Vec<Vec<f64>> = case
            .parameters
            .iter()
            .zip(direction)
            .map(|(p, d)| p.iter().zip(d).map(|(x, dx)| x + step * dx).collect())
            .collect();
        value(&moved)
    };
    let central = |step: f64| (at(step) - at(-step)) / (2.0 * step);
    (4.0 * central(step) - central(2.0 * step)) / 3.0
}

/// Checks a gradient against slopes along three directions, to 1e-6 of its length.
fn check_slopes(case: &Case, gradient: &[Vec<f64>], step: f64, value: impl Fn(&[Vec<f64>]) -> f64) {
    let length = inner(gradient, gradient).sqrt();
    for seed in 0..3 {
        let direction = weight_direction(case, seed);
        let (found, truth) = (inner(gradient, &direction), slope(case, &direction, step, &value));
        assert!((found - truth).abs() < 1e-6 * length, "{}: {found}, by differences {truth}, of {length}", case.name);
    }
}

#[test]
fn the_surrogate_of_the_exact_value_has_the_gradient_of_the_exact_value() {
    for case in &small() {
        let (through, surrogate) = exact_gradients(case);
        assert!(relative_difference(&surrogate, &through) < 1e-10, "{}", case.name);
    }
}

#[test]
fn the_exact_gradient_is_the_slope_of_the_dense_log_determinant() {
    for case in &small() {
        let (through, _) = exact_gradients(case);
        check_slopes(case, &through, 1e-4, |p| {
            half_log_det(&singular_values(case.sampler.as_ref(), p, &case.latent), SIGMA)
        });
    }
}

#[test]
fn the_whole_spectrum_gives_the_exact_gradient() {
    for case in &small() {
        let found = gradient_of(case, &directions(case, Method::Exact, &Settings::default(), 0));
        assert!(relative_difference(&found, &exact_gradients(case).0) < 1e-9, "{}", case.name);
    }
}

#[test]
fn as_many_probes_as_latents_give_the_exact_gradient() {
    for case in &small() {
        let settings = Settings { probes: case.d(), tolerance: 1e-12, ..Settings::default() };
        let found = gradient_of(case, &directions(case, Method::Slq, &settings, 5));
        assert!(relative_difference(&found, &exact_gradients(case).0) < 1e-9, "{}", case.name);
    }
}

#[test]
fn too_few_steps_are_made_up_for_by_conjugate_gradients() {
    for case in &small() {
        let settings =
            Settings { probes: case.d(), steps: 2, iterations: 100, tolerance: 1e-11, ..Settings::default() };
        let found = gradient_of(case, &directions(case, Method::Slq, &settings, 5));
        assert!(relative_difference(&found, &exact_gradients(case).0) < 1e-8, "{}", case.name);
    }
}

#[test]
fn the_gradient_from_random_signs_is_unbiased() {
    for case in small().iter().filter(|case| case.d() > 3) {
        let exact = exact_gradients(case).0;
        let mut surrogate = Surrogate::new(case, 2);
        let settings = Settings { probes: 2, tolerance: 1e-10, ..Settings::default() };
        let lines: Vec<Vec<Vec<f64>>> = (0..3).map(|seed| weight_direction(case, seed)).collect();
        let mut slopes = vec![Vec::new(); lines.len()];
        with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 2, |map| {
            let mut generator = StdRng::seed_from_u64(17);
            for _ in 0..2000 {
                let found = estimate(Method::Slq, map, SIGMA, &settings, &mut generator).unwrap();
                let gradient = surrogate.gradient(&found.directions);
                for (line, slopes) in lines.iter().zip(&mut slopes) {
                    slopes.push(inner(&gradient, line));
                }
            }
        });
        for (line, slopes) in lines.iter().zip(&slopes) {
            let (mean, standard_error) = mean_and_standard_error(slopes).unwrap();
            let truth = inner(&exact, line);
            assert!((mean - truth).abs() < 3.0 * standard_error, "{}: {mean} +- {standard_error} {truth}", case.name);
        }
    }
}

/// The extreme bound less its value at singular value `base`, as a function of the weights: what sigma hides of a small singular value is not lost
/// to rounding.
fn one_value(case: &Case, parameters: &[Vec<f64>], index: usize, base: f64) -> f64 {
    let s = singular_values(case.sampler.as_ref(), parameters, &case.latent)[index];
    0.5 * case.d() as f64 * ((s - base) * (s + base) / (base * base + SIGMA * SIGMA)).ln_1p()
}

#[test]
fn gradients_of_the_one_value_bounds_are_their_slopes() {
    for case in &small() {
        let d = case.d();
        let values = singular_values(case.sampler.as_ref(), &case.parameters, &case.latent);
        for (method, index) in [(Method::Smallest, d - 1), (Method::Largest, 0)] {
            let gradient = gradient_of(case, &directions(case, method, &Settings::default(), 0));
            if values[index] < 1e-14 * values[0] {
                // A singular value that is zero for all weights.
                assert!(gradient.iter().flatten().all(|g| g.abs() < 1e-12), "{}", case.name);
                continue;
            }
            // Singular vectors turn at a rate of 1 / gap: differences must be finer than that.
            let others = (0..d).filter(|&i| i != index);
            let gap = others.map(|i| (values[i] - values[index]).abs()).fold(values[index], f64::min);
            check_slopes(case, &gradient, (0.01 * gap).min(1e-4), |p| one_value(case, p, index, values[index]));
        }
    }
}

#[test]
fn with_more_latents_than_weights_the_smallest_bound_is_constant() {
    let cases = small();
    for case in cases.iter().filter(|case| case.m() < case.d()) {
        let gradient = gradient_of(case, &directions(case, Method::Smallest, &Settings::default(), 0));
        assert!(gradient.iter().flatten().all(|&g| g == 0.0), "{}", case.name);
    }
    assert_eq!(cases.iter().filter(|case| case.m() < case.d()).count(), 2);
}

#[test]
fn the_gradient_of_the_published_variant_is_its_slope_at_a_fixed_vector() {
    for case in &small() {
        let values = singular_values(case.sampler.as_ref(), &case.parameters, &case.latent);
        if values[case.d() - 1] < 1e-14 * values[0] {
            // The norm |J v| that the variant is made of has no gradient where it is zero.
            continue;
        }
        let found = directions(case, Method::Paper, &Settings::default(), 2);
        check_slopes(case, &gradient_of(case, &found), 1e-5, |p| {
            let jacobian = dense_jacobian(case.sampler.as_ref(), p, &case.latent);
            let image = (0..case.m()).map(|i| (0..case.d()).map(|j| jacobian[(i, j)] * found[0].v[j]).sum::<f64>());
            let mu = image.map(|x| x * x).sum::<f64>().sqrt();
            case.d() as f64 * (mu + SIGMA * SIGMA).ln()
        });
    }
}
