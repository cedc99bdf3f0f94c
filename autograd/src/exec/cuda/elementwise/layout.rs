//! The axes of a loop, in an order that suits its memory, as few as possible.

use super::body::Body;
use crate::exec::view::Window;

/// An axis of the iteration space with its stride in each view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Steps along it.
    pub(super) length: usize,
    /// Elements between neighbours, for each view.
    pub(super) strides: Vec<usize>,
}

/// The axes, outermost first, those that are reduced apart from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) kept: Vec<Axis>,
    pub(super) reduced: Vec<Axis>,
}

/// Bytes that memory moves at least.
const SECTOR: usize = 32;

impl Space {
    /// The axes of a loop: without those of length 1, joined wherever all views step evenly. Each group is in the order of memory of the view that
    /// matters most.
    pub(super) fn new(body: &Body) -> Self {
        let axis =
            |k: usize| Axis { length: body.shape[k], strides: body.views().map(|window| window.strides[k]).collect() };
        let axes = (0..body.shape.len()).filter(|&k| body.shape[k] != 1);
        let (mut reduced, mut kept): (Vec<_>, Vec<_>) =
            axes.map(|k| (body.reduced[k], axis(k))).partition(|(reduced, _)| *reduced);
        let views = order_of_views(body);
        for group in [&mut kept, &mut reduced] {
            let place = |axis: &Axis| views.iter().map(|&view| axis.strides[view]).find(|&stride| stride != 0);
            group.sort_by_key(|(_, axis)| std::cmp::Reverse(place(axis).unwrap_or(usize::MAX)));
        }
        let joined = |group: Vec<(bool, Axis)>| joined(group.into_iter().map(|(_, axis)| axis));
        Self { kept: joined(kept), reduced: joined(reduced) }
    }

    /// Points of the kept axes.
    pub(super) fn outputs(&self) -> usize {
        self.kept.iter().map(|axis| axis.length).product()
    }

    /// Points of the reduced axes.
    pub(super) fn terms(&self) -> usize {
        self.reduced.iter().map(|axis| axis.length).product()
    }

    /// Whether indices and offsets need 64 bits; `slack` points beyond the last may be computed with.
    pub(super) fn is_wide(&self, slack: usize) -> bool {
        const LIMIT: usize = 1 << 31;
        let axes = || self.kept.iter().chain(&self.reduced);
        let views = axes().next().map_or(0, |axis| axis.strides.len());
        let last = |view: usize| axes().map(|axis| (axis.length - 1) * axis.strides[view]).sum::<usize>();
        self.outputs() * self.terms() + slack >= LIMIT || (0..views).any(|view| last(view) >= LIMIT)
    }

    /// Whether packs of so many elements along the last axis of `kept` or `reduced` lie aligned in a view.
    pub(super) fn packs(&self, window: &Window, view: usize, along_kept: bool, pack: usize) -> bool {
        let (last, others) = if along_kept { (&self.kept, &self.reduced) } else { (&self.reduced, &self.kept) };
        let Some((last, rest)) = last.split_last() else { return false };
        last.strides[view] == 1
            && rest.iter().chain(others).all(|axis| axis.strides[view].is_multiple_of(pack))
            && (window.pointer as usize).is_multiple_of(pack * window.dtype.size())
    }
}

/// Views from the one whose order matters most: what is stored point by point, then loads with many elements, then results.
fn order_of_views(body: &Body) -> Vec<usize> {
    let windows: Vec<&Window> = body.views().collect();
    let reach = |view: usize| -> usize {
        let axes = body.shape.iter().zip(&windows[view].strides);
        axes.filter(|(_, stride)| **stride != 0).map(|(length, _)| length).product()
    };
    // Of several plain stores the one with whose innermost axis most views agree.
    let agreeing = |view: usize| {
        let axes = (0..body.shape.len()).filter(|&k| body.shape[k] > 1);
        let inner = axes.min_by_key(|&k| windows[view].strides[k]);
        inner.map_or(0, |inner| windows.iter().filter(|window| window.strides[inner] == 1).count())
    };
    let mut plain: Vec<usize> = body.stores_that(false).map(|store| body.view_of_store(store)).collect();
    plain.sort_by_key(|&view| std::cmp::Reverse(agreeing(view)));
    let mut loads: Vec<usize> = (0..body.loads.len()).collect();
    loads.sort_by_key(|&view| std::cmp::Reverse(reach(view)));
    let results = body.stores_that(true).map(|store| body.view_of_store(store));
    plain.into_iter().chain(loads).chain(results).collect()
}

/// Joins neighbouring axes that every view steps through evenly.
fn joined(axes: impl Iterator<Item = Axis>) -> Vec<Axis> {
    let mut result: Vec<Axis> = Vec::new();
    for axis in axes {
        if let Some(last) = result.last_mut()
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

/// The axes with the last one counted in packs.
pub(super) fn in_packs(axes: &[Axis], pack: usize) -> Vec<Axis> {
    let mut axes = axes.to_vec();
    if let Some(last) = axes.last_mut() {
        last.length = last.length.div_ceil(pack);
        last.strides.iter_mut().for_each(|stride| *stride *= pack);
    }
    axes
}

/// The kept axis along which loads run that cross the last one in steps that share no sector of memory, and those loads, if it is worth turning
/// them in shared memory.
pub(super) fn crossing(body: &Body, space: &Space) -> Option<(usize, Vec<usize>)> {
    const SIDE: usize = 16;
    let (last, rest) = space.kept.split_last()?;
    if last.length < SIDE {
        return None;
    }
    let turned = |axis: &Axis| -> Vec<usize> {
        let crosses =
            |&view: &usize| axis.strides[view] == 1 && last.strides[view] * body.loads[view].dtype.size() >= SECTOR;
        (0..body.loads.len()).filter(crosses).collect()
    };
    (0..rest.len())
        .filter(|&k| rest[k].length >= SIDE)
        .map(|k| (k, turned(&rest[k])))
        .filter(|(_, loads)| !loads.is_empty())
        .max_by_key(|(_, loads)| loads.len())
}
