//! What each step of a plan costs: operations and bytes, by the sizes of its operands.

use super::Plan;
use super::dump::describe;
use super::step::{Action, Buffer, Step};
use crate::Var;

/// Sorts of steps, as tables of costs add them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepKind {
    /// Matrix products, with what is done to their results in cache.
    Product,
    /// Convolutions and their transposes.
    Convolution,
    /// Loops that compute each element from others, copies included.
    Elementwise,
    /// Loops that sum or take maxima.
    Reduction,
    /// Cholesky factors, and solutions, inverses and determinants from them.
    Factorisation,
    /// Gathers, scatters and the making of indices, indicators and identity matrices.
    Indexing,
    /// Random numbers.
    Noise,
}

impl StepKind {
    /// Its name: `product`, `convolution`, `elementwise`, `reduction`, `factorisation`, `indexing`, `noise`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Convolution => "convolution",
            Self::Elementwise => "elementwise",
            Self::Reduction => "reduction",
            Self::Factorisation => "factorisation",
            Self::Indexing => "indexing",
            Self::Noise => "noise",
        }
    }
}

/// Cost of one step of a plan in one run, counted from shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct StepCost {
    /// What sort of step it is.
    pub kind: StepKind,
    /// Name of the operation (the last one of a fused group).
    pub op: &'static str,
    /// What is done to which buffers, and where it was recorded; the same text as in the plan's table.
    pub description: String,
    /// Floating-point operations, a multiply-add counted as two and any scalar function as one; random numbers and moves count as none.
    pub flops: f64,
    /// Bytes read, each operand once; of a gather what it picks.
    pub bytes_read: f64,
    /// Bytes written, each result once.
    pub bytes_written: f64,
}

impl StepCost {
    /// Costs of steps over buffers; `name` says what a variable is called.
    pub(crate) fn of_steps(steps: &[Step], buffers: &[Buffer], name: impl Fn(Var) -> String) -> Vec<Self> {
        let cost = |step: &Step| {
            let [bytes_read, bytes_written] = step.action.bytes();
            let description = describe(step, buffers, &name);
            Self { kind: step.action.kind(), op: step.op, description, flops: step.flops, bytes_read, bytes_written }
        };
        steps.iter().map(cost).collect()
    }
}

impl Plan {
    /// What each step costs, in the order of [`Plan::steps`]. The operations add up to [`Plan::flops`].
    ///
    /// ```
    /// use autograd::{DType, Plan, Request, StepKind, Tape};
    /// let mut tape = Tape::new();
    /// let (a, b) = (tape.input(&[30, 20], DType::F32), tape.input(&[20, 10], DType::F32));
    /// let product = tape.matmul(a, b)?;
    /// let plan = Plan::new(&tape, &Request::outputs(&[product]))?;
    /// let costs = plan.step_costs();
    /// assert_eq!((costs.len(), costs[0].kind), (1, StepKind::Product));
    /// assert_eq!(costs[0].flops, 2.0 * 30.0 * 20.0 * 10.0);
    /// assert_eq!(costs[0].bytes_read, 4.0 * (30.0 * 20.0 + 20.0 * 10.0));
    /// assert_eq!(costs[0].bytes_written, 4.0 * 30.0 * 10.0);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    pub fn step_costs(&self) -> Vec<StepCost> {
        StepCost::of_steps(&self.steps, &self.buffers, |var| self.names[&var].clone())
    }
}

impl Action {
    /// What sort of step it is.
    pub fn kind(&self) -> StepKind {
        match self {
            Self::Loop(l) if l.stores.iter().any(|store| store.reduction.is_some()) => StepKind::Reduction,
            Self::Loop(_) => StepKind::Elementwise,
            Self::Product(_) => StepKind::Product,
            Self::Convolution(_) => StepKind::Convolution,
            Self::Cholesky { .. }
            | Self::SolveFactor { .. }
            | Self::InverseFactor { .. }
            | Self::LogDetFactor { .. } => StepKind::Factorisation,
            Self::Gather { .. }
            | Self::ScatterAdd { .. }
            | Self::OneHot { .. }
            | Self::IndexOffset { .. }
            | Self::Identity { .. } => StepKind::Indexing,
            Self::Noise { .. } => StepKind::Noise,
        }
    }
}
