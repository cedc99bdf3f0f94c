//! A tape that is a program, and derivatives that are programs too.
//!
//! Recording ([`Tape`]), differentiating and batching (methods of the tape, nesting in any order), planning ([`Plan`]) and running
//! ([`Machine`]) are four separate steps. A rule pushes nodes and never computes numbers; reverse mode is the transpose of forward mode, so
//! no second derivative rule exists that could disagree. A plan knows its memory before anything runs.
//!
//! ```
//! use autograd::{DType, Machine, Plan, Request, Tape};
//! // Record f(x) = sum exp(x), its gradient and a Hessian-vector product.
//! let mut tape = Tape::new();
//! let x = tape.input(&[2], DType::F64);
//! let v = tape.input(&[2], DType::F64);
//! let e = tape.exp(x)?;
//! let f = tape.sum_all(e)?;
//! let gradient = tape.grad(f, &[x])?[0];
//! let product = tape.hvp(f, x, v)?;
//! // Plan, then run.
//! let plan = Plan::new(&tape, &Request::outputs(&[gradient, product]))?;
//! let mut machine = Machine::cpu(1)?;
//! let plan = machine.load(plan)?;
//! machine.write(x, &[0.0, 1.0])?;
//! machine.write(v, &[2.0, 0.0])?;
//! machine.run(plan)?;
//! assert_eq!(machine.read::<f64>(product)?, &[2.0, 0.0]);
//! # Ok::<(), autograd::Error>(())
//! ```

mod dtype;
mod error;
mod exec;

mod op;
mod ops;
pub mod plan;
mod tape;
mod transform;

pub use dtype::DType;
pub use error::{Error, Result};
pub use exec::{Device, Element, MOST_THREADS, Machine, PlanId};

pub use plan::{Options, Plan, Request, StepCost, StepKind};

pub use op::{Binary, Conv2d, ConvPart, Distribution, Op, Unary};

pub use tape::{Node, Tape, Var};
pub use transform::Linear;
