//! Hot parts of an executor.
//!
//! `hot_parts [--json]` prints medians for the processor: the cost of a small step, large products against faer itself, elementary functions.
//!
//! `hot_parts --device cuda[:N] [--tf32] [--only TEXT] [--json]` prints those for a card: replayed steps that do next to nothing, products (under the
//! names and sizes of the PyTorch and JAX peers), elementwise functions, sums, transpositions, noise, factorisations; each with its rate.

mod card;
mod processor;

use livi_benches::Arguments;

fn main() -> autograd::Result<()> {
    let arguments = Arguments::read(&[])?;
    if arguments.on_card() { card::run(&arguments) } else { processor::run(arguments.json) }
}
