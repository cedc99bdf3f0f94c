//! The table: small programs over every primitive, in several shapes, with the values their inputs may take.

use super::{Bindings, Random, Value, table_linear};
use autograd::{Binary, DType, Result, Tape, Unary, Var};

/// How values of an input are drawn. Values of all inputs of a case are distinct and lie away from zero, so that no
/// primitive meets a kink or a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// In [-1.8, -0.3] or [0.3, 1.8].
    Signed,
    /// In [0.5, 2.5].
    Positive,
    /// 0 or 1; not differentiated.
    Mask,
    /// Indices below a bound.
    Index(usize),
}

type Builder = Box<dyn Fn(&mut Tape, &[Var]) -> Result<Var>>;

/// A program of the table.
pub struct Case {
    /// The primitive, with shapes and arguments.
    pub name: String,
    /// Shapes of the inputs and how their values are drawn.
    pub inputs: Vec<(Vec<usize>, Draw)>,
    build: Builder,
    /// Whether derivatives agree with finite differences (not so behind `stop_gradient`).
    pub differentiable: bool,
    /// Whether numbers pass through f32 on the way.
    pub rounds: bool,
}

/// A case on a tape of its own.
pub struct Recorded {
    /// The tape.
    pub tape: Tape,
    /// Its inputs.
    pub inputs: Vec<Var>,
    /// Positions of the inputs that can be differentiated.
    pub smooth: Vec<usize>,
    /// The result.
    pub output: Var,
}

impl Case {
    /// A case whose derivatives agree with finite differences.
    pub fn new(
        name: impl Into<String>,
        inputs: &[(&[usize], Draw)],
        build: impl Fn(&mut Tape, &[Var]) -> Result<Var> + 'static,
    ) -> Self {
        let inputs = inputs.iter().map(|(shape, draw)| (shape.to_vec(), *draw)).collect();
        Self { name: name.into(), inputs, build: Box::new(build), differentiable: true, rounds: false }
    }

    /// The case recorded with floating-point inputs of a type.
    pub fn record(&self, dtype: DType) -> Recorded {
        let mut tape = Tape::new();
        let inputs: Vec<Var> = self
            .inputs
            .iter()
            .map(|(shape, draw)| tape.input(shape, if matches!(draw, Draw::Index(_)) { DType::U32 } else { dtype }))
            .collect();
        let output = (self.build)(&mut tape, &inputs).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        Recorded { tape, inputs, smooth: self.smooth(), output }
    }

    /// Positions of the inputs that can be differentiated.
    pub fn smooth(&self) -> Vec<usize> {
        (0..self.inputs.len()).filter(|&k| matches!(self.inputs[k].1, Draw::Signed | Draw::Positive)).collect()
    }

    /// Values for the inputs.
    pub fn values(&self, seed: u64) -> Vec<Value> {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        let slots = self.inputs.iter().map(|(shape, _)| elements(shape)).max().unwrap_or(1);
        let mut random = Random::new(seed.wrapping_mul(1000).wrapping_add(self.name.len() as u64));
        let mut all = Vec::with_capacity(self.inputs.len());
        for (k, (shape, draw)) in self.inputs.iter().enumerate() {
            let offset = (k + 1) as f64 / (self.inputs.len() + 1) as f64;
            let order = random.permutation(slots);
            // In (0, 1), distinct over all inputs.
            let unit = |i: usize| (order[i] as f64 + offset) / slots as f64;
            let count = elements(shape);
            all.push(match draw {
                Draw::Signed => Value::Real((0..count).map(|i| signed(unit(i))).collect()),
                Draw::Positive => Value::Real((0..count).map(|i| 0.5 + 2.0 * unit(i)).collect()),
                Draw::Mask => Value::Real((0..count).map(|_| random.below(2) as f64).collect()),
                Draw::Index(bound) => Value::Index((0..count).map(|_| random.below(*bound) as u32).collect()),
            });
        }
        all
    }
}

/// (0, 1) to [-1.8, -0.3] and [0.3, 1.8].
fn signed(unit: f64) -> f64 {
    let x = 3.0 * unit - 1.5;
    if x < 0.0 { x - 0.3 } else { x + 0.3 }
}

impl Recorded {
    /// Values bound to the inputs.
    pub fn bind(&self, values: &[Value]) -> Bindings {
        self.inputs.iter().copied().zip(values.iter().cloned()).collect()
    }

    /// The inputs that can be differentiated.
    pub fn smooth_inputs(&self) -> Vec<Var> {
        self.smooth.iter().map(|&k| self.inputs[k]).collect()
    }

    /// An input of the shape and type of a variable, with distinct values bound to it: a probe that no permutation or
    /// transposition of a gradient passes.
    pub fn probe(&mut self, like: Var, seed: u64, bindings: &mut Bindings) -> Var {
        let shape = self.tape.shape(like).to_vec();
        let probe = self.tape.input(&shape, self.tape.dtype(like));
        bindings.insert(probe, Value::Real(weights(shape.iter().product(), seed)));
        probe
    }
}

/// Distinct weights of both signs, of size about 1.
pub fn weights(count: usize, seed: u64) -> Vec<f64> {
    let order = Random::new(seed.wrapping_add(77)).permutation(count);
    (0..count).map(|i| signed((order[i] as f64 + 0.37) / count as f64)).collect()
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = unary();
    cases.extend(binary());
    cases.extend(selection());
    cases.extend(reductions());
    cases.extend(table_linear::all());
    cases
}

fn unary() -> Vec<Case> {
    let mut cases = Vec::new();
    for function in Unary::ALL {
        let draw = match function {
            Unary::Ln | Unary::Sqrt | Unary::Log1p => Draw::Positive,
            _ => Draw::Signed,
        };
        for shape in [&[] as &[usize], &[5], &[2, 1, 3]] {
            let name = format!("{} {shape:?}", function.name());
            cases.push(Case::new(name, &[(shape, draw)], move |tape, x| tape.unary(function, x[0])));
        }
    }
    cases
}

fn binary() -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 6] =
        [(&[], &[]), (&[3], &[3]), (&[2, 3], &[3]), (&[2, 1], &[1, 3]), (&[], &[2, 2]), (&[2, 1, 3], &[4, 1])];
    let mut cases = Vec::new();
    for function in Binary::ALL {
        for (a, b) in shapes {
            let name = format!("{} {a:?} {b:?}", function.name());
            cases.push(Case::new(name, &[(a, Draw::Signed), (b, Draw::Signed)], move |tape, x| {
                tape.binary(function, x[0], x[1])
            }));
        }
        let name = format!("{} of an operand with itself", function.name());
        cases.push(Case::new(name, &[(&[2, 2], Draw::Signed)], move |tape, x| tape.binary(function, x[0], x[0])));
    }
    cases.push(Case::new("scale and add_scalar", &[(&[3], Draw::Signed)], |tape, x| {
        let y = tape.scale(x[0], -1.7)?;
        tape.add_scalar(y, 0.3)
    }));
    cases
}

fn selection() -> Vec<Case> {
    use Draw::{Mask, Signed};
    vec![
        Case::new("select", &[(&[2, 3], Mask), (&[2, 3], Signed), (&[2, 3], Signed)], |tape, x| {
            tape.select(x[0], x[1], x[2])
        }),
        Case::new("select, broadcast", &[(&[3], Mask), (&[], Signed), (&[2, 1], Signed)], |tape, x| {
            tape.select(x[0], x[1], x[2])
        }),
        Case::new("select with its own operand as mask", &[(&[4], Signed), (&[4], Signed)], |tape, x| {
            let mask = tape.step(x[0])?;
            let squared = tape.square(x[0])?;
            let product = tape.mul(x[0], x[1])?;
            tape.select(mask, squared, product)
        }),
        Case::new("select one value twice", &[(&[3], Mask), (&[3], Signed)], |tape, x| tape.select(x[0], x[1], x[1])),
    ]
}

fn reductions() -> Vec<Case> {
    let mut cases = Vec::new();
    let axes: [(&[usize], &[usize]); 9] = [
        (&[4], &[0]),
        (&[2, 3], &[0]),
        (&[2, 3], &[1]),
        (&[2, 3, 2], &[1]),
        (&[2, 3, 2], &[0, 2]),
        (&[2, 3, 2], &[0, 1, 2]),
        (&[1, 3], &[0]),
        (&[1, 1], &[0, 1]),
        (&[2, 1, 2, 2], &[1, 3]),
    ];
    for (shape, axes) in axes {
        cases.push(Case::new(format!("sum {shape:?} over {axes:?}"), &[(shape, Draw::Signed)], move |tape, x| {
            tape.sum(x[0], axes)
        }));
        cases.push(Case::new(format!("max {shape:?} over {axes:?}"), &[(shape, Draw::Signed)], move |tape, x| {
            tape.max(x[0], axes)
        }));
    }
    let expansions: [(&[usize], &[usize]); 6] = [
        (&[1], &[4]),
        (&[1, 3], &[2, 3]),
        (&[2, 1, 1], &[2, 3, 2]),
        (&[1, 2, 1], &[3, 2, 1]),
        (&[1, 1], &[1, 1]),
        (&[3, 1], &[3, 2]),
    ];
    for (from, to) in expansions {
        cases.push(Case::new(format!("expand {from:?} to {to:?}"), &[(from, Draw::Signed)], move |tape, x| {
            tape.expand(x[0], to)
        }));
    }
    let broadcasts: [(&[usize], &[usize]); 4] =
        [(&[], &[2, 3]), (&[3], &[2, 3]), (&[2, 1], &[3, 2, 2]), (&[1], &[1, 1, 1])];
    for (from, to) in broadcasts {
        cases.push(Case::new(format!("broadcast {from:?} to {to:?}"), &[(from, Draw::Signed)], move |tape, x| {
            tape.broadcast_to(x[0], to)
        }));
    }
    cases.push(Case::new("sum_all", &[(&[2, 3], Draw::Signed)], |tape, x| tape.sum_all(x[0])));
    cases.push(Case::new("mean_all", &[(&[2, 3], Draw::Signed)], |tape, x| tape.mean_all(x[0])));
    cases.push(Case::new("inner", &[(&[2, 3], Draw::Signed), (&[3], Draw::Signed)], |tape, x| tape.inner(x[0], x[1])));
    cases
}
