//! Every entropy method against the exact value, at given latents of one sampler; where that would take too long, against each other.

mod exact;
mod programs;
mod table;

use crate::device::{is_card, memory_limit, processor};
use crate::entropy::{
    Constants, EntropyBracket, Estimate, FULL_DEPTH, JacobianMap, LEAST_PROBES, Method, Settings, check_sigma, combine,
    entropy_bracket, estimate, parameters,
};
use crate::sampler::Sampler;
use crate::spectral::{LinearMap, Real, bounds, fill_gaussian, frobenius_squared, student_quantile};
use crate::{Error, Result};
use autograd::{DType, Device, Element, Machine};
use programs::{Loaded, Planned};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::time::Instant;

/// Weights m of the network up to which the true entropy is bracketed as well. The toy network has 105; with many more the bracket says nothing.
const SMALL_NETWORK: usize = 200;
/// Draws of theta for that bracket.
const DRAWS: usize = 200;
/// Mixture components for that bracket.
const COMPONENTS: usize = 1000;
/// Unit of roundoff of TF32: 11 bits, the leading one counted.
const TF32_ROUNDOFF: f64 = 1.0 / 2048.0;
/// Chance that a bracket of a correct sampler is held to miss the exact value.
const FALSE_ALARM: f64 = 1e-4;

/// On which side of the exact value a row claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The reference itself.
    Exact,
    /// Not above it.
    Lower,
    /// Not below it.
    Upper,
    /// Its bracket, widened by [`Verification::standard_errors`], contains it.
    Bracket,
    /// No claim.
    None,
}

/// One method's row: means over the latents, in nats with the constants included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodRow {
    /// A method's name, or `interlacing` and `frobenius` for the deterministic bounds.
    pub method: &'static str,
    /// The method's value.
    pub value: f64,
    /// Lower end of its own bracket.
    pub lower: Option<f64>,
    /// Upper end of its own bracket.
    pub upper: Option<f64>,
    /// Monte-Carlo standard error over probes.
    pub standard_error: f64,
    /// Largest relative residual.
    pub residual: Option<f64>,
    /// Products with single vectors, all latents counted.
    pub products: u64,
    /// Wall-clock time for all latents, planning excluded.
    pub seconds: f64,
    /// Bytes of the plans, of the matrices and of the Krylov spaces at their peak.
    pub bytes: u64,
    /// Value less the exact one, where that is known.
    #[serde(skip)]
    pub gap: Option<f64>,
    /// What the row claims.
    #[serde(skip)]
    pub side: Side,
    /// Whether the claim holds, up to [`Verification::rounding`].
    #[serde(skip)]
    pub holds: bool,
}

/// All methods at the same latents. Serialises to one object {m, d, sigma, latents, constants, methods}; an infinite standard error
/// (a single probe) becomes null. `Display` is a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Number of weights.
    pub m: usize,
    /// Number of latents' dimensions.
    pub d: usize,
    /// Standard deviation of q around the sampler's output.
    pub sigma: f64,
    /// Number of latents averaged over.
    pub latents: usize,
    /// Constants contained in every value.
    pub constants: Constants,
    /// One row a method; the first is the exact value, if it was computed.
    pub methods: Vec<MethodRow>,
    /// Standard errors by which a bracket may miss the exact value: the error of a mean over few probes, in units of a standard error found from the
    /// same probes, has Student's distribution, and exceeds this many once in 10,000 times.
    #[serde(skip)]
    pub standard_errors: f64,
    /// How far rounding may move a value: the exact value's change when each singular value grows by 32 units of roundoff (of the
    /// methods' element type) of |J|_F and each eigenvalue of the Gram matrix by 16 d units of f64 of its largest; beyond
    /// [`FULL_DEPTH`] latents, where the spectrum is not known, an upper bound of it; 0 without the exact value.
    #[serde(skip)]
    pub rounding: f64,
    /// Singular values of J at each latent, from the largest to the smallest, d of them; none beyond [`FULL_DEPTH`] latents.
    #[serde(skip)]
    pub singular_values: Vec<Vec<f64>>,
    /// Bracket of the true entropy of q, for small networks.
    #[serde(skip)]
    pub true_entropy: Option<EntropyBracket>,
}

impl Verification {
    /// The exact linearised entropy, if it was computed.
    pub fn exact(&self) -> Option<f64> {
        self.methods.iter().find(|row| row.side == Side::Exact).map(|row| row.value)
    }

    /// What is known of it for certain: itself, or the greatest lower and the least upper bound among the rows.
    fn reference(&self) -> (f64, f64) {
        if let Some(exact) = self.exact() {
            return (exact, exact);
        }
        let on = |side: Side| self.methods.iter().filter(move |row| row.side == side);
        let lower = on(Side::Lower).filter_map(|row| row.lower).fold(f64::NEG_INFINITY, f64::max);
        let upper = on(Side::Upper).filter_map(|row| row.upper).fold(f64::INFINITY, f64::min);
        (lower, upper)
    }

    /// The same for scaled weights s * theta with sum_i log s_i = `scales`: every value moves by it, gaps and claims stay.
    pub fn scaled(mut self, scales: f64) -> Self {
        self.constants.scales += scales;
        for row in &mut self.methods {
            row.value += scales;
            for end in [&mut row.lower, &mut row.upper].into_iter().flatten() {
                *end += scales;
            }
        }
        if let Some(found) = &mut self.true_entropy {
            found.lower += scales;
            found.upper += scales;
        }
        self
    }

    /// One sentence for each row whose claim does not hold; empty if all do.
    pub fn violations(&self) -> Vec<String> {
        let (low, high) = self.reference();
        let (below, above, both) = match self.exact() {
            Some(exact) => (format!("the exact {exact}"), format!("the exact {exact}"), format!("the exact {exact}")),
            None => (
                format!("the lower bound {low}"),
                format!("the upper bound {high}"),
                format!("the bounds [{low}, {high}]"),
            ),
        };
        let sentence = |row: &MethodRow| match row.side {
            Side::Lower => format!("{}: the lower bound {} lies above {above}", row.method, row.value),
            Side::Upper => format!("{}: the upper bound {} lies below {below}", row.method, row.value),
            _ => format!(
                "{}: the bracket [{}, {}] with standard error {} misses {both}",
                row.method,
                row.lower.unwrap_or(row.value),
                row.upper.unwrap_or(row.value),
                row.standard_error
            ),
        };
        self.methods.iter().filter(|row| !row.holds).map(sentence).collect()
    }
}

/// Computes the linearised entropy of a sampler with the given weights at S latents (`latents` is S x d) exactly and by the methods asked for, the
/// deterministic bounds beside them, and checks every claim.
///
/// The exact value, the first row, and the spectrum are computed in f64 whatever `dtype` the methods run in (from weights rounded to that type), up
/// to [`FULL_DEPTH`] latents whether asked for or not. Beyond, there is no spectrum, and the exact value comes, if it is asked for, from
/// [`GramPrograms`](crate::entropy::GramPrograms): see [`verify_within`] for its memory and progress. Without it every claim is checked against the
/// greatest lower and the least upper bound among the rows, and the bound from the Frobenius norm, a by-product, is left out. For networks of at most
/// 200 weights the true entropy of q is bracketed as well.
///
/// # Errors
/// [`Error::Argument`] for latents whose number is no positive multiple of d or that are not finite, weights that do not fit the sampler, a sigma
/// that is not positive and finite, settings out of range or an element type that is not a floating-point one; [`Error::Numerical`] and those of
/// recording, planning and running otherwise.
///
/// ```
/// use autograd::DType;
/// use livi::activation::Activation;
/// use livi::entropy::{Method, Settings};
/// use livi::sampler::{MlpSampler, initial_parameters};
/// let sampler = MlpSampler::new(2, &[5], 9, Activation::Elu)?;
/// let parameters = initial_parameters(&sampler, 1);
/// let latents = [0.3, -1.0, 0.7, 0.1];
/// let found = livi::verify::verify(
///     &sampler, &parameters, &latents, 0.1, &Method::ALL, &Settings::default(), DType::F64, 1,
/// )?;
/// assert!(found.violations().is_empty());
/// assert_eq!((found.latents, found.methods.len()), (2, 7));
/// # Ok::<(), livi::Error>(())
/// ```
pub fn verify(
    sampler: &dyn Sampler,
    parameters: &[Vec<f64>],
    latents: &[f64],
    sigma: f64,
    methods: &[Method],
    settings: &Settings,
    dtype: DType,
    seed: u64,
) -> Result<Verification> {
    let device = processor();
    verify_within(sampler, parameters, latents, sigma, methods, settings, dtype, seed, device, None, &mut |_| ())
}

/// [`verify`] on a device within `memory` bytes (without a limit as much as it takes, on a card what is free), telling `say` how far it is, a line at
/// a time. On a card the exact value beyond [`FULL_DEPTH`] latents comes from [`ResidentPrograms`](crate::entropy::ResidentPrograms).
///
/// # Errors
/// As [`verify`], and [`autograd::Error::Memory`] with the least that would do; [`autograd::Error::Device`] for a device that cannot be used.
pub fn verify_within(
    sampler: &dyn Sampler,
    parameters: &[Vec<f64>],
    latents: &[f64],
    sigma: f64,
    methods: &[Method],
    settings: &Settings,
    dtype: DType,
    seed: u64,
    device: Device,
    memory: Option<usize>,
    say: &mut dyn FnMut(&str),
) -> Result<Verification> {
    check_sigma(sigma)?;
    parameters::check(sampler, parameters)?;
    let (m, d) = (sampler.outputs(), sampler.latents());
    if latents.is_empty() || !latents.len().is_multiple_of(d) || latents.iter().any(|z| !z.is_finite()) {
        let problem = format!("{} numbers, expected finite ones, a positive multiple of d = {d}", latents.len());
        return Err(Error::Argument { name: "latents".into(), problem });
    }
    let round = |values: &[f64]| match dtype {
        DType::F32 => values.iter().map(|&x| f64::from(x as f32)).collect(),
        _ => values.to_vec(),
    };
    let parameters: Vec<Vec<f64>> = parameters.iter().map(|p| round(p)).collect();
    let latents: Vec<f64> = round(latents);
    let unit = match dtype {
        DType::F32 if matches!(device, Device::Cuda { tf32: true, .. }) => TF32_ROUNDOFF,
        DType::F32 => f32::UNIT_ROUNDOFF,
        DType::F64 => f64::UNIT_ROUNDOFF,
        DType::U32 => {
            let problem = "is u32, expected f32 or f64".into();
            return Err(Error::Argument { name: "dtype".into(), problem });
        }
    };
    // Held to the end: a card that nobody uses is put away.
    let card = if is_card(device) { Some(Machine::on(device)?) } else { None };
    let memory = card.as_ref().map_or(Ok(memory), |card| memory_limit(card, memory))?;
    let task = Task { sampler, parameters: &parameters, latents: &latents, sigma, settings, seed, device, memory };
    let constants = Constants::new(m, d, sigma);
    // What does not fit is refused before the exact value takes its time.
    let planned = Planned::record(&task, dtype, methods.contains(&Method::Slq))?;
    let found = match (d <= FULL_DEPTH, methods.contains(&Method::Exact)) {
        (true, _) => task.recorded(unit)?,
        (false, true) => task.accumulated(unit, say)?,
        (false, false) => exact::Exact::default(),
    };
    let exact::Exact { row, rounding, singular_values, frobenius } = found;
    let mut all: Vec<MethodRow> =
        row.into_iter().map(|row| MethodRow { value: row.value + constants.total(), ..row }).collect();
    all.extend(match dtype {
        DType::F32 => task.rows::<f32>(planned, methods, constants, frobenius, say)?,
        _ => task.rows::<f64>(planned, methods, constants, frobenius, say)?,
    });
    let true_entropy = match m <= SMALL_NETWORK {
        true => entropy_bracket(sampler, &parameters, sigma, DRAWS, &[COMPONENTS], seed, device)?.pop(),
        false => None,
    };
    let latents = latents.len() / d;
    let probes = settings.target.map_or(settings.probes, |_| LEAST_PROBES.min(settings.probes));
    let standard_errors = student_quantile(probes.saturating_sub(1).max(1), FALSE_ALARM);
    let mut verification = Verification {
        m,
        d,
        sigma,
        latents,
        constants,
        methods: all,
        standard_errors,
        rounding,
        singular_values,
        true_entropy,
    };
    let (exact, reference) = (verification.exact(), verification.reference());
    for row in &mut verification.methods {
        row.gap = exact.map(|exact| row.value - exact);
        row.holds = holds(row, reference, rounding, standard_errors);
    }
    Ok(verification)
}

/// Whether a row's claim about an exact value in [`low`, `high`] can be true.
fn holds(row: &MethodRow, (low, high): (f64, f64), rounding: f64, standard_errors: f64) -> bool {
    let not_above = |end: Option<f64>, margin: f64| end.is_none_or(|end| end <= high + margin);
    let not_below = |end: Option<f64>, margin: f64| end.is_none_or(|end| end >= low - margin);
    let value = Some(row.value);
    match row.side {
        Side::Exact => row.value.is_finite(),
        Side::Lower => not_above(value, rounding) && not_above(row.lower, rounding),
        Side::Upper => not_below(value, rounding) && not_below(row.upper, rounding),
        Side::Bracket => {
            // Of a basis there is no error, of a single random probe no telling how large it is.
            let margin =
                if row.standard_error > 0.0 { rounding + standard_errors * row.standard_error } else { rounding };
            not_above(row.lower, margin) && not_below(row.upper, margin)
        }
        Side::None => true,
    }
}

/// What all methods are asked about.
struct Task<'a> {
    sampler: &'a dyn Sampler,
    parameters: &'a [Vec<f64>],
    latents: &'a [f64],
    sigma: f64,
    settings: &'a Settings,
    seed: u64,
    device: Device,
    memory: Option<usize>,
}

impl Task<'_> {
    /// One answer for each latent, and the seconds they took. Random vectors come from the seed alone, whatever was asked before.
    fn run<T: Real + Element, A>(
        &self,
        loaded: &mut Loaded,
        mut ask: impl FnMut(&mut JacobianMap<'_, T>, &mut StdRng) -> Result<A>,
    ) -> Result<(Vec<A>, f64)> {
        let Loaded { machine, jacobian, .. } = loaded;
        let mut generator = StdRng::seed_from_u64(self.seed);
        let begin = Instant::now();
        let mut answers = Vec::new();
        for z in self.latents.chunks_exact(self.sampler.latents()) {
            jacobian.linearise(machine, z)?;
            answers.push(ask(&mut jacobian.map(machine), &mut generator)?);
        }
        Ok((answers, begin.elapsed().as_secs_f64()))
    }

    /// Rows of the methods but the exact one, and of the deterministic bounds. `squares` are squared Frobenius norms at the latents, if known.
    fn rows<T: Real + Element>(
        &self,
        planned: Planned,
        methods: &[Method],
        constants: Constants,
        squares: Option<Vec<f64>>,
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<MethodRow>> {
        let settings = Settings { directions: false, ..*self.settings };
        let sigma = self.sigma;
        let mut loaded = planned.load(self)?;
        let block = loaded.jacobian.map::<T>(&mut loaded.machine).block();
        let large = loaded.jacobian.cols() > FULL_DEPTH;
        let mut rows = Vec::new();
        for &method in methods.iter().filter(|&&method| method != Method::Exact) {
            let (side, spaces) = match method {
                Method::Exact => (Side::Exact, 0),
                Method::Smallest => (Side::Lower, usize::from(large)),
                Method::Largest => (Side::Upper, usize::from(large)),
                Method::Slq => (Side::Bracket, if loaded.resident { 0 } else { block }),
                Method::Paper => (Side::None, 0),
            };
            say(method.name());
            let (estimates, seconds) =
                self.run::<T, _>(&mut loaded, |map, generator| estimate(method, map, sigma, &settings, generator))?;
            let bytes = loaded.with_krylov(spaces, settings.steps);
            rows.push(row(method.name(), side, method, constants, &estimates, seconds, bytes)?);
        }
        let steps = settings.steps;
        say("interlacing");
        let (estimates, seconds) =
            self.run::<T, _>(&mut loaded, |map, generator| interlacing(map, sigma, steps, generator))?;
        let bytes = loaded.with_krylov(1, steps);
        rows.push(row("interlacing", Side::Lower, Method::Smallest, constants, &estimates, seconds, bytes)?);
        let (estimates, seconds) = match squares {
            Some(squares) => {
                let d = loaded.jacobian.cols();
                let found = squares.into_iter().map(|squares| bounded_above(squares, d, sigma)).collect::<Result<_>>();
                (found?, 0.0)
            }
            None if large => return Ok(rows),
            None => self.run::<T, _>(&mut loaded, |map, _| frobenius(map, sigma))?,
        };
        let bytes = loaded.with_krylov(0, 1);
        rows.push(row("frobenius", Side::Upper, Method::Largest, constants, &estimates, seconds, bytes)?);
        Ok(rows)
    }
}

fn row(
    name: &'static str,
    side: Side,
    method: Method,
    constants: Constants,
    estimates: &[Estimate],
    seconds: f64,
    bytes: u64,
) -> Result<MethodRow> {
    let report = combine(method, constants, estimates)?;
    Ok(MethodRow {
        method: name,
        value: report.estimate,
        lower: report.lower,
        upper: report.upper,
        standard_error: report.standard_error,
        residual: report.residual,
        products: report.products,
        seconds,
        bytes,
        gap: None,
        side,
        holds: true,
    })
}

/// The lower bound from the Ritz values of one Krylov space.
fn interlacing<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    steps: usize,
    generator: &mut StdRng,
) -> Result<Estimate> {
    let before = map.products();
    let mut process = map.process(1, steps)?;
    let mut start = vec![T::from_f64(0.0); map.cols()];
    fill_gaussian(generator, &mut start);
    process.run(map, 1, &start)?;
    let value = bounds::lower_from_ritz_values(&process.bidiagonals_mut().ritz_values(0)?, map.cols(), sigma)?;
    let products = map.products() - before;
    Ok(Estimate { lower: Some(value), upper: None, products, ..bound(value) })
}

/// The upper bound from the Frobenius norm.
fn frobenius<T: Real + Element>(map: &mut JacobianMap<'_, T>, sigma: f64) -> Result<Estimate> {
    let before = map.products();
    let block = map.block();
    let squared = frobenius_squared(map, block)?;
    let products = map.products() - before;
    Ok(Estimate { products, ..bounded_above(squared, map.cols(), sigma)? })
}

/// The upper bound from a known squared Frobenius norm.
fn bounded_above(squared: f64, d: usize, sigma: f64) -> Result<Estimate> {
    let value = bounds::upper_from_frobenius(squared, d, sigma)?;
    Ok(Estimate { upper: Some(value), ..bound(value) })
}

fn bound(half_log_det: f64) -> Estimate {
    Estimate {
        half_log_det,
        lower: None,
        upper: None,
        standard_error: 0.0,
        residual: None,
        products: 0,
        directions: Vec::new(),
    }
}
