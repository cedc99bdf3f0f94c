//! Hot parts of a card.

use autograd::{DType, Device, Distribution, Machine, Options, Plan, Request, Result, Tape, Unary, Var};
use livi_benches::{Arguments, Figures, Gauge};

/// Seconds for the repeats of one job.
const BUDGET: f64 = 0.5;
/// Batch, rows, inner, columns; with a batch, one left matrix times several right ones. The last ones are our own, the others the peers'.
const PRODUCTS: [(usize, usize, usize, usize); 12] = [
    (1, 256, 256, 256),
    (1, 1024, 1024, 1024),
    (1, 2048, 2048, 2048),
    (10, 250, 65, 65),
    (10, 250, 250, 250),
    (1, 700, 250, 600),
    (1, 2560, 100, 10_000),
    (1, 10_000, 100, 500),
    (10, 50, 10_000, 50),
    (1, 4096, 4096, 4096),
    (1, 8192, 8192, 8192),
    (1, 262_144, 576, 64),
];
/// The same in double precision.
const DOUBLE_PRODUCTS: [(usize, usize, usize, usize); 2] = [(1, 1024, 1024, 1024), (1, 4096, 4096, 4096)];
/// Elements of a large tensor of a card, which its caches do not hold, and on its emulation.
const ELEMENTS: usize = 1 << 25;
const EMULATED_ELEMENTS: usize = 1 << 12;
/// Batch and rows of matrices to factorise.
const FACTORS: [(usize, usize, DType); 4] =
    [(10, 50, DType::F32), (1, 1024, DType::F32), (1, 1024, DType::F64), (1, 9025, DType::F64)];
/// Products and factors of more operations than this are not emulated.
const MOST_EMULATED: f64 = 1e8;

/// A tape with an output, and what one run of it moves.
struct Job {
    tape: Tape,
    inputs: Vec<Var>,
    output: Var,
    dtype: DType,
    /// Bytes read and written at least.
    bytes: f64,
    /// Each operation a step of its own.
    unfused: bool,
}

struct Runner<'a> {
    arguments: &'a Arguments,
    gauge: Gauge,
    elements: usize,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let emulated = arguments.device == Device::Emulated;
    let elements = if emulated { EMULATED_ELEMENTS } else { ELEMENTS };
    let most = if emulated { MOST_EMULATED } else { f64::INFINITY };
    let mut runner = Runner { arguments, gauge: Gauge::new(arguments.device)?, elements };
    runner.run("small_steps", "200 of 64 elements", || small_steps(200, 64))?;
    for (dtype, products) in [(DType::F32, &PRODUCTS[..]), (DType::F64, &DOUBLE_PRODUCTS)] {
        for &(batch, rows, inner, columns) in products {
            if 2.0 * (batch * rows * inner * columns) as f64 > most {
                continue;
            }
            let sizes = format!("{batch}x[{rows}x{inner}]x[{inner}x{columns}]");
            runner.run(name("gemm", dtype), &sizes, || product(batch, rows, inner, columns, dtype))?;
        }
    }
    runner.elementwise()?;
    runner.reductions()?;
    for (batch, rows, dtype) in FACTORS {
        if (batch * rows * rows * rows) as f64 <= most {
            runner.run(name("log_det", dtype), &format!("{batch}x[{rows}x{rows}]"), || log_det(batch, rows, dtype))?;
        }
    }
    Ok(())
}

/// A job's name: double precision is named, as single precision is what peers compare with.
fn name(job: &'static str, dtype: DType) -> &'static str {
    match (job, dtype) {
        ("gemm", DType::F64) => "gemm_f64",
        ("log_det", DType::F64) => "log_det_f64",
        _ => job,
    }
}

impl Runner<'_> {
    fn run(&mut self, job: &str, sizes: &str, record: impl FnOnce() -> Result<Job>) -> Result<()> {
        if !self.arguments.wants(job, sizes) {
            return Ok(());
        }
        self.gauge.reset()?;
        let Job { tape, inputs, output, dtype, bytes, unfused } = record()?;
        let options = Options { paranoid: unfused, ..Options::default() };
        let plan = Plan::new(&tape, &Request { outputs: &[output], options, ..Request::default() })?;
        let (flops, announced) = (plan.flops(), plan.peak_bytes());
        let mut machine = Machine::on(self.arguments.device)?;
        let plan = machine.load(plan)?;
        for input in inputs {
            machine.write_f64(input, &values(tape.shape(input)))?;
        }
        let figures = Figures::of_plan(BUDGET, &mut machine, plan, flops, announced, &self.gauge)?;
        self.arguments.show(job, sizes, &Figures { dtype, bytes, ..figures });
        Ok(())
    }

    /// Functions, sums of tensors with a row and of two tensors, noise, transpositions.
    fn elementwise(&mut self) -> Result<()> {
        let count = self.elements;
        let side = count.isqrt();
        for f in [Unary::Square, Unary::Exp, Unary::Ln, Unary::Tanh, Unary::Softplus] {
            for dtype in [DType::F32, DType::F64] {
                self.run("function", &format!("{} of {count} elements, {dtype}", f.name()), || {
                    elementwise(&[&[count]], dtype, 2 * count, |tape, x| tape.unary(f, x[0]))
                })?;
            }
        }
        self.run("add", &format!("{count} elements"), || {
            elementwise(&[&[count], &[count]], DType::F32, 3 * count, |tape, x| tape.add(x[0], x[1]))
        })?;
        self.run("add_row", &format!("[{side}x{side}] + [{side}]"), || {
            elementwise(&[&[side, side], &[side]], DType::F32, 2 * side * side, |tape, x| {
                let row = tape.broadcast_to(x[1], &[side, side])?;
                tape.add(x[0], row)
            })
        })?;
        self.run("transpose", &format!("[{side}x{side}]"), || {
            elementwise(&[&[side, side]], DType::F32, 2 * side * side, |tape, x| {
                let across = tape.transpose(x[0])?;
                tape.exp(across)
            })
        })?;
        self.run("noise", &format!("normal, {count} elements"), || {
            elementwise(&[], DType::F32, count, |tape, _| tape.noise(Distribution::Normal, &[count], DType::F32))
        })
    }

    /// Sums over all axes, over the last, the first and, as batch normalisation takes them, over images and places.
    fn reductions(&mut self) -> Result<()> {
        let side = self.elements.isqrt();
        let (images, channels) = (self.elements.div_ceil(64 * 256).min(128), 64);
        let places = self.elements / (images * channels);
        let shapes: [(&[usize], &[usize]); 4] = [
            (&[side, side], &[0, 1]),
            (&[side, side], &[1]),
            (&[side, side], &[0]),
            (&[images, channels, places], &[0, 2]),
        ];
        for (shape, axes) in shapes {
            let text: Vec<String> = shape.iter().map(usize::to_string).collect();
            let count: usize = shape.iter().product();
            self.run("sum", &format!("[{}] over axes {axes:?}", text.join("x")), || {
                elementwise(&[shape], DType::F32, count, |tape, x| {
                    let square = tape.square(x[0])?;
                    tape.sum(square, axes)
                })
            })?;
        }
        Ok(())
    }
}

/// A job over inputs of such shapes that moves so many elements.
fn elementwise(
    shapes: &[&[usize]],
    dtype: DType,
    moved: usize,
    record: impl FnOnce(&mut Tape, &[Var]) -> Result<Var>,
) -> Result<Job> {
    let mut tape = Tape::new();
    let inputs: Vec<Var> = shapes.iter().map(|shape| tape.input(shape, dtype)).collect();
    let output = record(&mut tape, &inputs)?;
    Ok(Job { tape, inputs, output, dtype, bytes: (moved * dtype.size()) as f64, unfused: false })
}

fn small_steps(steps: usize, elements: usize) -> Result<Job> {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[elements], DType::F32), tape.input(&[elements], DType::F32));
    let mut output = x;
    for k in 0..steps {
        output = if k % 2 == 0 { tape.add(output, y)? } else { tape.mul(output, y)? };
    }
    Ok(Job { tape, inputs: vec![x, y], output, dtype: DType::F32, bytes: 0.0, unfused: true })
}

fn product(batch: usize, rows: usize, inner: usize, columns: usize, dtype: DType) -> Result<Job> {
    let mut tape = Tape::new();
    let a = tape.input(&[rows, inner], dtype);
    let b = if batch == 1 { tape.input(&[inner, columns], dtype) } else { tape.input(&[batch, inner, columns], dtype) };
    let output = tape.matmul(a, b)?;
    let elements = rows * inner + batch * columns * (inner + rows);
    Ok(Job { tape, inputs: vec![a, b], output, dtype, bytes: (elements * dtype.size()) as f64, unfused: false })
}

fn log_det(batch: usize, rows: usize, dtype: DType) -> Result<Job> {
    let mut tape = Tape::new();
    let x = tape.input(&[batch, rows, rows], dtype);
    let identity = tape.identity(rows, dtype);
    let large = tape.scale(identity, 2.0 * rows as f64)?;
    let large = tape.broadcast_to(large, &[batch, rows, rows])?;
    let across = tape.transpose(x)?;
    let symmetric = tape.add(x, across)?;
    let a = tape.add(symmetric, large)?;
    let output = tape.log_det_spd(a)?;
    Ok(Job { tape, inputs: vec![x], output, dtype, bytes: 0.0, unfused: false })
}

/// Small numbers of both signs.
fn values(shape: &[usize]) -> Vec<f64> {
    (0..shape.iter().product()).map(|i: usize| (i * 7919 % 997) as f64 / 997.0 - 0.5).collect()
}
