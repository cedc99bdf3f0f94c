//! Random programs over all primitives whose values stay of moderate size and away from kinks.

use crate::reference::interpreter::evaluate;
use crate::reference::{Bindings, Random, Value, table_linear};
use autograd::{Binary, DType, Result, Tape, Unary, Var};

/// A random program with values for its inputs.
pub struct Program {
    /// The tape, with nodes that nothing uses.
    pub tape: Tape,
    /// Floating-point inputs.
    pub inputs: Vec<Var>,
    /// Everything made from the inputs, in order; numbers only.
    pub vars: Vec<Var>,
    /// Values of the inputs alone.
    pub bindings: Bindings,
    known: Bindings,
    indices: Vec<(Var, usize)>,
    random: Random,
}

/// Smallest distance to a kink, pole or tie: far beyond f32 rounding.
const MARGIN: f64 = 0.02;
const LARGEST: f64 = 6.0;
const MOST_ELEMENTS: usize = 64;

impl Program {
    /// A program of about `length` values.
    pub fn new(seed: u64, length: usize, dtype: DType) -> Self {
        let mut program = Self {
            tape: Tape::new(),
            inputs: Vec::new(),
            vars: Vec::new(),
            bindings: Bindings::new(),
            known: Bindings::new(),
            indices: Vec::new(),
            random: Random::new(seed),
        };
        for shape in [&[3_usize, 4] as &[usize], &[4, 2], &[2, 3, 3], &[3, 1], &[4], &[], &[1, 2]] {
            let x = program.tape.input(shape, dtype);
            let count = shape.iter().product();
            let values = (0..count).map(|_| program.random.unit() * 3.0 - 1.5).map(f64_of(dtype)).collect();
            program.bindings.insert(x, Value::Real(values));
            program.inputs.push(x);
            program.vars.push(x);
        }
        for (length, bound) in [(5, 2), (3, 3), (2, 4), (1, 1)] {
            let index = program.tape.input(&[length], DType::U32);
            let values = (0..length).map(|_| program.random.below(bound) as u32).collect();
            program.bindings.insert(index, Value::Index(values));
            program.indices.push((index, bound));
        }
        program.known = program.bindings.clone();
        let mut attempts = 0;
        while program.vars.len() < length {
            attempts += 1;
            assert!(attempts < 200 * length, "the generator is stuck");
            if let Ok(Some(var)) = program.propose() {
                program.accept(var);
            }
        }
        program
    }

    /// Some of the values made last and some from anywhere, without repetition.
    pub fn some(&mut self, count: usize) -> Vec<Var> {
        let made = &self.vars[self.inputs.len()..];
        let order = self.random.permutation(made.len());
        let mut chosen: Vec<Var> = order.iter().take(count).map(|&k| made[k]).collect();
        if !chosen.contains(&made[made.len() - 1]) {
            chosen.push(made[made.len() - 1]);
        }
        chosen
    }

    fn value(&mut self, var: Var) -> Vec<f64> {
        if !self.known.contains_key(&var) {
            let value = evaluate(&self.tape, &[var], &self.known).remove(0);
            self.known.insert(var, value);
        }
        self.known[&var].reals().to_vec()
    }

    fn accept(&mut self, var: Var) {
        let elements = self.tape.elements(var);
        if elements > MOST_ELEMENTS || self.vars.contains(&var) {
            return;
        }
        let values = self.value(var);
        if values.iter().all(|x| x.is_finite() && x.abs() < LARGEST) {
            self.vars.push(var);
        }
    }

    fn far_from_zero(&mut self, var: Var) -> bool {
        self.value(var).iter().all(|x| x.abs() > MARGIN)
    }

    /// A later value more often than an early one.
    fn any(&mut self) -> Var {
        let n = self.vars.len();
        let k = self.random.below(n).max(self.random.below(n));
        self.vars[k]
    }

    fn propose(&mut self) -> Result<Option<Var>> {
        let (a, b, c) = (self.any(), self.any(), self.any());
        let shape = self.tape.shape(a).to_vec();
        let rank = shape.len();
        let axis = self.random.below(rank.max(1));
        let (index, bound) = *self.random.pick(&self.indices);
        let some_axes: Vec<usize> = (0..rank).filter(|_| self.random.below(2) == 0).collect();
        let y = match self.random.below(34) {
            0..=4 => return self.unary(a),
            5..=9 => return self.binary(a, b),
            10 => {
                let difference = self.tape.sub(a, b)?;
                if !self.far_from_zero(difference) {
                    return Ok(None);
                }
                let mask = self.tape.greater(a, b)?;
                self.tape.select(mask, a, c)?
            }
            11 => self.tape.sum(a, &some_axes)?,
            12 => {
                let top = self.tape.max(a, &some_axes)?;
                let spread = self.tape.expand(top, &shape)?;
                let below = self.tape.sub(spread, a)?;
                let near = self.value(below).iter().filter(|x| **x < MARGIN).count();
                if near != self.tape.elements(top) {
                    return Ok(None);
                }
                top
            }
            13 => {
                let grown: Vec<usize> =
                    shape.iter().map(|&n| if n == 1 { 1 + self.random.below(3) } else { n }).collect();
                self.tape.expand(a, &grown)?
            }
            14 => self.tape.broadcast_to(a, &[&[2], shape.as_slice()].concat())?,
            15 => {
                let mut factors: Vec<usize> =
                    shape.iter().flat_map(|&n| if n % 2 == 0 { vec![2, n / 2] } else { vec![n] }).collect();
                if factors.len() > 1 && self.random.below(2) == 0 {
                    let last = factors.pop().unwrap_or(1);
                    let k = factors.len() - 1;
                    factors[k] *= last;
                }
                self.tape.reshape(a, &factors)?
            }
            16..=17 => {
                let axes = self.random.permutation(rank);
                self.tape.permute(a, &axes)?
            }
            18..=19 => {
                let part: Vec<usize> = shape.iter().map(|&n| 1 + self.random.below(n)).collect();
                let start: Vec<usize> = shape.iter().zip(&part).map(|(n, p)| self.random.below(n - p + 1)).collect();
                self.tape.slice(a, &start, &part)?
            }
            20 => {
                let start: Vec<usize> = (0..rank).map(|_| self.random.below(2)).collect();
                let whole: Vec<usize> = shape.iter().zip(&start).map(|(n, s)| n + s + self.random.below(2)).collect();
                self.tape.pad(a, &start, &whole)?
            }
            21..=22 => self.tape.concat(&[a, b, a][..2 + self.random.below(2)], axis)?,
            23 if rank > 0 && bound <= shape[axis] => self.tape.gather(a, index, axis)?,
            24 if rank > 0 && bound <= 4 => self.tape.scatter_add(a, index, axis, 4)?,
            25 => {
                let hot = self.tape.one_hot(index, bound, self.tape.dtype(a))?;
                self.tape.mul(hot, a)?
            }
            26..=28 => self.tape.matmul(a, b)?,
            29 => {
                let turned = self.tape.transpose(a)?;
                self.tape.matmul(turned, b)?
            }
            30 => self.tape.diag(a)?,
            31 => self.tape.diag_embed(a)?,
            32 if rank >= 2 && shape[rank - 1] == shape[rank - 2] => {
                let matrix = table_linear::spd(&mut self.tape, a)?;
                if self.random.below(2) == 0 {
                    self.tape.log_det_spd(matrix)?
                } else {
                    self.tape.solve_spd(matrix, b)?
                }
            }
            33 => {
                let smaller = self.tape.scale(a, 0.4)?;
                self.tape.add_scalar(smaller, -0.3)?
            }
            _ => return Ok(None),
        };
        Ok(Some(y))
    }

    fn unary(&mut self, a: Var) -> Result<Option<Var>> {
        let function = *self.random.pick(&Unary::ALL);
        let allowed = match function {
            Unary::Ln | Unary::Sqrt | Unary::Log1p => self.value(a).iter().all(|&x| x > 0.3),
            Unary::Reciprocal => self.value(a).iter().all(|&x| x.abs() > 0.3),
            Unary::Abs | Unary::Sign | Unary::Relu | Unary::Step | Unary::Elu => self.far_from_zero(a),
            _ => true,
        };
        if allowed { self.tape.unary(function, a).map(Some) } else { Ok(None) }
    }

    fn binary(&mut self, a: Var, b: Var) -> Result<Option<Var>> {
        let function = *self.random.pick(&Binary::ALL);
        let allowed = match function {
            Binary::Add | Binary::Sub | Binary::Mul => true,
            Binary::Div => self.value(b).iter().all(|&x| x.abs() > 0.3),
            _ => {
                let difference = self.tape.sub(a, b)?;
                self.far_from_zero(difference)
            }
        };
        if allowed { self.tape.binary(function, a, b).map(Some) } else { Ok(None) }
    }
}

/// Rounding to an element type.
fn f64_of(dtype: DType) -> impl Fn(f64) -> f64 {
    move |x| if dtype == DType::F32 { f64::from(x as f32) } else { x }
}
