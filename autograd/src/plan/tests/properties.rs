//! Random programs: every plan does what the tape says, in whatever order points run, within the memory it announces.

use super::generate::Program;
use super::interpret::{Order, run};
use super::naive::{Values, evaluate};
use crate::plan::step::Place;
use crate::plan::{Options, Plan, Request};
use crate::{DType, Tape, Var};

const PARANOID: Options = Options { memory_limit: None, paranoid: true };

#[track_caller]
fn assert_close(seed: u64, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "seed {seed}: {what}");
    let size = expected.iter().fold(1.0_f64, |size, x| size.max(x.abs()));
    for (k, (x, y)) in found.iter().zip(expected).enumerate() {
        let same = x == y || (x - y).abs() <= tolerance * size;
        assert!(same, "seed {seed}: element {k} of {what} is {x:e}, expected {y:e}");
    }
}

/// Some outputs, and updates of inputs by values of their shapes.
fn targets(program: &mut Program) -> (Vec<Var>, Vec<(Var, Var)>) {
    let outputs = program.sample(3);
    let mut updates: Vec<(Var, Var)> = Vec::new();
    for input in program.inputs.clone() {
        let fits = |var: &&Var| program.tape.shape(**var) == program.tape.shape(input);
        let candidates: Vec<Var> = program.reals.iter().filter(fits).copied().collect();
        updates.push((input, program.random().pick(&candidates)));
    }
    (outputs, updates)
}

/// Values of outputs and updated inputs after a run.
fn results(plan: &Plan, before: &Values, outputs: &[Var], updates: &[(Var, Var)], order: Order) -> Vec<Vec<f64>> {
    let after = run(plan, before, order);
    outputs.iter().chain(updates.iter().map(|u| &u.0)).map(|var| after[var].clone()).collect()
}

#[test]
fn a_plan_computes_what_its_tape_says() {
    for seed in 0..400 {
        let mut program = Program::new(seed, 24, DType::F64);
        let (outputs, updates) = targets(&mut program);
        // Inputs that are both outputs and updated hold their new values.
        let outputs: Vec<Var> = outputs.into_iter().filter(|v| !program.inputs.contains(v)).collect();
        let wanted: Vec<Var> = outputs.iter().copied().chain(updates.iter().map(|u| u.1)).collect();
        let truth = evaluate(&program.tape, &wanted, &program.values);
        for options in [Options::default(), PARANOID] {
            let request = Request { outputs: &outputs, updates: &updates, options, ..Request::default() };
            let plan = Plan::new(&program.tape, &request).unwrap();
            for order in [Order::Forward, Order::Backward] {
                let found = results(&plan, &program.values, &outputs, &updates, order);
                for (found, var) in found.iter().zip(&wanted) {
                    let what = format!("{var:?} with {options:?}, {order:?}\n{plan}");
                    assert_close(seed, &what, found, &truth[var], 1e-9);
                }
            }
        }
    }
}

#[test]
fn all_values_of_a_program_can_be_outputs_at_once() {
    for seed in 40000..40200 {
        let program = Program::new(seed, 24, DType::F64);
        let outputs: Vec<Var> = program.reals.iter().copied().filter(|v| !program.inputs.contains(v)).collect();
        let truth = evaluate(&program.tape, &outputs, &program.values);
        let plan = Plan::new(&program.tape, &Request::outputs(&outputs)).unwrap();
        for order in [Order::Forward, Order::Backward] {
            let found = results(&plan, &program.values, &outputs, &[], order);
            for (found, var) in found.iter().zip(&outputs) {
                assert_close(seed, &format!("{var:?}, {order:?}\n{plan}"), found, &truth[var], 1e-9);
            }
        }
    }
}

#[test]
fn batches_of_derivatives_of_solutions_are_planned_right() {
    let (n, k) = (3, 2);
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[2, n, n], DType::F64), tape.input(&[2, n, k], DType::F64));
    let solution = tape.solve_spd(a, b).unwrap();
    let sine = tape.sin(solution).unwrap();
    let value = tape.sum_all(sine).unwrap();
    let gradient = tape.grad(value, &[a, b]).unwrap();
    let all = [value, gradient[0], gradient[1], solution];
    let (many_a, many_b) = (tape.input(&[3, 2, n, n], DType::F64), tape.input(&[3, 2, n, k], DType::F64));
    let spd = |matrix: usize| {
        let noise = move |i: usize, j: usize| ((matrix * 7 + i * j + i + j) as f64).sin();
        (0..n * n).map(move |p| noise(p / n, p % n) + if p / n == p % n { 4.0 } else { 0.0 })
    };
    let values = Values::from([
        (a, (0..2).flat_map(spd).collect()),
        (b, (0..2 * n * k).map(|p| (p as f64).cos()).collect()),
        (many_a, (2..8).flat_map(spd).collect()),
        (many_b, (0..6 * n * k).map(|p| (p as f64 + 0.5).cos()).collect()),
    ]);
    for pairs in [vec![(a, many_a)], vec![(b, many_b)], vec![(a, many_a), (b, many_b)]] {
        let batched = tape.batch(&all, &pairs).unwrap();
        let truth = evaluate(&tape, &batched, &values);
        let plan = Plan::new(&tape, &Request::outputs(&batched)).unwrap();
        let after = run(&plan, &values, Order::Forward);
        for var in &batched {
            assert_close(0, &format!("{var:?} with {pairs:?}\n{plan}"), &after[var], &truth[var], 1e-12);
        }
    }
}

#[test]
fn a_plan_in_single_precision_computes_what_its_tape_says() {
    for seed in 10000..10200 {
        let mut program = Program::new(seed, 16, DType::F32);
        let (outputs, _) = targets(&mut program);
        let truth = evaluate(&program.tape, &outputs, &program.values);
        let plan = Plan::new(&program.tape, &Request::outputs(&outputs)).unwrap();
        let found = results(&plan, &program.values, &outputs, &[], Order::Forward);
        for (found, var) in found.iter().zip(&outputs) {
            assert_close(seed, &format!("{var:?}\n{plan}"), found, &truth[var], 2e-3);
        }
    }
}

#[test]
fn a_plan_cut_at_given_values_computes_the_same() {
    for seed in 20000..20200 {
        let mut program = Program::new(seed, 24, DType::F64);
        let (outputs, _) = targets(&mut program);
        let given = program.sample(4);
        let first = Plan::new(&program.tape, &Request::outputs(&given)).unwrap();
        let held = run(&first, &program.values, Order::Forward);
        let request = Request { outputs: &outputs, given: &given, ..Request::default() };
        let second = Plan::new(&program.tape, &request).unwrap();
        let truth = evaluate(&program.tape, &outputs, &program.values);
        let after = run(&second, &held, Order::Backward);
        for var in &outputs {
            assert_close(seed, &format!("{var:?}\n{second}"), &after[var], &truth[var], 1e-9);
        }
    }
}

#[test]
fn buffers_alive_at_the_same_time_do_not_overlap_unless_a_loop_writes_in_place() {
    for seed in 30000..30300 {
        let mut program = Program::new(seed, 40, DType::F64);
        let (outputs, updates) = targets(&mut program);
        let request = Request { outputs: &outputs, updates: &updates, ..Request::default() };
        let plan = Plan::new(&program.tape, &request).unwrap();
        let mut spans = vec![(usize::MAX, 0); plan.buffers().len()];
        for (index, step) in plan.steps().iter().enumerate() {
            for (view, _) in step.action.views() {
                let span = &mut spans[view.buffer.0];
                *span = (span.0.min(index), index);
            }
        }
        let extent = |k: usize| match plan.buffers()[k].place {
            Place::Arena { offset } => {
                let bytes = plan.buffers()[k].elements * plan.buffers()[k].dtype.size();
                assert!(offset % 64 == 0 && offset + bytes <= plan.arena_bytes(), "seed {seed}");
                Some((offset, offset + bytes))
            }
            Place::Persistent(_) => None,
        };
        for a in 0..spans.len() {
            for b in 0..spans.len() {
                let (Some(x), Some(y)) = (extent(a), extent(b)) else { continue };
                if a == b || x.0 >= y.1 || y.0 >= x.1 || spans[a].0 > spans[b].0 || spans[a].1 < spans[b].0 {
                    continue;
                }
                // The later one begins while the earlier one lives: only in place, where the earlier one ends.
                let step = &plan.steps()[spans[b].0].action;
                let in_place =
                    spans[a].1 == spans[b].0 && x == y && super::super::liveness::overwrites_safely(step, a, b);
                assert!(in_place, "seed {seed}: buffers {a} and {b}\n{plan}");
            }
        }
    }
}

#[test]
fn a_limit_at_the_peak_is_met_and_one_below_it_is_an_error_with_both_numbers() {
    let program = Program::new(7, 30, DType::F64);
    let outputs = [program.reals[program.reals.len() - 1]];
    let peak = Plan::new(&program.tape, &Request::outputs(&outputs)).unwrap().peak_bytes();
    let with = |limit| {
        let options = Options { memory_limit: Some(limit), paranoid: false };
        Plan::new(&program.tape, &Request { outputs: &outputs, options, ..Request::default() })
    };
    assert_eq!(with(peak).unwrap().peak_bytes(), peak);
    let error = with(peak - 1).unwrap_err();
    assert!(
        matches!(error, crate::Error::Memory { needed, limit, .. } if needed == peak && limit == peak - 1),
        "{error}"
    );
}
