//! Showing how far a download is: a bar where standard error is a terminal, else a line at the beginning and every few seconds.

use super::progress::say;
use crate::data::images::download::DownloadObserver;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress of downloads, one after another, on standard error.
pub(super) struct FetchProgress {
    bar: Option<ProgressBar>,
    name: String,
    total: u64,
    shown: Instant,
}

impl FetchProgress {
    pub fn new() -> Self {
        Self { bar: None, name: String::new(), total: 0, shown: Instant::now() }
    }

    fn line(&self, have: u64) {
        say(&format!("{}: {:.1} of {:.1} MB", self.name, have as f64 / 1e6, self.total as f64 / 1e6));
    }
}

impl DownloadObserver for FetchProgress {
    fn started(&mut self, name: &str, have: u64, total: u64) {
        (self.name, self.total, self.shown) = (name.into(), total, Instant::now());
        if !std::io::stderr().is_terminal() {
            self.line(have);
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        let template = "{msg}  {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_string());
        bar.set_position(have);
        bar.reset_eta();
        self.bar = Some(bar);
    }

    fn received(&mut self, have: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(have);
        } else if self.shown.elapsed() >= LINE_EVERY {
            self.shown = Instant::now();
            self.line(have);
        }
    }

    fn ended(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
