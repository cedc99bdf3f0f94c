//! Random tapes over all families of primitives, with values that stay moderate.

use super::naive::Values;
use crate::op::{Binary, Unary};
use crate::{DType, Tape, Var};

/// A small generator with a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A tape with values for its inputs.
pub struct Program {
    pub tape: Tape,
    pub values: Values,
    /// Floating-point variables in the order of recording.
    pub reals: Vec<Var>,
    /// Floating-point inputs.
    pub inputs: Vec<Var>,
    pub dtype: DType,
    random: Random,
}

impl Program {
    pub fn new(seed: u64, operations: usize, dtype: DType) -> Self {
        let mut program = Self {
            tape: Tape::new(),
            values: Values::new(),
            reals: Vec::new(),
            inputs: Vec::new(),
            dtype,
            random: Random::new(seed),
        };
        for _ in 0..3 {
            program.input();
        }
        for _ in 0..operations {
            let x = program.grow().expect("the generator asks for nothing wrong");
            // Values stay in the range of all functions, whatever made them.
            let moderate = if program.random.below(3) == 0 { program.tape.tanh(x).expect("a float") } else { x };
            program.reals.push(moderate);
        }
        program
    }

    /// Some variables, the last one among them.
    pub fn sample(&mut self, count: usize) -> Vec<Var> {
        let mut vars: Vec<Var> = (0..count).map(|_| self.reals[self.random.below(self.reals.len())]).collect();
        vars.extend(self.reals.last());
        vars
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = self.random.below(4);
        (0..rank).map(|_| self.random.pick(&[1, 2, 3, 4])).collect()
    }

    fn input(&mut self) -> Var {
        let shape = self.shape();
        let var = self.tape.input(&shape, self.dtype);
        let count = shape.iter().product();
        let dtype = self.dtype;
        let values = (0..count).map(|_| super::naive::held(dtype, self.random.real())).collect();
        self.values.insert(var, values);
        self.reals.push(var);
        self.inputs.push(var);
        var
    }

    fn index(&mut self, shape: &[usize], below: usize) -> Var {
        let var = self.tape.input(shape, DType::U32);
        let count = shape.iter().product();
        let values = (0..count).map(|_| self.random.below(below) as f64).collect();
        self.values.insert(var, values);
        var
    }

    /// A variable, more often a late one.
    fn any(&mut self) -> Var {
        let n = self.reals.len();
        let reach = if self.random.below(2) == 0 { 4 } else { n };
        let back = self.random.below(n.min(reach));
        self.reals[n - 1 - back]
    }

    fn with_rank(&mut self, rank: usize) -> crate::Result<Var> {
        let x = self.any();
        if rank == 0 {
            return self.tape.sum_all(x);
        }
        let mut shape = self.tape.shape(x).to_vec();
        while shape.len() > rank {
            let first = shape.remove(0);
            shape[0] *= first;
        }
        while shape.len() < rank {
            shape.insert(self.random.below(shape.len() + 1), 1);
        }
        self.tape.reshape(x, &shape)
    }

    /// A variable of the given shape, made from any.
    fn of_shape(&mut self, shape: &[usize]) -> crate::Result<Var> {
        for _ in 0..4 {
            let x = self.any();
            if self.tape.shape(x) == shape {
                return Ok(x);
            }
        }
        let x = self.with_rank(shape.len())?;
        let long: Vec<usize> = (0..shape.len()).filter(|&k| self.tape.shape(x)[k] != shape[k]).collect();
        let x = if long.is_empty() { x } else { self.tape.sum(x, &long)? };
        self.tape.expand(x, shape)
    }

    fn grow(&mut self) -> crate::Result<Var> {
        let choice = self.random.below(26);
        let x = self.any();
        let shape = self.tape.shape(x).to_vec();
        let rank = shape.len();
        match choice {
            0..=3 => {
                let safe = [
                    Unary::Neg,
                    Unary::Tanh,
                    Unary::Sigmoid,
                    Unary::Softplus,
                    Unary::Sin,
                    Unary::Cos,
                    Unary::Abs,
                    Unary::Relu,
                    Unary::Step,
                    Unary::Elu,
                    Unary::Sign,
                ];
                let f = self.random.pick(&safe);
                self.tape.unary(f, x)
            }
            4..=8 => {
                let y = self.of_shape(&shape)?;
                let f = self.random.pick(&[
                    Binary::Add,
                    Binary::Add,
                    Binary::Sub,
                    Binary::Mul,
                    Binary::Max,
                    Binary::Greater,
                ]);
                self.tape.binary(f, x, y)
            }
            9 => {
                let c = self.random.pick(&[0.0, 1.0, -1.0, 2.0, 0.3]);
                let c = self.tape.constant(c, &shape, self.dtype);
                let f = self.random.pick(&[Binary::Add, Binary::Sub, Binary::Mul]);
                if self.random.below(2) == 0 { self.tape.binary(f, x, c) } else { self.tape.binary(f, c, x) }
            }
            10 | 11 if rank > 0 => {
                let axes: Vec<usize> = (0..rank).filter(|_| self.random.below(2) == 0).collect();
                if axes.is_empty() {
                    return Ok(x);
                }
                if choice == 10 || self.random.below(2) == 0 {
                    self.tape.sum(x, &axes)
                } else {
                    self.tape.max(x, &axes)
                }
            }
            12 => {
                let count: usize = shape.iter().product();
                let divisors: Vec<usize> = (1..=count).filter(|&d| count.is_multiple_of(d)).collect();
                let d = self.random.pick(&divisors);
                self.tape.reshape(x, &[d, count / d])
            }
            13 | 14 if rank > 1 => {
                let mut axes: Vec<usize> = (0..rank).collect();
                for k in (1..rank).rev() {
                    axes.swap(k, self.random.below(k + 1));
                }
                self.tape.permute(x, &axes)
            }
            15 | 16 if rank > 0 => {
                let start: Vec<usize> = shape.iter().map(|&n| self.random.below(n)).collect();
                let part: Vec<usize> = shape.iter().zip(&start).map(|(&n, &s)| 1 + self.random.below(n - s)).collect();
                let slice = self.tape.slice(x, &start, &part)?;
                if choice == 15 {
                    return Ok(slice);
                }
                // The fan-in of two slices' transposes.
                let f = self.tape.tanh(slice)?;
                let back = self.tape.pad(f, &start, &shape)?;
                let other = self.of_shape(&shape)?;
                let rest = self.tape.narrow(other, 0, 0, 1)?;
                let rest = self.tape.pad(rest, &vec![0; rank], &shape)?;
                self.tape.add(back, rest)
            }
            17 if rank > 0 => {
                let axis = self.random.below(rank);
                let mut parts = vec![x];
                for _ in 0..=self.random.below(2) {
                    let y = self.of_shape(&shape)?;
                    parts.push(if self.random.below(2) == 0 { self.tape.sin(y)? } else { y });
                }
                self.tape.concat(&parts, axis)
            }
            18..=20 => {
                let a = self.with_rank(3)?;
                let [b, m, k] = [0, 1, 2].map(|axis| self.tape.shape(a)[axis]);
                let n = 1 + self.random.below(3);
                let batch = if self.random.below(2) == 0 { 1 } else { b };
                let other = self.of_shape(&[batch, k, n])?;
                let product = self.tape.matmul(a, other)?;
                match self.random.below(4) {
                    0 => self.tape.sum(product, &[0]),
                    1 => {
                        let bias = self.of_shape(&[1, 1, n])?;
                        let sum = self.tape.add(product, bias)?;
                        self.tape.tanh(sum)
                    }
                    2 => {
                        let second = self.of_shape(&[b, m, n])?;
                        self.tape.add(product, second)
                    }
                    _ => Ok(product),
                }
            }
            21 if rank > 0 => {
                let y = self.of_shape(&[shape.as_slice(), &[shape[rank - 1]]].concat())?;
                if self.random.below(2) == 0 { self.tape.diag(y) } else { self.tape.diag_embed(x) }
            }
            22 if rank > 0 => {
                let axis = self.random.below(rank);
                let picked = 1 + self.random.below(3);
                if self.random.below(2) == 0 {
                    let index = self.index(&[picked], shape[axis]);
                    self.tape.gather(x, index, axis)
                } else {
                    let index = self.index(&[shape[axis]], 3);
                    self.tape.scatter_add(x, index, axis, 3)
                }
            }
            23 => {
                let index = self.index(&[2, 2], 2);
                let index = self.tape.index_offset(index, 2)?;
                let hot = self.tape.one_hot(index, 4, self.dtype)?;
                let y = self.of_shape(&[2, 2, 4])?;
                self.tape.mul(hot, y)
            }
            24 => {
                let n = 2 + self.random.below(2);
                let b = 1 + self.random.below(2);
                let root = self.of_shape(&[b, n, n])?;
                let root = self.tape.tanh(root)?;
                let transposed = self.tape.transpose(root)?;
                let square = self.tape.matmul(root, transposed)?;
                let identity = self.tape.identity(n, self.dtype);
                let spd = self.tape.add(square, identity)?;
                match self.random.below(3) {
                    0 => self.tape.log_det_spd(spd),
                    1 => self.tape.inverse_spd(spd),
                    _ => {
                        let right = self.of_shape(&[b, n, 2])?;
                        self.tape.solve_spd(spd, right)
                    }
                }
            }
            _ => {
                let y = self.of_shape(&shape)?;
                let mask = self.tape.greater(x, y)?;
                let double = self.tape.convert(y, DType::F64)?;
                let double = self.tape.sin(double)?;
                let back = self.tape.convert(double, self.dtype)?;
                self.tape.select(mask, x, back)
            }
        }
    }
}
