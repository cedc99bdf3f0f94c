//! What errors say, and that they point at the line that made the mistake.

use crate::reference::table_linear;
use autograd::{DType, Distribution, Error, Linear, Plan, Request, Tape, Var};
use std::panic::Location;

/// The location an error carries.
fn location(error: &Error) -> &'static Location<'static> {
    match error {
        Error::Shape { location, .. }
        | Error::DType { location, .. }
        | Error::ForeignVar { location }
        | Error::MissingRule { location, .. } => location,
        other => panic!("no location in {other}"),
    }
}

/// Runs the expression and checks that its error points at this very line and contains all the texts.
macro_rules! rejects {
    ($result:expr, $($text:expr),+) => {{
        let (error, line) = ($result.map(|_| ()).unwrap_err(), line!());
        let at = location(&error);
        assert_eq!((at.file(), at.line()), (file!(), line), "{error}");
        let message = error.to_string();
        $(assert!(message.contains($text), "{:?} does not say {:?}", message, $text);)+
    }};
}

#[rustfmt::skip] // One statement, one line: the lines are what is tested.
#[test]
fn shapes_that_do_not_fit_name_the_operation_both_shapes_and_the_callers_line() {
    let mut tape = Tape::new();
    let a = tape.input(&[2, 3], DType::F64);
    let b = tape.input(&[4, 5], DType::F64);
    let s = tape.input(&[], DType::F64);
    let stack = tape.input(&[3, 2, 2], DType::F64);
    let index = tape.input(&[3], DType::U32);
    rejects!(tape.add(a, b), "add", "(2, 3)", "(4, 5)");
    rejects!(tape.maximum(a, b), "maximum", "(2, 3)", "(4, 5)");
    rejects!(tape.inner(a, b), "mul", "(2, 3)", "(4, 5)");
    rejects!(tape.select(a, a, b), "select", "(2, 3)", "(4, 5)");
    rejects!(tape.expand(a, &[2, 4]), "expand", "(2, 3)", "(2, 4)");
    rejects!(tape.expand(a, &[3]), "expand", "(2, 3)", "(3)");
    rejects!(tape.broadcast_to(a, &[3, 3]), "broadcast_to", "(2, 3)", "(3, 3)");
    rejects!(tape.broadcast_to(a, &[3]), "broadcast_to", "(2, 3)", "(3)");
    rejects!(tape.sum(a, &[2]), "sum", "(2)", "(2, 3)");
    rejects!(tape.sum(a, &[0, 0]), "sum", "(0, 0)", "(2, 3)");
    rejects!(tape.max(s, &[0]), "max", "(0)", "()");
    rejects!(tape.reshape(a, &[5]), "reshape", "(2, 3)", "6", "(5)", "5");
    rejects!(tape.permute(a, &[0]), "permute", "(0)", "(2, 3)");
    rejects!(tape.permute(a, &[1, 1]), "permute", "(1, 1)", "(2, 3)");
    rejects!(tape.permute(a, &[0, 2]), "permute", "(0, 2)", "(2, 3)");
    rejects!(tape.transpose(index), "transpose", "(3)");
    rejects!(tape.slice(a, &[1, 1], &[2, 1]), "slice", "(1, 1)", "(2, 1)", "(2, 3)");
    rejects!(tape.slice(a, &[0, 0], &[0, 1]), "slice", "(0, 1)", "(2, 3)");
    rejects!(tape.slice(a, &[0], &[1]), "slice", "(1)", "(2, 3)");
    rejects!(tape.slice(a, &[usize::MAX, 0], &[1, 1]), "slice", "(2, 3)");
    rejects!(tape.narrow(a, 2, 0, 1), "narrow", "axis 2", "(2, 3)");
    rejects!(tape.narrow(a, 1, 2, 2), "slice", "(2, 3)");
    rejects!(tape.pad(a, &[1, 0], &[2, 3]), "pad", "(1, 0)", "(2, 3)");
    rejects!(tape.concat(&[], 0), "concat");
    rejects!(tape.concat(&[a, b], 0), "concat", "(2, 3)", "(4, 5)", "axis 0");
    rejects!(tape.concat(&[a], 2), "concat", "(2, 3)", "axis 2");
    rejects!(tape.gather(a, index, 2), "gather", "axis 2", "(2, 3)");
    rejects!(tape.scatter_add(a, index, 0, 4), "scatter_add", "axis 0", "(2, 3)", "3 indices");
    rejects!(tape.one_hot(index, 0, DType::F32), "one_hot", "(3, 0)");
    rejects!(tape.index_offset(index, 1), "index_offset", "(3)");
    rejects!(tape.matmul(a, b), "matmul", "(2, 3)", "(4, 5)", "inner");
    rejects!(tape.matmul(s, a), "matmul", "()", "(2, 3)");
    rejects!(tape.diag(a), "diag", "(2, 3)");
    rejects!(tape.diag_embed(s), "diag_embed");
    rejects!(tape.solve_spd(a, b), "solve_spd", "(2, 3)");
    rejects!(tape.solve_spd(stack, a), "solve_spd", "(3, 2, 2)", "(2, 3)");
    rejects!(tape.log_det_spd(a), "log_det_spd", "(2, 3)");
    rejects!(tape.inverse_spd(s), "inverse_spd", "()");
    rejects!(tape.noise(Distribution::Normal, &[2, 0], DType::F64), "noise", "(2, 0)");
}

#[rustfmt::skip]
#[test]
fn leading_axes_of_products_must_fit() {
    let mut tape = Tape::new();
    let a = tape.input(&[2, 4, 3], DType::F64);
    let b = tape.input(&[5, 3, 2], DType::F64);
    rejects!(tape.matmul(a, b), "matmul", "(2, 4, 3)", "(5, 3, 2)", "leading axes");
}

#[rustfmt::skip]
#[test]
fn element_types_that_do_not_fit_name_the_operation_the_types_and_the_callers_line() {
    let mut tape = Tape::new();
    let single = tape.input(&[2, 2], DType::F32);
    let double = tape.input(&[2, 2], DType::F64);
    let index = tape.input(&[2], DType::U32);
    let table = tape.input(&[2, 2], DType::U32);
    rejects!(tape.exp(index), "exp", "u32", "f32 or f64");
    rejects!(tape.add(single, double), "add", "f64", "first operand");
    rejects!(tape.add(index, index), "add", "u32", "f32 or f64");
    rejects!(tape.scale(index, 2.0), "mul", "u32");
    rejects!(tape.add_scalar(index, 2.0), "add", "u32");
    rejects!(tape.select(single, double, double), "select", "f64");
    rejects!(tape.sum(index, &[0]), "sum", "u32");
    rejects!(tape.sum_all(index), "sum", "u32");
    rejects!(tape.mean_all(index), "sum", "u32");
    rejects!(tape.matmul(single, double), "matmul", "f64");
    rejects!(tape.solve_spd(single, double), "solve_spd", "f32", "f64");
    rejects!(tape.log_det_spd(table), "log_det_spd", "u32");
    rejects!(tape.concat(&[single, double], 0), "concat", "f32", "f64");
    rejects!(tape.gather(single, single, 0), "gather", "f32", "u32");
    rejects!(tape.gather(table, index, 0), "gather", "u32", "f32 or f64");
    rejects!(tape.scatter_add(double, double, 0, 2), "scatter_add", "f64", "u32");
    rejects!(tape.one_hot(single, 3, DType::F32), "one_hot", "f32", "u32");
    rejects!(tape.one_hot(index, 3, DType::U32), "one_hot", "u32", "f32 or f64");
    rejects!(tape.index_offset(double, 3), "index_offset", "f64", "u32");
    rejects!(tape.convert(index, DType::F32), "convert", "u32");
    rejects!(tape.convert(single, DType::U32), "convert", "u32");
    rejects!(tape.noise(Distribution::Uniform, &[2], DType::U32), "noise", "u32");
    rejects!(tape.linearize(&[single], &[index]), "linearize", "u32");
    rejects!(tape.jvp(&[single], &[(index, index)]), "jvp", "u32");
}

#[rustfmt::skip]
#[test]
fn transforms_point_at_the_callers_line() {
    let mut tape = Tape::new();
    let x = tape.input(&[2], DType::F64);
    let y = tape.exp(x).unwrap();
    let total = tape.sum_all(y).unwrap();
    let wide = tape.input(&[3], DType::F64);
    let many = tape.input(&[4, 3], DType::F64);
    let single = tape.input(&[2], DType::F32);
    rejects!(tape.jvp(&[y], &[(x, wide)]), "jvp", "(2)", "(3)");
    rejects!(tape.jvp(&[y], &[(x, single)]), "jvp", "f64", "f32");
    rejects!(tape.grad(y, &[x]), "grad", "(2)");
    rejects!(tape.hvp(y, x, x), "grad", "(2)");
    rejects!(tape.hvp(total, x, wide), "jvp", "(2)", "(3)");
    rejects!(tape.vjp(&[y], &[wide], &[x]), "transpose", "(3)", "(2)");
    rejects!(tape.vjp(&[y], &[], &[x]), "transpose", "0 cotangents for 1 outputs");
    rejects!(tape.vjp(&[y], &[single], &[x]), "transpose", "f32", "f64");
    rejects!(tape.batch(&[y], &[(x, many)]), "batch", "(4, 3)", "(2)");
    rejects!(tape.batch(&[y], &[]), "batch", "no input");
    rejects!(tape.batch(&[y], &[(wide, many), (wide, many)]), "batch", "already");
    rejects!(tape.substitute(&[y], &[(x, wide)]), "substitute", "(3)", "(2)");
    rejects!(tape.substitute(&[y], &[(x, y), (x, x)]), "substitute", "already");
    rejects!(tape.grad(many, &[x]), "grad", "(4, 3)");
}

#[rustfmt::skip]
#[test]
fn batches_of_different_lengths_do_not_fit() {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[2], DType::F64), tape.input(&[2], DType::F64));
    let (more, less) = (tape.input(&[5, 2], DType::F64), tape.input(&[4, 2], DType::F64));
    let y = tape.add(a, b).unwrap();
    rejects!(tape.batch(&[y], &[(a, more), (b, less)]), "batch", "(4, 2)", "common length");
}

#[rustfmt::skip]
#[test]
fn variables_of_another_tape_are_rejected_everywhere_at_the_callers_line() {
    let mut other = Tape::new();
    let _ = other.input(&[1], DType::F64);
    let foreign = other.input(&[2, 2], DType::F64);
    let foreign_index = other.input(&[2], DType::U32);
    let mut tape = Tape::new();
    let x = tape.input(&[2, 2], DType::F64);
    let y = tape.exp(x).unwrap();
    let s = tape.sum_all(y).unwrap();
    let index = tape.input(&[2], DType::U32);
    let _ = foreign_index;
    let say = "another tape";
    rejects!(tape.exp(foreign), say);
    rejects!(tape.add(x, foreign), say);
    rejects!(tape.select(x, x, foreign), say);
    rejects!(tape.scale(foreign, 2.0), say);
    rejects!(tape.add_scalar(foreign, 2.0), say);
    rejects!(tape.expand(foreign, &[2, 2]), say);
    rejects!(tape.broadcast_to(foreign, &[2, 2]), say);
    rejects!(tape.sum(foreign, &[0]), say);
    rejects!(tape.max(foreign, &[0]), say);
    rejects!(tape.sum_all(foreign), say);
    rejects!(tape.mean_all(foreign), say);
    rejects!(tape.inner(x, foreign), say);
    rejects!(tape.reshape(foreign, &[4]), say);
    rejects!(tape.permute(foreign, &[1, 0]), say);
    rejects!(tape.transpose(foreign), say);
    rejects!(tape.slice(foreign, &[0, 0], &[1, 1]), say);
    rejects!(tape.narrow(foreign, 0, 0, 1), say);
    rejects!(tape.pad(foreign, &[0, 0], &[2, 2]), say);
    rejects!(tape.concat(&[x, foreign], 0), say);
    rejects!(tape.gather(foreign, index, 0), say);
    rejects!(tape.gather(x, foreign_index, 0), say);
    rejects!(tape.scatter_add(x, foreign_index, 0, 2), say);
    rejects!(tape.one_hot(foreign_index, 2, DType::F64), say);
    rejects!(tape.index_offset(foreign_index, 2), say);
    rejects!(tape.matmul(x, foreign), say);
    rejects!(tape.diag(foreign), say);
    rejects!(tape.diag_embed(foreign), say);
    rejects!(tape.solve_spd(x, foreign), say);
    rejects!(tape.log_det_spd(foreign), say);
    rejects!(tape.inverse_spd(foreign), say);
    rejects!(tape.convert(foreign, DType::F32), say);
    rejects!(tape.stop_gradient(foreign), say);
    rejects!(tape.jvp(&[foreign], &[(x, x)]), say);
    rejects!(tape.jvp(&[y], &[(foreign, x)]), say);
    rejects!(tape.jvp(&[y], &[(x, foreign)]), say);
    rejects!(tape.linearize(&[foreign], &[x]), say);
    rejects!(tape.linearize(&[y], &[foreign]), say);
    rejects!(tape.vjp(&[y], &[foreign], &[x]), say);
    rejects!(tape.grad(foreign, &[x]), say);
    rejects!(tape.grad(s, &[foreign]), say);
    rejects!(tape.hvp(s, foreign, x), say);
    rejects!(tape.hvp(s, x, foreign), say);
    rejects!(tape.jacobian(foreign, x), say);
    rejects!(tape.jacobian(y, foreign), say);
    let linear = |inputs, outputs| Linear { inputs, outputs };
    rejects!(linear(vec![x], vec![Some(y)]).transpose(&mut other, &[foreign]), say);
    rejects!(linear(vec![x], vec![Some(y)]).transpose(&mut tape, &[foreign]), say);
    rejects!(linear(vec![foreign], vec![Some(y)]).transpose(&mut tape, &[x]), say);
    rejects!(linear(vec![x], vec![Some(foreign)]).transpose(&mut tape, &[x]), say);
    rejects!(linear(vec![x], vec![None]).transpose(&mut other, &[foreign]), say);
    rejects!(tape.batch(&[foreign], &[(index, x)]), "batch");
    rejects!(tape.batch(&[y], &[(foreign, x)]), say);
    rejects!(tape.batch(&[y], &[(x, foreign)]), say);
    rejects!(tape.substitute(&[foreign], &[(x, y)]), say);
    rejects!(tape.substitute(&[y], &[(foreign, x)]), say);
    rejects!(tape.substitute(&[y], &[(x, foreign)]), say);
}

#[rustfmt::skip]
#[test]
fn tensors_without_elements_are_rejected_by_the_first_operation_on_them() {
    let mut tape = Tape::new();
    let empty = tape.input(&[2, 0], DType::F64);
    let none = tape.constant(1.0, &[0], DType::F64);
    let identity = tape.identity(0, DType::F64);
    let x = tape.input(&[2, 1], DType::F64);
    let index = tape.input(&[0], DType::U32);
    let say = "length 0";
    rejects!(tape.exp(empty), "exp", "(2, 0)", say);
    rejects!(tape.add(x, empty), "add", "(2, 0)", say);
    rejects!(tape.sum_all(none), "sum", "(0)", say);
    rejects!(tape.reshape(empty, &[0]), "reshape", say);
    rejects!(tape.concat(&[x, empty], 1), "concat", "(2, 0)", say);
    rejects!(tape.gather(x, index, 0), "gather", "(0)", say);
    rejects!(tape.matmul(empty, empty), "matmul", "(2, 0)", say);
    rejects!(tape.log_det_spd(identity), "log_det_spd", "(0, 0)", say);
    rejects!(tape.expand(x, &[2, 0]), "expand", "(2, 0)", say);
    rejects!(tape.broadcast_to(x, &[0, 2, 1]), "broadcast_to", "(0, 2, 1)", say);
    rejects!(tape.reshape(x, &[0]), "reshape", "(0)", say);
    rejects!(tape.pad(x, &[0, 0], &[2, 0]), "pad", "(2, 0)");
    rejects!(tape.jacobian(empty, x), "jacobian", say);
    rejects!(tape.batch(&[x], &[(none, empty)]), "batch", say);
}

#[rustfmt::skip]
#[test]
fn tensors_beyond_what_can_be_addressed_are_rejected() {
    let mut tape = Tape::new();
    let huge = tape.input(&[usize::MAX, 3], DType::F64);
    let row = tape.input(&[1, 1 << 40], DType::F32);
    let column = tape.input(&[1 << 40, 1], DType::F32);
    let say = "more elements than can be addressed";
    rejects!(tape.exp(huge), "exp", say);
    rejects!(tape.add(row, column), "add", say);
    rejects!(tape.matmul(column, row), "matmul", say);
    rejects!(tape.expand(row, &[1 << 40, 1 << 40]), "expand", say);
    rejects!(tape.diag_embed(row), "diag_embed", say);
    rejects!(tape.reshape(row, &[usize::MAX, 2]), "reshape", say);
    rejects!(tape.concat(&[row; 1 << 12].map(|v| v), 0).and_then(|y| tape.concat(&[y; 1 << 12], 0)), "concat", say);
    rejects!(tape.noise(Distribution::Normal, &[usize::MAX], DType::F64), "noise", say);
}

#[test]
fn elements_beyond_what_can_be_counted_are_not_counted_wrongly() {
    let mut tape = Tape::new();
    let huge = tape.input(&[1 << 40, 1 << 40], DType::F64);
    let empty = tape.input(&[1 << 40, 1 << 40, 0], DType::F64);
    assert_eq!((tape.elements(huge), tape.elements(empty)), (usize::MAX, 0));
    let error = Plan::new(&tape, &Request::outputs(&[huge])).unwrap_err();
    assert!(matches!(error, Error::Memory { needed: usize::MAX, .. }), "{error}");
}

#[rustfmt::skip]
#[test]
fn paddings_beyond_what_can_be_addressed_are_rejected_as_such() {
    let mut tape = Tape::new();
    let x = tape.input(&[1, 1, 4, 4], DType::F64);
    let w = tape.input(&[1, 1, 3, 3], DType::F64);
    let one = tape.input(&[1, 1, 1, 1], DType::F64);
    let (most, half) = (usize::MAX, usize::MAX / 2);
    let say = "larger than can be addressed";
    rejects!(tape.conv2d(x, w, [1, 1], [most, 0]), "conv2d", "padded by", say);
    rejects!(tape.conv2d(x, w, [most, 1], [most, 1]), "conv2d", "padded by", say);
    rejects!(tape.conv2d(x, w, [1, 1], [0, half]), "conv2d", "padded by", say);
    rejects!(tape.conv2d_input(w, one, [4, 4], [most, most], [most, most]), "conv2d", "padded by", say);
    rejects!(tape.conv2d_filter(x, one, [3, 3], [most, most], [most, most]), "conv2d", "padded by", say);
    rejects!(tape.max_pool2d(x, [most, 1], [1, 1], [half, 0]), "max_pool2d", "padding", say);
    rejects!(tape.mean_pool2d(x, [2, 2], [most, 1], [1, 0]), "pad", "more elements than can be addressed");
}

#[test]
fn transposing_what_is_not_linear_names_the_operation_and_the_line_it_was_recorded_at() {
    type Build = fn(&mut Tape, Var) -> autograd::Result<Var>;
    let programs: [(&str, Build); 8] = [
        ("exp", |tape, x| tape.exp(x)),
        ("mul", |tape, x| tape.mul(x, x)),
        ("div", |tape, x| {
            let one = tape.constant(1.0, &[2, 2], DType::F64);
            tape.div(one, x)
        }),
        ("maximum", |tape, x| tape.maximum(x, x)),
        ("select", |tape, x| tape.select(x, x, x)),
        ("matmul", |tape, x| tape.matmul(x, x)),
        ("max", |tape, x| tape.max(x, &[0])),
        ("stop_gradient", |tape, x| tape.stop_gradient(x)),
    ];
    for (name, build) in programs {
        let mut tape = Tape::new();
        let x = tape.input(&[2, 2], DType::F64);
        let y = build(&mut tape, x).unwrap();
        let shape = tape.shape(y).to_vec();
        let cotangent = tape.input(&shape, DType::F64);
        let linear = Linear { inputs: vec![x], outputs: vec![Some(y)] };
        let error = linear.transpose(&mut tape, &[cotangent]).unwrap_err();
        assert!(matches!(error, Error::MissingRule { op, rule: "transpose", .. } if op == name), "{name}: {error}");
        assert_eq!(location(&error).file(), file!());
        assert!(error.to_string().contains("not linear"), "{error}");
    }
}

#[test]
fn positive_definite_solves_are_not_linear_in_the_matrix() {
    let mut tape = Tape::new();
    let a = tape.input(&[2, 2], DType::F64);
    let x = tape.solve_spd(a, a).unwrap();
    let linear = Linear { inputs: vec![a], outputs: vec![Some(x)] };
    let error = linear.transpose(&mut tape, &[a]).unwrap_err();
    assert!(matches!(error, Error::MissingRule { op: "solve_spd", rule: "transpose", .. }), "{error}");
}

#[test]
fn nodes_remember_the_line_that_recorded_them_also_through_composite_builders() {
    let mut tape = Tape::new();
    let x = tape.input(&[2, 2, 3], DType::F64);
    let w = tape.input(&[3, 1], DType::F64);
    let before = tape.len();
    let first = line!() + 1;
    let product = tape.matmul(x, w).unwrap();
    let shifted = tape.add_scalar(product, 1.0).unwrap();
    tape.mean_all(shifted).unwrap();
    let last = line!() - 1;
    for node in &tape.nodes()[before..] {
        assert_eq!(node.location.file(), file!(), "{}", node.op.name());
        assert!((first..=last).contains(&node.location.line()), "{} at {}", node.op.name(), node.location);
    }
}

#[test]
fn nodes_pushed_by_transforms_point_at_the_line_of_the_node_they_come_from() {
    // A composite of all primitives: whatever a plan or an error says about its derivatives, it names the caller's
    // file.
    let mut recorded = table_linear::composite().record(DType::F64);
    let inputs = recorded.smooth_inputs();
    let before = recorded.tape.len();
    let gradient = recorded.tape.grad(recorded.output, &inputs).unwrap();
    let direction = recorded.tape.input(&[3, 2], DType::F64);
    recorded.tape.hvp(recorded.output, inputs[0], direction).unwrap();
    let many = recorded.tape.input(&[2, 3, 2], DType::F64);
    recorded.tape.batch(&gradient, &[(inputs[0], many)]).unwrap();
    let jacobian = recorded.tape.jacobian(gradient[0], inputs[1]).unwrap();
    assert!(jacobian.index() > before + 500);
    for node in &recorded.tape.nodes()[before..] {
        let file = node.location.file();
        assert!(!file.contains("src"), "{} recorded at {}", node.op.name(), node.location);
    }
}

#[test]
fn errors_of_derivatives_at_run_time_name_the_line_of_the_primal() {
    let mut tape = Tape::new();
    let a = tape.input(&[2, 2], DType::F64);
    let line = line!() + 1;
    let value = tape.log_det_spd(a).unwrap();
    let gradient = tape.grad(value, &[a]).unwrap()[0];
    let solves: Vec<_> = tape.nodes()[..=gradient.index()].iter().filter(|n| n.op.name() == "solve_spd").collect();
    assert!(!solves.is_empty());
    for node in solves {
        assert_eq!((node.location.file(), node.location.line()), (file!(), line));
    }
}
