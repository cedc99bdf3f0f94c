//! How the threads of a reduction are arranged. Shapes, strides and alignment decide, not the card, so that sums have one order.

use super::body::Body;
use super::layout::{Axis, Space};
use super::pass::{FILL, in_flight, pack_sizes};
use super::scalar::weight;

/// Terms (rows: packs of them) of one thread from which on a reduction is worth a second kernel, where nothing is computed.
const LONG: usize = 64;
/// Terms of one thread that a segment should have, likewise.
const SHORT: usize = 8;
/// Most segments.
const SEGMENTS: usize = 512;

/// The arrangement of a block's threads: `across` results by `along` terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// Neighbouring threads take neighbouring terms and packs consist of terms; otherwise both are of neighbouring results.
    pub(super) rows: bool,
    /// Elements of a pack.
    pub(super) pack: usize,
    /// Results (columns: packs of them) of a block.
    pub(super) across: usize,
    /// Threads that share the terms (rows: packs of them) of a result; a power of two.
    pub(super) along: usize,
    /// Terms that a thread loads at a time.
    pub(super) flight: usize,
    /// Terms (rows: packs of them) of a segment.
    pub(super) segment: usize,
    /// Segments of a result, each for a block of its own.
    pub(super) segments: usize,
}

/// The largest power of two that is not above, at least 1.
fn power_below(value: usize) -> usize {
    1 << value.max(1).ilog2()
}

impl Arrangement {
    /// The arrangement for a loop that combines something.
    pub(super) fn new(body: &Body, space: &Space) -> Self {
        let mut result = if runs_along_rows(body, space) { rows(body, space) } else { columns(body, space) };
        let trip = result.segment.div_ceil(result.along);
        result.flight = in_flight(body, result.pack, trip.next_power_of_two().min(8));
        result
    }
}

/// Whether threads of a block can be many: they have to keep little.
fn is_light(body: &Body) -> bool {
    weight(body) <= 16 && body.loads.len() <= 4 && body.stores.len() <= 4
}

/// Whether most of the memory touched has its neighbours along the reduced axes.
fn runs_along_rows(body: &Body, space: &Space) -> bool {
    let (Some(kept), Some(reduced)) = (space.kept.last(), space.reduced.last()) else { return true };
    let plain = body.stores_that(false).map(|store| body.view_of_store(store));
    let views: Vec<usize> = (0..body.loads.len()).chain(plain).collect();
    let windows: Vec<_> = body.views().collect();
    let bytes = |view: usize| {
        let axes = space.kept.iter().chain(&space.reduced).filter(|axis| axis.strides[view] != 0);
        windows[view].dtype.size() * axes.map(|axis| axis.length).product::<usize>()
    };
    let along =
        |axis: &Axis| -> usize { views.iter().filter(|&&view| axis.strides[view] == 1).map(|&view| bytes(view)).sum() };
    let (by_rows, by_columns) = (along(reduced), along(kept));
    if by_rows == 0 && by_columns == 0 {
        let main = views.iter().copied().max_by_key(|&view| bytes(view)).unwrap_or(0);
        return reduced.strides[main] <= kept.strides[main];
    }
    by_rows >= by_columns
}

/// Elements of a pack along the last kept or reduced axis.
fn pack(body: &Body, space: &Space, along_kept: bool) -> usize {
    let axis = if along_kept { space.kept.last() } else { space.reduced.last() };
    let fits = |size: usize| {
        let packs = |view| body.views().nth(view).is_some_and(|window| space.packs(window, view, along_kept, size));
        axis.is_some_and(|axis| axis.length.is_multiple_of(size))
            && body.stores_that(false).all(|store| packs(body.view_of_store(store)))
            && (0..body.loads.len()).any(packs)
    };
    pack_sizes(body).find(|&size| fits(size)).unwrap_or(1)
}

/// Segments of `segment` terms, at least two of them, or one of all where that is no gain.
fn cut(body: &Body, terms: usize, along: usize, (blocks, threads): (usize, usize)) -> (usize, usize) {
    // Costly terms make long reductions of fewer of them.
    let fewer = 1 + weight(body) / 8;
    let (long, short) = ((LONG / fewer).max(SHORT), (SHORT / fewer).max(2));
    let segments = (FILL / (blocks * threads).max(1)).min(terms / (along * short)).min(SEGMENTS);
    if terms < along * long || segments < 2 {
        return (terms, 1);
    }
    let segment = terms.div_ceil(segments).next_multiple_of(along);
    (segment, terms.div_ceil(segment))
}

/// Results are neighbouring threads' work.
fn rows(body: &Body, space: &Space) -> Arrangement {
    const WARP: usize = 32;
    let (outputs, pack) = (space.outputs(), pack(body, space, false));
    let terms = space.terms() / pack;
    let least = terms.div_ceil(8).next_power_of_two();
    let most = terms.div_ceil(2).next_power_of_two();
    let mut along = power_below(FILL / outputs).clamp(least, most);
    let many = outputs >= FILL / WARP;
    if along > WARP {
        let most = match () {
            () if many && terms <= WARP * LONG => WARP,
            () if outputs <= 64 && is_light(body) => 1024,
            () => 256,
        };
        along = along.min(most);
    }
    let (segment, segments) = cut(body, terms, along.min(256), (outputs, 256));
    if segments > 1 {
        along = along.min(256);
    }
    let block = if outputs * along >= FILL / 2 { 256 } else { 128 };
    let across = (block / along).min(outputs.next_power_of_two()).max(WARP / along).max(1);
    let across = if along > WARP { 1 } else { across };
    Arrangement { rows: true, pack, across, along, flight: 1, segment, segments }
}

/// Terms are neighbouring rows of memory.
fn columns(body: &Body, space: &Space) -> Arrangement {
    const WIDTH: usize = 32;
    let terms = space.terms();
    let large = space.outputs() * terms >= 4 * FILL;
    let pack = if large { pack(body, space, true) } else { 1 };
    let outputs = space.outputs() / pack;
    let inner = space.kept.last().map_or(1, |axis| axis.length / pack);
    let width = if inner >= WIDTH || terms < WIDTH { WIDTH } else { inner }.min(outputs);
    let (least, most) = (power_below(terms / 32), power_below(terms / 4));
    let mut along = power_below(FILL / outputs).clamp(least, most).min(power_below(256 / width));
    let block = if outputs * along >= FILL / 2 { 256 } else { 128 };
    let across = (width * (block / (width * along)).max(1)).min(outputs);
    let blocks = outputs.div_ceil(across);
    let (segment, segments) = cut(body, terms, along, (blocks, across * along));
    if segments == 1 && blocks <= 64 && is_light(body) && pack == 1 {
        along = power_below(1024 / across).min(most.max(along));
    }
    Arrangement { rows: false, pack, across, along, flight: 1, segment, segments }
}
