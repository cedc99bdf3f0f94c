//! Builders and transforms with arbitrary arguments: a variable or an error, never a panic.

use crate::reference::Random;
use autograd::{Binary, DType, Distribution, Linear, Tape, Unary, Var};

const TYPES: [DType; 3] = [DType::F32, DType::F64, DType::U32];

/// Mostly small shapes; now and then an axis of length 0 or one that no memory holds.
fn shape(random: &mut Random) -> Vec<usize> {
    (0..random.below(5))
        .map(|_| match random.below(40) {
            0 => 0,
            1 => 1 << 33,
            2 => usize::MAX,
            k => 1 + k % 3,
        })
        .collect()
}

fn axes(random: &mut Random) -> Vec<usize> {
    (0..random.below(5)).map(|_| if random.below(30) == 0 { usize::MAX } else { random.below(4) }).collect()
}

/// Any builder or transform with any arguments.
fn step(tape: &mut Tape, vars: &mut Vec<Var>, random: &mut Random) -> bool {
    let a = *random.pick(vars);
    let b = *random.pick(vars);
    let c = *random.pick(vars);
    let dtype = *random.pick(&TYPES);
    let (s, t, n) = (shape(random), axes(random), random.below(5));
    let own = tape.shape(a).to_vec();
    // Half of the time arguments that fit, so that programs grow.
    let fitting = random.below(2) == 0;
    let result = match random.below(32) {
        0 => Ok(tape.input(&s, dtype)),
        1 => Ok(tape.constant(random.unit(), &s, dtype)),
        2 => Ok(tape.identity(if n == 4 { usize::MAX } else { n }, dtype)),
        3 => tape.noise(Distribution::Normal, &s, dtype),
        4 => tape.unary(*random.pick(&Unary::ALL), a),
        5 => tape.binary(*random.pick(&Binary::ALL), a, b),
        6 => tape.select(a, b, c),
        7 if fitting => tape.expand(a, &own.iter().map(|&k| if k == 1 { 2 } else { k }).collect::<Vec<_>>()),
        7 => tape.expand(a, &s),
        8 if fitting => tape.broadcast_to(a, &[&[2], own.as_slice()].concat()),
        8 => tape.broadcast_to(a, &s),
        9 => tape.sum(a, &t),
        10 => tape.max(a, &t),
        11 => tape.mean_all(a),
        12 if fitting => tape.reshape(a, &[&[1], own.as_slice(), &[1]].concat()),
        12 => tape.reshape(a, &s),
        13 if fitting => tape.permute(a, &random.permutation(own.len())),
        13 => tape.permute(a, &t),
        14 => tape.transpose(a),
        15 if fitting => tape.slice(a, &vec![0; own.len()], &vec![1; own.len()]),
        15 => tape.slice(a, &t, &s),
        16 => tape.narrow(a, n, random.below(3), random.below(3)),
        17 if fitting => tape.pad(a, &vec![1; own.len()], &own.iter().map(|k| k.saturating_add(2)).collect::<Vec<_>>()),
        17 => tape.pad(a, &t, &s),
        18 if fitting => tape.concat(&[a, a], n),
        18 => tape.concat(&[a, b, c][..random.below(4)], n),
        19 => tape.gather(a, b, n),
        20 => tape.scatter_add(a, b, n, s.first().copied().unwrap_or(1 << 50)),
        21 => tape.one_hot(a, n, dtype),
        22 => tape.index_offset(a, u32::MAX),
        23 => tape.matmul(a, b),
        24 => tape.diag(a),
        25 => tape.diag_embed(a),
        26 => tape.solve_spd(a, b),
        27 => tape.log_det_spd(a),
        28 => tape.inverse_spd(a),
        29 => tape.convert(a, dtype),
        30 => tape.stop_gradient(a),
        _ => tape.scale(a, 0.5).and_then(|y| tape.add_scalar(y, 1.0)),
    };
    let succeeded = result.is_ok();
    vars.extend(result);
    succeeded
}

/// A transform with any arguments; whether it succeeded.
fn transform(tape: &mut Tape, vars: &[Var], random: &mut Random) -> bool {
    let a = *random.pick(vars);
    let b = *random.pick(vars);
    let c = *random.pick(vars);
    // Often an argument that fits.
    let like = |tape: &mut Tape, var: Var, lead: &[usize]| {
        let shape = [lead, tape.shape(var)].concat();
        tape.input(&shape, tape.dtype(var))
    };
    match random.below(10) {
        0 => tape.jvp(&[a, b], &[(b, c)]).is_ok(),
        1 => {
            let t = like(tape, b, &[]);
            tape.jvp(&[a, b], &[(b, t), (b, t)]).is_ok()
        }
        2 => tape.grad(a, &[b, c]).is_ok(),
        3 => {
            let u = like(tape, a, &[]);
            tape.vjp(&[a], &[u], &[b, c]).is_ok()
        }
        4 => tape.hvp(a, b, c).is_ok(),
        5 => tape.jacobian(a, b).is_ok(),
        6 => tape.batch(&[a], &[(b, c)]).is_ok(),
        7 => {
            let many = like(tape, b, &[3]);
            tape.batch(&[a, c], &[(b, many)]).is_ok()
        }
        8 => {
            let other = like(tape, b, &[]);
            tape.substitute(&[a, c], &[(b, other)]).is_ok()
        }
        _ => {
            let u = like(tape, a, &[]);
            Linear { inputs: vec![b], outputs: vec![Some(a)] }.transpose(tape, &[u]).is_ok()
        }
    }
}

#[test]
fn builders_with_arbitrary_arguments_answer_with_a_variable_or_an_error() {
    let (mut accepted, mut rejected) = (0, 0);
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let mut tape = Tape::new();
        let mut vars = vec![tape.input(&[2, 2], DType::F64), tape.input(&[2], DType::U32)];
        for _ in 0..60 {
            if step(&mut tape, &mut vars, &mut random) { accepted += 1 } else { rejected += 1 }
        }
    }
    assert!(accepted > 5000 && rejected > 5000, "both must be seen: {accepted} accepted, {rejected} rejected");
}

#[test]
fn transforms_of_arbitrary_programs_answer_with_variables_or_an_error() {
    let (mut accepted, mut rejected) = (0, 0);
    for seed in 1000..1400 {
        let mut random = Random::new(seed);
        let mut tape = Tape::new();
        let mut vars = vec![tape.input(&[2, 2], DType::F64), tape.input(&[2], DType::U32), tape.input(&[], DType::F64)];
        for _ in 0..40 {
            step(&mut tape, &mut vars, &mut random);
        }
        for _ in 0..20 {
            if transform(&mut tape, &vars, &mut random) { accepted += 1 } else { rejected += 1 }
        }
    }
    assert!(accepted > 500 && rejected > 500, "both must be seen: {accepted} accepted, {rejected} rejected");
}
