//! Showing how far training is: a bar where standard error is a terminal, else a line every few seconds.

use super::progress_line::{self, Batch};
use crate::evaluate::Evaluation;
use crate::table::TableObserver;
use crate::train::{Observer, Saved, Terms};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Looks at the clock a second; reading it at every step would cost more than the smallest steps allow.
const LOOKS: f64 = 20.0;

/// Progress of one run on standard error.
pub(super) struct RunProgress {
    bar: Option<ProgressBar>,
    batch: Option<Batch>,
    begin: Instant,
    first: u64,
    total: u64,
    shown: Instant,
    /// Step at which to look at the clock next.
    look_at: u64,
    validation: Option<f64>,
}

impl RunProgress {
    /// Of a run whose steps take a batch of rows each; `None` where they take all.
    pub fn new(batch: Option<Batch>) -> Self {
        let now = Instant::now();
        Self { bar: None, batch, begin: now, first: 0, total: 0, shown: now, look_at: 0, validation: None }
    }
}

impl Observer for RunProgress {
    fn warned(&mut self, warning: &str) {
        say(&format!("warning: {warning}"));
    }

    fn started(&mut self, step: u64, total: u64) {
        let now = Instant::now();
        (self.begin, self.shown, self.first, self.total, self.look_at) = (now, now, step, total, step + 1);
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {prefix}\n{wide_msg}") {
                bar.set_style(style);
            }
            bar.set_position(step);
            self.bar = Some(bar);
        }
    }

    fn stepped(&mut self, terms: &Terms) {
        let last = terms.step == self.total;
        if terms.step < self.look_at && !last {
            return;
        }
        let rate = (terms.step - self.first) as f64 / self.begin.elapsed().as_secs_f64().max(1e-9);
        self.look_at = terms.step + ((rate / LOOKS) as u64).max(1);
        let speed = progress_line::speed(rate, self.batch, self.total - terms.step);
        let text = progress_line::terms(terms, self.validation);
        if let Some(bar) = &self.bar {
            bar.set_position(terms.step);
            bar.set_prefix(speed);
            bar.set_message(text);
        } else if last || self.shown.elapsed() >= LINE_EVERY {
            self.shown = Instant::now();
            say(&format!("step {}/{}  {speed}  {text}", terms.step, self.total));
        }
    }

    fn validated(&mut self, _step: u64, log_likelihood: f64) {
        self.validation = Some(log_likelihood);
    }

    fn ended(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Progress of a table of runs on standard error.
pub(super) struct TableProgress {
    bar: Mutex<Option<ProgressBar>>,
}

impl TableProgress {
    pub fn new() -> Self {
        Self { bar: Mutex::new(None) }
    }
}

impl TableObserver for TableProgress {
    fn warned(&self, set: &str, warning: &str) {
        say(&format!("warning: {set}: {warning}"));
    }

    fn started(&self, done: usize, total: usize) {
        if !std::io::stderr().is_terminal() {
            say(&format!("{done} of {total} runs are done already"));
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {elapsed} passed  {eta} left  {msg}")
        {
            bar.set_style(style);
        }
        bar.set_position(done as u64);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_secs(1));
        if let Ok(mut slot) = self.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn finished(&self, set: &str, split: usize, evaluation: &Evaluation, done: usize, total: usize) {
        let text = format!("{set} split {split}: {}", evaluation.brief());
        let Ok(slot) = self.bar.lock() else { return };
        match &*slot {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(text);
            }
            None => say(&format!("{done}/{total}  {text}")),
        }
    }

    fn failed(&self, set: &str, split: usize, error: &crate::Error) {
        let text = format!("{set} split {split} failed: {error}");
        match self.bar.lock().as_deref() {
            Ok(Some(bar)) => bar.println(text),
            _ => say(&text),
        }
    }

    fn ended(&self) {
        if let Ok(mut slot) = self.bar.lock()
            && let Some(bar) = slot.take()
        {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error; that nobody reads it is no reason to stop.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says where a posterior comes from a training that is not complete.
pub(super) fn say_unfinished(saved: &Saved) {
    if saved.finished.is_none() {
        let (steps, found) = (saved.steps, saved.posterior.components.len());
        let of = match saved.config.training.components {
            1 => String::new(),
            all => format!(", component {found} of {all}"),
        };
        say(&format!("note: the run is not complete: this is its state after step {steps}{of}"));
    }
}
