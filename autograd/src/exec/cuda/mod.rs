//! A CUDA device: plans lowered to commands over fixed addresses, compiled once and replayed as one graph.
//!
//! Everything that depends on shapes - kernels, grids, addresses, scratch memory - is settled when a plan is loaded. No result depends on the
//! order in which blocks of a grid run: the same plan gives the same bits.

mod convolution;
mod elementwise;
mod factor;
mod index;
mod noise;
mod product;

use crate::exec::view::Site;
use crate::plan::step::{Action, Buffer, Step};
use crate::{DType, Error, Result};
use cuda_kernels::{Command, Device, Memory, Precision, Real, Sequence};

/// Alignment of scratch memory, in bytes.
const ALIGNMENT: usize = 256;

/// Commands of the steps of one plan while they are made.
pub(crate) struct Lowering {
    /// What was made so far.
    pub(crate) commands: Vec<Command>,
    /// How products in single precision are computed.
    pub(crate) precision: Precision,
    /// Address of the report that fallible kernels write: one `u64`, all bits set while nothing failed; see [`Lowering::report`].
    pub(crate) status: u64,
    /// Address of the noise's coordinates: four `u32`, the seed's low and high half and the step's.
    pub(crate) noise: u64,
    /// Number of the step.
    pub(crate) step: usize,
    scratch: u64,
    scratch_used: usize,
    scratch_bytes: usize,
}

impl Lowering {
    /// Scratch memory for the step, aligned to 256 bytes; what is in it is of no use to the next step.
    pub(crate) fn scratch(&mut self, bytes: usize) -> u64 {
        let address = self.scratch + self.scratch_used as u64;
        self.scratch_used += bytes.next_multiple_of(ALIGNMENT);
        self.scratch_bytes = self.scratch_bytes.max(self.scratch_used);
        address
    }

    /// What a kernel of this step puts into the status by `atomicMin` when it fails, plus the place where it failed (below 2^40): the least of
    /// all, hence the first failing step's first place, is what the run reports.
    pub(crate) fn report(&self) -> u64 {
        (self.step as u64) << 40
    }
}

/// The kernels' name of an element type.
pub(crate) fn real(site: &Site<'_>, dtype: DType) -> Result<Real> {
    match dtype {
        DType::F32 => Ok(Real::F32),
        DType::F64 => Ok(Real::F64),
        DType::U32 => Err(Error::DType {
            op: site.step.op,
            found: dtype,
            expected: "a floating-point type",
            location: site.step.location,
        }),
    }
}

fn lower(site: &Site<'_>, action: &Action, lowering: &mut Lowering) -> Result<()> {
    match action {
        Action::Loop(body) => elementwise::lower(site, body, lowering),
        Action::Product(step) => product::lower(site, step, lowering),
        Action::Convolution(step) => convolution::lower(site, step, lowering),
        Action::Cholesky { a, factor } => factor::cholesky(site, a, factor, lowering),
        Action::SolveFactor { factor, b, out } => factor::solve(site, factor, b, out, lowering),
        Action::InverseFactor { factor, out } => factor::inverse(site, factor, out, lowering),
        Action::LogDetFactor { factor, out } => factor::log_det(site, factor, out, lowering),
        Action::Gather { x, index, out } => index::gather(site, x, index, out, lowering),
        Action::ScatterAdd { u, index, out } => index::scatter_add(site, u, index, out, lowering),
        Action::OneHot { index, out } => index::one_hot(site, index, out, lowering),
        Action::IndexOffset { index, stride, out } => index::index_offset(site, index, *stride, out, lowering),
        Action::Identity { out } => index::identity(site, out, lowering),
        Action::Noise { distribution, stream, out } => noise::lower(site, *distribution, *stream, out, lowering),
    }
}
