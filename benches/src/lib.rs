//! Shared pieces of the benchmarks.
//!
//! `peers.py` beside this crate's manifest runs `small_samplers`, `large_samplers` and `networks` in turn with the same work in PyTorch and JAX, and writes a
//! Markdown report with ratios; `python3 benches/peers.py --help` tells what is compared and how.

use std::time::Instant;

/// Times of repeated runs, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The middle of all repeats.
    pub median: f64,
    /// The quickest repeat.
    pub least: f64,
    /// Number of repeats.
    pub repeats: usize,
}

/// Warms up, then times `run` for at least 15 repeats (five of what takes longer than half a second) of at least three milliseconds each, ending
/// after about `budget` seconds.
///
/// # Errors
/// The first error of a run.
pub fn time<E>(budget: f64, mut run: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    let begin = Instant::now();
    run()?;
    run()?;
    let once = begin.elapsed().as_secs_f64() / 2.0;
    let count = (0.003 / once).ceil().clamp(1.0, 1000.0) as usize;
    let least = if once > 0.5 { 5 } else { 15 };
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < least || (begin.elapsed().as_secs_f64() < budget && times.len() < 200) {
        let start = Instant::now();
        for _ in 0..count {
            run()?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e3 / count as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(Timing { median: times[times.len() / 2], least: times[0], repeats: times.len() })
}

/// Prints one job: a line for people, or an object in JSON with the names that the peers use.
pub fn print(json: bool, job: &str, sizes: &str, threads: usize, timing: Timing, flops: f64) {
    let Timing { median, least, repeats } = timing;
    let rate = flops / median / 1e6;
    if json {
        let record = serde_json::json!({
            "job": job, "framework": "livi", "sizes": sizes, "median_ms": median, "min_ms": least, "reps": repeats,
            "threads": threads, "dtype": "f32", "gflops": rate,
        });
        println!("{record}");
    } else {
        println!(
            "{job:24} {sizes:42} median {median:8.3} ms  min {least:8.3}  n={repeats:<3} threads {threads}  {rate:6.1} GFLOP/s"
        );
    }
}
