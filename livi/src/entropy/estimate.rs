//! What the matrix-free methods share: settings, the estimate for one latent with the directions of its gradient, and the report over latents.

use super::{Constants, EntropyReport, JacobianMap, Method, largest, paper, slq, smallest, spectrum};
use crate::sampler::Recorded;
use crate::spectral::Real;
use crate::{Error, Result};
use autograd::{DType, Element, Tape, Var};
use rand::rngs::StdRng;
use std::ops::RangeInclusive;

/// How much work the matrix-free methods do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Probes of `slq`. With as many probes as latents (or more) an orthogonal basis takes the place of random signs, and no Monte-Carlo error
    /// is left.
    pub probes: usize,
    /// Golub-Kahan steps: for each probe of `slq`, and of one Krylov space of `smallest` and `largest` (which need none up to
    /// [`FULL_DEPTH`](super::FULL_DEPTH) latents).
    pub steps: usize,
    /// Most iterations beyond those steps while the tolerance is not met: conjugate gradients for the solves behind the gradient of `slq`, restarted
    /// Krylov spaces for `smallest` and `largest`.
    pub iterations: usize,
    /// Relative residual at which iterations end.
    pub tolerance: f64,
    /// Whether to tell the directions of the gradient, which `slq` has to solve for.
    pub directions: bool,
    /// Accuracy at which `slq` stops taking probes, before all are used: standard error and half of the bracket together.
    pub target: Option<Target>,
    /// Most singular values that `slq` takes out by name where a Krylov space of `steps` steps finds them
    /// ([`crate::spectral::dominant_spaces`]); for values only, none where directions are asked for.
    pub deflate: usize,
}

/// How accurate an estimate has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// In nats.
    Nats(f64),
    /// Relative to the value of 1/2 log det(J^T J + sigma^2 I_d).
    Relative(f64),
}

impl Target {
    /// The target in nats for a value.
    pub(super) fn nats(self, value: f64) -> f64 {
        match self {
            Self::Nats(nats) => nats,
            Self::Relative(fraction) => fraction * value.abs(),
        }
    }
}

impl Default for Settings {
    /// Ten probes of 40 steps, 200 further iterations, tolerance 1e-6, with directions; no target, nothing deflated.
    fn default() -> Self {
        Self { probes: 10, steps: 40, iterations: 200, tolerance: 1e-6, directions: true, target: None, deflate: 0 }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let refuse = |name: &str, problem: String| Err(Error::Argument { name: name.into(), problem });
        match self {
            Self { probes: 0, .. } => refuse("probes", "is 0, expected at least 1".into()),
            Self { steps: 0, .. } => refuse("steps", "is 0, expected at least 1".into()),
            Self { tolerance, .. } if !(*tolerance > 0.0 && tolerance.is_finite()) => {
                refuse("tolerance", format!("is {tolerance}, expected a positive finite number"))
            }
            Self { target: Some(Target::Nats(target) | Target::Relative(target)), .. }
                if !(*target > 0.0 && target.is_finite()) =>
            {
                refuse("target", format!("is {target}, expected a positive finite number"))
            }
            _ => Ok(()),
        }
    }

    /// Directions of the gradient at each latent.
    pub(super) fn directions_of(&self, method: Method) -> usize {
        if method == Method::Slq { self.probes } else { 1 }
    }

    /// How often a Krylov space may start again.
    pub(super) fn restarts(&self) -> usize {
        self.iterations.div_ceil(self.steps)
    }
}

/// A pair of vectors in the space of latents that makes one term of the gradient, `factor` <J w, J_gamma v>. What is as long as the weights, J w,
/// the program of the gradient makes by itself ([`record_surrogate`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// d numbers.
    pub v: Vec<f64>,
    /// d numbers; the same as v but for `slq`, where w solves (J^T J + sigma^2 I) w = v.
    pub w: Vec<f64>,
    /// What the product counts.
    pub factor: f64,
}

/// What a method says about one latent. Values are 1/2 log det(J^T J + sigma^2 I_d) = 1/2 sum_{i <= d} log(s_i^2 + sigma^2) in nats, without the
/// constants of the entropy.
///
/// The gradient of `half_log_det` with respect to the sampler's weights gamma is that of sum_k factor_k <J w_k, J_gamma v_k> over the directions,
/// with factor_k, J w_k and v_k held fixed (the estimate's own expected gradient for `slq`).
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The method's value.
    pub half_log_det: f64,
    /// Lower end of the method's own bracket, if it has one.
    pub lower: Option<f64>,
    /// Upper end of the method's own bracket, if it has one.
    pub upper: Option<f64>,
    /// Monte-Carlo standard error over probes; infinite for a single random probe, 0 for deterministic methods.
    pub standard_error: f64,
    /// Relative residual of the iteration behind the value (the largest, if there are several).
    pub residual: Option<f64>,
    /// Products with single vectors, J' v and J'^T u together.
    pub products: u64,
    /// Directions of the gradient; none if not asked for.
    pub directions: Vec<Direction>,
}

/// Estimates 1/2 log det(J^T J + sigma^2 I_d) at the latent that the map is linearised at, by any method. Random vectors come from `generator`.
///
/// [`Method::Exact`] takes d products here; [`record_exact`](super::record_exact) is the cheaper way to it where a tape is at hand.
///
/// # Errors
/// [`Error::Argument`] for a sigma that is not positive and finite or settings out of range; [`Error::Numerical`] when products are not finite
/// or a small problem does not converge; those of the machine.
pub fn estimate<T: Real + Element>(
    method: Method,
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Estimate> {
    if map.samples() != 1 {
        let problem = format!("is for {} latents, expected one; `estimates` takes several", map.samples());
        return Err(Error::Argument { name: "map".into(), problem });
    }
    Ok(estimates(method, map, sigma, settings, generator)?.remove(0))
}

/// Whether [`estimates`] takes several latents in a sampler of d latent dimensions.
pub fn takes_several(method: Method, d: usize) -> bool {
    match method {
        Method::Slq => true,
        Method::Smallest | Method::Largest => d > super::FULL_DEPTH,
        Method::Exact | Method::Paper => false,
    }
}

/// [`estimate`] at all latents that the map is linearised at, one after another in the answer; products are made for all of them together.
///
/// Random vectors are those that `estimate` would draw at one latent after another.
///
/// # Errors
/// As [`estimate`], and [`Error::Argument`] for several latents where [`takes_several`] says no.
pub fn estimates<T: Real + Element>(
    method: Method,
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Vec<Estimate>> {
    settings.check()?;
    check_sigma(sigma)?;
    let samples = map.samples();
    if samples != 1 && !takes_several(method, crate::spectral::LinearMap::cols(map)) {
        let problem = format!("is for {samples} latents, the method {} takes one at a time", method.name());
        return Err(Error::Argument { name: "map".into(), problem });
    }
    let before = map.products();
    let mut estimates = match method {
        Method::Exact => vec![spectrum::exact(map, sigma, settings)?],
        Method::Smallest => smallest::estimates(map, sigma, settings, generator)?,
        Method::Largest => largest::estimates(map, sigma, settings, generator)?,
        Method::Slq => slq::estimates(map, sigma, settings, generator)?,
        Method::Paper => vec![paper::estimate(map, sigma, settings, generator)?],
    };
    let products = (map.products() - before) / samples as u64;
    estimates.iter_mut().for_each(|estimate| estimate.products = products);
    Ok(estimates)
}

/// Standard deviations whose squares single precision can hold.
const SIGMAS: RangeInclusive<f64> = 1e-18..=1e18;

/// What is wrong with a standard deviation of the noise on a sampler's output, if anything is.
pub(crate) fn sigma_problem(sigma: f64) -> Option<String> {
    let (least, most) = (SIGMAS.start(), SIGMAS.end());
    (!SIGMAS.contains(&sigma))
        .then(|| format!("is {sigma:e}, expected a finite number above 0, from {least:e} to {most:e}"))
}

/// Refuses such a standard deviation.
///
/// # Errors
/// [`Error::Argument`] named `sigma`.
pub(crate) fn check_sigma(sigma: f64) -> Result<()> {
    sigma_problem(sigma).map_or(Ok(()), |problem| Err(Error::Argument { name: "sigma".into(), problem }))
}

/// The entropy report of estimates at several latents: means, constants added; the standard error is that of the mean over probes, with the
/// latents held fixed: sqrt(sum of squares) / S.
///
/// # Errors
/// [`Error::Argument`] for no estimate.
///
/// ```
/// use livi::entropy::{Constants, Estimate, Method, combine};
/// let one = Estimate {
///     half_log_det: 1.0, lower: None, upper: None, standard_error: 0.3, residual: None, products: 4, directions: vec![],
/// };
/// let two = Estimate { half_log_det: 3.0, standard_error: 0.4, ..one.clone() };
/// let constants = Constants { gaussian: 10.0, excess: -1.0, scales: 0.0 };
/// let report = combine(Method::Slq, constants, &[one, two])?;
/// assert_eq!((report.estimate, report.standard_error, report.products), (11.0, 0.25, 8));
/// # Ok::<(), livi::Error>(())
/// ```
pub fn combine(method: Method, constants: Constants, estimates: &[Estimate]) -> Result<EntropyReport> {
    if estimates.is_empty() {
        return Err(Error::Argument { name: "latents".into(), problem: "there are none, expected at least 1".into() });
    }
    let count = estimates.len() as f64;
    let mean = |value: fn(&Estimate) -> Option<f64>| -> Option<f64> {
        let sum: Option<f64> = estimates.iter().map(value).sum();
        sum.map(|sum| sum / count + constants.total())
    };
    let squares: f64 = estimates.iter().map(|e| e.standard_error * e.standard_error).sum();
    let total: f64 = estimates.iter().map(|e| e.half_log_det).sum();
    Ok(EntropyReport {
        method,
        estimate: total / count + constants.total(),
        lower: mean(|e| e.lower),
        upper: mean(|e| e.upper),
        standard_error: squares.sqrt() / count,
        residual: estimates.iter().filter_map(|e| e.residual).reduce(f64::max),
        products: estimates.iter().map(|e| e.products).sum(),
        constants,
    })
}

/// Where the program of the gradient finds the directions of K probes at each of L latents.
#[derive(Clone, Copy, Debug)]
pub struct DirectionInputs {
    /// (K, L, d).
    pub v: Var,
    /// (K, L, d); `v` itself where the method has no other.
    pub w: Var,
    /// (K, L).
    pub factors: Var,
}

impl DirectionInputs {
    /// Inputs for the directions of a method at so many latents of d dimensions.
    pub fn record(
        tape: &mut Tape,
        method: Method,
        settings: &Settings,
        latents: usize,
        d: usize,
        dtype: DType,
    ) -> Self {
        let count = settings.directions_of(method);
        let v = tape.named_input("entropy.v", &[count, latents, d], dtype);
        let w = if method == Method::Slq { tape.named_input("entropy.w", &[count, latents, d], dtype) } else { v };
        Self { v, w, factors: tape.named_input("entropy.factors", &[count, latents], dtype) }
    }
}

/// A scalar with the gradient of estimates.
#[derive(Clone, Copy, Debug)]
pub struct Surrogate {
    /// sum_{k,s} <u_{ks}, J(z_s) v_{ks}>, a scalar.
    pub value: Var,
    /// u_{ks} = factor_{ks} J(z_s) w_{ks}, held fixed (K, L, m).
    pub u: Var,
}

/// Records, for a sampler at L latents, the scalar whose gradient with respect to the sampler's weights is that of the sum over latents of the
/// estimates that the directions belong to. Nothing as long as the weights comes from outside.
///
/// # Errors
/// Shapes that do not fit.
pub fn record_surrogate(tape: &mut Tape, recorded: &Recorded, directions: DirectionInputs) -> Result<Surrogate> {
    let linear = tape.linearize(&[recorded.theta], &[recorded.latents])?;
    let tangent = linear.outputs[0].unwrap_or_else(|| tape.zeros_like(recorded.theta));
    let images = tape.batch(&[tangent], &[(linear.inputs[0], directions.v)])?[0];
    let fixed = tape.batch(&[tangent], &[(linear.inputs[0], directions.w)])?[0];
    let fixed = tape.stop_gradient(fixed)?;
    let shape = tape.shape(directions.factors).iter().copied().chain([1]).collect::<Vec<usize>>();
    let factors = tape.reshape(directions.factors, &shape)?;
    let u = tape.mul(factors, fixed)?;
    Ok(Surrogate { value: tape.inner(u, images)?, u })
}

/// Vectors (of d numbers each) as directions, with those that solve for them and factors.
pub(super) fn directions<T: Real>(d: usize, v: &[T], w: &[T], factors: impl Fn(usize) -> f64) -> Vec<Direction> {
    let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect();
    let pairs = v.chunks_exact(d).zip(w.chunks_exact(d)).enumerate();
    pairs.map(|(k, (v, w))| Direction { v: wide(v), w: wide(w), factor: factors(k) }).collect()
}
