//! What every entropy method reports.

use serde::Serialize;
use std::f64::consts::{E, PI};

/// Ways to get at the linearised entropy, and on which side of it they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Log-determinant of the smaller Gram matrix: exact.
    Exact,
    /// From the smallest singular value: a lower bound.
    Smallest,
    /// From the largest singular value: an upper bound, for diagnosis only.
    Largest,
    /// Stochastic Lanczos quadrature: unbiased up to its own bracket, with a standard error.
    Slq,
    /// The published variant: neither a bound nor an estimate, kept for comparison.
    Paper,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 5] = [Self::Exact, Self::Smallest, Self::Largest, Self::Slq, Self::Paper];

    /// Names in configurations and on the command line, in the order of [`Method::ALL`].
    pub const NAMES: &'static [&'static str] = &["exact", "smallest", "largest", "slq", "paper"];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Parts of the entropy that do not depend on the Jacobian, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Constants {
    /// (m/2) log(2 pi e).
    pub gaussian: f64,
    /// (m - d) log sigma, the directions of theta without a latent; negative multiples count the latents without a direction where m < d.
    pub excess: f64,
    /// sum_i log s_i of learned scales ([`crate::scale`]); 0 without them.
    pub scales: f64,
}

impl Constants {
    /// For m weights, d latents and observation noise sigma.
    ///
    /// ```
    /// let c = livi::entropy::Constants::new(3, 1, 0.1);
    /// assert!((c.gaussian - 4.256815).abs() < 1e-6);
    /// assert!((c.excess - 2.0 * 0.1_f64.ln()).abs() < 1e-12);
    /// ```
    pub fn new(m: usize, d: usize, sigma: f64) -> Self {
        Self { gaussian: m as f64 / 2.0 * (2.0 * PI * E).ln(), excess: (m as f64 - d as f64) * sigma.ln(), scales: 0.0 }
    }

    /// Their sum.
    pub fn total(&self) -> f64 {
        self.gaussian + self.excess + self.scales
    }
}

/// The linearised entropy by one method: mean over the latents, in nats, constants included in every value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntropyReport {
    /// How it was computed.
    pub method: Method,
    /// The value.
    pub estimate: f64,
    /// Certified lower end, if the method has one.
    pub lower: Option<f64>,
    /// Certified upper end, if the method has one.
    pub upper: Option<f64>,
    /// Monte-Carlo standard error over probes; 0 for deterministic methods.
    pub standard_error: f64,
    /// Largest relative residual of the iteration behind the value, if there is one.
    pub residual: Option<f64>,
    /// Products J v and J^T u used, all latents counted.
    pub products: u64,
    /// Constants contained in the values above.
    pub constants: Constants,
}
