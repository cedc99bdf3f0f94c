//! A plan gives the bits of its paranoid twin where both add in the same order, and differs by rounding alone where they do not.
//!
//! Where the order is the same, and why nothing else can differ, is the subject of `order_of_sums`.

use super::every_primitive::with_derivatives;
use super::generator::Program;
use super::harness::{PARANOID, on_a_card, rounded, run, seeds};
use super::order_of_sums::Order;
use super::random_programs::{extended, sensitivity};
use crate::reference::check::assert_close;
use crate::reference::table::weights;
use crate::reference::{Bindings, Random, Value, table};
use autograd::{DType, Options, Tape, Var};

/// Another order of n terms moves a sum by at most n units in the last place of the largest partial sum (Higham, "Accuracy and Stability of
/// Numerical Algorithms", 2nd edition, section 4.2); two orders differ by twice that, and sizes of partial sums exceed those of results a little.
const ULPS_PER_TERM: f64 = 4.0;

/// How outputs were compared.
#[derive(Debug, Default)]
struct Compared {
    /// Bit for bit, without any sum on the way.
    without_sums: usize,
    /// Bit for bit, after sums.
    with_sums: usize,
    /// Within the rounding that another order of sums explains.
    by_rounding: usize,
}

impl Compared {
    /// Compares the two plans of some outputs. `amplification`: how far a relative change on the way may move an output.
    #[track_caller]
    fn check(&mut self, name: &str, tape: &Tape, outputs: &[Var], bindings: &Bindings, amplification: f64) {
        let bindings = rounded(tape, bindings);
        let planned = run(tape, outputs, &bindings, Options::default(), 1);
        let paranoid = run(tape, outputs, &bindings, PARANOID, 1);
        let order = Order::new(tape, outputs);
        for (k, &y) in outputs.iter().enumerate() {
            let name = format!("{name}: output {k}");
            if order.is_kept(y) {
                assert_same_bits(&name, &planned[k], &paranoid[k]);
                let sums = order.terms(y) > 0;
                self.with_sums += usize::from(sums);
                self.without_sums += usize::from(!sums);
            } else {
                let unit = if tape.dtype(y) == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
                let tolerance = ULPS_PER_TERM * unit * order.terms(y) as f64 * amplification;
                assert_close(&name, tape.shape(y), &planned[k], &paranoid[k], tolerance);
                self.by_rounding += 1;
            }
        }
    }
}

/// Equal bits, but for the sign of a zero.
#[track_caller]
fn assert_same_bits(name: &str, planned: &[f64], paranoid: &[f64]) {
    assert_eq!(planned.len(), paranoid.len(), "{name}");
    for (k, (x, y)) in planned.iter().zip(paranoid).enumerate() {
        let same = x.to_bits() == y.to_bits() || (*x == 0.0 && *y == 0.0);
        assert!(
            same,
            "{name}: element {k} is {x:e} by the plan and {y:e} by its paranoid twin, in the same order of sums"
        );
    }
}

/// The table's programs, with tangents, gradients and second derivatives: each output alone, where fusion may go furthest, and all at once.
fn table_of(dtype: DType) -> Compared {
    let mut compared = Compared::default();
    for case in table::all() {
        let (recorded, bindings, outputs) = with_derivatives(&case, dtype, 140);
        let name = format!("{} in {dtype}", case.name);
        for k in 0..outputs.len() {
            compared.check(&format!("{name}, only {k}"), &recorded.tape, &outputs[k..=k], &bindings, 1.0);
        }
        compared.check(&name, &recorded.tape, &outputs, &bindings, 1.0);
    }
    compared
}

/// Random programs with derivatives and batches, and with all their values as outputs.
fn random_of(dtype: DType) -> Compared {
    let mut compared = Compared::default();
    for seed in seeds(500, 60) {
        let mut program = Program::new(seed, 40 + 5 * (seed as usize % 12), dtype);
        let values = program.vars[program.inputs.len()..].to_vec();
        let derived = extended(&mut program, seed);
        for outputs in [values, derived] {
            let amplification = sensitivity(&program.tape, &outputs, &program.bindings);
            let name = format!("random program {seed} in {dtype}");
            compared.check(&name, &program.tape, &outputs, &program.bindings, amplification);
        }
    }
    compared
}

/// Most comparisons are exact, and no kind is missing. On a card, which keeps the order of fewer sums, many are.
#[track_caller]
fn assert_thorough(compared: &Compared) {
    let Compared { without_sums, with_sums, by_rounding } = *compared;
    let exact = if on_a_card() {
        without_sums > 100 && with_sums > 0
    } else {
        without_sums + with_sums > 2 * by_rounding && with_sums > 100
    };
    assert!(exact && by_rounding > 100, "{compared:?}");
}

/// Values of a matrix product's, a solution's and a log-determinant's functions: what steps are fused around them in one plan only.
fn products_and_factors(dtype: DType, [m, k, n]: [usize; 3]) -> Compared {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[m, k], dtype), tape.input(&[k, n], dtype));
    let (bias, right) = (tape.input(&[n], dtype), tape.input(&[2, k, n], dtype));
    let matrices = tape.input(&[2, k, k], dtype);
    let product = tape.matmul(a, b).unwrap();
    let hidden = tape.tanh(product).unwrap();
    let scaled = tape.mul(hidden, bias).unwrap();
    let bent = tape.exp(right).unwrap();
    let solution = tape.solve_spd(matrices, bent).unwrap();
    let wave = tape.sin(solution).unwrap();
    let log_det = tape.log_det_spd(matrices).unwrap();
    let squared = tape.square(log_det).unwrap();
    let mut bindings = Bindings::new();
    for (seed, var) in [a, b, bias, right].into_iter().enumerate() {
        bindings.insert(var, Value::Real(weights(tape.elements(var), seed as u64)));
    }
    // Diagonally dominant: 2 on the diagonal, less than 1 in absolute value over the rest of each row.
    let entry =
        |at: usize| if at / k % k == at % k { 2.0 } else { 0.5 / k as f64 * ((at / k % k + at % k) as f64).cos() };
    bindings.insert(matrices, Value::Real((0..2 * k * k).map(entry).collect()));
    let mut compared = Compared::default();
    for outputs in [&[scaled, wave, squared] as &[Var], &[product, scaled], &[solution, wave, log_det]] {
        compared.check(&format!("{m} x {k} x {n} in {dtype}"), &tape, outputs, &bindings, 1.0);
    }
    compared
}

/// Arithmetic of variables and constants, where simplification has most to do, with a tangent: values and tangent are outputs.
fn arithmetic(seed: u64, dtype: DType) -> (Tape, Vec<Var>, Bindings) {
    const CONSTANTS: [f64; 9] = [0.0, 1.0, -1.0, 2.0, -0.5, 0.3, 3.0, -0.7, 10.0];
    let mut random = Random::new(seed);
    let mut tape = Tape::new();
    let inputs: Vec<Var> = (0..4).map(|_| tape.input(&[5], dtype)).collect();
    let bindings = inputs.iter().enumerate().map(|(k, &x)| (x, Value::Real(weights(5, seed + k as u64)))).collect();
    let mut values = inputs[..2].to_vec();
    for _ in 0..14 {
        let (x, y) = (*random.pick(&values), *random.pick(&values));
        let nonzero = CONSTANTS[1 + random.below(8)];
        let (any, divisor) = (*random.pick(&CONSTANTS), tape.constant(nonzero, &[5], dtype));
        let constant = tape.constant(any, &[5], dtype);
        let value = match random.below(9) {
            0 => tape.add(x, constant),
            1 => tape.sub(x, constant),
            2 => tape.sub(constant, x),
            3 => tape.mul(x, constant),
            4 => tape.mul(constant, x),
            5 => tape.div(x, divisor),
            6 => tape.neg(x),
            7 => tape.sub(x, y),
            _ => tape.mul(x, y).and_then(|product| tape.sin(product)),
        };
        values.push(value.unwrap());
    }
    let outputs = values.split_off(2);
    let last = outputs[outputs.len() - 1];
    let tangents = tape.jvp(&[last], &[(inputs[0], inputs[2]), (inputs[1], inputs[3])]).unwrap();
    let outputs = [&outputs[outputs.len() - 3..], &tangents.into_iter().flatten().collect::<Vec<_>>()].concat();
    (tape, outputs, bindings)
}

#[test]
fn plans_of_every_primitive_and_its_derivatives_have_the_bits_of_their_paranoid_twins_in_f64() {
    assert_thorough(&table_of(DType::F64));
}

#[test]
fn plans_of_every_primitive_and_its_derivatives_have_the_bits_of_their_paranoid_twins_in_f32() {
    assert_thorough(&table_of(DType::F32));
}

#[test]
fn plans_of_random_programs_have_the_bits_of_their_paranoid_twins_in_f64() {
    assert_thorough(&random_of(DType::F64));
}

#[test]
fn plans_of_random_programs_have_the_bits_of_their_paranoid_twins_in_f32() {
    assert_thorough(&random_of(DType::F32));
}

#[test]
fn products_and_factorisations_with_functions_fused_around_them_have_the_bits_of_their_paranoid_twins() {
    for dtype in [DType::F64, DType::F32] {
        for sizes in [[1, 3, 2], [5, 1, 7], [17, 9, 33], [70, 50, 30], [300, 64, 200]] {
            let compared = products_and_factors(dtype, sizes);
            assert_eq!((compared.with_sums, compared.by_rounding), (8, 0), "{sizes:?} in {dtype}: {compared:?}");
        }
    }
}

#[test]
fn plans_of_arithmetic_with_constants_have_the_bits_of_their_paranoid_twins() {
    for dtype in [DType::F64, DType::F32] {
        let mut compared = Compared::default();
        for seed in 0..400 {
            let (tape, outputs, bindings) = arithmetic(seed, dtype);
            compared.check(&format!("arithmetic {seed} in {dtype}"), &tape, &outputs, &bindings, 1.0);
        }
        assert!(compared.without_sums > 1400 && compared.by_rounding == 0, "{compared:?}");
    }
}
