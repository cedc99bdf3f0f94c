//! The plan as a table.

use super::Plan;
use super::step::{Action, Buffer, Place, Step, View};
use crate::Var;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>4}  {:<14} {:>9} {:>9}  what, where", "step", "operation", "flop", "bytes")?;
        for (number, cost) in self.step_costs().into_iter().enumerate() {
            let (flops, bytes) = (quantity(cost.flops), quantity(cost.bytes_read + cost.bytes_written));
            writeln!(f, "{number:>4}  {:<14} {flops:>9} {bytes:>9}  {}", cost.op, cost.description)?;
        }
        writeln!(
            f,
            "{} steps, {} flop, {} bytes moved; arena {} bytes, persistent {} bytes, peak {} bytes",
            self.steps.len(),
            quantity(self.flops()),
            quantity(self.steps.iter().map(|step| step.bytes).sum()),
            self.arena_bytes,
            self.persistent_bytes,
            self.peak_bytes()
        )
    }
}

/// What a step does to which buffers, and where it was recorded; `name` says what a variable is called.
pub(super) fn describe(step: &Step, buffers: &[Buffer], name: impl Fn(Var) -> String) -> String {
    let views = step.action.views();
    let list = |write: bool| {
        let shown = views
            .iter()
            .filter(|(_, written)| *written == write)
            .map(|(view, _)| place_and_shape(view, buffers, &name));
        let mut shown: Vec<String> = shown.collect();
        shown.dedup();
        shown.join(" ")
    };
    let what = match &step.action {
        Action::Loop(l) => {
            let reduces = if l.stores.iter().any(|s| s.reduction.is_some()) { " reducing" } else { "" };
            format!("loop{reduces} over {}, {} instructions", shape(&l.shape), l.code.len())
        }
        Action::Product(p) => {
            let [batch, rows, columns] = [p.out.shape[0], p.out.shape[1], p.out.shape[2]];
            let batch = if batch == 1 { String::new() } else { format!("{batch} x ") };
            let adding = if p.accumulate { " added" } else { "" };
            let epilogue =
                p.epilogue.as_ref().map_or(String::new(), |e| format!(", then {} instructions", e.code.len()));
            format!("product {batch}{rows} x {} x {columns}{adding}{epilogue}", p.a.shape[2])
        }
        Action::Convolution(c) => {
            let ([groups, n, o, ..], k) =
                (<[usize; 5]>::try_from(&c.results.shape[..]).unwrap_or([0; 5]), &c.filters.shape);
            let groups = if groups == 1 { String::new() } else { format!("{groups} x ") };
            format!("convolution {groups}{n} images, {} to {o} channels by {} x {}", k[2], k[3], k[4])
        }
        Action::Cholesky { .. } => "cholesky".into(),
        Action::SolveFactor { .. } => "solve with factor".into(),
        Action::InverseFactor { .. } => "inverse from factor".into(),
        Action::LogDetFactor { .. } => "log-determinant from factor".into(),
        Action::Gather { .. } => "gather".into(),
        Action::ScatterAdd { .. } => "scatter-add".into(),
        Action::OneHot { .. } => "one-hot".into(),
        Action::IndexOffset { .. } => "index offset".into(),
        Action::Identity { .. } => "identity".into(),
        Action::Noise { stream, .. } => format!("noise, stream {stream}"),
    };
    format!("{what}: {} <- {} ({}:{})", list(true), list(false), step.location.file(), step.location.line())
}

/// `name(2, 3)` or `@offset(2, 3)`.
fn place_and_shape(view: &View, buffers: &[Buffer], name: impl Fn(Var) -> String) -> String {
    let place = match buffers[view.buffer.0].place {
        Place::Persistent(var) => name(var),
        Place::Arena { offset } => format!("@{offset}"),
    };
    format!("{place}{}", shape(&view.shape))
}

fn shape(lengths: &[usize]) -> String {
    crate::ops::axes_text(lengths)
}

/// Three digits and a thousands' letter.
fn quantity(value: f64) -> String {
    let (mut value, mut letter) = (value, 0);
    const LETTERS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    while value >= 1000.0 && letter + 1 < LETTERS.len() {
        value /= 1000.0;
        letter += 1;
    }
    if letter == 0 { format!("{value:.0}") } else { format!("{value:.2} {}", LETTERS[letter]) }
}
