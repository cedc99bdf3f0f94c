//! Showing how far training is: a bar where standard error is a terminal, else a line every few seconds.

use crate::evaluate::Evaluation;
use crate::table::TableObserver;
use crate::train::{Observer, Terms};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Steps between looks at the clock; reading it at every step would cost more than the smallest steps allow.
const LOOK_EVERY: u64 = 16;

/// Progress of one run on standard error.
pub(super) struct RunProgress {
    bar: Option<ProgressBar>,
    begin: Instant,
    first: u64,
    total: u64,
    shown: Instant,
    last: Option<Terms>,
    validation: Option<f64>,
}

impl RunProgress {
    pub fn new() -> Self {
        let now = Instant::now();
        Self { bar: None, begin: now, first: 0, total: 0, shown: now, last: None, validation: None }
    }

    fn message(&self) -> String {
        let Some(terms) = &self.last else { return String::new() };
        let mut text = format!("ELBO {:.1}", terms.elbo);
        if let Some(noise) = terms.noise_std {
            text.push_str(&format!("  noise std {noise:.4}"));
        }
        if let Some(score) = self.validation {
            text.push_str(&format!("  validation {score:.4}"));
        }
        text
    }
}

impl Observer for RunProgress {
    fn started(&mut self, step: u64, total: u64) {
        let now = Instant::now();
        (self.begin, self.shown, self.first, self.total) = (now, now, step, total);
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let template = "{bar:30} {pos}/{len}  {per_sec}  {eta} left  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_position(step);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn stepped(&mut self, terms: &Terms) {
        self.last = Some(*terms);
        if !terms.step.is_multiple_of(LOOK_EVERY) && terms.step != self.total {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_position(terms.step);
            bar.set_message(self.message());
        } else if self.shown.elapsed() >= LINE_EVERY || terms.step == self.total {
            self.shown = Instant::now();
            let rate = (terms.step - self.first) as f64 / self.begin.elapsed().as_secs_f64().max(1e-9);
            let left = (self.total - terms.step) as f64 / rate.max(1e-9);
            let line =
                format!("step {}/{}  {rate:.0} steps/s  {left:.0} s left  {}", terms.step, self.total, self.message());
            say(&line);
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
