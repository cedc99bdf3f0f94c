//! The meaning of a tape, node by node, in plain loops over `f64`: the truth that plans are held to.

use crate::op::{Binary, Conv2d, ConvPart, Unary};
use crate::plan::strided::row_major;
use crate::{DType, Op, Tape, Var};
use std::collections::HashMap;

/// Values of variables.
pub type Values = HashMap<Var, Vec<f64>>;

pub fn unary(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Ln => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Square => x * x,
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Abs => x.abs(),
        Unary::Sign => f64::from(x > 0.0) - f64::from(x < 0.0),
        Unary::Relu => x.max(0.0),
        Unary::Step => f64::from(x > 0.0),
        Unary::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
    }
}

pub fn binary(f: Binary, x: f64, y: f64) -> f64 {
    match f {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Max => x.max(y),
        Binary::Min => x.min(y),
        Binary::Greater => f64::from(x > y),
        Binary::GreaterEqual => f64::from(x >= y),
        Binary::Equal => f64::from(x == y),
    }
}

/// A number as the element type holds it.
pub fn held(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::F32 => f64::from(x as f32),
        DType::F64 => x,
        DType::U32 => f64::from(x as u32),
    }
}

/// Lower Cholesky factor of one row-major matrix.
pub fn cholesky(a: &[f64], n: usize) -> Vec<f64> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            l[i * n + j] = if i == j { rest.sqrt() } else { rest / l[j * n + j] };
        }
    }
    l
}

/// Solves L L^T x = b for one column.
pub fn solve(l: &[f64], n: usize, b: &[f64]) -> Vec<f64> {
    let mut x = b.to_vec();
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| l[i * n + k] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i * n + i];
    }
    x
}

fn digits(position: usize, shape: &[usize]) -> Vec<usize> {
    row_major(shape).iter().zip(shape).map(|(s, n)| position / s % n).collect()
}

fn position(digits: &[usize], shape: &[usize]) -> usize {
    digits.iter().zip(row_major(shape)).map(|(d, s)| d * s).sum()
}

/// One part of convolutions from the other two, in the order images, filters, results; groups of 1 are shared.
pub fn convolution(conv: Conv2d, values: [&[f64]; 2], shapes: [&[usize]; 2], to: &[usize], dtype: DType) -> Vec<f64> {
    let part = match conv.part {
        ConvPart::Input => 0,
        ConvPart::Filter => 1,
        ConvPart::Output => 2,
    };
    let mut all = shapes.to_vec();
    all.insert(part, to);
    let (images, filters, results) = (all[0], all[1], all[2]);
    let space = [to[0], images[1], filters[1], images[2], filters[3], filters[4], results[3], results[4]];
    let mut sums = vec![0.0; to.iter().product()];
    for point in 0..space.iter().product() {
        let at = digits(point, &space);
        let row = (conv.stride[0] * at[6] + at[4]).checked_sub(conv.padding[0]).filter(|&row| row < images[3]);
        let column = (conv.stride[1] * at[7] + at[5]).checked_sub(conv.padding[1]).filter(|&c| c < images[4]);
        let (Some(row), Some(column)) = (row, column) else { continue };
        let places = [
            [at[0], at[1], at[3], row, column],
            [at[0], at[2], at[3], at[4], at[5]],
            [at[0], at[1], at[2], at[6], at[7]],
        ];
        let flat = |k: usize| {
            let mut place = places[k];
            place[0] = place[0].min(all[k][0] - 1);
            position(&place, all[k])
        };
        let others: Vec<usize> = (0..3).filter(|k| *k != part).collect();
        let product = values[0][flat(others[0])] * values[1][flat(others[1])];
        sums[flat(part)] = held(dtype, sums[flat(part)] + product);
    }
    sums
}

/// Values of all nodes that the wanted ones need; `known` holds inputs and given values.
pub fn evaluate(tape: &Tape, wanted: &[Var], known: &Values) -> Values {
    let mut values = known.clone();
    for &var in wanted {
        node(tape, var, &mut values);
    }
    values
}

fn node(tape: &Tape, var: Var, values: &mut Values) {
    if values.contains_key(&var) {
        return;
    }
    let node_ = tape.node(var).clone();
    for &input in &node_.inputs {
        node(tape, input, values);
    }
    let shape = node_.shape.as_slice();
    let count: usize = shape.iter().product();
    let x = |k: usize| values[&node_.inputs[k]].as_slice();
    let shape_of = |k: usize| tape.shape(node_.inputs[k]);
    let each = |f: &dyn Fn(usize) -> f64| (0..count).map(f).collect::<Vec<f64>>();
    let outer = |axis: usize| shape[..axis].iter().product::<usize>();
    let inner = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let result = match &node_.op {
        Op::Input | Op::Noise { .. } => panic!("{} has no value", tape.name(var)),
        Op::Constant(bits) => vec![f64::from_bits(*bits); count],
        Op::Identity => each(&|p| f64::from(p / shape[1] == p % shape[1])),
        Op::Unary(f) => each(&|p| unary(*f, x(0)[p])),
        Op::Binary(f) => each(&|p| binary(*f, x(0)[p], x(1)[p])),
        Op::Select => each(&|p| if x(0)[p] != 0.0 { x(1)[p] } else { x(2)[p] }),
        Op::Expand => each(&|p| {
            let d = digits(p, shape);
            let d: Vec<usize> = d.iter().zip(shape_of(0)).map(|(&d, &n)| if n == 1 { 0 } else { d }).collect();
            x(0)[position(&d, shape_of(0))]
        }),
        Op::Sum { .. } | Op::Max { .. } => {
            let sum = matches!(node_.op, Op::Sum { .. });
            let mut result = vec![if sum { 0.0 } else { f64::NEG_INFINITY }; count];
            for (p, &value) in x(0).iter().enumerate() {
                let d: Vec<usize> = digits(p, shape_of(0)).iter().zip(shape).map(|(&d, &n)| d.min(n - 1)).collect();
                let at = &mut result[position(&d, shape)];
                *at = if sum { held(node_.dtype, *at + value) } else { at.max(value) };
            }
            result
        }
        Op::Reshape | Op::Convert | Op::StopGradient => x(0).to_vec(),
        Op::Permute { axes } => each(&|p| {
            let d = digits(p, shape);
            let mut from = vec![0; d.len()];
            axes.iter().enumerate().for_each(|(k, &a)| from[a] = d[k]);
            x(0)[position(&from, shape_of(0))]
        }),
        Op::Slice { start } => each(&|p| {
            let d: Vec<usize> = digits(p, shape).iter().zip(start).map(|(d, s)| d + s).collect();
            x(0)[position(&d, shape_of(0))]
        }),
        Op::Pad { start } => {
            let mut result = vec![0.0; count];
            for (p, &value) in x(0).iter().enumerate() {
                let d: Vec<usize> = digits(p, shape_of(0)).iter().zip(start).map(|(d, s)| d + s).collect();
                result[position(&d, shape)] = value;
            }
            result
        }
        Op::Concat { axis } => {
            let mut result = vec![0.0; count];
            let mut at = 0;
            for k in 0..node_.inputs.len() {
                for (p, &value) in x(k).iter().enumerate() {
                    let mut d = digits(p, shape_of(k));
                    d[*axis] += at;
                    result[position(&d, shape)] = value;
                }
                at += shape_of(k)[*axis];
            }
            result
        }
        Op::Gather { axis } => each(&|p| {
            let mut d = digits(p, shape);
            d[*axis] = x(1)[d[*axis]] as usize;
            x(0)[position(&d, shape_of(0))]
        }),
        Op::ScatterAdd { axis } => {
            let mut result = vec![0.0; count];
            let picked = shape_of(0)[*axis];
            for o in 0..outer(*axis) {
                for j in 0..picked {
                    for l in 0..inner(*axis) {
                        let to = (o * shape[*axis] + x(1)[j] as usize) * inner(*axis) + l;
                        result[to] = held(node_.dtype, result[to] + x(0)[(o * picked + j) * inner(*axis) + l]);
                    }
                }
            }
            result
        }
        Op::OneHot => {
            let classes = shape[shape.len() - 1];
            each(&|p| f64::from(x(0)[p / classes] as usize == p % classes))
        }
        Op::IndexOffset { stride } => each(&|p| x(0)[p] + (p / shape[1]) as f64 * f64::from(*stride)),
        Op::MatMul => {
            let (m, k, n) = (shape[1], shape_of(0)[2], shape[2]);
            each(&|p| {
                let (b, i, j) = (p / (m * n), p / n % m, p % n);
                let (ba, bb) = (b.min(shape_of(0)[0] - 1), b.min(shape_of(1)[0] - 1));
                (0..k).fold(0.0, |sum, l| {
                    held(node_.dtype, sum + x(0)[(ba * m + i) * k + l] * x(1)[(bb * k + l) * n + j])
                })
            })
        }
        Op::Conv2d(conv) => convolution(*conv, [x(0), x(1)], [shape_of(0), shape_of(1)], shape, node_.dtype),
        Op::Diag => {
            let n = shape[shape.len() - 1];
            each(&|p| x(0)[(p / n * n + p % n) * n + p % n])
        }
        Op::DiagEmbed => {
            let n = shape[shape.len() - 1];
            each(&|p| if p / n % n == p % n { x(0)[p / n] } else { 0.0 })
        }
        Op::SolveSpd => {
            let (n, k) = (shape[1], shape[2]);
            let mut result = vec![0.0; count];
            for b in 0..shape[0] {
                let l = cholesky(&x(0)[b * n * n..(b + 1) * n * n], n);
                for j in 0..k {
                    let column: Vec<f64> = (0..n).map(|i| x(1)[(b * n + i) * k + j]).collect();
                    for (i, value) in solve(&l, n, &column).into_iter().enumerate() {
                        result[(b * n + i) * k + j] = value;
                    }
                }
            }
            result
        }
        Op::LogDetSpd => {
            let n = shape_of(0)[1];
            each(&|b| {
                let l = cholesky(&x(0)[b * n * n..(b + 1) * n * n], n);
                (0..n).map(|i| 2.0 * l[i * n + i].ln()).sum()
            })
        }
    };
    values.insert(var, result.into_iter().map(|value| held(node_.dtype, value)).collect());
}
