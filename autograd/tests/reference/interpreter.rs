//! Runs a tape node by node with plain loops in f64. Slow, and obviously right.

use super::scalar;
use autograd::{Conv2d, ConvPart, DType, Node, Op, Tape, Var};
use std::collections::HashMap;

/// The numbers of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Floating-point numbers of either type.
    Real(Vec<f64>),
    /// Indices.
    Index(Vec<u32>),
}

impl Value {
    /// The numbers of a floating-point tensor.
    pub fn reals(&self) -> &[f64] {
        match self {
            Self::Real(values) => values,
            Self::Index(_) => panic!("an index tensor where numbers are expected"),
        }
    }

    /// The entries of an index tensor.
    pub fn indices(&self) -> &[u32] {
        match self {
            Self::Index(values) => values,
            Self::Real(_) => panic!("numbers where an index tensor is expected"),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Index(values) => values.len(),
        }
    }
}

/// Values given from outside: inputs, noise, and any variable that should not be computed.
pub type Bindings = HashMap<Var, Value>;

/// Values of the outputs.
pub fn evaluate(tape: &Tape, outputs: &[Var], given: &Bindings) -> Vec<Value> {
    let fixed: HashMap<usize, &Value> = given.iter().map(|(var, value)| (var.index(), value)).collect();
    let mut needed = vec![false; tape.len()];
    for output in outputs {
        needed[output.index()] = true;
    }
    for k in (0..tape.len()).rev() {
        if needed[k] && !fixed.contains_key(&k) {
            for input in &tape.nodes()[k].inputs {
                needed[input.index()] = true;
            }
        }
    }
    let mut values: Vec<Option<Value>> = vec![None; tape.len()];
    for (k, node) in tape.nodes().iter().enumerate() {
        if !needed[k] {
            continue;
        }
        let value = match fixed.get(&k) {
            Some(&value) => value.clone(),
            None => {
                let operands: Vec<Operand> = node
                    .inputs
                    .iter()
                    .map(|v| Operand { value: values[v.index()].as_ref().unwrap(), shape: tape.shape(*v) })
                    .collect();
                apply(node, &operands)
            }
        };
        let elements: usize = node.shape.iter().product();
        assert_eq!(value.len(), elements, "{} of shape {:?}", node.op.name(), node.shape);
        values[k] = Some(value);
    }
    outputs.iter().map(|output| values[output.index()].clone().unwrap()).collect()
}

/// Values of floating-point outputs.
pub fn evaluate_reals(tape: &Tape, outputs: &[Var], given: &Bindings) -> Vec<Vec<f64>> {
    evaluate(tape, outputs, given).into_iter().map(|value| value.reals().to_vec()).collect()
}

/// A value with its shape.
struct Operand<'a> {
    value: &'a Value,
    shape: &'a [usize],
}

fn apply(node: &Node, operands: &[Operand]) -> Value {
    let reals = |k: usize| operands[k].value.reals();
    let shape_of = |k: usize| operands[k].shape;
    let shape = &node.shape;
    match &node.op {
        Op::Input => panic!("an input without a value"),
        Op::Noise { .. } => panic!("noise without a value"),
        Op::Constant(bits) if node.dtype == DType::U32 => {
            Value::Index(vec![f64::from_bits(*bits) as u32; shape.iter().product()])
        }
        Op::Constant(bits) => Value::Real(vec![f64::from_bits(*bits); shape.iter().product()]),
        Op::Identity => Value::Real(positions(shape).iter().map(|at| scalar::indicator(at[0] == at[1])).collect()),
        Op::Unary(function) => Value::Real(reals(0).iter().map(|&x| scalar::unary(*function, x)).collect()),
        Op::Binary(function) => {
            Value::Real(reals(0).iter().zip(reals(1)).map(|(&a, &b)| scalar::binary(*function, a, b)).collect())
        }
        Op::Select => Value::Real(
            (0..reals(0).len()).map(|k| if reals(0)[k] != 0.0 { reals(1)[k] } else { reals(2)[k] }).collect(),
        ),
        Op::Sum { axes } => Value::Real(reduce(reals(0), shape_of(0), shape, axes, 0.0, |total, x| total + x)),
        Op::Max { axes } => Value::Real(reduce(reals(0), shape_of(0), shape, axes, f64::NEG_INFINITY, f64::max)),
        Op::Gather { axis } => Value::Real(gather(reals(0), shape_of(0), operands[1].value.indices(), *axis, shape)),
        Op::ScatterAdd { axis } => {
            Value::Real(scatter_add(reals(0), shape_of(0), operands[1].value.indices(), *axis, shape))
        }
        Op::OneHot => Value::Real(one_hot(operands[0].value.indices(), shape[shape.len() - 1])),
        Op::IndexOffset { stride } => {
            let rows = positions(shape);
            let index = operands[0].value.indices();
            Value::Index(index.iter().zip(&rows).map(|(&i, at)| i + at[0] as u32 * stride).collect())
        }
        Op::MatMul => Value::Real(matmul(reals(0), shape_of(0), reals(1), shape_of(1), shape)),
        Op::Conv2d(conv) => Value::Real(convolution(*conv, [reals(0), reals(1)], [shape_of(0), shape_of(1)], shape)),
        Op::SolveSpd => Value::Real(solve_spd(reals(0), reals(1), shape)),
        Op::LogDetSpd => Value::Real(log_det_spd(reals(0), shape_of(0))),
        Op::Convert | Op::StopGradient => operands[0].value.clone(),
        Op::Expand
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Diag
        | Op::DiagEmbed => match operands[0].value {
            Value::Real(_) => {
                let all: Vec<&[f64]> = operands.iter().map(|o| o.value.reals()).collect();
                Value::Real(moved(node, &all, operands))
            }
            Value::Index(_) => {
                let all: Vec<&[u32]> = operands.iter().map(|o| o.value.indices()).collect();
                Value::Index(moved(node, &all, operands))
            }
        },
    }
}

/// All positions of a shape, row-major.
pub fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &length in shape {
        all = all.iter().flat_map(|head| (0..length).map(|k| [head.as_slice(), &[k]].concat())).collect();
    }
    all
}

/// Row-major number of a position.
pub fn flat(shape: &[usize], at: &[usize]) -> usize {
    shape.iter().zip(at).fold(0, |number, (&length, &k)| number * length + k)
}

/// Operations that move numbers without changing them; places without a source are zero.
fn moved<T: Copy + Default>(node: &Node, values: &[&[T]], operands: &[Operand]) -> Vec<T> {
    let from = operands[0].shape;
    let first = |at: &[usize]| values[0][flat(from, at)];
    if let Op::Reshape = node.op {
        return values[0].to_vec();
    }
    let entry = |at: &Vec<usize>| -> T {
        match &node.op {
            Op::Expand => first(&(0..at.len()).map(|k| if from[k] == 1 { 0 } else { at[k] }).collect::<Vec<_>>()),
            Op::Permute { axes } => {
                let mut source = vec![0; at.len()];
                for (k, &axis) in axes.iter().enumerate() {
                    source[axis] = at[k];
                }
                first(&source)
            }
            Op::Slice { start } => first(&(0..at.len()).map(|k| at[k] + start[k]).collect::<Vec<_>>()),
            Op::Pad { start } => {
                if (0..at.len()).all(|k| start[k] <= at[k] && at[k] < start[k] + from[k]) {
                    first(&(0..at.len()).map(|k| at[k] - start[k]).collect::<Vec<_>>())
                } else {
                    T::default()
                }
            }
            Op::Concat { axis } => {
                let mut source = at.clone();
                let mut part = 0;
                while source[*axis] >= operands[part].shape[*axis] {
                    source[*axis] -= operands[part].shape[*axis];
                    part += 1;
                }
                values[part][flat(operands[part].shape, &source)]
            }
            Op::Diag => {
                let mut source = at.clone();
                source.push(at[at.len() - 1]);
                first(&source)
            }
            Op::DiagEmbed if at[at.len() - 1] == at[at.len() - 2] => first(&at[..at.len() - 1]),
            Op::DiagEmbed => T::default(),
            other => panic!("{} does not only move numbers", other.name()),
        }
    };
    positions(&node.shape).iter().map(entry).collect()
}

fn reduce(
    x: &[f64],
    from: &[usize],
    to: &[usize],
    axes: &[usize],
    start: f64,
    combine: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let mut result = vec![start; to.iter().product()];
    for (at, &value) in positions(from).iter().zip(x) {
        let target: Vec<usize> = (0..at.len()).map(|k| if axes.contains(&k) { 0 } else { at[k] }).collect();
        let slot = &mut result[flat(to, &target)];
        *slot = combine(*slot, value);
    }
    result
}

fn gather(x: &[f64], from: &[usize], index: &[u32], axis: usize, to: &[usize]) -> Vec<f64> {
    let entry = |at: &Vec<usize>| {
        let mut source = at.clone();
        source[axis] = index[at[axis]] as usize;
        assert!(source[axis] < from[axis], "index {} of {} entries", source[axis], from[axis]);
        x[flat(from, &source)]
    };
    positions(to).iter().map(entry).collect()
}

fn scatter_add(u: &[f64], from: &[usize], index: &[u32], axis: usize, to: &[usize]) -> Vec<f64> {
    let mut result = vec![0.0; to.iter().product()];
    for (at, &value) in positions(from).iter().zip(u) {
        let mut target = at.clone();
        target[axis] = index[at[axis]] as usize;
        assert!(target[axis] < to[axis], "index {} of {} entries", target[axis], to[axis]);
        result[flat(to, &target)] += value;
    }
    result
}

fn one_hot(index: &[u32], classes: usize) -> Vec<f64> {
    index.iter().flat_map(|&i| (0..classes).map(move |c| scalar::indicator(c == i as usize))).collect()
}

fn matmul(a: &[f64], sa: &[usize], b: &[f64], sb: &[usize], to: &[usize]) -> Vec<f64> {
    let batch_of = |shape: &[usize], k: usize| if shape[0] == 1 { 0 } else { k };
    let entry = |at: &Vec<usize>| {
        let (p, i, j) = (at[0], at[1], at[2]);
        (0..sa[2]).map(|k| a[flat(sa, &[batch_of(sa, p), i, k])] * b[flat(sb, &[batch_of(sb, p), k, j])]).sum()
    };
    positions(to).iter().map(entry).collect()
}

/// One part of y\[n, o, i, j\] = sum of x\[n, c, s i + u - p, s j + v - p\] w\[o, c, u, v\], summed over everything else.
fn convolution(conv: Conv2d, values: [&[f64]; 2], shapes: [&[usize]; 2], to: &[usize]) -> Vec<f64> {
    let mut result = vec![0.0; to.iter().product()];
    // Shapes and positions in the order images, filters, results.
    let part = match conv.part {
        ConvPart::Input => 0,
        ConvPart::Filter => 1,
        ConvPart::Output => 2,
    };
    let mut all = vec![shapes[0], shapes[1]];
    all.insert(part, to);
    let (images, filters, results) = (all[0], all[1], all[2]);
    for g in 0..to[0] {
        for at in positions(&[results[1], results[2], results[3], results[4], images[2], filters[3], filters[4]]) {
            let (n, o, i, j, c, u, v) = (at[0], at[1], at[2], at[3], at[4], at[5], at[6]);
            let (row, column) = (conv.stride[0] * i + u, conv.stride[1] * j + v);
            let inside = |k: usize, at: usize| at >= conv.padding[k] && at - conv.padding[k] < images[3 + k];
            if !inside(0, row) || !inside(1, column) {
                continue;
            }
            let x = [g, n, c, row.wrapping_sub(conv.padding[0]), column.wrapping_sub(conv.padding[1])];
            let places = [x, [g, o, c, u, v], [g, n, o, i, j]];
            let flat_place = |shape: &[usize], place: &[usize; 5]| {
                let mut place = *place;
                place[0] = place[0].min(shape[0] - 1);
                flat(shape, &place)
            };
            let others: Vec<usize> = (0..3).filter(|k| *k != part).collect();
            let product: f64 =
                others.iter().zip(values).map(|(&k, values)| values[flat_place(all[k], &places[k])]).product();
            result[flat_place(to, &places[part])] += product;
        }
    }
    result
}

/// The lower triangular factor of one matrix; only the lower triangle is read.
fn cholesky(a: &[f64], n: usize) -> Vec<f64> {
    let mut factor = vec![0.0; n * n];
    for j in 0..n {
        for i in j..n {
            let rest: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
            let value = a[i * n + j] - rest;
            if i == j {
                assert!(value > 0.0, "not positive definite at pivot {j}");
                factor[i * n + j] = value.sqrt();
            } else {
                factor[i * n + j] = value / factor[j * n + j];
            }
        }
    }
    factor
}

fn solve_spd(a: &[f64], b: &[f64], shape: &[usize]) -> Vec<f64> {
    let (batch, n, columns) = (shape[0], shape[1], shape[2]);
    let mut x = b.to_vec();
    for p in 0..batch {
        let factor = cholesky(&a[p * n * n..(p + 1) * n * n], n);
        for c in 0..columns {
            let at = |i: usize| (p * n + i) * columns + c;
            for i in 0..n {
                let rest: f64 = (0..i).map(|k| factor[i * n + k] * x[at(k)]).sum();
                x[at(i)] = (x[at(i)] - rest) / factor[i * n + i];
            }
            for i in (0..n).rev() {
                let rest: f64 = (i + 1..n).map(|k| factor[k * n + i] * x[at(k)]).sum();
                x[at(i)] = (x[at(i)] - rest) / factor[i * n + i];
            }
        }
    }
    x
}

fn log_det_spd(a: &[f64], shape: &[usize]) -> Vec<f64> {
    let (batch, n) = (shape[0], shape[1]);
    (0..batch)
        .map(|p| {
            let factor = cholesky(&a[p * n * n..(p + 1) * n * n], n);
            2.0 * (0..n).map(|i| factor[i * n + i].ln()).sum::<f64>()
        })
        .collect()
}
