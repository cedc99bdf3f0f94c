//! Which values a linear program needs from the point it was linearised at.

use autograd::{Op, Tape, Var};
use std::collections::BTreeSet;

/// Values that do not depend on `sources` and that nodes between `sources` and `outputs` read: with these kept, a plan of `outputs` can run
/// again for other sources without computing anything twice.
///
/// Views and repetitions are looked through, so that what is kept is never larger than what was computed. Leaves are not listed: they are at
/// hand anyway.
pub(super) fn residuals(tape: &Tape, sources: &[Var], outputs: &[Var]) -> Vec<Var> {
    let end = outputs.iter().map(|y| y.index() + 1).max().unwrap_or(0);
    let mut moving = vec![false; end];
    for source in sources.iter().filter(|s| s.index() < end) {
        moving[source.index()] = true;
    }
    for i in 0..end {
        moving[i] = moving[i] || tape.nodes()[i].inputs.iter().any(|v| moving[v.index()]);
    }
    let mut needed = vec![false; end];
    for output in outputs {
        needed[output.index()] = true;
    }
    let mut found = BTreeSet::new();
    for i in (0..end).rev().filter(|&i| moving[i]) {
        if !needed[i] {
            continue;
        }
        for &input in &tape.nodes()[i].inputs {
            if moving[input.index()] {
                needed[input.index()] = true;
            } else if let Some(value) = behind_views(tape, input) {
                found.insert(value);
            }
        }
    }
    found.into_iter().collect()
}

/// The computed value that a variable shows; `None` for leaves.
fn behind_views(tape: &Tape, var: Var) -> Option<Var> {
    let node = tape.node(var);
    match node.op {
        Op::Input | Op::Constant(_) | Op::Identity | Op::Noise { .. } => None,
        Op::Reshape | Op::Permute { .. } | Op::Expand | Op::Slice { .. } | Op::StopGradient => {
            behind_views(tape, node.inputs[0])
        }
        _ => Some(var),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::DType;

    #[test]
    fn what_is_kept_is_the_small_value_behind_its_repetition() {
        let mut tape = Tape::new();
        let x = tape.input(&[3], DType::F64);
        let slope = tape.cos(x).unwrap();
        let tangent = tape.input(&[5, 3], DType::F64);
        let product = tape.mul(tangent, slope).unwrap();
        assert_eq!(residuals(&tape, &[tangent], &[product]), vec![slope]);
    }

    #[test]
    fn a_product_with_an_input_keeps_nothing() {
        let mut tape = Tape::new();
        let weight = tape.input(&[4, 3], DType::F64);
        let tangent = tape.input(&[5, 3], DType::F64);
        let weight = tape.transpose(weight).unwrap();
        let product = tape.matmul(tangent, weight).unwrap();
        assert_eq!(residuals(&tape, &[tangent], &[product]), vec![]);
    }
}
