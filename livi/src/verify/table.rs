//! A verification as text.

use super::{MethodRow, Side, Verification};
use std::fmt;

impl fmt::Display for Verification {
    /// One row a method: value in nats, gap to the exact value, whether its claim holds, standard error, products, seconds, memory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.latents == 1 { "latent" } else { "latents" };
        writeln!(f, "m = {}, d = {}, sigma = {}, {} {plural}", self.m, self.d, self.sigma, self.latents)?;
        writeln!(
            f,
            "constants in every value: (m/2) log(2 pi e) = {:.3}, (m - d) log sigma = {:.3}, sum log scales = {:.3}",
            self.constants.gaussian, self.constants.excess, self.constants.scales
        )?;
        writeln!(
            f,
            "{:<12} {:>14} {:>14} {:>31} {:>12} {:>10} {:>9} {:>10} {:>10}",
            "method", "value (nats)", "gap to exact", "own bracket", "holds", "std error", "products", "seconds", "MiB"
        )?;
        for row in &self.methods {
            writeln!(
                f,
                "{:<12} {:>14.4} {:>14} {:>31} {:>12} {:>10} {:>9} {:>10.4} {:>10.2}",
                row.method,
                row.value,
                row.gap.filter(|_| row.side != Side::Exact).map_or("-".into(), |gap| format!("{gap:+.4}")),
                bracket(row),
                claim(row),
                if row.standard_error > 0.0 { format!("{:.4}", row.standard_error) } else { "-".into() },
                row.products,
                row.seconds,
                row.bytes as f64 / f64::from(1 << 20)
            )?;
        }
        if let Some(found) = &self.true_entropy {
            // A nat for each latent is more than any decision could rest on.
            let wide = found.upper - found.lower > self.d as f64;
            writeln!(
                f,
                "true entropy of q (not linearised): between {:.4} +- {:.4} and {:.4} +- {:.4} (mixtures of {}{})",
                found.lower,
                found.lower_standard_error,
                found.upper,
                found.upper_standard_error,
                found.components,
                if wide { ", which hardly overlap: no close bound from above can be had" } else { "" }
            )?;
        }
        let violations = self.violations();
        let margin = format!("{:.1} standard errors", self.standard_errors);
        match violations.is_empty() {
            true if self.exact().is_none() => {
                let (low, high) = self.reference();
                write!(
                    f,
                    "no exact value asked for; no bound or bracket (widened by {margin}) contradicts another: between {low:.4} and {high:.4}"
                )
            }
            true => write!(f, "all bounds and brackets (widened by {margin}) hold"),
            false => write!(f, "VIOLATED: {}", violations.join("; ")),
        }
    }
}

fn bracket(row: &MethodRow) -> String {
    match (row.lower, row.upper) {
        (None, None) => "-".into(),
        (Some(lower), Some(upper)) => format!("[{lower:.4}, {upper:.4}]"),
        (Some(lower), None) => format!("[{lower:.4}, ..)"),
        (None, Some(upper)) => format!("(.., {upper:.4}]"),
    }
}

fn claim(row: &MethodRow) -> &'static str {
    match (row.side, row.holds) {
        (Side::Exact, true) => "reference",
        (Side::None, _) => "no claim",
        (Side::Lower, true) => "yes, lower",
        (Side::Upper, true) => "yes, upper",
        (Side::Bracket, true) => "yes, inside",
        (_, false) => "NO",
    }
}
