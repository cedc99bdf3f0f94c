//! Costs of steps against counts by hand.

use crate::op::Distribution;
use crate::plan::{Plan, Request, StepCost, StepKind};
use crate::{DType, Tape, Var};

const F: DType = DType::F32;

/// The costs of the plan for these outputs; their operations must add up to the plan's.
fn costs(tape: &Tape, outputs: &[Var]) -> Vec<StepCost> {
    let plan = Plan::new(tape, &Request::outputs(outputs)).unwrap();
    let costs = plan.step_costs();
    assert_eq!(costs.len(), plan.steps().len());
    assert_eq!(costs.iter().map(|cost| cost.flops).sum::<f64>(), plan.flops(), "{plan}");
    for (cost, step) in costs.iter().zip(plan.steps()) {
        assert_eq!(cost.bytes_read + cost.bytes_written, step.bytes, "{}", cost.description);
    }
    costs
}

/// Kind, operations, bytes read and bytes written of the only step.
#[track_caller]
fn one(tape: &Tape, output: Var) -> (StepKind, f64, f64, f64) {
    let costs = costs(tape, &[output]);
    let [StepCost { kind, flops, bytes_read, bytes_written, .. }] = costs[..] else { panic!("{costs:?}") };
    (kind, flops, bytes_read, bytes_written)
}

#[test]
fn a_product_takes_two_operations_for_each_triple_of_indices() {
    let mut tape = Tape::new();
    let (a, b) = (tape.input(&[7, 5], F), tape.input(&[5, 3], F));
    let product = tape.matmul(a, b).unwrap();
    assert_eq!(one(&tape, product), (StepKind::Product, 2.0 * 7.0 * 5.0 * 3.0, 4.0 * (35.0 + 15.0), 4.0 * 21.0));
}

#[test]
fn bias_and_activation_add_two_operations_a_result_and_the_bytes_of_the_bias() {
    let mut tape = Tape::new();
    let (a, b, bias) = (tape.input(&[7, 5], F), tape.input(&[5, 3], F), tape.input(&[3], F));
    let product = tape.matmul(a, b).unwrap();
    let shifted = tape.add(product, bias).unwrap();
    let output = tape.tanh(shifted).unwrap();
    let expected = (StepKind::Product, 7.0 * 3.0 * (2.0 * 5.0 + 2.0), 4.0 * (35.0 + 15.0 + 3.0), 4.0 * 21.0);
    assert_eq!(one(&tape, output), expected);
}

#[test]
fn elementwise_work_counts_its_functions_and_reads_a_broadcast_operand_once() {
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[100, 10], F), tape.input(&[10], F));
    let e = tape.exp(x).unwrap();
    let z = tape.mul(e, y).unwrap();
    assert_eq!(one(&tape, z), (StepKind::Elementwise, 2000.0, 4.0 * 1010.0, 4.0 * 1000.0));
}

#[test]
fn a_sum_is_a_reduction_of_one_operation_an_element() {
    let mut tape = Tape::new();
    let x = tape.input(&[30, 20], F);
    let sum = tape.sum(x, &[1]).unwrap();
    assert_eq!(one(&tape, sum), (StepKind::Reduction, 600.0, 4.0 * 600.0, 4.0 * 30.0));
}

#[test]
fn a_convolution_takes_two_operations_for_each_result_channel_and_weight() {
    let mut tape = Tape::new();
    let (x, w) = (tape.input(&[4, 3, 8, 8], F), tape.input(&[5, 3, 3, 3], F));
    let y = tape.conv2d(x, w, [1, 1], [1, 1]).unwrap();
    let costs = costs(&tape, &[y]);
    let flops = 2.0 * (4.0 * 5.0 * 8.0 * 8.0) * (3.0 * 3.0 * 3.0);
    let convolution: Vec<&StepCost> = costs.iter().filter(|cost| cost.kind == StepKind::Convolution).collect();
    let [StepCost { flops: found, bytes_read, bytes_written, .. }] = convolution[..] else { panic!("{costs:?}") };
    assert_eq!(*found, flops);
    assert_eq!((*bytes_read, *bytes_written), (4.0 * (4.0 * 3.0 * 64.0 + 5.0 * 27.0), 4.0 * (4.0 * 5.0 * 64.0)));
}

#[test]
fn random_numbers_are_written_without_any_operation() {
    let mut tape = Tape::new();
    let noise = tape.noise(Distribution::Normal, &[50, 2], F).unwrap();
    assert_eq!(one(&tape, noise), (StepKind::Noise, 0.0, 0.0, 400.0));
}

#[test]
fn a_gather_reads_what_it_picks_not_the_table() {
    let mut tape = Tape::new();
    let (x, index) = (tape.input(&[1000, 6], F), tape.input(&[10], DType::U32));
    let picked = tape.gather(x, index, 0).unwrap();
    assert_eq!(one(&tape, picked), (StepKind::Indexing, 0.0, 4.0 * (60.0 + 10.0), 4.0 * 60.0));
}

#[test]
fn a_log_determinant_is_a_factor_of_a_third_of_the_cube_and_a_sum_of_logarithms() {
    let mut tape = Tape::new();
    let a = tape.input(&[6, 6], DType::F64);
    let value = tape.log_det_spd(a).unwrap();
    let costs = costs(&tape, &[value]);
    assert!(costs.iter().all(|cost| cost.kind == StepKind::Factorisation), "{costs:?}");
    let flops: Vec<f64> = costs.iter().map(|cost| cost.flops).collect();
    assert_eq!(flops, [6.0 * 6.0 * 6.0 / 3.0, 6.0]);
}

#[test]
fn a_gradient_adds_up_and_every_step_says_what_it_does() {
    let mut tape = Tape::new();
    let (x, w) = (tape.named_input("x", &[9, 4], F), tape.named_input("w", &[4, 2], F));
    let z = tape.matmul(x, w).unwrap();
    let y = tape.sin(z).unwrap();
    let value = tape.sum_all(y).unwrap();
    let gradient = tape.grad(value, &[w]).unwrap();
    let costs = costs(&tape, &gradient);
    assert!(costs.iter().all(|cost| cost.description.contains(file!())), "{costs:?}");
    assert!(costs[0].description.contains("x(1, 9, 4) w(1, 4, 2)"), "{}", costs[0].description);
}
