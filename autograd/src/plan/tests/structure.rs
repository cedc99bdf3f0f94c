//! What plans are made of: how many steps, which buffers, which work in place.

use super::interpret::{Order, run};
use super::naive::Values;
use crate::plan::step::{Action, Place};
use crate::plan::{Options, Plan, Request};
use crate::{DType, Error, Tape, Var};

const F: DType = DType::F64;

fn plan(tape: &Tape, outputs: &[Var]) -> Plan {
    Plan::new(tape, &Request::outputs(outputs)).unwrap()
}

fn names(plan: &Plan) -> Vec<&'static str> {
    let name = |action: &Action| match action {
        Action::Loop(_) => "loop",
        Action::Product(p) if p.accumulate => "product added",
        Action::Product(p) if p.epilogue.is_some() => "product finished",
        Action::Product(_) => "product",
        Action::Cholesky { .. } => "cholesky",
        Action::SolveFactor { .. } => "solve",
        Action::InverseFactor { .. } => "inverse",
        Action::LogDetFactor { .. } => "log_det",
        Action::Gather { .. } => "gather",
        Action::ScatterAdd { .. } => "scatter_add",
        _ => "other",
    };
    plan.steps().iter().map(|step| name(&step.action)).collect()
}

#[test]
fn two_hundred_small_operations_become_four_loops() {
    let mut tape = Tape::new();
    let x = tape.input(&[64], F);
    let mut y = x;
    for k in 0..100 {
        y = tape.sin(y).unwrap();
        y = tape.add_scalar(y, 0.1 + k as f64).unwrap();
    }
    assert_eq!(names(&plan(&tape, &[y])), ["loop"; 4]);
}

#[test]
fn a_dense_layer_is_one_product_with_bias_and_activation() {
    let mut tape = Tape::new();
    let (x, w, b) = (tape.input(&[32, 8], F), tape.input(&[8, 4], F), tape.input(&[4], F));
    let z = tape.matmul(x, w).unwrap();
    let z = tape.add(z, b).unwrap();
    let y = tape.tanh(z).unwrap();
    let plan = plan(&tape, &[y]);
    assert_eq!(names(&plan), ["product finished"]);
    assert_eq!(plan.arena_bytes(), 0);
}

#[test]
fn a_batch_that_shares_its_weights_is_one_product() {
    let mut tape = Tape::new();
    let (x, w) = (tape.input(&[10, 32, 8], F), tape.input(&[8, 4], F));
    let y = tape.matmul(x, w).unwrap();
    let plan = plan(&tape, &[y]);
    let Action::Product(product) = &plan.steps()[0].action else { panic!("{plan}") };
    assert_eq!((plan.steps().len(), product.out.shape.as_slice()), (1, &[1, 320, 4][..]));
}

#[test]
fn a_weight_gradient_summed_over_the_batch_is_one_long_product() {
    let mut tape = Tape::new();
    let (x, g) = (tape.input(&[10, 32, 8], F), tape.input(&[10, 32, 4], F));
    let xt = tape.transpose(x).unwrap();
    let products = tape.matmul(xt, g).unwrap();
    let sum = tape.sum(products, &[0]).unwrap();
    let plan = plan(&tape, &[sum]);
    let Action::Product(product) = &plan.steps()[0].action else { panic!("{plan}") };
    assert_eq!((plan.steps().len(), product.a.shape.as_slice()), (1, &[1, 8, 320][..]));
}

#[test]
fn a_batch_of_products_that_cannot_be_one_is_summed_without_being_stored() {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[10, 3, 8], F), tape.input(&[10, 8, 4], F));
    let products = tape.matmul(a, b).unwrap();
    let sum = tape.sum(products, &[0]).unwrap();
    let plan = plan(&tape, &[sum]);
    let Action::Product(product) = &plan.steps()[0].action else { panic!("{plan}") };
    assert_eq!((plan.steps().len(), product.out.strides.as_slice()), (1, &[0, 4, 1][..]));
    assert_eq!(plan.arena_bytes(), 0);
}

#[test]
fn a_sum_of_three_products_accumulates_in_the_output() {
    let mut tape = Tape::new();
    let mut terms = Vec::new();
    for _ in 0..3 {
        let (a, b) = (tape.input(&[6, 5], F), tape.input(&[5, 4], F));
        terms.push(tape.matmul(a, b).unwrap());
    }
    let sum = tape.add(terms[0], terms[1]).unwrap();
    let sum = tape.add(sum, terms[2]).unwrap();
    let plan = plan(&tape, &[sum]);
    assert_eq!(names(&plan), ["product", "product added", "product added"]);
    assert_eq!(plan.arena_bytes(), 0);
}

#[test]
fn gradients_of_slices_are_written_into_the_gradient_of_the_whole() {
    let mut tape = Tape::new();
    let theta = tape.input(&[20], F);
    let x = tape.input(&[7, 3], F);
    let w = tape.slice(theta, &[0], &[15]).unwrap();
    let w = tape.reshape(w, &[3, 5]).unwrap();
    let b = tape.slice(theta, &[15], &[5]).unwrap();
    let z = tape.matmul(x, w).unwrap();
    let z = tape.add(z, b).unwrap();
    let z = tape.square(z).unwrap();
    let value = tape.sum_all(z).unwrap();
    let gradient = tape.grad(value, &[theta]).unwrap();
    let plan = plan(&tape, &gradient);
    let writers = plan.steps().iter().filter(|step| {
        let writes = |(view, written): &(&_, bool)| -> bool {
            let view: &crate::plan::step::View = view;
            *written && plan.buffers()[view.buffer.0].place == Place::Persistent(gradient[0])
        };
        step.action.views().iter().any(writes)
    });
    // The product and the sum of the bias write their parts; nothing is copied.
    assert_eq!(writers.count(), 2, "{plan}");
    assert_eq!(plan.steps().len(), 3, "{plan}");
}

#[test]
fn a_loop_runs_along_the_axis_on_which_most_of_its_views_are_contiguous() {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[6, 10], F), tape.input(&[6, 10], F));
    let (xt, yt) = (tape.transpose(x).unwrap(), tape.transpose(y).unwrap());
    let z = tape.mul(xt, yt).unwrap();
    let plan = plan(&tape, &[z]);
    let Action::Loop(l) = &plan.steps()[0].action else { panic!("{plan}") };
    assert_eq!((l.shape.as_slice(), l.loads[0].strides.as_slice()), (&[6, 10][..], &[10, 1][..]));
    assert_eq!(l.stores[0].to.strides, [1, 6]);
}

#[test]
fn a_softmax_is_three_loops() {
    let mut tape = Tape::new();
    let x = tape.input(&[16, 10], F);
    let top = tape.max(x, &[1]).unwrap();
    let shifted = tape.sub(x, top).unwrap();
    let e = tape.exp(shifted).unwrap();
    let total = tape.sum(e, &[1]).unwrap();
    let y = tape.div(e, total).unwrap();
    let plan = plan(&tape, &[y]);
    assert_eq!(names(&plan), ["loop"; 3]);
}

#[test]
fn sum_and_maximum_of_one_value_share_a_loop() {
    let mut tape = Tape::new();
    let x = tape.input(&[16, 10], F);
    let y = tape.sin(x).unwrap();
    let (sum, top) = (tape.sum(y, &[1]).unwrap(), tape.max(y, &[1]).unwrap());
    assert_eq!(names(&plan(&tape, &[sum, top])), ["loop"]);
}

/// w and two moments with a gradient: new values in the manner of Adam.
fn optimiser() -> (Tape, Var, Vec<(Var, Var)>) {
    let mut tape = Tape::new();
    let gradient = tape.input(&[100], F);
    let state: Vec<Var> = (0..3).map(|_| tape.input(&[100], F)).collect();
    let mix = |tape: &mut Tape, old, new, rate: f64| {
        let (a, b) = (tape.scale(old, rate).unwrap(), tape.scale(new, 1.0 - rate).unwrap());
        tape.add(a, b).unwrap()
    };
    let first = mix(&mut tape, state[1], gradient, 0.9);
    let square = tape.square(gradient).unwrap();
    let second = mix(&mut tape, state[2], square, 0.99);
    let root = tape.sqrt(second).unwrap();
    let root = tape.add_scalar(root, 1e-8).unwrap();
    let move_ = tape.div(first, root).unwrap();
    let move_ = tape.scale(move_, 0.1).unwrap();
    let new = tape.sub(state[0], move_).unwrap();
    let updates = vec![(state[0], new), (state[1], first), (state[2], second)];
    (tape, gradient, updates)
}

#[test]
fn an_optimiser_step_is_one_loop_in_place() {
    let (tape, _, updates) = optimiser();
    let plan = Plan::new(&tape, &Request { updates: &updates, ..Request::default() }).unwrap();
    assert_eq!(names(&plan), ["loop"]);
    assert_eq!((plan.arena_bytes(), plan.persistent_bytes()), (0, 3200));
}

#[test]
fn weights_are_updated_in_place_after_the_product_that_is_their_gradient() {
    let mut tape = Tape::new();
    let (w, x, g) = (tape.input(&[5, 4], F), tape.input(&[5, 7], F), tape.input(&[7, 4], F));
    let gradient = tape.matmul(x, g).unwrap();
    let step = tape.scale(gradient, 0.1).unwrap();
    let new = tape.sub(w, step).unwrap();
    let plan = Plan::new(&tape, &Request { updates: &[(w, new)], ..Request::default() }).unwrap();
    assert_eq!(names(&plan), ["product finished", "loop"]);
    assert_eq!(plan.arena_bytes(), 192);
}

#[test]
fn the_derivative_of_an_activation_is_computed_again_from_the_activation() {
    let mut tape = Tape::new();
    let (x, w, v) = (tape.input(&[8, 4], F), tape.input(&[4, 4], F), tape.input(&[4, 4], F));
    let z = tape.matmul(x, w).unwrap();
    let h = tape.tanh(z).unwrap();
    let y = tape.matmul(h, v).unwrap();
    let y = tape.sin(y).unwrap();
    let value = tape.sum_all(y).unwrap();
    let gradient = tape.grad(value, &[w, v]).unwrap();
    let plan = plan(&tape, &gradient);
    let first = &plan.steps()[0].action;
    let written = first.views().iter().filter(|(_, written)| *written).map(|(view, _)| view.buffer).min();
    // The first product stores tanh and nothing else.
    assert!(first.views().iter().all(|(view, is_written)| !is_written || Some(view.buffer) == written), "{plan}");
    assert_eq!(first.flops(), 8.0 * 4.0 * (2.0 * 4.0 + 1.0), "{plan}");
}

#[test]
fn updates_that_exchange_two_inputs_see_the_old_values() {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[2], F), tape.input(&[2], F));
    let updates = [(a, b), (b, a)];
    let plan = Plan::new(&tape, &Request { updates: &updates, ..Request::default() }).unwrap();
    let before = Values::from([(a, vec![1.0, 2.0]), (b, vec![3.0, 4.0])]);
    let after = run(&plan, &before, Order::Forward);
    assert_eq!((&after[&a], &after[&b]), (&vec![3.0, 4.0], &vec![1.0, 2.0]));
}

#[test]
fn an_input_updated_by_itself_keeps_its_value() {
    let mut tape = Tape::new();
    let x = tape.input(&[2], F);
    let plan = Plan::new(&tape, &Request { updates: &[(x, x)], ..Request::default() }).unwrap();
    assert_eq!((plan.steps().len(), plan.inputs(), plan.persistent_bytes()), (0, &[x][..], 16));
}

#[test]
fn updates_that_read_each_other_see_the_old_values() {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[2, 2], F), tape.input(&[2, 2], F));
    let new_a = tape.matmul(a, b).unwrap();
    let new_b = tape.sub(b, a).unwrap();
    let updates = [(a, new_a), (b, new_b)];
    let plan = Plan::new(&tape, &Request { updates: &updates, ..Request::default() }).unwrap();
    let before = Values::from([(a, vec![1.0, 2.0, 3.0, 4.0]), (b, vec![0.0, 1.0, 1.0, 0.0])]);
    let after = run(&plan, &before, Order::Forward);
    assert_eq!(after[&a], [2.0, 1.0, 4.0, 3.0]);
    assert_eq!(after[&b], [-1.0, -1.0, -2.0, -4.0]);
}

#[test]
fn a_matrix_is_factorised_once_for_all_that_need_it() {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[3, 3], F), tape.input(&[3, 2], F));
    let outputs = [tape.log_det_spd(a).unwrap(), tape.solve_spd(a, b).unwrap(), tape.inverse_spd(a).unwrap()];
    let mut found = names(&plan(&tape, &outputs));
    found.sort_unstable();
    assert_eq!(found, ["cholesky", "inverse", "log_det", "solve"]);
}

#[test]
fn structural_zeros_and_ones_leave_no_work() {
    let mut tape = Tape::new();
    let (x, w) = (tape.input(&[4, 4], F), tape.input(&[4, 4], F));
    let zero = tape.constant(0.0, &[4, 4], F);
    let one = tape.constant(1.0, &[4, 4], F);
    let product = tape.matmul(w, zero).unwrap();
    let kept = tape.mul(x, one).unwrap();
    let gone = tape.mul(w, product).unwrap();
    let sum = tape.add(kept, gone).unwrap();
    let y = tape.exp(sum).unwrap();
    let plan = plan(&tape, &[y]);
    assert_eq!((names(&plan), plan.inputs()), (vec!["loop"], &[x][..]));
}

#[test]
fn work_on_repeated_values_is_done_once() {
    let mut tape = Tape::new();
    let (x, s) = (tape.input(&[100, 50], F), tape.input(&[1, 1], F));
    let wide = tape.expand(s, &[100, 50]).unwrap();
    let scale = tape.exp(wide).unwrap();
    let y = tape.mul(x, scale).unwrap();
    assert_eq!(plan(&tape, &[y]).flops(), 5001.0);
}

#[test]
fn what_no_output_needs_is_not_planned() {
    let mut tape = Tape::new();
    let x = tape.input(&[4], F);
    let y = tape.exp(x).unwrap();
    tape.sin(y).unwrap();
    assert_eq!(plan(&tape, &[y]).flops(), 4.0);
    let plan = plan(&tape, &[x]);
    assert_eq!((names(&plan), plan.inputs(), plan.peak_bytes()), (vec![], &[x][..], 32));
}

#[test]
fn values_without_elements_are_planned() {
    let mut tape = Tape::new();
    let x = tape.input(&[0, 3], F);
    let one = tape.constant(1.0, &[0], F);
    assert_eq!(plan(&tape, &[x, one]).peak_bytes(), 0);
}

#[test]
fn values_beyond_addressing_are_errors() {
    let mut tape = Tape::new();
    let x = tape.constant(1.0, &[1 << 61], F);
    let error = Plan::new(&tape, &Request::outputs(&[x])).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
}

#[test]
fn a_chain_of_products_needs_two_buffers() {
    let mut tape = Tape::new();
    let (x, w) = (tape.input(&[8, 8], F), tape.input(&[8, 8], F));
    let mut y = x;
    for _ in 0..10 {
        y = tape.matmul(y, w).unwrap();
    }
    assert_eq!(plan(&tape, &[y]).arena_bytes(), 2 * 8 * 8 * 8);
}

#[test]
fn a_loop_writes_over_what_it_reads_for_the_last_time() {
    let mut tape = Tape::new();
    let (x, w) = (tape.input(&[8, 8], F), tape.input(&[8, 8], F));
    let product = tape.matmul(x, w).unwrap();
    let normal = tape.sum(product, &[1]).unwrap();
    let scaled = tape.div(product, normal).unwrap();
    let y = tape.matmul(scaled, w).unwrap();
    // The product (then its scaled value in place) and eight sums.
    assert_eq!(plan(&tape, &[y]).arena_bytes(), 8 * 8 * 8 + 64);
}

#[test]
fn a_paranoid_plan_has_a_step_and_a_buffer_for_each_node() {
    let mut tape = Tape::new();
    let x = tape.input(&[3, 2], F);
    let y = tape.exp(x).unwrap();
    let y = tape.transpose(y).unwrap();
    let y = tape.add_scalar(y, 1.0).unwrap();
    let y = tape.sum(y, &[0]).unwrap();
    let options = Options { paranoid: true, memory_limit: None };
    let outputs = [y];
    let plan = Plan::new(&tape, &Request { outputs: &outputs, options, ..Request::default() }).unwrap();
    // The scalar 1, its reshape and expansion are nodes too.
    let nodes = tape.nodes().len() - 1;
    assert_eq!(plan.steps().len(), nodes, "{plan}");
    assert_eq!(plan.buffers().len(), nodes + 1, "{plan}");
}

#[test]
fn updates_that_make_no_sense_are_errors_that_say_why() {
    let mut tape = Tape::new();
    let (x, y) = (tape.named_input("weights", &[2], F), tape.input(&[3], F));
    let z = tape.exp(x).unwrap();
    let problem = |updates: &[(Var, Var)]| match Plan::new(&tape, &Request { updates, ..Request::default() }) {
        Err(Error::Argument { name: "updates", problem }) => problem,
        other => panic!("{other:?}"),
    };
    assert!(problem(&[(z, x)]).contains("is not an input"));
    assert!(problem(&[(x, z), (x, z)]).contains("weights is updated twice"));
    assert!(problem(&[(x, y)]).contains("weights has shape [2]"));
}

#[test]
fn variables_of_another_tape_are_errors() {
    let (mut tape, mut other) = (Tape::new(), Tape::new());
    tape.input(&[2], F);
    let foreign = other.input(&[2], F);
    let error = Plan::new(&tape, &Request::outputs(&[foreign])).unwrap_err();
    assert!(matches!(error, Error::ForeignVar { .. }), "{error}");
}

#[test]
fn a_printed_plan_names_operations_buffers_places_and_the_peak() {
    let mut tape = Tape::new();
    let x = tape.named_input("pixels", &[4, 2], F);
    let y = tape.exp(x).unwrap();
    tape.set_name(y, "intensity");
    let text = plan(&tape, &[y]).to_string();
    for part in ["exp", "intensity(8) <- pixels(8)", "structure.rs:", "peak 128 bytes"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

/// Maxima over 2 x 2 of images, a ReLU of them, and the gradient of a weighted sum with respect to the images.
fn pooled(dtype: DType) -> (Tape, Vec<Var>) {
    let mut tape = Tape::new();
    let x = tape.input(&[3, 5, 20, 24], dtype);
    let product = tape.sin(x).unwrap();
    let pooled = tape.max_pool2d(product, [2, 2], [2, 2], [0, 0]).unwrap();
    let y = tape.relu(pooled).unwrap();
    let weights = tape.input(&[3, 5, 10, 12], dtype);
    let loss = tape.inner(y, weights).unwrap();
    let gradient = tape.grad(loss, &[product]).unwrap();
    (tape, vec![y, gradient[0]])
}

#[test]
fn a_pooling_and_its_gradient_are_one_loop_after_what_is_pooled() {
    let (tape, outputs) = pooled(F);
    let plan = plan(&tape, &outputs);
    assert_eq!(names(&plan), ["loop"; 2], "{plan}");
}

#[test]
fn a_pooling_and_its_gradient_keep_the_bits_of_the_unfused_plan() {
    for dtype in [DType::F32, DType::F64] {
        let (tape, outputs) = pooled(dtype);
        let values = |paranoid: bool, threads: usize| {
            let options = Options { paranoid, ..Options::default() };
            let request = Request { outputs: &outputs, options, ..Request::default() };
            let plan = Plan::new(&tape, &request).unwrap();
            let inputs = plan.inputs().to_vec();
            let mut machine = crate::Machine::cpu(threads).unwrap();
            machine.spread_from(0.0);
            let plan = machine.load(plan).unwrap();
            for input in inputs {
                let count = tape.elements(input);
                // Few different numbers, so that windows have equal maxima.
                machine.write_f64(input, &(0..count).map(|k| (k * 7 % 5) as f64 - 1.5).collect::<Vec<_>>()).unwrap();
            }
            machine.run(plan).unwrap();
            outputs.iter().map(|&y| machine.read_f64(y).unwrap()).collect::<Vec<_>>()
        };
        let unfused = values(true, 1);
        assert_eq!(values(false, 1), unfused);
        assert_eq!(values(false, 3), unfused);
    }
}

#[test]
fn the_mask_of_a_relu_is_made_from_its_result_and_not_stored() {
    let mut tape = Tape::new();
    let (x, w) = (tape.input(&[1000], F), tape.input(&[1000], F));
    let z = tape.sin(x).unwrap();
    let y = tape.relu(z).unwrap();
    let total = tape.inner(y, w).unwrap();
    let loss = tape.square(total).unwrap();
    // The weights' gradient needs the ReLU's result, the other one its mask.
    let gradients = tape.grad(loss, &[z, w]).unwrap();
    let plan = plan(&tape, &gradients);
    // The ReLU's result and the sum; inputs and gradients are held elsewhere.
    assert!(plan.arena_bytes() < 8 * 1100, "{plan}");
}

#[test]
fn the_masks_of_a_maximum_are_made_again_where_they_are_needed() {
    let mut tape = Tape::new();
    let x = tape.input(&[3, 5, 20, 24], F);
    let product = tape.sin(x).unwrap();
    let pooled = tape.max_pool2d(product, [2, 2], [2, 2], [0, 0]).unwrap();
    let square = tape.square(pooled).unwrap();
    let total = tape.sum_all(square).unwrap();
    let loss = tape.square(total).unwrap();
    let gradient = tape.grad(loss, &[product]).unwrap();
    let plan = plan(&tape, &gradient);
    let images = 8 * 3 * 5 * 20 * 24;
    // What is pooled, the maxima and their cotangents; masks would be as large as the first.
    assert!(plan.arena_bytes() < 2 * images, "{plan}");
}
