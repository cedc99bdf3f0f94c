//! Runs programs in all ways that must agree.

use crate::reference::check::assert_close;
use crate::reference::{Bindings, Value, evaluate_reals};
use autograd::{DType, Machine, Options, Plan, PlanId, Request, Tape, Var};

/// The device that the tests run on in the place of the processor: the variable `LIVI_TEST_DEVICE`.
fn device() -> Option<String> {
    std::env::var("LIVI_TEST_DEVICE").ok()
}

/// Whether plans run on a card, or its emulation.
pub fn on_a_card() -> bool {
    device().is_some()
}

/// Seeds of random programs. On a card, which compiles kernels for each of them first, an eighth.
pub fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    first..first + if on_a_card() { count.div_ceil(8) } else { count }
}

/// A machine on the device that the variable `LIVI_TEST_DEVICE` names, else on the processor with so many threads.
pub fn machine_with(threads: usize) -> Machine {
    match device() {
        Some(device) => Machine::on(device.parse().unwrap()).unwrap(),
        None => Machine::cpu(threads).unwrap(),
    }
}

/// A paranoid plan's options.
pub const PARANOID: Options = Options { memory_limit: None, paranoid: true };

/// Gives a plan's inputs their values, those that it reads.
pub fn write(machine: &mut Machine, inputs: &[Var], bindings: &Bindings) {
    for &var in inputs {
        match &bindings[&var] {
            Value::Real(values) => machine.write_f64(var, values).unwrap(),
            Value::Index(values) => machine.write(var, values).unwrap(),
        }
    }
}

/// Plans and loads.
pub fn load(machine: &mut Machine, tape: &Tape, request: &Request) -> (PlanId, Vec<Var>) {
    let plan = Plan::new(tape, request).unwrap();
    let inputs = plan.inputs().to_vec();
    (machine.load(plan).unwrap(), inputs)
}

/// Values of the outputs on a machine with some threads.
pub fn run(tape: &Tape, outputs: &[Var], bindings: &Bindings, options: Options, threads: usize) -> Vec<Vec<f64>> {
    let mut machine = machine_with(threads);
    machine.spread_from(0.0);
    let (plan, inputs) = load(&mut machine, tape, &Request { outputs, options, ..Request::default() });
    write(&mut machine, &inputs, bindings);
    machine.run(plan).unwrap();
    let first: Vec<Vec<f64>> = outputs.iter().map(|&y| machine.read_f64(y).unwrap()).collect();
    // Nothing that a run leaves behind in the arena may matter to the next.
    machine.run(plan).unwrap();
    for (y, values) in outputs.iter().zip(&first) {
        assert_eq!(bits(&machine.read_f64(*y).unwrap()), bits(values), "the second run of a plan");
    }
    first
}

/// Bit patterns, so that NaN and signed zeros compare too.
pub fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Values as they are after rounding to the type of their variable.
pub fn rounded(tape: &Tape, bindings: &Bindings) -> Bindings {
    let round = |var: &Var, value: &Value| match value {
        Value::Real(values) if tape.dtype(*var) == DType::F32 => {
            Value::Real(values.iter().map(|&x| f64::from(x as f32)).collect())
        }
        other => other.clone(),
    };
    bindings.iter().map(|(var, value)| (*var, round(var, value))).collect()
}

/// Checks a program: the plan and its paranoid twin against the interpreter and each other, and two threads against
/// one bit for bit.
#[track_caller]
pub fn check(name: &str, tape: &Tape, outputs: &[Var], bindings: &Bindings, tolerance: f64) {
    let bindings = rounded(tape, bindings);
    let expected = evaluate_reals(tape, outputs, &bindings);
    let planned = run(tape, outputs, &bindings, Options::default(), 1);
    let paranoid = run(tape, outputs, &bindings, PARANOID, 1);
    let parallel = run(tape, outputs, &bindings, Options::default(), 2);
    for (k, &y) in outputs.iter().enumerate() {
        let shape = tape.shape(y);
        assert_close(&format!("{name}: output {k}, paranoid plan"), shape, &paranoid[k], &expected[k], tolerance);
        assert_close(&format!("{name}: output {k}, plan"), shape, &planned[k], &expected[k], tolerance);
        assert_eq!(bits(&parallel[k]), bits(&planned[k]), "{name}: output {k}, two threads against one");
    }
}
