//! Which nodes lie between given inputs and outputs.

use crate::{Tape, Var};

/// Marks nodes that depend on one of `sources` and on which one of `targets` depends. Sources count, if a target depends on them.
pub(super) fn between(tape: &Tape, sources: &[Var], targets: &[Var]) -> Vec<bool> {
    let end = targets.iter().map(|t| t.index() + 1).max().unwrap_or(0);
    let mut forward = vec![false; end];
    for source in sources.iter().filter(|s| s.index() < end) {
        forward[source.index()] = true;
    }
    let begin = sources.iter().map(|s| s.index()).min().unwrap_or(end);
    for i in begin..end {
        forward[i] = forward[i] || tape.nodes()[i].inputs.iter().any(|v| forward[v.index()]);
    }
    let mut needed = vec![false; end];
    for target in targets {
        needed[target.index()] = forward[target.index()];
    }
    for i in (begin..end).rev() {
        if needed[i] && !sources.iter().any(|s| s.index() == i) {
            for input in &tape.nodes()[i].inputs {
                let k = input.index();
                needed[k] = needed[k] || forward[k];
            }
        }
    }
    needed
}
