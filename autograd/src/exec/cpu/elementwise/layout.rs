//! How a loop's iteration space is cut into tiles.
//!
//! A tile is a box that covers the last axes completely and a piece of one axis before them, small enough that its values stay in the first-level
//! cache. Axes before that are walked tile by tile: first the kept ones, inside of them the reduced ones. All of this depends on shapes only.

use crate::exec::view::Window;

/// Bytes of one tile of one value.
pub(crate) const TILE_BYTES: usize = 4096;

/// Elements of a tile for a type of the given size.
pub(crate) const fn tile_elements(size: usize) -> usize {
    TILE_BYTES / size
}

/// How the values of one tile are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Not at all.
    None,
    /// Each run of this many elements gives one result, complete within the tile.
    Rows(usize),
    /// All elements of the tile belong to one result.
    All,
    /// Elements that are a multiple of this width apart belong together; results have this width.
    Columns(usize),
    /// Every element belongs to a result of its own, to which later tiles add.
    Lanes,
}

/// An axis of the iteration space with its stride in each view.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Steps along it.
    pub(crate) length: usize,
    /// Whether results combine all its points.
    pub(crate) reduced: bool,
    /// Elements between neighbours, for each view.
    pub(crate) strides: Vec<usize>,
}

/// The cut.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Axes walked tile by tile that are kept, outermost first.
    pub(crate) kept: Vec<Axis>,
    /// Axes walked tile by tile that are reduced.
    pub(crate) reduced: Vec<Axis>,
    /// The axis of which a tile takes a piece: its strides are for single steps.
    pub(crate) piece: Axis,
    /// Steps of a full piece.
    pub(crate) rows: usize,
    /// Steps of the last piece.
    pub(crate) last_rows: usize,
    /// Where the walk over the pieces stands: the last of the kept, or of the reduced axes walked.
    pub(crate) piece_reduced: bool,
    /// Axes that tiles cover completely.
    pub(crate) inner: Vec<Axis>,
    /// Points of `inner`.
    pub(crate) inner_elements: usize,
    /// How a tile is combined.
    pub(crate) fold: Fold,
}

impl Layout {
    /// Cuts an iteration space. `reduced` tells the axes that are combined; views are given in the order in which the axes' strides will stand.
    ///
    /// `order` is the view whose elements should be met in the order of memory where nothing is reduced.
    pub(crate) fn new(
        shape: &[usize],
        views: &[&Window],
        order: Option<usize>,
        reduced: impl Fn(usize) -> bool,
        tile: usize,
    ) -> Self {
        let mut axes: Vec<Axis> = (0..shape.len())
            .filter(|&k| shape[k] != 1)
            .map(|k| Axis {
                length: shape[k],
                reduced: reduced(k),
                strides: views.iter().map(|view| view.strides[k]).collect(),
            })
            .collect();
        let any_reduced = axes.iter().any(|axis| axis.reduced);
        let mut by_columns = false;
        if !any_reduced {
            if let Some(view) = order {
                axes.sort_by_key(|axis| std::cmp::Reverse(axis.strides[view]));
            }
        } else {
            by_columns = axes.last().is_some_and(|axis| !axis.reduced);
            if by_columns {
                let inner: usize = axes.iter().rev().take_while(|axis| !axis.reduced).map(|axis| axis.length).product();
                let kept: usize = axes.iter().filter(|axis| !axis.reduced).map(|axis| axis.length).product();
                let combined: usize = axes.iter().filter(|axis| axis.reduced).map(|axis| axis.length).product();
                // Many tiny column sums are better done row by row over gathered values.
                by_columns = inner * combined >= 64 || kept == inner;
            }
            if by_columns {
                let inner = axes.iter().rposition(|axis| axis.reduced).map_or(0, |k| k + 1);
                let tail = axes.split_off(inner);
                axes.sort_by_key(|axis| axis.reduced);
                axes.extend(tail);
            } else {
                axes.sort_by_key(|axis| axis.reduced);
            }
        }
        let mut axes = merged(axes);
        if !any_reduced {
            axes = squared(axes);
        }
        if axes.is_empty() {
            axes.push(Axis { length: 1, reduced: false, strides: vec![0; views.len()] });
        }

        // In the order kept, reduced, kept the tile must not reach beyond the reduced axes.
        let floor = if by_columns { axes.iter().position(|axis| axis.reduced).unwrap_or(0) } else { 0 };
        let mut inner_elements = 1;
        let mut at = axes.len() - 1;
        while at > floor && inner_elements * axes[at].length <= tile {
            inner_elements *= axes[at].length;
            at -= 1;
        }
        let inner = axes.split_off(at + 1);
        let piece = axes.remove(at);
        let rows = (tile / inner_elements).clamp(1, piece.length);
        let pieces = piece.length.div_ceil(rows);
        let last_rows = piece.length - (pieces - 1) * rows;

        let fold = if !any_reduced {
            Fold::None
        } else if by_columns {
            if piece.reduced {
                Fold::Columns(inner.iter().filter(|axis| !axis.reduced).map(|axis| axis.length).product())
            } else {
                Fold::Lanes
            }
        } else if piece.reduced {
            Fold::All
        } else {
            Fold::Rows(inner.iter().filter(|axis| axis.reduced).map(|axis| axis.length).product())
        };
        let (mut reduced, mut kept): (Vec<Axis>, Vec<Axis>) = axes.into_iter().partition(|axis| axis.reduced);
        let walk = Axis {
            length: pieces,
            reduced: piece.reduced,
            strides: piece.strides.iter().map(|stride| stride * rows).collect(),
        };
        let piece_reduced = piece.reduced;
        if piece_reduced {
            reduced.push(walk)
        } else {
            kept.push(walk)
        }
        Self { kept, reduced, piece, rows, last_rows, piece_reduced, inner, inner_elements, fold }
    }

    /// Points of the walk over kept axes.
    pub(crate) fn kept_tiles(&self) -> usize {
        self.kept.iter().map(|axis| axis.length).product()
    }

    /// Points of the walk over reduced axes.
    pub(crate) fn reduced_tiles(&self) -> usize {
        self.reduced.iter().map(|axis| axis.length).product()
    }

    /// Elements of a full tile.
    pub(crate) fn tile(&self) -> usize {
        self.rows * self.inner_elements
    }
}

/// Arranges axes for views that run across the loop's order (transposes) in steps that fall onto few sets of a cache: a tile then takes some steps of
/// both directions and uses whole cache lines of either side before they are evicted. With other steps the lines survive anyway.
fn squared(mut axes: Vec<Axis>) -> Vec<Axis> {
    const SIDE: std::ops::RangeInclusive<usize> = 16..=64;
    const CONFLICT: usize = 128;
    let Some(last) = axes.pop() else { return axes };
    let across = (0..axes.len()).find(|&k| {
        let views = axes[k].strides.iter().zip(&last.strides);
        axes[k].length >= 8
            && views.into_iter().any(|(&along, &inner)| along == 1 && inner > 1 && inner.is_multiple_of(CONFLICT))
    });
    let side = SIDE.into_iter().find(|side| last.length.is_multiple_of(*side));
    match (across, side) {
        (Some(across), Some(side)) if last.length > side => {
            let across = axes.remove(across);
            axes.push(Axis {
                length: last.length / side,
                reduced: false,
                strides: last.strides.iter().map(|stride| stride * side).collect(),
            });
            axes.push(across);
            axes.push(Axis { length: side, ..last });
        }
        _ => axes.push(last),
    }
    axes
}

/// Joins neighbouring axes that every view steps through evenly.
fn merged(axes: Vec<Axis>) -> Vec<Axis> {
    let mut result: Vec<Axis> = Vec::with_capacity(axes.len());
    for axis in axes {
        if let Some(last) = result.last_mut()
            && last.reduced == axis.reduced
            && last.strides.iter().zip(&axis.strides).all(|(&outer, &inner)| outer == inner * axis.length)
        {
            last.length *= axis.length;
            last.strides = axis.strides;
        } else {
            result.push(axis);
        }
    }
    result
}

/// The elements of a tile in one view: `rows` steps of `row`, within each the axes `inner`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Elements from one row to the next.
    pub(crate) row: usize,
    /// (length, stride) of the axes inside of a row, joined where possible.
    pub(crate) inner: Vec<(usize, usize)>,
}

impl Pattern {
    /// The pattern of view `view` over a row stride and the given axes.
    pub(crate) fn new<'a>(row: usize, axes: impl Iterator<Item = &'a Axis>, view: usize) -> Self {
        let mut inner: Vec<(usize, usize)> = Vec::new();
        for axis in axes {
            let stride = axis.strides[view];
            match inner.last_mut() {
                Some(last) if last.1 == stride * axis.length => *last = (last.0 * axis.length, stride),
                _ => inner.push((axis.length, stride)),
            }
        }
        Self { row, inner }
    }

    /// Whether a tile of so many rows is one run of neighbours in memory.
    pub(crate) fn is_contiguous(&self, rows: usize) -> bool {
        match self.inner.as_slice() {
            [] => rows == 1 || self.row == 1,
            [(length, 1)] => rows == 1 || self.row == *length,
            _ => false,
        }
    }

    /// Whether a tile is a single element repeated.
    pub(crate) fn is_uniform(&self) -> bool {
        self.row == 0 && self.inner.iter().all(|(_, stride)| *stride == 0)
    }
}
