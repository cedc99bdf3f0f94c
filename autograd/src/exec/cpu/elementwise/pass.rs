//! A compiled loop's run: tasks and their walk over tiles.

use super::fold;
use super::kernel::{Code, Element, LoopKernel, Mode, Port, Shift, Source, Target, Tile};
use super::layout::{Fold, TILE_BYTES, tile_elements};
use super::transfer::{gather, scatter};
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::scalar::{self, Cast, Scalar, each_binary, each_unary};
use crate::op::{Binary, Unary};
use crate::{DType, Result};
use pulp::{Simd, WithSimd};

impl<T: Element> Kernel for LoopKernel<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let kept = self.layout.kept_tiles();
        let tasks = kept.div_ceil(self.kept_per_task);
        if tasks * self.segments == 1 {
            self.part(frame, 0, kept, 0, [0, 0]);
        } else {
            frame.for_each(tasks * self.segments, self.spread, |task| {
                let first = task / self.segments * self.kept_per_task;
                let last = (first + self.kept_per_task).min(kept);
                self.part(frame, first, last, task % self.segments, [0, 0]);
            });
        }
        if self.segments > 1 {
            frame.arch.dispatch(Join {
                kernel: self,
                scratch: frame.scratch(),
                partials: frame.partials.pointer().cast(),
            });
        }
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.spread
    }

    fn scratch_bytes(&self) -> usize {
        self.state_bytes() + self.slots * TILE_BYTES
    }

    fn partial_bytes(&self) -> usize {
        if self.segments > 1 { self.partial(self.outputs.len(), 0, 0) * size_of::<T>() } else { 0 }
    }
}

impl<T: Element> LoopKernel<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    /// Runs the whole loop on the calling thread with its views moved.
    pub(crate) fn run_shifted(&self, frame: &Frame<'_>, shift: Shift) {
        self.part(frame, 0, self.layout.kept_tiles(), 0, shift);
    }

    fn part(&self, frame: &Frame<'_>, first: usize, last: usize, segment: usize, shift: Shift) {
        let (scratch, partials) = (frame.scratch(), frame.partials.pointer().cast());
        let pass = Pass { kernel: self, first, last, segment, shift, scratch, partials };
        if const { matches!(T::DTYPE, DType::U32) } {
            // Integers are copied, hardly ever computed with.
            pass.with_simd(pulp::Scalar::new());
        } else {
            frame.arch.dispatch(pass);
        }
    }
}

/// Part of a loop: reduced segment `segment` (or all of it) of the kept tiles `first..last`.
pub(super) struct Pass<'a, T> {
    pub(super) kernel: &'a LoopKernel<T>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) segment: usize,
    pub(super) shift: Shift,
    pub(super) scratch: *mut u8,
    /// Results of segments, `partial_bytes` bytes.
    pub(super) partials: *mut T,
}

impl<T: Element> WithSimd for Pass<'_, T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: the kernel was compiled from checked views; its scratch memory has `scratch_bytes` bytes and belongs to this thread.
        unsafe { self.walk() }
    }
}

/// The walk's own memory.
struct State<T> {
    offsets: *mut usize,
    pointers: *mut *mut T,
    values: *mut T,
    seen: *mut usize,
    slots: *mut T,
}

impl<T: Element> State<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    #[inline(always)]
    unsafe fn new(kernel: &LoopKernel<T>, scratch: *mut u8) -> Self {
        let views = kernel.views;
        // SAFETY: four areas of eight bytes for each view, then the tiles, as `scratch_bytes` counts them.
        unsafe {
            Self {
                offsets: scratch.cast(),
                pointers: scratch.add(8 * views).cast(),
                values: scratch.add(16 * views).cast(),
                seen: scratch.add(24 * views).cast(),
                slots: scratch.add(kernel.state_bytes()).cast(),
            }
        }
    }

    #[inline(always)]
    unsafe fn slot(&self, slot: usize) -> *mut T {
        // SAFETY: slot numbers are below the kernel's count.
        unsafe { self.slots.add(slot * tile_elements(size_of::<T>())) }
    }

    #[inline(always)]
    unsafe fn operand(&self, source: Source<T>) -> Operand<T> {
        // SAFETY: views and slots were numbered by `compile`.
        unsafe {
            match source {
                Source::Slot(slot) => Operand::Tile(self.slot(slot)),
                Source::View(view) => Operand::Tile(*self.pointers.add(view)),
                Source::Uniform(view) => Operand::Value(*self.values.add(view)),
                Source::Constant(value) => Operand::Value(value),
            }
        }
    }

    /// The operand as a tile; a single value is spread over scratch tile `spare`.
    #[inline(always)]
    unsafe fn tile(&self, source: Source<T>, n: usize, spare: usize) -> *const T {
        // SAFETY: the spare slots hold a full tile.
        unsafe {
            match self.operand(source) {
                Operand::Tile(pointer) => pointer,
                Operand::Value(value) => {
                    let pointer = self.slot(spare);
                    for i in 0..n {
                        *pointer.add(i) = value;
                    }
                    pointer
                }
            }
        }
    }
}

/// An operand of the current tile.
#[derive(Clone, Copy)]
enum Operand<T> {
    Tile(*const T),
    Value(T),
}

/// Runs `$body` with `$S` bound to the Rust type of a run-time type.
macro_rules! with_type {
    ($dtype:expr, $S:ident, $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $S = f32;
                $body
            }
            DType::F64 => {
                type $S = f64;
                $body
            }
            DType::U32 => {
                type $S = u32;
                $body
            }
        }
    };
}

impl<T: Element> Pass<'_, T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    #[inline(always)]
    unsafe fn walk(self) {
        let kernel = self.kernel;
        let layout = &kernel.layout;
        // SAFETY: see `Pass::with_simd`; offsets are those of points of the iteration space, hence inside of the views.
        unsafe {
            let state = State::new(kernel, self.scratch);
            for view in 0..kernel.views {
                *state.seen.add(view) = usize::MAX;
            }
            let all = layout.reduced_tiles();
            let (start, end) =
                (self.segment * kernel.segment, self.segment.saturating_add(1).saturating_mul(kernel.segment).min(all));
            for kept in self.first..self.last {
                for tile in start..end {
                    let rows = self.locate(&state, kept, tile);
                    let n = rows * layout.inner_elements;
                    self.load(&state, rows);
                    for (target, code) in &kernel.code {
                        execute(&state, *target, *code, n);
                    }
                    for store in &kernel.stores {
                        if !store.direct {
                            let value = state.tile(store.value, n, 0);
                            let to = *state.pointers.add(store.view);
                            with_type!(
                                store.port.dtype,
                                S,
                                scatter::<T, S>(to.cast(), value, rows, &store.port.pattern)
                            );
                        }
                    }
                    for output in &kernel.outputs {
                        let value = state.tile(output.value, n, 0);
                        let slots = state.slot(output.slot);
                        fold::add_tile(layout.fold, output.combine, value, n, tile - start, slots);
                    }
                }
                for (k, output) in kernel.outputs.iter().enumerate() {
                    let rows = self.rows(kept, 0);
                    let width = match layout.fold {
                        Fold::None => 0,
                        Fold::Rows(run) => rows * layout.inner_elements / run,
                        Fold::All => 1,
                        Fold::Columns(width) => width,
                        Fold::Lanes => rows * layout.inner_elements,
                    };
                    let result = fold::finish(layout.fold, output.combine, end - start, width, state.slot(output.slot));
                    if kernel.segments > 1 {
                        let to = self.partials.add(kernel.partial(k, kept, self.segment));
                        for i in 0..width {
                            *to.add(i) = *result.add(i);
                        }
                    } else {
                        // The last tile's offset is right for the result: reduced axes do not move it.
                        let to = *state.pointers.add(output.view);
                        let rows = if matches!(layout.fold, Fold::Rows(_) | Fold::Lanes) { rows } else { 1 };
                        with_type!(
                            output.port.dtype,
                            S,
                            scatter::<T, S>(to.cast(), result, rows, &output.port.pattern)
                        );
                    }
                }
            }
        }
    }

    /// Rows of the tile at a position.
    #[inline(always)]
    fn rows(&self, kept: usize, tile: usize) -> usize {
        let layout = &self.kernel.layout;
        let (position, axes) = if layout.piece_reduced { (tile, &layout.reduced) } else { (kept, &layout.kept) };
        let pieces = axes[axes.len() - 1].length;
        let piece = if axes.len() == 1 { position } else { position % pieces };
        if piece + 1 == pieces { layout.last_rows } else { layout.rows }
    }

    /// Finds the views' pointers for a tile; answers its rows.
    #[inline(always)]
    unsafe fn locate(&self, state: &State<T>, kept: usize, tile: usize) -> usize {
        let kernel = self.kernel;
        // SAFETY: the arrays have one entry for each view, every axis one stride.
        unsafe {
            for view in 0..kernel.views {
                *state.offsets.add(view) = 0;
            }
            for (axes, mut position) in [(&kernel.layout.kept, kept), (&kernel.layout.reduced, tile)] {
                for axis in axes.iter().rev() {
                    if position == 0 {
                        break;
                    }
                    let digit = position % axis.length;
                    position /= axis.length;
                    for view in 0..kernel.views {
                        *state.offsets.add(view) += digit * axis.strides[view];
                    }
                }
            }
            let place = |view: usize, port: &Port| {
                let offset = *state.offsets.add(view) + self.shift[0] * port.outer[0] + self.shift[1] * port.outer[1];
                *state.offsets.add(view) = offset;
                *state.pointers.add(view) = port.pointer.add(offset * port.dtype.size()).cast();
            };
            for (view, load) in kernel.loads.iter().enumerate() {
                place(view, &load.port);
            }
            for store in &kernel.stores {
                place(store.view, &store.port);
            }
            for output in &kernel.outputs {
                place(output.view, &output.port);
            }
        }
        self.rows(kept, tile)
    }

    /// Makes the loads' tiles.
    #[inline(always)]
    unsafe fn load(&self, state: &State<T>, rows: usize) {
        // SAFETY: the views' elements are readable and apart from the scratch tiles; a view that is gathered into belongs to a store that
        // overlaps no load.
        unsafe {
            for (view, load) in self.kernel.loads.iter().enumerate() {
                match load.mode {
                    Mode::Direct => {}
                    Mode::Uniform => {
                        let from = *state.pointers.add(view);
                        *state.values.add(view) = with_type!(load.port.dtype, S, (*from.cast::<S>()).cast());
                    }
                    Mode::Gather(tile) => {
                        let offset = *state.offsets.add(view);
                        if load.keeps && *state.seen.add(view) == offset {
                            continue;
                        }
                        *state.seen.add(view) = offset;
                        // A tile that is kept serves later steps that may have more rows.
                        let rows = if load.keeps { self.kernel.layout.rows } else { rows };
                        let to = match tile {
                            Tile::Slot(slot) => state.slot(slot),
                            Tile::View(view) => *state.pointers.add(view),
                        };
                        let from = *state.pointers.add(view);
                        with_type!(load.port.dtype, S, gather::<S, T>(to, from.cast(), rows, &load.port.pattern));
                    }
                }
            }
        }
    }
}

/// to\[i\] = a\[i\] where mask\[i\] is not zero, else b\[i\].
#[inline(always)]
fn select<T: Scalar>(to: &mut [T], mask: &[T], a: &[T], b: &[T]) {
    for (((to, mask), a), b) in to.iter_mut().zip(mask).zip(a).zip(b) {
        *to = if *mask != T::ZERO { *a } else { *b };
    }
}

/// Runs one instruction on a tile of n elements.
#[inline(always)]
unsafe fn execute<T: Element>(state: &State<T>, target: Target, code: Code<T>, n: usize)
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    // SAFETY: a target never overlaps an operand: slots are assigned so, and a store written directly overlaps no load.
    unsafe {
        let to = match target {
            Target::Slot(slot) => state.slot(slot),
            Target::View(view) => *state.pointers.add(view),
        };
        let to = std::slice::from_raw_parts_mut(to, n);
        // Loops are functions of their own, so that the compiler knows that the slices are apart.
        match code {
            Code::Unary(f, a) => match state.operand(a) {
                Operand::Value(a) => to.fill(scalar::unary(f, a)),
                Operand::Tile(a) => {
                    macro_rules! each {
                        ($method:ident) => {{
                            #[inline(always)]
                            fn each<T: Scalar>(to: &mut [T], a: &[T]) {
                                for (to, a) in to.iter_mut().zip(a) {
                                    *to = T::$method(*a);
                                }
                            }
                            each(to, std::slice::from_raw_parts(a, n))
                        }};
                    }
                    each_unary!(f, each);
                }
            },
            Code::Binary(f, a, b) => match (state.operand(a), state.operand(b)) {
                (Operand::Tile(a), Operand::Tile(b)) => {
                    macro_rules! each {
                        ($method:ident) => {{
                            #[inline(always)]
                            fn each<T: Scalar>(to: &mut [T], a: &[T], b: &[T]) {
                                for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
                                    *to = T::$method(*a, *b);
                                }
                            }
                            each(to, std::slice::from_raw_parts(a, n), std::slice::from_raw_parts(b, n))
                        }};
                    }
                    each_binary!(f, each);
                }
                (Operand::Tile(a), Operand::Value(b)) => {
                    macro_rules! each {
                        ($method:ident) => {{
                            #[inline(always)]
                            fn each<T: Scalar>(to: &mut [T], a: &[T], b: T) {
                                for (to, a) in to.iter_mut().zip(a) {
                                    *to = T::$method(*a, b);
                                }
                            }
                            each(to, std::slice::from_raw_parts(a, n), b)
                        }};
                    }
                    each_binary!(f, each);
                }
                (Operand::Value(a), Operand::Tile(b)) => {
                    macro_rules! each {
                        ($method:ident) => {{
                            #[inline(always)]
                            fn each<T: Scalar>(to: &mut [T], a: T, b: &[T]) {
                                for (to, b) in to.iter_mut().zip(b) {
                                    *to = T::$method(a, *b);
                                }
                            }
                            each(to, a, std::slice::from_raw_parts(b, n))
                        }};
                    }
                    each_binary!(f, each);
                }
                (Operand::Value(a), Operand::Value(b)) => to.fill(scalar::binary(f, a, b)),
            },
            Code::Select(mask, a, b) => {
                let mask = std::slice::from_raw_parts(state.tile(mask, n, 0), n);
                let a = std::slice::from_raw_parts(state.tile(a, n, 1), n);
                let b = std::slice::from_raw_parts(state.tile(b, n, 2), n);
                select(to, mask, a, b);
            }
        }
    }
}

/// Combines the segments' results, in their order.
pub(super) struct Join<'a, T> {
    pub(super) kernel: &'a LoopKernel<T>,
    pub(super) scratch: *mut u8,
    pub(super) partials: *mut T,
}

impl<T: Element> WithSimd for Join<'_, T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Join { kernel, scratch, partials } = self;
        let pass = Pass { kernel, first: 0, last: 0, segment: 0, shift: [0, 0], scratch, partials };
        // SAFETY: as in `Pass::walk`; all segments have left their results.
        unsafe {
            let state = State::new(kernel, scratch);
            for kept in 0..kernel.layout.kept_tiles() {
                let rows = pass.locate(&state, kept, 0);
                let (rows, width) = match kernel.layout.fold {
                    Fold::Lanes => (rows, rows * kernel.layout.inner_elements),
                    _ => (1, kernel.width()),
                };
                for (k, output) in kernel.outputs.iter().enumerate() {
                    let first = partials.add(kernel.partial(k, kept, 0));
                    for segment in 1..kernel.segments {
                        fold::combine_into(output.combine, first, first.add(segment * kernel.width()), width);
                    }
                    let to = *state.pointers.add(output.view);
                    with_type!(output.port.dtype, S, scatter::<T, S>(to.cast(), first, rows, &output.port.pattern));
                }
            }
        }
    }
}
