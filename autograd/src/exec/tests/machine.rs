//! The machine's own duties.

use super::support::*;
use crate::exec::Machine;
use crate::plan::step::{Action, Buffer, BufferId, Loop, Operand, Place, Store};
use crate::{DType, Device, Error, Plan, Request, Tape, Var};

/// A step that copies a buffer.
fn copy(from: usize, to: usize, count: usize, dtype: DType) -> Action {
    Action::Loop(Loop {
        shape: vec![count],
        dtype,
        loads: vec![dense(BufferId(from), &[count], dtype)],
        code: Vec::new(),
        stores: vec![Store { value: Operand::Load(0), to: dense(BufferId(to), &[count], dtype), reduction: None }],
    })
}

fn persistent(var: Var, elements: usize) -> Buffer {
    Buffer { dtype: DType::F64, elements, place: Place::Persistent(var) }
}

fn arena(offset: usize, elements: usize) -> Buffer {
    Buffer { dtype: DType::F64, elements, place: Place::Arena { offset } }
}

#[test]
fn a_run_without_its_inputs_is_an_error() {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[3], DType::F64), tape.input(&[3], DType::F64));
    let mut machine = machine_with(1).unwrap();
    let buffers = vec![persistent(x, 3), persistent(y, 3)];
    let plan = machine.load_steps(vec![step(copy(0, 1, 3, DType::F64))], buffers, &[x]).unwrap();
    assert!(matches!(machine.run(plan), Err(Error::Unbound { .. })));
    machine.write(x, &[1.0, 2.0, 3.0]).unwrap();
    assert!(matches!(machine.read::<f64>(y), Err(Error::Unbound { .. })));
    machine.run(plan).unwrap();
    assert_eq!(machine.read::<f64>(y).unwrap(), [1.0, 2.0, 3.0]);
}

#[test]
fn values_of_the_wrong_length_or_type_are_refused() {
    let mut tape = Tape::new();
    let (x, unknown) = (tape.input(&[3], DType::F64), tape.input(&[3], DType::F64));
    let mut machine = machine_with(1).unwrap();
    machine.load_steps(Vec::new(), vec![persistent(x, 3)], &[x]).unwrap();
    assert!(matches!(machine.write(x, &[1.0_f64]), Err(Error::Buffer { .. })));
    assert!(matches!(machine.write(x, &[1.0_f32; 3]), Err(Error::Buffer { .. })));
    assert!(matches!(machine.write(unknown, &[1.0_f64; 3]), Err(Error::Unbound { .. })));
    machine.write(x, &[1.0_f64; 3]).unwrap();
    assert!(matches!(machine.read::<u32>(x), Err(Error::Buffer { .. })));
    let clash = machine.load_steps(Vec::new(), vec![persistent(x, 4)], &[]);
    assert!(matches!(clash, Err(Error::Buffer { .. })));
}

#[test]
fn errors_call_variables_by_their_names() {
    let mut tape = Tape::new();
    let rate = tape.named_input("optimiser.rate", &[2], DType::F64);
    let y = tape.exp(rate).unwrap();
    let mut machine = machine_with(1).unwrap();
    let plan = machine.load(Plan::new(&tape, &Request::outputs(&[y])).unwrap()).unwrap();
    let errors = [
        machine.run(plan).unwrap_err(),
        machine.read::<f64>(rate).unwrap_err(),
        machine.read::<f32>(rate).unwrap_err(),
        machine.write(rate, &[1.0_f64]).unwrap_err(),
        machine.read_scalar(rate).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("optimiser.rate"), "{error}");
    }
}

#[test]
fn plans_loaded_before_the_arena_grows_still_run() {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[3], DType::F64), tape.input(&[3], DType::F64));
    let mut machine = machine_with(1).unwrap();
    let through = |offset| {
        let steps = vec![step(copy(0, 1, 3, DType::F64)), step(copy(1, 2, 3, DType::F64))];
        (steps, vec![persistent(x, 3), arena(offset, 3), persistent(y, 3)])
    };
    let (steps, buffers) = through(0);
    let small = machine.load_steps(steps, buffers, &[x]).unwrap();
    let (steps, buffers) = through(1 << 20);
    let large = machine.load_steps(steps, buffers, &[x]).unwrap();
    assert!(machine.arena_bytes() >= (1 << 20) + 24);
    assert_eq!(machine.held_bytes(), 48);
    for (plan, values) in [(small, [1.0, 2.0, 3.0]), (large, [4.0, 5.0, 6.0])] {
        machine.write(x, &values).unwrap();
        machine.run(plan).unwrap();
        assert_eq!(machine.read::<f64>(y).unwrap(), values);
    }
}

#[test]
fn plans_share_persistent_buffers() {
    let mut tape = Tape::new();
    let vars: Vec<Var> = (0..3).map(|_| tape.input(&[3], DType::F64)).collect();
    let mut machine = machine_with(1).unwrap();
    let mut hop = |from: usize| {
        let buffers = vec![persistent(vars[from], 3), persistent(vars[from + 1], 3)];
        machine.load_steps(vec![step(copy(0, 1, 3, DType::F64))], buffers, &[vars[from]]).unwrap()
    };
    let (first, second) = (hop(0), hop(1));
    machine.write(vars[0], &[7.0, 8.0, 9.0]).unwrap();
    assert!(matches!(machine.run(second), Err(Error::Unbound { .. })));
    machine.run(first).unwrap();
    machine.run(second).unwrap();
    assert_eq!(machine.read::<f64>(vars[2]).unwrap(), [7.0, 8.0, 9.0]);
}

/// A machine that holds one variable.
fn holding(shape: &[usize], dtype: DType) -> (Machine, Var) {
    let var = Tape::new().input(shape, dtype);
    let mut machine = machine_with(1).unwrap();
    let elements = shape.iter().product();
    machine.load_steps(Vec::new(), vec![Buffer { dtype, elements, place: Place::Persistent(var) }], &[var]).unwrap();
    (machine, var)
}

#[test]
fn scalars_of_every_type_come_back_as_they_were_rounded() {
    for (dtype, rounded) in [(DType::F64, 2.7), (DType::F32, f64::from(2.7_f32)), (DType::U32, 2.0)] {
        for shape in [&[] as &[usize], &[1], &[1, 1]] {
            let (mut machine, var) = holding(shape, dtype);
            machine.write_scalar(var, 2.7).unwrap();
            assert_eq!(machine.read_scalar(var).unwrap(), rounded, "{dtype} {shape:?}");
            assert_eq!(machine.read_f64(var).unwrap(), [rounded], "{dtype} {shape:?}");
        }
    }
}

#[test]
fn scalars_and_slices_are_the_same_values() {
    let (mut machine, var) = holding(&[1], DType::F32);
    machine.write_f64(var, &[-0.1]).unwrap();
    assert_eq!(machine.read_scalar(var).unwrap(), f64::from(-0.1_f32));
}

#[test]
fn variables_of_more_or_less_than_one_element_are_no_scalars() {
    for (shape, count) in [(&[2_usize] as &[usize], "2 elements"), (&[0], "0 elements")] {
        let (mut machine, var) = holding(shape, DType::F64);
        machine.write(var, &vec![1.0_f64; shape[0]]).unwrap();
        for error in [machine.write_scalar(var, 1.0).unwrap_err(), machine.read_scalar(var).unwrap_err()] {
            assert!(matches!(error, Error::Buffer { .. }) && error.to_string().contains(count), "{error}");
        }
    }
}

#[test]
fn scalars_that_are_unknown_or_without_value_are_unbound() {
    let (mut machine, var) = holding(&[], DType::F64);
    assert!(matches!(machine.read_scalar(var), Err(Error::Unbound { .. })));
    let mut tape = Tape::new();
    tape.input(&[], DType::F64);
    let unknown = tape.input(&[], DType::F64);
    assert!(matches!(machine.write_scalar(unknown, 1.0), Err(Error::Unbound { .. })));
    assert!(matches!(machine.read_scalar(unknown), Err(Error::Unbound { .. })));
}

#[test]
fn zero_threads_are_refused() {
    assert!(matches!(Machine::cpu(0), Err(Error::Argument { .. })));
}

#[test]
fn more_threads_than_a_machine_may_have_are_refused_at_once() {
    for threads in [1025, 4000, usize::MAX] {
        let error = Machine::cpu(threads).unwrap_err();
        assert!(matches!(error, Error::Argument { name: "threads", .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(&threads.to_string()) && message.contains("at most 1024"), "{message}");
    }
}

#[test]
fn plans_of_another_machine_are_refused_even_where_the_machine_has_one_of_the_same_number() {
    let mut tape = Tape::new();
    let x = tape.input(&[], DType::F64);
    let (y, z) = (tape.exp(x).unwrap(), tape.neg(x).unwrap());
    let mut machines = [y, z].map(|output| {
        let mut machine = machine_with(1).unwrap();
        let plan = machine.load(Plan::new(&tape, &Request::outputs(&[output])).unwrap()).unwrap();
        machine.write(x, &[1.0]).unwrap();
        (machine, plan)
    });
    let foreign = machines[0].1;
    let (machine, own) = &mut machines[1];
    assert_ne!(foreign, *own);
    let errors = [
        machine.run(foreign).unwrap_err(),
        machine.profile(foreign, 1).unwrap_err(),
        machine.runs(foreign).unwrap_err(),
        machine.step_costs(foreign).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Argument { name: "plan", .. }), "{error}");
        assert!(error.to_string().contains("another machine"), "{error}");
    }
    assert!(matches!(machine.read::<f64>(z), Err(Error::Unbound { .. })));
    machine.run(*own).unwrap();
    assert_eq!(machine.read_scalar(z).unwrap(), -1.0);
}

#[test]
fn inputs_that_no_plan_needs_are_unbound_and_the_plan_says_which_it_reads() {
    let mut tape = Tape::new();
    let (x, idle) = (tape.input(&[], DType::F64), tape.input(&[], DType::F64));
    let y = tape.exp(x).unwrap();
    let plan = Plan::new(&tape, &Request::outputs(&[y])).unwrap();
    assert_eq!(plan.inputs(), [x]);
    let mut machine = machine_with(1).unwrap();
    machine.load(plan).unwrap();
    let error = machine.write(idle, &[1.0]).unwrap_err();
    assert!(matches!(error, Error::Unbound { .. }) && error.to_string().contains("may not need it"), "{error}");
}

#[test]
fn memory_that_the_system_does_not_have_is_an_error() {
    let mut tape = Tape::new();
    let (x, large) = (tape.input(&[3], DType::F64), tape.input(&[1 << 56], DType::F64));
    let sum = tape.sum_all(large).unwrap();
    let mut machine = Machine::cpu(1).unwrap();
    let error = machine.load(Plan::new(&tape, &Request::outputs(&[sum])).unwrap()).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { bytes: 1 << 59 });
    assert!(error.to_string().contains(&(1_u64 << 59).to_string()), "{error}");
    for offset in [1 << 59, 1 << 63, usize::MAX - 63] {
        let buffers = vec![persistent(x, 3), arena(offset, 8)];
        let error = machine.load_steps(Vec::new(), buffers, &[x]).unwrap_err();
        assert_eq!(error, Error::OutOfMemory { bytes: offset.saturating_add(64) });
    }
}

#[test]
fn runs_are_counted_for_each_plan_and_timed_ones_are_not() {
    let mut tape = Tape::new();
    let x = tape.input(&[3], DType::F64);
    let (y, z) = (tape.exp(x).unwrap(), tape.sin(x).unwrap());
    let mut machine = machine_with(1).unwrap();
    let plans = [y, z].map(|var| machine.load(Plan::new(&tape, &Request::outputs(&[var])).unwrap()).unwrap());
    assert!(machine.run(plans[0]).is_err());
    machine.write(x, &[1.0, 2.0, 3.0]).unwrap();
    for _ in 0..3 {
        machine.run(plans[0]).unwrap();
    }
    machine.profile(plans[1], 5).unwrap();
    assert_eq!(plans.map(|plan| machine.runs(plan).unwrap()), [3, 1]);
    let elsewhere = machine_with(1).unwrap();
    assert!(matches!(elsewhere.runs(plans[0]), Err(Error::Argument { .. })));
    assert!(matches!(elsewhere.step_costs(plans[0]), Err(Error::Argument { .. })));
}

#[test]
fn lost_plans_stay_lost_when_smaller_ones_are_loaded() {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[3], DType::F64), tape.input(&[3], DType::F64));
    let through = |offset| {
        let steps = vec![step(copy(0, 1, 3, DType::F64)), step(copy(1, 2, 3, DType::F64))];
        (steps, vec![persistent(x, 3), arena(offset, 3), persistent(y, 3)])
    };
    for device in [Device::Cpu { threads: 1 }, Device::Emulated] {
        let mut machine = Machine::on(device).unwrap();
        let mut load = |offset| {
            let (steps, buffers) = through(offset);
            machine.load_steps(steps, buffers, &[x])
        };
        let lost = load(1 << 20).unwrap();
        assert!(load(1 << 59).is_err());
        let small = load(0).unwrap();
        assert!(machine.arena_bytes() < 1 << 20);
        machine.write(x, &[1.0, 2.0, 3.0]).unwrap();
        for error in [machine.run(lost).unwrap_err(), machine.profile(lost, 1).unwrap_err()] {
            assert!(matches!(error, Error::Argument { name: "plan", .. }), "{error}");
            assert!(error.to_string().contains("load it again"), "{error}");
        }
        machine.run(small).unwrap();
        assert_eq!(machine.read::<f64>(y).unwrap(), [1.0, 2.0, 3.0]);
    }
}

#[test]
fn plans_are_lost_where_the_memory_they_share_cannot_grow() {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[3], DType::F64), tape.input(&[3], DType::F64));
    let mut machine = Machine::on(Device::Emulated).unwrap();
    let buffers = vec![persistent(x, 3), persistent(y, 3)];
    let copies = vec![step(copy(0, 1, 3, DType::F64))];
    let small = machine.load_steps(copies.clone(), buffers.clone(), &[x]).unwrap();
    machine.write(x, &[1.0, 2.0, 3.0]).unwrap();
    machine.run(small).unwrap();
    let large = [&buffers[..], &[arena(0, 1 << 56)]].concat();
    assert!(matches!(machine.load_steps(copies.clone(), large, &[x]), Err(Error::Device(_))));
    assert!(matches!(machine.run(small), Err(Error::Argument { name: "plan", .. })));
    let again = machine.load_steps(copies, buffers, &[x]).unwrap();
    machine.run(again).unwrap();
    assert_eq!(machine.read::<f64>(y).unwrap(), [1.0, 2.0, 3.0]);
}
