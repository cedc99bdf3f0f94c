//! Stochastic Lanczos quadrature of `1/2 log det(J^T J + sigma^2 I)` with a bracket for every probe.

use super::arguments::{expect_block, expect_positive, expect_sigma, refuse};
use super::kernels::{dot, norm, scale};
use super::{Bidiagonals, GolubKahan, LinearMap, Products, Real, bounds, mean_and_standard_error};
use crate::Result;

/// What the probes are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    /// Independent random vectors whose direction has `E[v v^T] = |v|^2 I / d`: Rademacher, Gaussian, uniform on the
    /// sphere. Fewer than d orthogonal vectors in a random position belong here too; their standard error is then an
    /// overestimate.
    Independent,
    /// An orthogonal basis of R^d: the sum over it has no Monte-Carlo error, and the standard error is 0.
    OrthogonalBasis,
}

/// Options of [`stochastic_lanczos_quadrature`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlqOptions {
    /// Standard deviation sigma in `A = J^T J + sigma^2 I`.
    pub sigma: f64,
    /// Golub-Kahan steps for each probe: one product with J and one with its transpose each.
    pub steps: usize,
    /// Probes in lockstep; memory grows with it. More than there are probes means all of them.
    pub block: usize,
    /// What the probes are to each other.
    pub kind: ProbeKind,
    /// Whether to solve `A w = v` for each probe as well, which the gradient needs.
    pub solve: bool,
}

/// One probe's contribution, scaled such that the mean over the probes estimates `1/2 log det A`, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeBracket {
    /// Gauss-Radau value: at most the probe's exact quadratic form.
    pub lower: f64,
    /// Gauss value: at least the probe's exact quadratic form.
    pub upper: f64,
    /// Value between the two, see [`stochastic_lanczos_quadrature`].
    pub estimate: f64,
    /// Steps made.
    pub depth: usize,
    /// Whether the Krylov space was exhausted, so that lower and upper agree up to rounding.
    pub is_invariant: bool,
    /// How far rounding of the products may move the three values, see [`SlqReport::rounding`].
    pub rounding: f64,
}

/// Solves `A w = v` for the probes v as they were given, from the Krylov bases of the quadrature.
///
/// With v and w held fixed, the gradient of `1/2 log det A` is estimated by that of `sum_k weight_k <J w_k,
/// J(parameters) v_k>`: one reverse pass over one batched product. It is unbiased when the w are exact, so look at the
/// residuals.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSolves<T> {
    /// w, `count x d`.
    pub solutions: Vec<T>,
    /// Weight of each probe: `d / (count |v|^2)`.
    pub weights: Vec<f64>,
    /// `|A w - v| / |v|` from products with the rounded w: in f32 rounding alone makes it about `6e-8 (s_max /
    /// sigma)^2`.
    pub residuals: Vec<f64>,
    /// The same residual as the bidiagonal's coefficients predict it, without the rounding of w.
    pub predicted_residuals: Vec<f64>,
}

/// Result of [`stochastic_lanczos_quadrature`]. Values are `1/2 log det(J^T J + sigma^2 I_d)` in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct SlqReport<T> {
    /// Mean of the probes' estimates, between `lower` and `upper`.
    pub estimate: f64,
    /// Mean of the probes' lower ends.
    pub lower: f64,
    /// Mean of the probes' upper ends.
    pub upper: f64,
    /// Monte-Carlo standard error of `estimate`: infinite for one independent probe, 0 for a basis.
    pub standard_error: f64,
    /// Monte-Carlo standard error of `lower`.
    pub lower_standard_error: f64,
    /// Monte-Carlo standard error of `upper`.
    pub upper_standard_error: f64,
    /// How far rounding of the products may move the values, to first order: every singular value perturbed by 8 units
    /// of roundoff of the largest.
    pub rounding: f64,
    /// Deterministic lower bound of the exact value from the Ritz values of the best single probe.
    pub certified_lower: f64,
    /// Each probe's bracket, in the order of the probes.
    pub per_probe: Vec<ProbeBracket>,
    /// Solves, if asked for.
    pub solves: Option<ProbeSolves<T>>,
    /// Products used, those for the residuals included.
    pub products: Products,
}

impl<T> SlqReport<T> {
    /// Interval for the exact value: the bracket widened on each side by the rounding allowance and by
    /// `standard_errors` of that side's standard errors.
    pub fn interval(&self, standard_errors: f64) -> (f64, f64) {
        // Zero times an infinite standard error would not be a number.
        let margin = |error: f64| self.rounding + if standard_errors == 0.0 { 0.0 } else { standard_errors * error };
        (self.lower - margin(self.lower_standard_error), self.upper + margin(self.upper_standard_error))
    }
}

/// Golub-Kahan processes on one map, wherever their vectors lie: what [`stochastic_lanczos_quadrature_by`] needs of them.
///
/// Blocks of vectors are `count x d`, row-major.
pub trait Bidiagonalisation<T: Real> {
    /// Bidiagonalises from each row of `starts` (any length but zero), forgetting any former run.
    ///
    /// # Errors
    /// As [`GolubKahan::run`].
    fn run(&mut self, count: usize, starts: &[T]) -> Result<()>;

    /// The bidiagonal matrices of the last run.
    fn bidiagonals(&mut self) -> &mut Bidiagonals;

    /// Writes into each row of `out` the sum w of the first right vectors times the coefficients of its start vector v, a row of `starts`, and
    /// answers the relative residuals `|A w - v| / |v|` from products with w as it is rounded.
    ///
    /// # Errors
    /// [`Error::Numerical`](crate::Error::Numerical) for products that are not finite; what the map answers.
    fn combine(&mut self, sigma: f64, coefficients: &[Vec<f64>], starts: &[T], out: &mut [T]) -> Result<Vec<f64>>;

    /// Products made so far.
    fn products(&self) -> Products;
}

/// Estimates `1/2 log det A`, `A = J^T J + sigma^2 I_d`, from `count` probes (`count x d`, row-major; their norms do
/// not matter).
///
/// For each probe a Golub-Kahan run of `steps` steps gives two quadratures of `1/2 d v^T log(A) v / |v|^2`: Gauss,
/// which is too large, and Gauss-Radau with a node at the smallest possible eigenvalue `sigma^2`, which is too small,
/// since the even derivatives of the logarithm are negative and the odd ones positive (Golub and Meurant 2010, chapter
/// 6; Ubaru, Chen and Saad 2017, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature"). What the bracket
/// leaves open is the Monte-Carlo error over probes. Probes that are an orthogonal basis leave none.
///
/// A probe's estimate lies where the two ends would meet if each kept converging in proportion to its change over the
/// last two steps: with the ends' changes `c` and `C` it is `(C lower + c upper) / (c + C)`. Either end alone can be
/// far better than the other (the upper one for a spectrum away from 0, the lower one for a J of low rank), and this
/// tells them apart. After one step it is the midpoint.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a sigma that is not positive, sizes of zero, a wrong length, a probe
/// that is zero or not finite, a basis that is not one; [`Error::Numerical`](crate::Error::Numerical) for products that
/// are not finite; what the map answers.
///
/// ```
/// use livi::spectral::{DenseMap, ProbeKind, SlqOptions, stochastic_lanczos_quadrature};
/// let mut map = DenseMap::new(2, 2, vec![3.0_f64, 0.0, 0.0, 4.0])?;
/// let options = SlqOptions { sigma: 0.1, steps: 2, block: 2, kind: ProbeKind::OrthogonalBasis, solve: false };
/// let report = stochastic_lanczos_quadrature(&mut map, 2, &[1.0, 1.0, 1.0, -1.0], &options)?;
/// let exact = 3.0_f64.hypot(0.1).ln() + 4.0_f64.hypot(0.1).ln();
/// assert!((report.estimate - exact).abs() < 1e-13);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn stochastic_lanczos_quadrature<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    count: usize,
    probes: &[T],
    options: &SlqOptions,
) -> Result<SlqReport<T>> {
    expect_positive("number of probes", count)?;
    expect_positive("block", options.block)?;
    let cols = map.cols();
    let mut workspace = GolubKahan::new(map.rows(), cols, options.block.min(count), options.steps)?;
    expect_block("probes", probes, count, cols)?;
    if options.kind == ProbeKind::OrthogonalBasis {
        expect_basis(count, cols, probes)?;
    }
    stochastic_lanczos_quadrature_by(&mut workspace.on(map)?, count, probes, options)
}

/// [`stochastic_lanczos_quadrature`] by processes whose memory is kept between calls: its number of steps and its capacity stand for the options
/// `steps` and `block`. That an orthogonal basis is one is taken for granted.
///
/// # Errors
/// As [`stochastic_lanczos_quadrature`].
pub fn stochastic_lanczos_quadrature_by<T: Real, P: Bidiagonalisation<T> + ?Sized>(
    process: &mut P,
    count: usize,
    probes: &[T],
    options: &SlqOptions,
) -> Result<SlqReport<T>> {
    let (cols, sigma) = (process.bidiagonals().cols(), options.sigma);
    expect_sigma(sigma)?;
    expect_positive("number of probes", count)?;
    expect_block("probes", probes, count, cols)?;
    let mut solves = options.solve.then(|| ProbeSolves {
        solutions: vec![T::from_f64(0.0); count * cols],
        weights: Vec::with_capacity(count),
        residuals: Vec::with_capacity(count),
        predicted_residuals: Vec::with_capacity(count),
    });
    let mut per_probe = Vec::with_capacity(count);
    let mut certified_lower = f64::NEG_INFINITY;
    let block = process.bidiagonals().capacity().min(count);
    for start in (0..count).step_by(block) {
        let size = block.min(count - start);
        let own = start * cols..(start + size) * cols;
        process.run(size, &probes[own.clone()])?;
        let bidiagonals = process.bidiagonals();
        let mut coefficients = Vec::with_capacity(size);
        for index in 0..size {
            let (bracket, lower) = bidiagonals.bracket(index, sigma, T::UNIT_ROUNDOFF)?;
            per_probe.push(bracket);
            certified_lower = certified_lower.max(lower);
            if let Some(solves) = &mut solves {
                let (found, predicted) = bidiagonals.solve(index, sigma)?;
                coefficients.push(found);
                solves.predicted_residuals.push(predicted);
                solves.weights.push(cols as f64 / (count as f64 * bidiagonals.start_norm(index).powi(2)));
            }
        }
        if let Some(solves) = &mut solves {
            let solutions = &mut solves.solutions[own.clone()];
            solves.residuals.extend(process.combine(sigma, &coefficients, &probes[own], solutions)?);
        }
    }
    SlqReport::summarise(per_probe, options.kind, certified_lower, solves, process.products())
}

impl Bidiagonals {
    /// The bracket of a start vector, and a deterministic lower bound of the log-determinant from its Ritz values.
    fn bracket(&mut self, probe: usize, sigma: f64, unit_roundoff: f64) -> Result<(ProbeBracket, f64)> {
        let depth = self.depth(probe);
        let former = if depth > 2 { depth - 2 } else { 1 };
        let former_radau = self.gauss_radau(probe, former)?.half_log(sigma);
        let former_gauss = self.gauss(probe, former)?.half_log(sigma);
        let radau = self.gauss_radau(probe, depth)?;
        let gauss = self.gauss(probe, depth)?;
        let (lower, upper) = (radau.half_log(sigma), gauss.half_log(sigma));
        let meeting = meeting_point(former_radau, lower, former_gauss, upper);
        // Once both have converged their order is decided by rounding.
        let (lower, upper) = (lower.min(upper), lower.max(upper));
        let scale = self.cols() as f64;
        let perturbation = 8.0 * unit_roundoff * self.norm_estimate(probe);
        let bracket = ProbeBracket {
            lower: scale * lower,
            upper: scale * upper,
            estimate: scale * meeting.clamp(lower, upper),
            depth,
            is_invariant: self.is_invariant(probe),
            rounding: scale * gauss.half_log_sensitivity(sigma, perturbation),
        };
        Ok((bracket, bounds::lower_from_ritz_values(&radau.nodes[..depth], self.cols(), sigma)?))
    }
}

impl<T> SlqReport<T> {
    /// Means and standard errors of brackets.
    fn summarise(
        per_probe: Vec<ProbeBracket>,
        kind: ProbeKind,
        certified_lower: f64,
        solves: Option<ProbeSolves<T>>,
        products: Products,
    ) -> Result<Self> {
        let mean = BracketMean::of(&per_probe, kind)?;
        Ok(Self {
            estimate: mean.estimate,
            lower: mean.lower,
            upper: mean.upper,
            standard_error: mean.standard_error,
            lower_standard_error: mean.lower_standard_error,
            upper_standard_error: mean.upper_standard_error,
            rounding: mean.rounding,
            certified_lower,
            per_probe,
            solves,
            products,
        })
    }
}

/// Mean of the brackets of several probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BracketMean {
    /// Mean of the estimates.
    pub estimate: f64,
    /// Mean of the lower ends.
    pub lower: f64,
    /// Mean of the upper ends.
    pub upper: f64,
    /// Monte-Carlo standard error of `estimate`: infinite for one independent probe, 0 for a basis.
    pub standard_error: f64,
    /// Monte-Carlo standard error of `lower`.
    pub lower_standard_error: f64,
    /// Monte-Carlo standard error of `upper`.
    pub upper_standard_error: f64,
    /// Mean allowance for rounding.
    pub rounding: f64,
}

impl BracketMean {
    /// The mean over some probes.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for no bracket.
    ///
    /// ```
    /// use livi::spectral::{BracketMean, ProbeBracket, ProbeKind};
    /// let one = ProbeBracket { lower: 0.0, upper: 2.0, estimate: 1.0, depth: 3, is_invariant: false, rounding: 0.0 };
    /// let two = ProbeBracket { upper: 4.0, estimate: 3.0, ..one };
    /// let mean = BracketMean::of(&[one, two], ProbeKind::Independent)?;
    /// assert_eq!((mean.estimate, mean.upper, mean.standard_error), (2.0, 3.0, 1.0));
    /// # Ok::<(), livi::Error>(())
    /// ```
    pub fn of(brackets: &[ProbeBracket], kind: ProbeKind) -> Result<Self> {
        let mean_of = |value: fn(&ProbeBracket) -> f64| {
            let samples: Vec<f64> = brackets.iter().map(value).collect();
            let (mean, error) = mean_and_standard_error(&samples)?;
            Ok::<_, crate::Error>((mean, if kind == ProbeKind::OrthogonalBasis { 0.0 } else { error }))
        };
        let (estimate, standard_error) = mean_of(|bracket| bracket.estimate)?;
        let (lower, lower_standard_error) = mean_of(|bracket| bracket.lower)?;
        let (upper, upper_standard_error) = mean_of(|bracket| bracket.upper)?;
        let rounding = mean_of(|bracket| bracket.rounding)?.0;
        Ok(Self { estimate, lower, upper, standard_error, lower_standard_error, upper_standard_error, rounding })
    }
}

/// Where a rising lower and a falling upper sequence meet if the distance still to go is proportional to the last
/// change.
fn meeting_point(former_lower: f64, lower: f64, former_upper: f64, upper: f64) -> f64 {
    let (rise, fall) = ((lower - former_lower).max(0.0), (former_upper - upper).max(0.0));
    if rise + fall > 0.0 { (fall * lower + rise * upper) / (rise + fall) } else { 0.5 * (lower + upper) }
}

/// Refuses probes that are not an orthogonal basis of R^d to the square root of rounding.
fn expect_basis<T: Real>(count: usize, cols: usize, probes: &[T]) -> Result<()> {
    if count != cols {
        return refuse("number of probes", format!("is {count}, an orthogonal basis has {cols}"));
    }
    let mut unit = probes.to_vec();
    for (index, row) in unit.chunks_exact_mut(cols).enumerate() {
        let length = norm(row);
        if length == 0.0 {
            return refuse("probes", format!("row {index} is zero"));
        }
        scale(1.0 / length, row);
    }
    for i in 0..count {
        for j in 0..i {
            let cosine = dot(&unit[i * cols..(i + 1) * cols], &unit[j * cols..(j + 1) * cols]);
            if cosine.abs() > T::UNIT_ROUNDOFF.sqrt() {
                return refuse("probes", format!("rows {j} and {i} are not orthogonal: their cosine is {cosine:e}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
