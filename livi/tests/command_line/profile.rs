//! `livi train --profile`.

use super::support::{SMALL, contents, joined, livi};
use serde_json::Value;

/// The profile of a preset as JSON; nothing may be written.
fn profile(settings: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let text = livi(folder.path(), &joined(&[&["train", "--profile", "--json", "--threads", "1"], &SMALL, settings]));
    let found = serde_json::from_str(&text.succeeded()).unwrap();
    assert!(contents(folder.path()).is_empty(), "{:?}", contents(folder.path()).keys());
    found
}

/// A field of all steps of a plan, added up.
fn sum(plan: &Value, field: &str) -> f64 {
    plan["steps"].as_array().unwrap().iter().map(|step| step[field].as_f64().unwrap()).sum()
}

#[test]
fn the_exact_entropy_is_one_plan_whose_steps_add_up() {
    let found = profile(&["toy"]);
    let plans = found["plans"].as_array().unwrap();
    assert_eq!((plans.len(), plans[0]["runs"].as_f64()), (1, Some(1.0)), "{found}");
    for field in ["flops", "bytes", "seconds"] {
        let (all, total) = (sum(&plans[0], field), found["total"][field].as_f64().unwrap());
        let kinds = found["kinds"].as_object().unwrap().values().map(|kind| kind[field].as_f64().unwrap()).sum::<f64>();
        assert!(all > 0.0 && (all - total).abs() < 1e-9 * total && (kinds - total).abs() < 1e-9 * total, "{field}");
    }
    let kinds: Vec<&str> = found["kinds"].as_object().unwrap().keys().map(String::as_str).collect();
    for kind in ["product", "elementwise", "factorisation", "noise"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!((&found["dtype"], &found["threads"]), (&"f32".into(), &1.into()));
    assert!(found["product_flops_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_training_of_few_steps_is_measured_too() {
    let few = profile(&["toy", "--set", "training.steps=2"]);
    assert!(few["plans"][0]["runs"].as_f64() == Some(1.0), "{few}");
}

/// How often a training step runs the plan whose name begins so.
fn runs(found: &Value, name: &str) -> f64 {
    let plans = found["plans"].as_array().unwrap();
    let plan = plans.iter().find(|plan| plan["plan"].as_str().unwrap().starts_with(name));
    plan.unwrap_or_else(|| panic!("no plan `{name}`: {found}"))["runs"].as_f64().unwrap()
}

#[test]
fn plans_of_a_krylov_method_are_counted_as_often_as_they_run() {
    // Two probes in one block, without further iterations: each Golub-Kahan step multiplies once by J' and once by its transpose.
    let [two, three] = ["entropy.steps=2", "entropy.steps=3"].map(|steps| {
        let found = profile(&["toy-slq", "--set", "entropy.probes=2", "--set", steps, "--set", "entropy.iterations=0"]);
        for name in ["preparation of the step", "linearisation of the sampler", "objective, gradient and update"] {
            assert_eq!(runs(&found, name), 1.0, "{name}");
        }
        ["J' v, 2 vectors", "J'^T u, 2 vectors"].map(|name| runs(&found, name))
    });
    assert!(two[0] >= 2.0, "{two:?}");
    assert_eq!(three, two.map(|runs| runs + 1.0));
}

#[test]
fn a_network_in_chunks_of_weight_samples_runs_once_for_each() {
    let found = profile(&["toy", "--set", "training.samples=6", "--set", "training.chunk=2"]);
    assert_eq!(runs(&found, "network on a chunk"), 3.0);
    assert_eq!((runs(&found, "preparation"), runs(&found, "objective")), (1.0, 1.0));
}

#[test]
fn the_table_names_plans_kinds_and_steps() {
    let folder = tempfile::tempdir().unwrap();
    let text = livi(folder.path(), &joined(&[&["train", "toy", "--profile"], &SMALL])).succeeded();
    for part in ["GFLOP/s", "1: objective, gradient and update", "beside the plans", "kind", "plan:step", "cholesky"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(contents(folder.path()).is_empty());
}

#[test]
fn what_makes_run_folders_does_not_go_with_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [&[&str]; 4] =
        [&["toy", "--out", "run"], &["toy", "--resume"], &["uci"], &["uci-energy", "--all-splits", "--splits", "1"]];
    for arguments in cases {
        let found = livi(folder.path(), &joined(&[&["train", "--profile"], arguments]));
        found.refused(&["--profile", "makes no run folder", "expected a preset"]);
    }
    assert!(contents(folder.path()).is_empty());
}
