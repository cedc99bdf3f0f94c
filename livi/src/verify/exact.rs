//! The exact row of a verification, with what rounding may do to all rows.

use super::programs::Planned;
use super::{MethodRow, Side, Task};
use crate::Result;
use crate::device::is_card;
use crate::entropy::{
    GramFigures, GramMachine, GramPrograms, Method, ResidentGram, ResidentPrograms, Spectrum, parameters, record_exact,
};
use crate::sampler::record;
use crate::spectral::Real;
use autograd::{DType, Machine, Plan, Request, Tape};
use std::time::{Duration, Instant};

/// Time between lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The exact row, its constants still missing, and what goes with it; by default nothing.
#[derive(Default)]
pub(super) struct Exact {
    pub row: Option<MethodRow>,
    /// [`Verification::rounding`](super::Verification::rounding).
    pub rounding: f64,
    /// At each latent; none where they were not computed.
    pub singular_values: Vec<Vec<f64>>,
    /// |J|_F^2 at each latent, where it is a by-product.
    pub frobenius: Option<Vec<f64>>,
}

impl Task<'_> {
    /// By one recorded program, with the whole spectrum: for few latents.
    pub fn recorded(&self, unit: f64) -> Result<Exact> {
        let d = self.sampler.latents();
        let mut tape = Tape::new();
        let vars = parameters::declare(&mut tape, self.sampler, DType::F64);
        let latent = tape.named_input("latent", &[1, d], DType::F64);
        let recorded = record(self.sampler, &mut tape, &vars, latent)?;
        let value = record_exact(&mut tape, &recorded, self.sigma)?.half_log_det;
        let plan = Plan::new(&tape, &Request::outputs(&[value]))?;
        let bytes = plan.peak_bytes();
        let mut machine = Machine::on(self.device)?;
        let plan = machine.load(plan)?;
        parameters::write(&mut machine, &vars, self.parameters)?;
        let begin = Instant::now();
        let mut total = 0.0;
        for z in self.latents.chunks_exact(d) {
            parameters::write(&mut machine, &[latent], &[z.to_vec()])?;
            machine.run(plan)?;
            total += machine.read::<f64>(value)?[0];
        }
        let row = self.row(total, self.latents.len() as u64, begin.elapsed().as_secs_f64(), bytes);
        let spectra = {
            let mut loaded = Planned::record(self, DType::F64, false)?.load(self)?;
            self.run::<f64, _>(&mut loaded, |map, _| Spectrum::compute(map))?.0
        };
        let singular_values: Vec<Vec<f64>> = spectra.into_iter().map(|spectrum| spectrum.values).collect();
        let allowances = singular_values.iter().map(|values| rounding(values, self.sigma, unit));
        let rounding = allowances.sum::<f64>() / singular_values.len() as f64;
        Ok(Exact { row: Some(row), rounding, singular_values, frobenius: None })
    }

    /// From blocks of products: for many latents.
    pub fn accumulated(&self, unit: f64, say: &mut dyn FnMut(&str)) -> Result<Exact> {
        let announce = |say: &mut dyn FnMut(&str), flops: f64, bytes: usize| {
            let gigabytes = bytes as f64 / f64::from(1 << 30);
            say(&format!("exact: {flops:.2e} floating-point operations a latent in {gigabytes:.2} GiB"));
        };
        let (bytes, mut gram) = if is_card(self.device) {
            let programs = ResidentPrograms::record(self.sampler, self.memory)?;
            announce(say, programs.flops(), programs.bytes());
            (programs.bytes(), Gram::Resident(programs.load(self.parameters, Machine::on(self.device)?)?))
        } else {
            let programs = GramPrograms::record(self.sampler, self.memory)?;
            announce(say, programs.flops(), programs.bytes());
            (programs.bytes(), Gram::Here(programs.load(self.parameters, rayon::current_num_threads())?))
        };
        let (d, begin) = (self.sampler.latents(), Instant::now());
        let count = self.latents.len() / d;
        let (mut total, mut allowance, mut squares) = (0.0, 0.0, Vec::new());
        let mut shown = begin;
        for (index, z) in self.latents.chunks_exact(d).enumerate() {
            gram.compute(z, &mut |done, of| {
                if shown.elapsed() >= LINE_EVERY {
                    shown = Instant::now();
                    let part = (index * of + done) as f64 / (count * of) as f64;
                    let passed = begin.elapsed().as_secs_f64();
                    let left = passed * (1.0 - part) / part;
                    let latent = index + 1;
                    say(&format!(
                        "exact: latent {latent} of {count}, {done} of {of} vectors, {passed:.0} s passed, {left:.0} s left"
                    ));
                }
            })?;
            let figures = gram.figures(self.sigma)?;
            total += figures.half_log_det;
            allowance += accumulated_rounding(&figures, d, self.sigma, unit);
            squares.push(figures.frobenius_squared);
        }
        let row = self.row(total, gram.products(), begin.elapsed().as_secs_f64(), bytes);
        let rounding = allowance / count as f64;
        Ok(Exact { row: Some(row), rounding, singular_values: Vec::new(), frobenius: Some(squares) })
    }

    fn row(&self, total: f64, products: u64, seconds: f64, bytes: usize) -> MethodRow {
        MethodRow {
            method: Method::Exact.name(),
            value: total / (self.latents.len() / self.sampler.latents()) as f64,
            lower: None,
            upper: None,
            standard_error: 0.0,
            residual: None,
            products,
            seconds,
            bytes: bytes as u64,
            gap: None,
            side: Side::Exact,
            holds: true,
        }
    }
}

/// The Gram matrix in this program's memory, or on a card.
enum Gram {
    Here(GramMachine),
    Resident(ResidentGram),
}

impl Gram {
    fn compute(&mut self, latent: &[f64], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        match self {
            Self::Here(gram) => gram.compute(latent, progress),
            Self::Resident(gram) => gram.compute(latent, progress),
        }
    }

    fn figures(&mut self, sigma: f64) -> Result<GramFigures> {
        match self {
            Self::Here(gram) => Ok(gram.gram().factor(sigma)?.figures()),
            Self::Resident(gram) => gram.figures(sigma),
        }
    }

    fn products(&self) -> u64 {
        match self {
            Self::Here(gram) => gram.products(),
            Self::Resident(gram) => gram.products(),
        }
    }
}

/// Growth of singular values, and of eigenvalues of the Gram matrix, that rounding is allowed.
fn growth(frobenius_squared: f64, largest_squared: f64, d: usize, sigma: f64, unit: f64) -> (f64, f64) {
    let gram = 16.0 * d as f64 * f64::UNIT_ROUNDOFF * (largest_squared + sigma * sigma);
    (32.0 * unit * frobenius_squared.sqrt(), gram)
}

/// See [`Verification::rounding`](super::Verification::rounding).
fn rounding(singular_values: &[f64], sigma: f64, unit: f64) -> f64 {
    let squares = singular_values.iter().map(|s| s * s).sum::<f64>();
    let largest = singular_values.first().copied().unwrap_or(0.0);
    let (step, gram) = growth(squares, largest * largest, singular_values.len(), sigma, unit);
    let change = |&s: &f64| {
        let a = s * s + sigma * sigma;
        0.5 * ((step * (2.0 * s + step) + gram) / a).ln_1p()
    };
    singular_values.iter().map(change).sum()
}

/// An upper bound of the same without the spectrum. With t = sum 1 / a_i, a_i = s_i^2 + sigma^2, and log(1 + x) <= x it is at most half of
/// 2 step sum s_i / a_i + (step^2 + gram) t, and by the Cauchy-Schwarz inequality (sum s_i / a_i)^2 <= t sum s_i^2 / a_i = t (d - sigma^2 t).
fn accumulated_rounding(figures: &GramFigures, d: usize, sigma: f64, unit: f64) -> f64 {
    let squares = figures.frobenius_squared;
    let (step, gram) = growth(squares, figures.largest_row_sum.min(squares), d, sigma, unit);
    let t = figures.inverse_trace;
    let filled = (d as f64 - sigma * sigma * t).max(0.0);
    0.5 * (2.0 * step * (filled * t).sqrt() + (step * step + gram) * t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::GramMatrix;

    #[test]
    fn the_allowance_without_the_spectrum_is_not_below_the_one_with_it() {
        for (size, unit, sigma) in [(5, 6e-8, 1e-3), (30, 6e-8, 0.1), (30, 1e-16, 1e-4), (60, 6e-8, 1.0)] {
            let values: Vec<f64> = (0..size).map(|i| 3.0 * 0.8_f64.powi(i)).collect();
            let mut gram = GramMatrix::new(size as usize, size as usize).unwrap();
            for (k, value) in values.iter().enumerate() {
                gram.rows_mut(k, 1)[k] = value * value;
            }
            let known = rounding(&values, sigma, unit);
            let found = accumulated_rounding(&gram.factor(sigma).unwrap().figures(), size as usize, sigma, unit);
            assert!(known <= found, "{size}: {known} {found}");
        }
    }
}
