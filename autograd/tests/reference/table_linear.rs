//! The second half of the table: views, parts, indices, matrix products, positive definite systems, composites.

use super::table::{Case, Draw};
use Draw::{Index, Positive, Signed};
use autograd::{DType, Result, Tape, Var};

/// Cases of everything that is not elementwise or a reduction.
pub fn all() -> Vec<Case> {
    let mut cases = views();
    cases.extend(parts());
    cases.extend(indices());
    cases.extend(products());
    cases.extend(convolutions());
    cases.extend(pooling());
    cases.extend(positive_definite());
    cases.extend(types());
    cases.push(composite());
    cases
}

fn views() -> Vec<Case> {
    let mut cases = Vec::new();
    let reshapes: [(&[usize], &[usize]); 5] =
        [(&[6], &[2, 3]), (&[2, 3], &[3, 2]), (&[1], &[]), (&[], &[1, 1]), (&[2, 1, 3], &[6])];
    for (from, to) in reshapes {
        cases.push(Case::new(format!("reshape {from:?} to {to:?}"), &[(from, Signed)], move |tape, x| {
            tape.reshape(x[0], to)
        }));
    }
    let permutations: [(&[usize], &[usize]); 5] = [
        (&[2, 3], &[1, 0]),
        (&[2, 3, 4], &[2, 0, 1]),
        (&[2, 3, 4], &[1, 2, 0]),
        (&[2, 1, 3], &[0, 2, 1]),
        (&[2, 3, 1, 2], &[3, 1, 0, 2]),
    ];
    for (shape, axes) in permutations {
        cases.push(Case::new(format!("permute {shape:?} by {axes:?}"), &[(shape, Signed)], move |tape, x| {
            tape.permute(x[0], axes)
        }));
    }
    cases.push(Case::new("transpose", &[(&[2, 3, 2], Signed)], |tape, x| tape.transpose(x[0])));
    cases.push(Case::new("permute, then reshape", &[(&[2, 3, 2], Signed)], |tape, x| {
        let y = tape.permute(x[0], &[2, 0, 1])?;
        tape.reshape(y, &[4, 3])
    }));
    cases.push(Case::new("diag (3, 3)", &[(&[3, 3], Signed)], |tape, x| tape.diag(x[0])));
    cases.push(Case::new("diag (2, 2, 2)", &[(&[2, 2, 2], Signed)], |tape, x| tape.diag(x[0])));
    cases.push(Case::new("diag_embed (3)", &[(&[3], Signed)], |tape, x| tape.diag_embed(x[0])));
    cases.push(Case::new("diag_embed (2, 1, 2)", &[(&[2, 1, 2], Signed)], |tape, x| tape.diag_embed(x[0])));
    cases
}

fn parts() -> Vec<Case> {
    let mut cases = Vec::new();
    let boxes: [(&[usize], &[usize], &[usize]); 5] = [
        (&[5], &[1], &[3]),
        (&[3, 4], &[1, 0], &[2, 3]),
        (&[2, 3, 2], &[1, 1, 0], &[1, 1, 2]),
        (&[3, 1], &[2, 0], &[1, 1]),
        (&[4, 2], &[0, 1], &[4, 1]),
    ];
    for (whole, start, part) in boxes {
        cases.push(Case::new(
            format!("slice {whole:?} at {start:?} to {part:?}"),
            &[(whole, Signed)],
            move |tape, x| tape.slice(x[0], start, part),
        ));
        cases.push(Case::new(format!("pad {part:?} at {start:?} to {whole:?}"), &[(part, Signed)], move |tape, x| {
            tape.pad(x[0], start, whole)
        }));
    }
    cases.push(Case::new("narrow", &[(&[2, 5], Signed)], |tape, x| tape.narrow(x[0], 1, 2, 2)));
    cases.push(Case::new("concat along 0", &[(&[2, 2], Signed), (&[1, 2], Signed), (&[3, 2], Signed)], |tape, x| {
        tape.concat(x, 0)
    }));
    cases.push(Case::new("concat along 1 of 3", &[(&[2, 1, 2], Signed), (&[2, 3, 2], Signed)], |tape, x| {
        tape.concat(x, 1)
    }));
    cases.push(Case::new("concat of an operand with itself", &[(&[2, 2], Signed), (&[2, 1], Signed)], |tape, x| {
        tape.concat(&[x[0], x[1], x[0]], 1)
    }));
    cases
}

fn indices() -> Vec<Case> {
    let mut cases = Vec::new();
    let gathers: [(&[usize], usize, usize); 5] =
        [(&[4], 0, 6), (&[3, 2], 0, 4), (&[2, 3], 1, 2), (&[2, 3, 2], 1, 5), (&[2, 1, 3], 2, 1)];
    for (shape, axis, picked) in gathers {
        let name = format!("gather {picked} along {axis} of {shape:?}");
        cases.push(Case::new(name, &[(shape, Signed), (&[picked], Index(shape[axis]))], move |tape, x| {
            tape.gather(x[0], x[1], axis)
        }));
    }
    let scatters: [(&[usize], usize, usize); 5] =
        [(&[6], 0, 4), (&[3, 2], 0, 5), (&[2, 3], 1, 2), (&[2, 5, 2], 1, 3), (&[2, 1, 1], 2, 3)];
    for (shape, axis, length) in scatters {
        let name = format!("scatter_add {shape:?} along {axis} into {length}");
        cases.push(Case::new(name, &[(shape, Signed), (&[shape[axis]], Index(length))], move |tape, x| {
            tape.scatter_add(x[0], x[1], axis, length)
        }));
    }
    cases.push(Case::new("one_hot (3) times numbers", &[(&[3], Index(4)), (&[3, 4], Signed)], |tape, x| {
        let hot = tape.one_hot(x[0], 4, tape.dtype(x[1]))?;
        tape.mul(hot, x[1])
    }));
    cases.push(Case::new("one_hot (2, 2) times numbers", &[(&[2, 2], Index(3)), (&[3], Signed)], |tape, x| {
        let hot = tape.one_hot(x[0], 3, tape.dtype(x[1]))?;
        tape.mul(hot, x[1])
    }));
    cases.push(Case::new("one entry a row by index_offset", &[(&[3, 2], Signed), (&[3, 4], Index(2))], |tape, x| {
        let flat = tape.reshape(x[0], &[6])?;
        let index = tape.index_offset(x[1], 2)?;
        let index = tape.reshape(index, &[12])?;
        let picked = tape.gather(flat, index, 0)?;
        tape.reshape(picked, &[3, 4])
    }));
    cases
}

fn products() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&[usize], &[usize]); 10] = [
        (&[2, 3], &[3, 2]),
        (&[1, 3], &[3, 1]),
        (&[3, 1], &[1, 2]),
        (&[1, 1], &[1, 1]),
        (&[2, 2, 3], &[3, 2]),
        (&[2, 3], &[3, 3, 2]),
        (&[2, 2, 3], &[2, 3, 1]),
        (&[1, 2, 3], &[3, 3, 1]),
        (&[2, 2, 1, 2], &[2, 2, 2, 1]),
        (&[2, 1, 2, 2], &[1, 1, 2, 3]),
    ];
    for (a, b) in shapes {
        cases.push(Case::new(format!("matmul {a:?} {b:?}"), &[(a, Signed), (b, Signed)], |tape, x| {
            tape.matmul(x[0], x[1])
        }));
    }
    cases.push(Case::new("matmul of transposed operands", &[(&[3, 2], Signed), (&[2, 4, 3], Signed)], |tape, x| {
        let a = tape.transpose(x[0])?;
        let b = tape.transpose(x[1])?;
        tape.matmul(a, b)
    }));
    cases.push(Case::new("matmul of an operand with its transpose", &[(&[2, 3, 2], Signed)], |tape, x| {
        let transposed = tape.transpose(x[0])?;
        tape.matmul(x[0], transposed)
    }));
    cases
}

/// Shapes of images and filters, stride, padding.
type Convolution = (&'static [usize], &'static [usize], [usize; 2], [usize; 2]);

/// Groups of their own and shared ones, strides that leave rows over, margins, filters of one element and as
/// large as the padded images.
const CONVOLUTIONS: [Convolution; 12] = [
    (&[1, 1, 3, 3], &[1, 1, 2, 2], [1, 1], [0, 0]),
    (&[2, 2, 3, 4], &[3, 2, 2, 3], [1, 1], [0, 0]),
    (&[1, 2, 3, 3], &[2, 2, 3, 3], [1, 1], [1, 1]),
    (&[1, 1, 5, 4], &[2, 1, 2, 3], [2, 2], [0, 1]),
    (&[1, 2, 4, 5], &[1, 2, 1, 1], [2, 2], [0, 0]),
    (&[1, 1, 4, 6], &[1, 1, 3, 2], [3, 2], [1, 0]),
    (&[1, 1, 2, 2], &[2, 1, 4, 4], [1, 1], [1, 1]),
    (&[1, 1, 2, 3], &[1, 1, 1, 2], [1, 1], [2, 1]),
    (&[2, 1, 2, 3, 3], &[2, 2, 2, 2, 2], [1, 1], [0, 0]),
    (&[2, 1, 3, 3], &[2, 2, 1, 3, 3], [2, 1], [1, 1]),
    (&[2, 2, 1, 3, 3], &[1, 1, 2, 2], [1, 1], [0, 0]),
    (&[2, 2, 1, 1, 2, 2], &[2, 2, 1, 1, 2, 1], [1, 1], [1, 0]),
];

fn convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    for (images, filters, stride, padding) in CONVOLUTIONS {
        let name = format!("{images:?} and {filters:?}, stride {stride:?}, padding {padding:?}");
        let last = |shape: &[usize]| [shape[shape.len() - 2], shape[shape.len() - 1]];
        let (size, filter) = (last(images), last(filters));
        let mut tape = Tape::new();
        let x = tape.input(images, DType::F64);
        let w = tape.input(filters, DType::F64);
        let y = tape.conv2d(x, w, stride, padding).unwrap();
        let results = tape.shape(y).to_vec();
        cases.push(Case::new(format!("conv2d of {name}"), &[(images, Signed), (filters, Signed)], move |tape, x| {
            tape.conv2d(x[0], x[1], stride, padding)
        }));
        let operands: [(&[usize], Draw); 2] = [(filters, Signed), (&results, Signed)];
        cases.push(Case::new(format!("conv2d_input of {name}"), &operands, move |tape, x| {
            tape.conv2d_input(x[0], x[1], size, stride, padding)
        }));
        let operands: [(&[usize], Draw); 2] = [(images, Signed), (&results, Signed)];
        cases.push(Case::new(format!("conv2d_filter of {name}"), &operands, move |tape, x| {
            tape.conv2d_filter(x[0], x[1], filter, stride, padding)
        }));
    }
    cases
}

/// Windows side by side with rows left over, overlapping ones, gaps between them, margins.
fn pooling() -> Vec<Case> {
    type Windows = (&'static [usize], [usize; 2], [usize; 2], [usize; 2]);
    const WINDOWS: [Windows; 6] = [
        (&[4, 4], [2, 2], [2, 2], [0, 0]),
        (&[2, 1, 5, 3], [2, 1], [2, 1], [0, 0]),
        (&[1, 2, 3, 4], [2, 3], [1, 1], [0, 0]),
        (&[2, 5, 4], [3, 3], [2, 2], [1, 1]),
        (&[5, 5], [1, 2], [3, 2], [0, 1]),
        (&[2, 2, 2], [2, 2], [2, 2], [1, 1]),
    ];
    let mut cases = Vec::new();
    for (shape, size, stride, padding) in WINDOWS {
        let name = format!("of {shape:?} by {size:?}, stride {stride:?}, padding {padding:?}");
        cases.push(Case::new(format!("max_pool2d {name}"), &[(shape, Signed)], move |tape, x| {
            tape.max_pool2d(x[0], size, stride, padding)
        }));
        cases.push(Case::new(format!("mean_pool2d {name}"), &[(shape, Signed)], move |tape, x| {
            tape.mean_pool2d(x[0], size, stride, padding)
        }));
    }
    cases
}

/// s s^T + n I: symmetric positive definite for every square s (.., n, n).
pub fn spd(tape: &mut Tape, s: Var) -> Result<Var> {
    let shape = tape.shape(s).to_vec();
    let n = shape[shape.len() - 1];
    let transposed = tape.transpose(s)?;
    let product = tape.matmul(s, transposed)?;
    let identity = tape.identity(n, tape.dtype(s));
    let ridge = tape.scale(identity, n as f64)?;
    tape.add(product, ridge)
}

fn positive_definite() -> Vec<Case> {
    vec![
        Case::new("solve_spd (2, 2)", &[(&[2, 2], Signed), (&[2, 3], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.solve_spd(a, x[1])
        }),
        Case::new("solve_spd (2, 3, 3)", &[(&[2, 3, 3], Signed), (&[2, 3, 1], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.solve_spd(a, x[1])
        }),
        Case::new("solve_spd (1, 1)", &[(&[1, 1], Signed), (&[1, 1], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.solve_spd(a, x[1])
        }),
        Case::new("solve_spd of its own matrix", &[(&[2, 2], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.solve_spd(a, x[0])
        }),
        Case::new("log_det_spd (3, 3)", &[(&[3, 3], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.log_det_spd(a)
        }),
        Case::new("log_det_spd (2, 1, 2, 2)", &[(&[2, 1, 2, 2], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.log_det_spd(a)
        }),
        Case::new("inverse_spd (2, 2, 2)", &[(&[2, 2, 2], Signed)], |tape, x| {
            let a = spd(tape, x[0])?;
            tape.inverse_spd(a)
        }),
    ]
}

fn types() -> Vec<Case> {
    let mut convert = Case::new("convert to the other type and back", &[(&[2, 3], Signed)], |tape, x| {
        let own = tape.dtype(x[0]);
        let other = if own == DType::F64 { DType::F32 } else { DType::F64 };
        let there = tape.convert(x[0], other)?;
        let squared = tape.square(there)?;
        tape.convert(squared, own)
    });
    convert.rounds = true;
    let mut stopped = Case::new("stop_gradient of one factor", &[(&[2, 3], Signed)], |tape, x| {
        let sine = tape.sin(x[0])?;
        let fixed = tape.stop_gradient(sine)?;
        tape.mul(x[0], fixed)
    });
    stopped.differentiable = false;
    vec![convert, stopped]
}

/// Every smooth primitive in one scalar.
pub fn composite() -> Case {
    let inputs: [(&[usize], Draw); 4] = [(&[3, 2], Signed), (&[2, 3], Signed), (&[3], Positive), (&[4], Index(3))];
    Case::new("composite of everything", &inputs, |tape, x| {
        let (w, v, p, index) = (x[0], x[1], x[2], x[3]);
        let dtype = tape.dtype(w);
        // A small network: (2, 3) (3, 2) with a bias and several activations.
        let hidden = tape.matmul(v, w)?;
        let bias = tape.slice(p, &[1], &[2])?;
        let hidden = tape.add(hidden, bias)?;
        let hidden = tape.tanh(hidden)?;
        let soft = tape.softplus(hidden)?;
        let gate = tape.sigmoid(hidden)?;
        let hidden = tape.mul(soft, gate)?;
        // Products over views of each other.
        let turned = tape.permute(w, &[1, 0])?;
        let wide = tape.concat(&[hidden, turned], 1)?;
        let picked = tape.gather(wide, index, 1)?;
        let spread = tape.scatter_add(picked, index, 1, 5)?;
        let sine = tape.sin(spread)?;
        let cosine = tape.cos(spread)?;
        let offset = tape.add_scalar(cosine, 2.0)?;
        let waves = tape.div(sine, offset)?;
        // A positive definite system.
        let square = tape.slice(waves, &[0, 0], &[2, 2])?;
        let a = spd(tape, square)?;
        let solution = tape.solve_spd(a, v)?;
        let log_det = tape.log_det_spd(a)?;
        // Positive parts.
        let root = tape.sqrt(p)?;
        let logarithm = tape.ln(p)?;
        let rest = tape.log1p(root)?;
        let inverse = tape.reciprocal(p)?;
        let positive = tape.sub(rest, inverse)?;
        let positive = tape.mul(positive, logarithm)?;
        let small = tape.scale(w, 0.3)?;
        let growth = tape.exp(small)?;
        let growth_less_one = tape.expm1(small)?;
        let kinked = tape.elu(w)?;
        let rectified = tape.relu(w)?;
        let size = tape.abs(w)?;
        let larger = tape.maximum(kinked, small)?;
        let smaller = tape.minimum(rectified, growth)?;
        let mask = tape.greater(w, growth_less_one)?;
        let chosen = tape.select(mask, larger, smaller)?;
        let chosen = tape.mul(chosen, size)?;
        let chosen = tape.neg(chosen)?;
        let top = tape.max(chosen, &[1])?;
        let padded = tape.pad(top, &[0, 1], &[3, 3])?;
        let embedded = tape.diag_embed(positive)?;
        let joined = tape.add(padded, embedded)?;
        let diagonal = tape.diag(joined)?;
        let hot = tape.one_hot(index, 3, dtype)?;
        let rows = tape.reshape(diagonal, &[3, 1])?;
        let read = tape.matmul(hot, rows)?;
        let read = tape.square(read)?;
        let mean = tape.mean_all(read)?;
        let norm = tape.inner(solution, v)?;
        let repeated = tape.broadcast_to(p, &[2, 3])?;
        let more = tape.inner(repeated, solution)?;
        let total = tape.add(mean, norm)?;
        let total = tape.add(total, log_det)?;
        tape.add(total, more)
    })
}
