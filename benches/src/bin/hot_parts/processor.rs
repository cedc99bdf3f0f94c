//! Hot parts of the CPU executor: the cost of a small step, large products against faer itself, elementary functions.

use autograd::{DType, Element, Machine, Options, Plan, PlanId, Request, Tape, Unary, Var};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The middle one of some numbers.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of the middle run of `repeats`.
fn median(repeats: usize, mut run: impl FnMut()) -> f64 {
    run();
    let timed = (0..repeats).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    middle(timed.collect())
}

/// A machine with a loaded plan whose inputs hold small numbers.
fn machine(
    tape: &Tape,
    inputs: &[Var],
    output: Var,
    threads: usize,
    paranoid: bool,
) -> autograd::Result<(Machine, PlanId, usize)> {
    let mut machine = Machine::cpu(threads)?;
    let options = Options { paranoid, ..Options::default() };
    let plan = Plan::new(tape, &Request { outputs: &[output], options, ..Request::default() })?;
    let steps = plan.steps().len();
    let plan = machine.load(plan)?;
    for &input in inputs {
        let values: Vec<f64> = (0..tape.elements(input)).map(|i| (i % 97) as f64 / 97.0 - 0.5).collect();
        machine.write_f64(input, &values)?;
    }
    Ok((machine, plan, steps))
}

/// Microseconds of a run of 200 unfused operations on 64 elements.
fn small_steps(dtype: DType) -> autograd::Result<(f64, usize)> {
    let mut tape = Tape::new();
    let x = tape.input(&[64], dtype);
    let y = tape.input(&[64], dtype);
    let mut value = x;
    for k in 0..200 {
        value = if k % 2 == 0 { tape.add(value, y)? } else { tape.mul(value, y)? };
    }
    let (mut machine, plan, steps) = machine(&tape, &[x, y], value, 1, true)?;
    let mut failed = Ok(());
    let time = median(2000, || failed = machine.run(plan));
    failed?;
    Ok((time * 1e6, steps))
}

/// An n x n product through a plan and by faer called directly, in turn, so that whatever slows the machine slows both: median milliseconds of
/// each, and the median over rounds of their ratio less 1 in percent. A pause before each lets the other's idle threads stop spinning.
fn products<T>(n: usize, one: T, threads: usize) -> autograd::Result<[f64; 3]>
where
    T: Element + faer::traits::ComplexField + Copy,
{
    const ROUNDS: usize = 61;
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[n, n], T::DTYPE), tape.input(&[n, n], T::DTYPE));
    let c = tape.matmul(a, b)?;
    let (mut machine, plan, _) = machine(&tape, &[a, b], c, threads, false)?;
    let (a, b) = (machine.read::<T>(a)?.to_vec(), machine.read::<T>(b)?.to_vec());
    let mut c = vec![one; n * n];
    let par = if threads == 1 { Par::Seq } else { Par::rayon(threads) };
    let pause = || std::thread::sleep(Duration::from_millis(20));
    let mut direct = || {
        pause();
        let begin = Instant::now();
        matmul(
            MatMut::from_row_major_slice_mut(&mut c, n, n),
            Accum::Replace,
            MatRef::from_row_major_slice(&a, n, n),
            MatRef::from_row_major_slice(&b, n, n),
            one,
            par,
        );
        black_box(&mut c);
        begin.elapsed().as_secs_f64() * 1e3
    };
    let mut planned = || -> autograd::Result<f64> {
        pause();
        let begin = Instant::now();
        machine.run(plan)?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    };
    let (mut ours, mut theirs, mut excess) = (Vec::new(), Vec::new(), Vec::new());
    direct();
    planned()?;
    for round in 0..ROUNDS {
        // Each goes first in every second round.
        let (first, second);
        if round % 2 == 0 {
            (first, second) = (planned()?, direct());
        } else {
            second = direct();
            first = planned()?;
        }
        ours.push(first);
        theirs.push(second);
        excess.push(100.0 * (first / second - 1.0));
    }
    Ok([ours, theirs, excess].map(middle))
}

/// Nanoseconds per element of a function on 2^16 elements, which second-level cache holds.
fn function(f: Unary, dtype: DType) -> autograd::Result<f64> {
    const COUNT: usize = 1 << 16;
    let mut tape = Tape::new();
    let x = tape.input(&[COUNT], dtype);
    let y = tape.unary(f, x)?;
    let (mut machine, plan, _) = machine(&tape, &[x], y, 1, false)?;
    let mut failed = Ok(());
    let time = median(101, || failed = machine.run(plan));
    failed?;
    Ok(time * 1e9 / COUNT as f64)
}

/// Nanoseconds per element of a sum over some axes of a (1000, 300) tensor.
fn reduction(axes: &[usize], dtype: DType) -> autograd::Result<f64> {
    let mut tape = Tape::new();
    let x = tape.input(&[1000, 300], dtype);
    let y = tape.sum(x, axes)?;
    let (mut machine, plan, _) = machine(&tape, &[x], y, 1, false)?;
    let mut failed = Ok(());
    let time = median(101, || failed = machine.run(plan));
    failed?;
    Ok(time * 1e9 / 300_000.0)
}

/// Microseconds of 315 products of (7, 60) and (60, 7).
fn small_products(dtype: DType) -> autograd::Result<f64> {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[315, 7, 60], dtype), tape.input(&[315, 60, 7], dtype));
    let c = tape.matmul(a, b)?;
    let (mut machine, plan, _) = machine(&tape, &[a, b], c, 1, false)?;
    let mut failed = Ok(());
    let time = median(101, || failed = machine.run(plan));
    failed?;
    Ok(time * 1e6)
}

/// Prints all medians.
pub fn run(json: bool) -> autograd::Result<()> {
    let mut results: Vec<(String, f64, &str)> = Vec::new();
    for dtype in [DType::F32, DType::F64] {
        let (time, steps) = small_steps(dtype)?;
        results.push((format!("{steps} unfused steps of 64 elements, {dtype}"), time, "us"));
        for threads in [1, 2] {
            let [planned, direct, excess] = match dtype {
                DType::F32 => products(1024, 1.0_f32, threads)?,
                _ => products(1024, 1.0_f64, threads)?,
            };
            results.push((format!("product of 1024 through a plan, {dtype}, {threads} threads"), planned, "ms"));
            results.push((format!("product of 1024 by faer, {dtype}, {threads} threads"), direct, "ms"));
            results.push((format!("plan over faer, {dtype}, {threads} threads"), excess, "%"));
        }
        results.push((format!("315 products 7x60x7, {dtype}"), small_products(dtype)?, "us"));
        for f in [Unary::Square, Unary::Exp, Unary::Ln, Unary::Tanh, Unary::Sigmoid, Unary::Softplus] {
            results.push((format!("{}, {dtype}", f.name()), function(f, dtype)?, "ns/element"));
        }
        for axes in [&[0][..], &[1], &[0, 1]] {
            results.push((format!("sum over axes {axes:?}, {dtype}"), reduction(axes, dtype)?, "ns/element"));
        }
    }
    if json {
        let entries: serde_json::Map<String, serde_json::Value> = results
            .into_iter()
            .map(|(name, value, unit)| (name, serde_json::json!({ "median": value, "unit": unit })))
            .collect();
        println!("{}", serde_json::Value::Object(entries));
    } else {
        for (name, value, unit) in results {
            println!("{name:<55} {value:>10.3} {unit}");
        }
    }
    Ok(())
}
