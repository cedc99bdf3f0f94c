//! `livi train --profile`: what each part of a training step costs.

use super::changes::Named;
use super::output::{emit, emit_json};
use crate::Result;
use crate::data;
use crate::profile::{MOST_STEPS, Total, TrainingProfile};
use crate::train::Trainer;
use autograd::Device;
use serde_json::{Value, json};
use std::fmt::Write;

/// Rows of the table of steps.
const ROWS: usize = 40;

/// Measures a training step of a configuration and prints the table, or everything as one JSON object.
pub(super) fn run(named: &Named, device: Device, memory: Option<usize>, as_json: bool) -> Result<()> {
    let Named { name, config } = named;
    let dataset = data::load(&config.data)?;
    // A training of few steps is measured as well.
    let mut config = config.clone();
    let steps = config.training.total_steps(dataset.training.rows());
    (config.training.steps, config.training.epochs) = (Some(steps.max(MOST_STEPS)), None);
    let trainer = Trainer::on(&config, &dataset, device, memory)?;
    let profile = TrainingProfile::measure(trainer, config.dtype)?;
    if as_json {
        let mut object = object(&profile);
        object["name"] = name.as_str().into();
        object["dtype"] = config.dtype.to_string().into();
        object["device"] = device.to_string().into();
        if let Device::Cpu { threads } = device {
            object["threads"] = threads.into();
        }
        return emit_json(&object);
    }
    emit(&format!(
        "A training step of {name} in {} on {}. A product of large matrices reaches {:.1} GFLOP/s.\n\n{}",
        config.dtype,
        place(device),
        profile.product_rate / 1e9,
        table(&profile)
    ))
}

/// A device in a sentence.
fn place(device: Device) -> String {
    match device {
        Device::Cpu { threads: 1 } => "1 thread".into(),
        Device::Cpu { threads } => format!("{threads} threads"),
        Device::Cuda { tf32: true, .. } => format!("{device} with products in TF32"),
        _ => device.to_string(),
    }
}

/// Three tables: plans, kinds of steps, and the steps that take most.
fn table(profile: &TrainingProfile) -> String {
    let whole = profile.whole();
    let time = |seconds: f64| format!("{:>10.3} {:>5.1} %", seconds * 1e3, 100.0 * seconds / whole);
    let mut text = format!("{:>10} {:>7} {:>6}  plan\n", "ms a step", "share", "runs");
    for (number, plan) in profile.plans.iter().enumerate() {
        let runs = plan.runs;
        let _ = writeln!(text, "{} {runs:>6}  {}: {}", time(runs * plan.seconds()), number + 1, plan.name);
    }
    let beside = "beside the plans: rows, vector work, numbers carried between plans";
    let _ = writeln!(text, "{} {:>6}  {beside}", time(profile.beside()), "");
    let _ = writeln!(text, "{} {:>6}  a step, the least of {}", time(profile.step_seconds), "", profile.steps);

    let figures = |total: Total| {
        let Total { seconds, flops, bytes } = total;
        let rate = if flops > 0.0 {
            format!("{:>8.1} {:>8.1} %", flops / seconds / 1e9, 100.0 * flops / seconds / profile.product_rate)
        } else {
            format!("{:>8} {:>8}  ", "-", "-")
        };
        let (flops, moved) = (quantity(flops), quantity(bytes));
        format!("{} {flops:>8} {moved:>8} {rate} {:>7.1}", time(seconds), bytes / seconds / 1e9)
    };
    let heads = format!(
        "{:>10} {:>7} {:>8} {:>8} {:>8} {:>10} {:>7}",
        "ms a step", "share", "flop", "bytes", "GFLOP/s", "of product", "GB/s"
    );
    let _ = writeln!(text, "\n{heads}  kind");
    for (kind, total) in profile.kinds() {
        let _ = writeln!(text, "{}  {kind}", figures(total));
    }
    let _ = writeln!(text, "{}  all", figures(profile.total()));

    let _ = writeln!(text, "\n{heads}  plan:step  what, where");
    let steps = profile.longest_first();
    for &(plan, step, total) in steps.iter().take(ROWS) {
        let what = &profile.plans[plan].steps[step].cost.description;
        let _ = writeln!(text, "{}  {:>9}  {what}", figures(total), format!("{}:{step}", plan + 1));
    }
    if let Some(rest) = steps.get(ROWS..).filter(|rest| !rest.is_empty()) {
        let mut total = Total::default();
        rest.iter().for_each(|&(.., own)| total.add(own));
        let _ = writeln!(text, "{}  {:>9}  the {} others; --json prints them all", figures(total), "", rest.len());
    }
    text
}

/// Everything, in the order in which it runs.
fn object(profile: &TrainingProfile) -> Value {
    let figures = |total: Total| {
        let Total { seconds, flops, bytes } = total;
        json!({
            "seconds": seconds, "share": seconds / profile.whole(), "flops": flops, "bytes": bytes,
            "flops_per_second": flops / seconds, "share_of_product_rate": flops / seconds / profile.product_rate,
            "bytes_per_second": bytes / seconds,
        })
    };
    let plans = profile.plans.iter().map(|plan| {
        let steps = plan.steps.iter().map(|step| {
            let cost = &step.cost;
            let mut object = figures(Total::of(step, plan.runs));
            object["kind"] = cost.kind.name().into();
            object["operation"] = cost.op.into();
            object["what"] = cost.description.as_str().into();
            object["bytes_read"] = (plan.runs * cost.bytes_read).into();
            object["bytes_written"] = (plan.runs * cost.bytes_written).into();
            object["seconds_a_run"] = step.seconds.into();
            object
        });
        json!({ "plan": plan.name, "runs": plan.runs, "seconds_a_run": plan.seconds(), "steps": steps.collect::<Vec<_>>() })
    });
    let kinds = profile.kinds().into_iter().map(|(kind, total)| (kind.to_string(), figures(total)));
    json!({
        "step_seconds": profile.step_seconds, "steps_timed": profile.steps, "seconds_beside_plans": profile.beside(),
        "product_flops_per_second": profile.product_rate, "total": figures(profile.total()),
        "kinds": kinds.collect::<serde_json::Map<_, _>>(), "plans": plans.collect::<Vec<_>>(),
    })
}

/// Three digits and a thousands' letter.
fn quantity(value: f64) -> String {
    let (mut value, mut letters) = (value, ["", "k", "M", "G", "T", "P"].into_iter().peekable());
    let mut letter = letters.next().unwrap_or_default();
    while value >= 999.5
        && let Some(larger) = letters.next()
    {
        (value, letter) = (value / 1000.0, larger);
    }
    let decimals = if letter.is_empty() || value >= 99.95 { 0 } else { 1 + usize::from(value < 9.995) };
    format!("{value:.decimals$} {letter}").trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{PlanProfile, StepProfile};
    use autograd::{StepCost, StepKind};

    /// Two plans; the second runs three times a step. A step takes 10 ms.
    fn example() -> TrainingProfile {
        let step = |kind, seconds: f64, flops: f64, what: &str| StepProfile {
            seconds,
            cost: StepCost { kind, op: "op", description: what.into(), flops, bytes_read: 3e6, bytes_written: 1e6 },
        };
        let first = vec![
            step(StepKind::Product, 2e-3, 1e8, "product 1 x 2 x 3"),
            step(StepKind::Noise, 1e-3, 0.0, "noise, stream 4"),
        ];
        let second = vec![step(StepKind::Product, 1e-3, 2e7, "product added")];
        TrainingProfile {
            step_seconds: 1e-2,
            steps: 7,
            plans: vec![
                PlanProfile { name: "first".into(), runs: 1.0, steps: first },
                PlanProfile { name: "second".into(), runs: 3.0, steps: second },
            ],
            product_rate: 1e11,
        }
    }

    /// The words of the line that ends in `end`.
    fn line<'a>(text: &'a str, end: &str) -> Vec<&'a str> {
        let found = text.lines().find(|line| line.ends_with(end));
        found.unwrap_or_else(|| panic!("no line ends in `{end}`: {text}")).split_whitespace().collect()
    }

    #[test]
    fn plans_count_as_often_as_they_run_and_add_up_to_the_step() {
        let text = table(&example());
        assert_eq!(line(&text, "1: first")[..4], ["3.000", "30.0", "%", "1"]);
        assert_eq!(line(&text, "2: second")[..4], ["3.000", "30.0", "%", "3"]);
        assert_eq!(line(&text, "between plans")[..3], ["4.000", "40.0", "%"]);
        assert_eq!(line(&text, "a step, the least of 7")[..3], ["10.000", "100.0", "%"]);
    }

    #[test]
    fn steps_are_sorted_by_their_time_in_a_training_step() {
        let text = table(&example());
        let expected = ["3.000", "30.0", "%", "60.0", "M", "12.0", "M", "20.0", "20.0", "%", "4.0", "2:0"];
        assert_eq!(line(&text, "product added")[..12], expected);
        assert_eq!(line(&text, "1 x 2 x 3")[..3], ["2.000", "20.0", "%"]);
        let place = |what: &str| text.find(what).unwrap();
        assert!(place("product added") < place("1 x 2 x 3") && place("1 x 2 x 3") < place("noise, stream 4"), "{text}");
        let noise = line(&text, "noise, stream 4");
        assert_eq!(noise[3..8], ["0", "4.00", "M", "-", "-"]);
    }

    #[test]
    fn kinds_add_up_to_all() {
        let text = table(&example());
        assert_eq!(line(&text, "  product")[..5], ["5.000", "50.0", "%", "160", "M"]);
        assert_eq!(line(&text, "  all")[..7], ["6.000", "60.0", "%", "160", "M", "20.0", "M"]);
    }

    #[test]
    fn beyond_forty_rows_the_rest_is_one() {
        let mut profile = example();
        let step = profile.plans[1].steps[0].clone();
        profile.plans[1].steps = vec![step; 43];
        let text = table(&profile);
        assert_eq!(text.matches("product added").count(), 40);
        assert!(text.contains("the 5 others; --json prints them all"), "{text}");
    }

    #[test]
    fn quantities_have_three_digits() {
        let shown = [0.0, 12.0, 999.0, 1000.0, 12_345.0, 999_900.0, 1.5e9, 2e19].map(quantity);
        assert_eq!(shown, ["0", "12", "999", "1.00 k", "12.3 k", "1.00 M", "1.50 G", "20000 P"]);
    }
}
