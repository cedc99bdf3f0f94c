//! Batching is looping, for every primitive, every subset of inputs and every nesting with derivatives.

use crate::reference::check::assert_close;
use crate::reference::table::Recorded;
use crate::reference::{Bindings, Value, evaluate_reals, table};
use autograd::{DType, Distribution, Machine, Plan, Request, Tape, Var};

const SIZE: usize = 3;
const ROUNDING: f64 = 1e-12;

/// Subsets of 0..n as lists, the empty one left out.
fn subsets(n: usize) -> Vec<Vec<usize>> {
    (1..1_usize << n).map(|bits| (0..n).filter(|k| bits >> k & 1 == 1).collect()).collect()
}

/// An input holding one value after another along a new leading axis.
fn stacked(tape: &mut Tape, like: Var, entries: &[Value], bindings: &mut Bindings) -> Var {
    let shape = [&[entries.len()], tape.shape(like)].concat();
    let many = tape.input(&shape, tape.dtype(like));
    bindings.insert(many, joined(entries));
    many
}

/// One value after another.
fn joined(entries: &[Value]) -> Value {
    match entries[0] {
        Value::Real(_) => Value::Real(entries.iter().flat_map(|v| v.reals().to_vec()).collect()),
        Value::Index(_) => Value::Index(entries.iter().flat_map(|v| v.indices().to_vec()).collect()),
    }
}

/// Values of `outputs` for each batch entry, one entry after another.
fn looped(tape: &Tape, outputs: &[Var], bindings: &Bindings, changes: &[(Var, Vec<Value>)]) -> Vec<Vec<f64>> {
    let mut results = vec![Vec::new(); outputs.len()];
    for entry in 0..changes[0].1.len() {
        let mut bindings = bindings.clone();
        for (var, values) in changes {
            bindings.insert(*var, values[entry].clone());
        }
        for (result, value) in results.iter_mut().zip(evaluate_reals(tape, outputs, &bindings)) {
            result.extend(value);
        }
    }
    results
}

/// Batches `outputs` over some inputs of the case and compares with the loop.
fn check(name: &str, recorded: &mut Recorded, outputs: &[Var], bindings: &Bindings, changes: &[(Var, Vec<Value>)]) {
    let mut bindings = bindings.clone();
    let pairs: Vec<_> =
        changes.iter().map(|(x, values)| (*x, stacked(&mut recorded.tape, *x, values, &mut bindings))).collect();
    let batched = recorded.tape.batch(outputs, &pairs).unwrap();
    let expected = looped(&recorded.tape, outputs, &bindings, changes);
    let found = evaluate_reals(&recorded.tape, &batched, &bindings);
    for (k, &y) in outputs.iter().enumerate() {
        let shape = [&[changes[0].1.len()], recorded.tape.shape(y)].concat();
        assert_eq!(recorded.tape.shape(batched[k]), shape, "{name}");
        assert_close(&format!("{name}: output {k}"), &shape, &found[k], &expected[k], ROUNDING);
    }
}

/// Values of the chosen inputs for each batch entry.
fn changes(case: &table::Case, recorded: &Recorded, chosen: &[usize], seed: u64) -> Vec<(Var, Vec<Value>)> {
    let sets: Vec<Vec<Value>> = (0..SIZE as u64).map(|entry| case.values(seed + entry)).collect();
    chosen.iter().map(|&k| (recorded.inputs[k], sets.iter().map(|set| set[k].clone()).collect())).collect()
}

#[test]
fn a_batch_is_a_loop_for_every_primitive_and_every_subset_of_inputs() {
    for case in table::all() {
        for chosen in subsets(case.inputs.len()) {
            let mut recorded = case.record(DType::F64);
            let bindings = recorded.bind(&case.values(0));
            let outputs = [recorded.output];
            let changes = changes(&case, &recorded, &chosen, 20);
            check(&format!("{}, inputs {chosen:?} batched", case.name), &mut recorded, &outputs, &bindings, &changes);
        }
    }
}

#[test]
fn a_batch_of_one_entry_is_a_loop() {
    for case in table::all() {
        let mut recorded = case.record(DType::F64);
        let bindings = recorded.bind(&case.values(0));
        let outputs = [recorded.output];
        let changes: Vec<_> =
            recorded.inputs.iter().copied().zip(case.values(1).into_iter().map(|v| vec![v])).collect();
        check(&case.name, &mut recorded, &outputs, &bindings, &changes);
    }
}

#[test]
fn nested_batches_are_nested_loops() {
    for case in table::all() {
        for inner in subsets(case.inputs.len()) {
            let mut recorded = case.record(DType::F64);
            let mut bindings = recorded.bind(&case.values(0));
            let first = changes(&case, &recorded, &inner, 30);
            let pairs: Vec<_> =
                first.iter().map(|(x, v)| (*x, stacked(&mut recorded.tape, *x, v, &mut bindings))).collect();
            let batched = recorded.tape.batch(&[recorded.output], &pairs).unwrap();
            // Outer batch over all inputs: those with an inner axis get a batch of stacks.
            let second: Vec<(Var, Vec<Value>)> = (0..case.inputs.len())
                .map(|k| match inner.iter().position(|&i| i == k) {
                    None => (recorded.inputs[k], (0..2).map(|entry| case.values(40 + entry)[k].clone()).collect()),
                    Some(at) => {
                        let many = |entry: u64| {
                            let sets = (0..SIZE as u64).map(|e| case.values(50 + entry * 10 + e)[k].clone());
                            joined(&sets.collect::<Vec<_>>())
                        };
                        (pairs[at].1, (0..2).map(many).collect())
                    }
                })
                .collect();
            check(&format!("{}, inner batch over {inner:?}", case.name), &mut recorded, &batched, &bindings, &second);
        }
    }
}

/// The tangent along probes of all inputs; `None` where there is none.
fn tangent(recorded: &mut Recorded, bindings: &mut Bindings) -> Option<(Var, Vec<(Var, Var)>)> {
    let inputs = recorded.smooth_inputs();
    let pairs: Vec<_> = inputs.iter().map(|&x| (x, recorded.probe(x, x.index() as u64, bindings))).collect();
    let tangent = recorded.tape.jvp(&[recorded.output], &pairs).unwrap()[0];
    tangent.map(|t| (t, pairs))
}

/// The gradient of the probe-weighted output in all inputs.
fn gradient(recorded: &mut Recorded, bindings: &mut Bindings) -> Vec<Var> {
    let output = recorded.output;
    let probe = recorded.probe(output, 3, bindings);
    let value = recorded.tape.inner(output, probe).unwrap();
    recorded.tape.grad(value, &recorded.smooth_inputs()).unwrap()
}

#[test]
fn a_batch_of_tangents_is_a_loop_over_points_and_directions() {
    for case in table::all() {
        for chosen in subsets(case.inputs.len()) {
            let mut recorded = case.record(DType::F64);
            let mut bindings = recorded.bind(&case.values(0));
            let Some((tangent, pairs)) = tangent(&mut recorded, &mut bindings) else { continue };
            let mut all = changes(&case, &recorded, &chosen, 60);
            // One direction is batched too, then directions alone.
            let directions: Vec<Value> =
                (0..SIZE as u64).map(|e| Value::Real(table::weights(bindings[&pairs[0].1].len(), 60 + e))).collect();
            let name = format!("batch of jvp of {}, inputs {chosen:?} batched", case.name);
            check(&name, &mut recorded, &[tangent], &bindings, &all);
            all.push((pairs[0].1, directions));
            check(&format!("{name} with a direction"), &mut recorded, &[tangent], &bindings, &all);
            let alone = all.split_off(all.len() - 1);
            check(&format!("{}, a direction batched", case.name), &mut recorded, &[tangent], &bindings, &alone);
        }
    }
}

#[test]
fn a_batch_of_gradients_is_a_loop() {
    for case in table::all() {
        for chosen in subsets(case.inputs.len()) {
            let mut recorded = case.record(DType::F64);
            let mut bindings = recorded.bind(&case.values(0));
            let gradients = gradient(&mut recorded, &mut bindings);
            let changes = changes(&case, &recorded, &chosen, 70);
            let name = format!("batch of grad of {}, inputs {chosen:?} batched", case.name);
            check(&name, &mut recorded, &gradients, &bindings, &changes);
        }
    }
}

#[test]
fn the_gradient_of_a_batch_is_the_sum_of_gradients_for_shared_inputs_and_a_stack_for_batched_ones() {
    for case in table::all() {
        for chosen in subsets(case.inputs.len()) {
            let mut recorded = case.record(DType::F64);
            let mut bindings = recorded.bind(&case.values(0));
            let changes = changes(&case, &recorded, &chosen, 80);
            let pairs: Vec<_> =
                changes.iter().map(|(x, v)| (*x, stacked(&mut recorded.tape, *x, v, &mut bindings))).collect();
            let single = gradient(&mut recorded, &mut bindings);
            let probe = recorded.tape.nodes().len();
            // The same probe for every entry, as the single gradient has.
            let weights = *bindings.keys().filter(|v| v.index() < probe).max_by_key(|v| v.index()).unwrap();
            let batched = recorded.tape.batch(&[recorded.output], &pairs).unwrap()[0];
            let value = recorded.tape.inner(batched, weights).unwrap();
            let inputs = recorded.smooth_inputs();
            let target: Vec<Var> =
                inputs.iter().map(|x| pairs.iter().find(|p| p.0 == *x).map_or(*x, |p| p.1)).collect();
            let found = recorded.tape.grad(value, &target).unwrap();
            let found = evaluate_reals(&recorded.tape, &found, &bindings);
            let expected = looped(&recorded.tape, &single, &bindings, &changes);
            for (k, &x) in target.iter().enumerate() {
                let shape = recorded.tape.shape(x).to_vec();
                let count: usize = shape.iter().product();
                let expected: Vec<f64> = if x == inputs[k] {
                    (0..count).map(|i| (0..SIZE).map(|e| expected[k][e * count + i]).sum()).collect()
                } else {
                    expected[k].clone()
                };
                let what = format!("{}, inputs {chosen:?} batched: gradient {k}", case.name);
                assert_close(&what, &shape, &found[k], &expected, ROUNDING);
            }
        }
    }
}

#[test]
fn the_tangent_of_a_batch_is_the_batch_of_tangents() {
    for case in table::all() {
        for chosen in subsets(case.inputs.len()) {
            let mut recorded = case.record(DType::F64);
            let mut bindings = recorded.bind(&case.values(0));
            let Some((single, directions)) = tangent(&mut recorded, &mut bindings) else { continue };
            let mut all = changes(&case, &recorded, &chosen, 90);
            let pairs: Vec<_> =
                all.iter().map(|(x, v)| (*x, stacked(&mut recorded.tape, *x, v, &mut bindings))).collect();
            let batched = recorded.tape.batch(&[recorded.output], &pairs).unwrap()[0];
            let mut along = Vec::new();
            for &(x, t) in &directions {
                match pairs.iter().find(|p| p.0 == x) {
                    None => along.push((x, t)),
                    Some(&(_, many)) => {
                        let count = bindings[&t].len();
                        let entries: Vec<Value> =
                            (0..SIZE as u64).map(|e| Value::Real(table::weights(count, 95 + e))).collect();
                        along.push((many, stacked(&mut recorded.tape, t, &entries, &mut bindings)));
                        all.push((t, entries));
                    }
                }
            }
            let found = recorded.tape.jvp(&[batched], &along).unwrap()[0].unwrap();
            let found = evaluate_reals(&recorded.tape, &[found], &bindings).remove(0);
            let expected = looped(&recorded.tape, &[single], &bindings, &all).remove(0);
            let shape = recorded.tape.shape(batched).to_vec();
            let what = format!("jvp of batch of {}, inputs {chosen:?} batched", case.name);
            assert_close(&what, &shape, &found, &expected, ROUNDING);
        }
    }
}

#[test]
fn outputs_that_do_not_depend_on_the_batched_inputs_are_repeated() {
    let mut tape = Tape::new();
    let x = tape.input(&[2], DType::F64);
    let other = tape.input(&[2], DType::F64);
    let many = tape.input(&[SIZE, 2], DType::F64);
    let y = tape.exp(other).unwrap();
    let batched = tape.batch(&[y, x, other], &[(x, many)]).unwrap();
    assert_eq!(batched[1], many);
    let bindings = [(other, Value::Real(vec![0.0, 1.0])), (many, Value::Real(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))]
        .into_iter()
        .collect();
    let read = evaluate_reals(&tape, &[batched[0], batched[2]], &bindings);
    let e = 1.0_f64.exp();
    assert_eq!(read[0], [1.0, e, 1.0, e, 1.0, e]);
    assert_eq!(read[1], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn members_of_a_batch_share_their_noise() {
    let mut tape = Tape::new();
    let x = tape.input(&[4], DType::F64);
    let noise = tape.noise(Distribution::Normal, &[4], DType::F64).unwrap();
    let y = tape.add(x, noise).unwrap();
    let many = tape.input(&[2, 4], DType::F64);
    let ys = tape.batch(&[y], &[(x, many)]).unwrap()[0];
    let mut machine = Machine::cpu(1).unwrap();
    let plan = machine.load(Plan::new(&tape, &Request::outputs(&[ys, noise])).unwrap()).unwrap();
    machine.write(many, &[0.0; 8]).unwrap();
    machine.run(plan).unwrap();
    let drawn = machine.read::<f64>(noise).unwrap();
    assert_eq!(machine.read::<f64>(ys).unwrap(), [drawn, drawn].concat());
}

#[test]
fn products_of_a_batch_with_a_shared_matrix_are_one_product() {
    for batched_left in [true, false] {
        let mut tape = Tape::new();
        let a = tape.input(&[4, 3], DType::F64);
        let b = tape.input(&[3, 2], DType::F64);
        let y = tape.matmul(a, b).unwrap();
        let (x, shape) = if batched_left { (a, [5, 4, 3]) } else { (b, [5, 3, 2]) };
        let many = tape.input(&shape, DType::F64);
        let before = tape.len();
        tape.batch(&[y], &[(x, many)]).unwrap();
        let products: Vec<_> = tape.nodes()[before..].iter().filter(|node| node.op.name() == "matmul").collect();
        assert_eq!(products.len(), 1);
        let expands = tape.nodes()[before..].iter().filter(|node| node.op.name() == "expand").count();
        assert_eq!(expands, 0, "the shared matrix is not copied");
    }
}
