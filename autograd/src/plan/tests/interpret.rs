//! Runs the steps of a plan one element at a time, in either order of the points, over an arena that starts poisoned.
//!
//! Elementwise loops must not care in which order their points run; reductions and products add in row-major order here.

use super::naive::{Values, binary, cholesky, convolution, held, solve, unary};
use crate::op::ConvPart;
use crate::plan::Plan;
use crate::plan::step::{Action, Instruction, Operand, Place, Reduction, View};
use crate::plan::strided::row_major;
use crate::{DType, Var};
use std::collections::HashMap;

/// The order in which points of elementwise loops run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Forward,
    Backward,
}

struct Memory<'a> {
    plan: &'a Plan,
    arena: Vec<u8>,
    persistent: HashMap<Var, Vec<u8>>,
}

fn encode(dtype: DType, x: f64) -> Vec<u8> {
    match dtype {
        DType::F32 => (x as f32).to_le_bytes().to_vec(),
        DType::F64 => x.to_le_bytes().to_vec(),
        DType::U32 => (x as u32).to_le_bytes().to_vec(),
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        DType::U32 => f64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        DType::F64 => {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[..8]);
            f64::from_le_bytes(word)
        }
    }
}

/// Positions of a view's points, in row-major order.
pub fn positions(view: &View) -> Vec<usize> {
    let strides = row_major(&view.shape);
    (0..view.points())
        .map(|p| {
            let digits = view.shape.iter().zip(&strides).map(|(&n, &s)| p / s % n);
            view.offset + digits.zip(&view.strides).map(|(d, s)| d * s).sum::<usize>()
        })
        .collect()
}

impl Memory<'_> {
    fn bytes(&mut self, view: &View, position: usize) -> &mut [u8] {
        let buffer = &self.plan.buffers()[view.buffer.0];
        assert_eq!(buffer.dtype, view.dtype, "a view has its buffer's type");
        assert!(position < buffer.elements, "position {position} of {} elements", buffer.elements);
        let size = buffer.dtype.size();
        match buffer.place {
            Place::Persistent(var) => {
                let held = self.persistent.entry(var).or_insert_with(|| vec![0; buffer.elements * size]);
                &mut held[position * size..(position + 1) * size]
            }
            Place::Arena { offset } => &mut self.arena[offset + position * size..offset + (position + 1) * size],
        }
    }

    fn get(&mut self, view: &View, position: usize) -> f64 {
        decode(view.dtype, self.bytes(view, position))
    }

    fn put(&mut self, view: &View, position: usize, value: f64) {
        let bytes = encode(view.dtype, value);
        self.bytes(view, position).copy_from_slice(&bytes);
    }

    fn read(&mut self, view: &View) -> Vec<f64> {
        positions(view).into_iter().map(|p| self.get(view, p)).collect()
    }

    fn write(&mut self, view: &View, values: &[f64]) {
        positions(view).into_iter().zip(values).for_each(|(p, &x)| self.put(view, p, x));
    }

    fn code(code: &[Instruction], dtype: DType, loads: &[f64]) -> impl Fn(Operand) -> f64 {
        let mut registers: Vec<f64> = Vec::with_capacity(code.len());
        for instruction in code {
            let value = |operand: Operand| match operand {
                Operand::Load(k) => loads[k as usize],
                Operand::Register(k) => registers[k as usize],
                Operand::Constant(bits) => held(dtype, f64::from_bits(bits)),
            };
            let result = match *instruction {
                Instruction::Unary(f, a) => unary(f, value(a)),
                Instruction::Binary(f, a, b) => binary(f, value(a), value(b)),
                Instruction::Select(a, b, c) => {
                    if value(a) != 0.0 {
                        value(b)
                    } else {
                        value(c)
                    }
                }
            };
            registers.push(held(dtype, result));
        }
        let loads = loads.to_vec();
        move |operand| match operand {
            Operand::Load(k) => loads[k as usize],
            Operand::Register(k) => registers[k as usize],
            Operand::Constant(bits) => held(dtype, f64::from_bits(bits)),
        }
    }

    fn step(&mut self, action: &Action, order: Order) {
        match action {
            Action::Loop(l) => {
                let points: usize = l.shape.iter().product();
                let at: Vec<Vec<usize>> = l.loads.iter().map(positions).collect();
                let to: Vec<Vec<usize>> = l.stores.iter().map(|s| positions(&s.to)).collect();
                for view in l.loads.iter().chain(l.stores.iter().map(|s| &s.to)) {
                    assert_eq!(view.shape, l.shape, "views have the shape of the loop");
                }
                let mut totals: Vec<HashMap<usize, f64>> = vec![HashMap::new(); l.stores.len()];
                for point in 0..points {
                    let reduces = l.stores.iter().any(|s| s.reduction.is_some());
                    let backward = order == Order::Backward && !reduces;
                    let point = if backward { points - 1 - point } else { point };
                    let loads: Vec<f64> =
                        l.loads.iter().zip(&at).map(|(v, at)| held(l.dtype, self.get(v, at[point]))).collect();
                    let value = Self::code(&l.code, l.dtype, &loads);
                    for (k, store) in l.stores.iter().enumerate() {
                        // A load that is stored as it is may be read as late as this.
                        let x = match store.value {
                            Operand::Load(n) => held(l.dtype, self.get(&l.loads[n as usize], at[n as usize][point])),
                            operand => value(operand),
                        };
                        let position = to[k][point];
                        match store.reduction {
                            None => self.put(&store.to, position, x),
                            Some(reduction) => {
                                let total = totals[k].entry(position);
                                let combined = total
                                    .and_modify(|sum| {
                                        *sum = match reduction {
                                            Reduction::Sum => held(l.dtype, *sum + x),
                                            Reduction::Max => sum.max(x),
                                        }
                                    })
                                    .or_insert(x);
                                let combined = *combined;
                                self.put(&store.to, position, combined);
                            }
                        }
                    }
                }
            }
            Action::Product(p) => {
                let [batch, m, k] = [p.a.shape[0], p.a.shape[1], p.a.shape[2]];
                let n = p.b.shape[2];
                assert_eq!((&p.b.shape, &p.out.shape), (&vec![batch, k, n], &vec![batch, m, n]));
                let (a, b) = (self.read(&p.a), self.read(&p.b));
                let at = positions(&p.out);
                let summed = p.out.strides[0] == 0 && batch > 1;
                for q in 0..batch * m * n {
                    let (s, i, j) = (q / (m * n), q / n % m, q % n);
                    let product = (0..k)
                        .fold(0.0, |sum, l| held(p.out.dtype, sum + a[(s * m + i) * k + l] * b[(s * k + l) * n + j]));
                    let add = p.accumulate || summed && s > 0;
                    let value = if add { self.get(&p.out, at[q]) + product } else { product };
                    self.put(&p.out, at[q], value);
                }
                if let Some(epilogue) = &p.epilogue {
                    assert!(!summed, "no epilogue on a product that is still being summed");
                    let loads: Vec<Vec<usize>> = epilogue.loads.iter().map(positions).collect();
                    let stores: Vec<Vec<usize>> = epilogue.stores.iter().map(|(_, v)| positions(v)).collect();
                    for q in 0..at.len() {
                        let mut values = vec![self.get(&p.out, at[q])];
                        for (view, at) in epilogue.loads.iter().zip(&loads) {
                            values.push(self.get(view, at[q]));
                        }
                        let value = Self::code(&epilogue.code, p.out.dtype, &values);
                        for ((operand, view), to) in epilogue.stores.iter().zip(&stores) {
                            self.put(view, to[q], value(*operand));
                        }
                    }
                }
            }
            Action::Convolution(c) => {
                let views =
                    [(ConvPart::Input, &c.images), (ConvPart::Filter, &c.filters), (ConvPart::Output, &c.results)];
                let read: Vec<&View> = views.iter().filter(|v| v.0 != c.conv.part).map(|v| v.1).collect();
                let (a, b) = (self.read(read[0]), self.read(read[1]));
                let out = c.out();
                let shapes = [read[0].shape.as_slice(), read[1].shape.as_slice()];
                let values = convolution(c.conv, [&a, &b], shapes, &out.shape, out.dtype);
                self.write(out, &values);
            }
            Action::Cholesky { a, factor } => {
                let n = a.shape[1];
                let values = self.read(a);
                let factors: Vec<f64> = values.chunks(n * n).flat_map(|a| cholesky(a, n)).collect();
                self.write(factor, &factors);
            }
            Action::SolveFactor { factor, b, out } => {
                let (n, k) = (b.shape[1], b.shape[2]);
                let (factors, right) = (self.read(factor), self.read(b));
                let mut solutions = vec![0.0; right.len()];
                for batch in 0..b.shape[0] {
                    for j in 0..k {
                        let column: Vec<f64> = (0..n).map(|i| right[(batch * n + i) * k + j]).collect();
                        let x = solve(&factors[batch * n * n..(batch + 1) * n * n], n, &column);
                        x.into_iter().enumerate().for_each(|(i, x)| solutions[(batch * n + i) * k + j] = x);
                    }
                }
                self.write(out, &solutions);
            }
            Action::InverseFactor { factor, out } => {
                let n = factor.shape[1];
                let factors = self.read(factor);
                let mut inverses = vec![0.0; factors.len()];
                for (l, inverse) in factors.chunks(n * n).zip(inverses.chunks_mut(n * n)) {
                    for j in 0..n {
                        let column: Vec<f64> = (0..n).map(|i| f64::from(i == j)).collect();
                        solve(l, n, &column).into_iter().enumerate().for_each(|(i, x)| inverse[i * n + j] = x);
                    }
                }
                self.write(out, &inverses);
            }
            Action::LogDetFactor { factor, out } => {
                let n = factor.shape[1];
                let factors = self.read(factor);
                let values: Vec<f64> =
                    factors.chunks(n * n).map(|l| (0..n).map(|i| 2.0 * l[i * n + i].ln()).sum()).collect();
                self.write(out, &values);
            }
            Action::Gather { x, index, out } => {
                let [entries, inner] = [x.shape[1], x.shape[2]];
                let (values, index) = (self.read(x), self.read(index));
                let picked = index.len();
                let result: Vec<f64> = (0..out.points())
                    .map(|p| {
                        let (i, j, l) = (p / (picked * inner), p / inner % picked, p % inner);
                        values[(i * entries + index[j] as usize) * inner + l]
                    })
                    .collect();
                self.write(out, &result);
            }
            Action::ScatterAdd { u, index, out } => {
                let [picked, inner, entries] = [u.shape[1], u.shape[2], out.shape[1]];
                let (values, index) = (self.read(u), self.read(index));
                let mut result = vec![0.0; out.points()];
                for (p, value) in values.into_iter().enumerate() {
                    let (i, j, l) = (p / (picked * inner), p / inner % picked, p % inner);
                    let at = &mut result[(i * entries + index[j] as usize) * inner + l];
                    *at = held(out.dtype, *at + value);
                }
                self.write(out, &result);
            }
            Action::OneHot { index, out } => {
                let classes = out.shape[1];
                let index = self.read(index);
                let result: Vec<f64> =
                    (0..out.points()).map(|p| f64::from(index[p / classes] as usize == p % classes)).collect();
                self.write(out, &result);
            }
            Action::IndexOffset { index, stride, out } => {
                let values = self.read(index);
                let columns = index.shape[1];
                let result: Vec<f64> =
                    values.iter().enumerate().map(|(p, x)| x + (p / columns) as f64 * f64::from(*stride)).collect();
                self.write(out, &result);
            }
            Action::Identity { out } => {
                let n = out.shape[1];
                let result: Vec<f64> = (0..n * n).map(|p| f64::from(p / n == p % n)).collect();
                self.write(out, &result);
            }
            Action::Noise { .. } => panic!("these tests draw no noise"),
        }
    }
}

/// Persistent values after a run, from those before it.
pub fn run(plan: &Plan, before: &Values, order: Order) -> Values {
    let mut memory = Memory { plan, arena: vec![0xff; plan.arena_bytes()], persistent: HashMap::new() };
    let dtypes: HashMap<Var, DType> = plan
        .buffers()
        .iter()
        .filter_map(|buffer| match buffer.place {
            Place::Persistent(var) => Some((var, buffer.dtype)),
            Place::Arena { .. } => None,
        })
        .collect();
    for (var, values) in before {
        if let Some(&dtype) = dtypes.get(var) {
            let bytes = values.iter().flat_map(|&x| encode(dtype, x)).collect();
            memory.persistent.insert(*var, bytes);
        }
    }
    for input in plan.inputs() {
        assert!(before.contains_key(input), "the plan reads {input:?}, which has no value");
    }
    for step in plan.steps() {
        memory.step(&step.action, order);
    }
    let decoded = |(var, bytes): (Var, Vec<u8>)| {
        let dtype = dtypes[&var];
        (var, bytes.chunks(dtype.size()).map(|bytes| decode(dtype, bytes)).collect())
    };
    let mut after: Values = before.clone();
    after.extend(std::mem::take(&mut memory.persistent).into_iter().map(decoded));
    after
}
