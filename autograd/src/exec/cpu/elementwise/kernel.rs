//! A compiled loop.

use super::fold::Combine;
use super::layout::{Fold, Layout, Pattern};
use crate::DType;
use crate::exec::cpu::scalar::{Cast, Scalar};
use crate::op::{Binary, Unary};

/// Where an instruction finds an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<T> {
    /// A tile in scratch memory.
    Slot(usize),
    /// The tile that a view's pointer shows.
    View(usize),
    /// One value for the whole tile, loaded from a view.
    Uniform(usize),
    /// A constant.
    Constant(T),
}

/// Where an instruction leaves its result.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// A tile in scratch memory.
    Slot(usize),
    /// Straight into the memory of a store.
    View(usize),
}

/// What an instruction does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code<T> {
    Unary(Unary, Source<T>),
    Binary(Binary, Source<T>, Source<T>),
    Select(Source<T>, Source<T>, Source<T>),
}

/// How a load reaches the code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Used where it lies.
    Direct,
    /// One value for the whole tile.
    Uniform,
    /// Copied to a tile.
    Gather(Tile),
}

/// Target of a gathering load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tile {
    /// A tile in scratch memory.
    Slot(usize),
    /// Straight into the memory of a store: a copy.
    View(usize),
}

/// A view of the loop.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// First element.
    pub(crate) pointer: *mut u8,
    /// Type in memory.
    pub(crate) dtype: DType,
    /// Elements of a tile.
    pub(crate) pattern: Pattern,
    /// Elements that one step of the caller's two outer counters moves the view by.
    pub(crate) outer: [usize; 2],
}

/// A load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) port: Port,
    pub(crate) mode: Mode,
    /// Whether the walk leaves the gathered tile as it is between steps that do not move the view.
    pub(crate) keeps: bool,
}

/// A store of one element for each point.
#[derive(Clone, Debug)]
pub(crate) struct Store<T> {
    pub(crate) port: Port,
    /// Position among the views.
    pub(crate) view: usize,
    pub(crate) value: Source<T>,
    /// The instruction or load that makes the value puts it there itself.
    pub(crate) direct: bool,
}

/// A combined store.
#[derive(Clone, Debug)]
pub(crate) struct Output<T> {
    pub(crate) port: Port,
    pub(crate) view: usize,
    pub(crate) value: Source<T>,
    pub(crate) combine: Combine,
    /// First of the tiles in scratch memory that the combination uses.
    pub(crate) slot: usize,
}

/// A loop, ready to run.
#[derive(Debug)]
pub(crate) struct LoopKernel<T> {
    pub(crate) layout: Layout,
    pub(crate) loads: Vec<Load>,
    pub(crate) code: Vec<(Target, Code<T>)>,
    pub(crate) stores: Vec<Store<T>>,
    pub(crate) outputs: Vec<Output<T>>,
    /// Views in all: loads, then the loop's stores in their order.
    pub(crate) views: usize,
    /// Tiles of scratch memory; the first three serve for spreading single values.
    pub(crate) slots: usize,
    /// Walks of one task.
    pub(crate) kept_per_task: usize,
    /// Reduced tiles of one segment.
    pub(crate) segment: usize,
    /// Segments into which each reduction is cut.
    pub(crate) segments: usize,
    /// Whether tasks are worth spreading.
    pub(crate) spread: bool,
}

// SAFETY: the pointers are addresses in blocks that the machine owns and keeps while the kernel lives. A run has exclusive access to the machine,
// and tasks of one run write disjoint elements: stores were proven not to overlap themselves, and loops whose loads overlap a store
// other than element by element are never spread (see `compile`).
unsafe impl<T: Send> Send for LoopKernel<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for LoopKernel<T> {}

/// Steps of two counters outside of the loop.
pub(crate) type Shift = [usize; 2];

/// Conversions from every element type and to it.
pub(crate) trait Element: Scalar + Cast<f32> + Cast<f64> + Cast<u32>
where
    f32: Cast<Self>,
    f64: Cast<Self>,
    u32: Cast<Self>,
{
}
impl Element for f32 {}
impl Element for f64 {}
impl Element for u32 {}

impl<T> LoopKernel<T> {
    /// Bytes before the tiles: offset, pointer, single value (8 bytes each) and last offset for each view.
    pub(super) fn state_bytes(&self) -> usize {
        (self.views * 4 * 8).next_multiple_of(64)
    }

    /// Width of the results of a full tile.
    pub(crate) fn width(&self) -> usize {
        match self.layout.fold {
            Fold::None => 0,
            Fold::Rows(run) => self.layout.tile() / run,
            Fold::All => 1,
            Fold::Columns(width) => width,
            Fold::Lanes => self.layout.tile(),
        }
    }

    /// Position of a segment's results among the partial ones, which lie in the tasks' shared memory.
    pub(super) fn partial(&self, output: usize, kept: usize, segment: usize) -> usize {
        ((output * self.layout.kept_tiles() + kept) * self.segments + segment) * self.width()
    }
}
