//! What a kernel reports that met values it cannot work on.

use crate::exec::view::Window;
use crate::plan::step::Step;
use crate::{Error, Result};
use cuda_kernels::Device;

/// What the place means that a failing kernel reports.
#[derive(Clone, Debug)]
pub(crate) enum Fallible {
    /// The place is a position in a rank-1 index (row-major in a rank-2 one) whose entries must be below `length`.
    Index {
        /// The index.
        index: Window,
        /// Entries there are.
        length: usize,
    },
    /// The place is a matrix's number in its batch times `n`, plus the pivot that is not positive.
    Pivot {
        /// Rows of a matrix.
        n: usize,
    },
}

impl Fallible {
    /// The error for a place that a step reported.
    pub(super) fn error(&self, step: &Step, place: u64, device: &Device) -> Result<Error> {
        let place = place as usize;
        let (op, location) = (step.op, step.location);
        match self {
            Self::Pivot { n } => Ok(Error::NotPositiveDefinite { op, index: place / n, pivot: place % n, location }),
            Self::Index { index, length } => {
                let mut offset = 0;
                let mut rest = place;
                for (&axis, &stride) in index.shape.iter().zip(&index.strides).rev() {
                    offset += rest % axis * stride;
                    rest /= axis;
                }
                let mut bytes = [0; 4];
                // SAFETY: the window's elements lie in a buffer of the device, and the place is one of its positions.
                unsafe { device.read(index.pointer as u64 + 4 * offset as u64, &mut bytes)? };
                let index = u32::from_ne_bytes(bytes);
                Ok(Error::IndexOutOfRange { op, index, position: place, length: *length, location })
            }
        }
    }
}
