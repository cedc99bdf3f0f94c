//! Fusion: which items one step makes together.
//!
//! Groups stand in one order in which they can run. Two groups merge where they share an iteration space and no third group must run between
//! them; the order is then repaired between the two, so it stays valid and no cycle can arise.

use super::lower::{Item, Point, Program, Source, Work};
use super::step::View;
use crate::DType;
use std::collections::BTreeSet;

/// Most instructions in one loop.
pub(super) const CODE_LIMIT: usize = 64;
/// Most loads in one loop.
pub(super) const LOAD_LIMIT: usize = 24;
/// Groups further apart than this do not merge merely for reading the same value.
const SIBLING_DISTANCE: usize = 16;

/// The views an item reads.
pub(super) fn reads(item: &Item) -> Vec<&View> {
    fn view(source: &Source) -> Option<&View> {
        match source {
            Source::View(view) => Some(view),
            Source::Constant(_) => None,
        }
    }
    match &item.work {
        Work::Leaf(_) => Vec::new(),
        Work::Point(_, sources) => sources.iter().filter_map(view).collect(),
        Work::Reduce { from, .. } => view(from).into_iter().collect(),
        Work::Product(product) => [&product.a, &product.b].into_iter().chain(&product.start).collect(),
        Work::Assemble { parts, .. } => parts.iter().filter_map(|(source, _)| view(source)).collect(),
        Work::Action(action) => action.views().into_iter().filter(|(_, write)| !write).map(|(view, _)| view).collect(),
    }
}

/// Whether a load of `view` by `user` can be the register that holds the item's value at the same point.
pub(super) fn is_register(items: &[Item], user: &Item, view: &View) -> bool {
    let made = &items[view.buffer.0];
    let makes_points = match &made.work {
        Work::Point(..) => true,
        Work::Product(product) => !product.summed && product.start.is_none(),
        _ => false,
    };
    makes_points
        && matches!(user.work, Work::Point(..) | Work::Reduce { .. })
        && user.dtype == made.dtype
        && view.is_whole(made.elements())
}

/// A group of items that one step makes.
#[derive(Clone, Debug)]
struct Group {
    members: Vec<usize>,
    /// Points of the iteration space; 0 for a group that never merges.
    points: usize,
    dtype: DType,
    code: usize,
    product: bool,
    /// Whether a load changes the element type.
    converts: bool,
    /// Whether it makes the new value of an input. Loops do that in place, epilogues cannot.
    updates: bool,
    reduced: Option<Vec<(usize, usize)>>,
}

/// Flat ranges that a reduction runs over.
fn reduced_ranges(to: &View) -> Vec<(usize, usize)> {
    to.segments().iter().filter(|s| s.stride == 0).map(|s| (s.low, s.length)).collect()
}

/// Axes (low, length), outermost first, of the coarsest iteration space on which the views have strides; `None` if there is none.
pub(super) fn axes<'a>(views: impl Iterator<Item = &'a View>, points: usize) -> Option<Vec<(usize, usize)>> {
    if points == 0 {
        return Some(vec![(1, 0)]);
    }
    let mut breaks: BTreeSet<usize> = [1, points].into();
    for view in views {
        breaks.extend(view.segments().iter().map(|s| s.low));
    }
    let breaks: Vec<usize> = breaks.into_iter().collect();
    let mut axes = Vec::with_capacity(breaks.len());
    for pair in breaks.windows(2) {
        if pair[1] % pair[0] != 0 {
            return None;
        }
        axes.push((pair[0], pair[1] / pair[0]));
    }
    axes.reverse();
    Some(axes)
}

struct Fusion<'a> {
    items: &'a [Item],
    /// For each item its users and whether they can take it from a register.
    users: Vec<Vec<(usize, bool)>>,
    group_of: Vec<usize>,
    groups: Vec<Group>,
    order: Vec<usize>,
    position: Vec<usize>,
    stamp: Vec<u32>,
    stamps: u32,
}

/// Groups of items in an order in which they can run; leaves are in none. Without `fuse` each item stands alone.
pub(super) fn groups(program: &Program, live: &[bool], fuse: bool) -> Vec<Vec<usize>> {
    let items = &program.items;
    let mut users = vec![Vec::new(); items.len()];
    for (id, item) in items.iter().enumerate().filter(|(id, _)| live[*id]) {
        for view in reads(item) {
            users[view.buffer.0].push((id, is_register(items, item, view)));
        }
    }
    let mut groups: Vec<Group> = items.iter().enumerate().map(|(id, item)| single(id, item)).collect();
    program.updates.iter().for_each(|(_, item)| groups[*item].updates = true);
    let order: Vec<usize> =
        (0..items.len()).filter(|&id| live[id] && !matches!(items[id].work, Work::Leaf(_))).collect();
    let mut position = vec![usize::MAX; items.len()];
    order.iter().enumerate().for_each(|(at, &group)| position[group] = at);
    let mut fusion = Fusion {
        items,
        users,
        group_of: (0..items.len()).collect(),
        groups,
        order,
        position,
        stamp: vec![0; items.len()],
        stamps: 0,
    };
    if fuse {
        fusion.chains(live);
        fusion.siblings();
    }
    let Fusion { order, mut groups, .. } = fusion;
    order
        .into_iter()
        .filter(|&group| group != usize::MAX)
        .map(|group| {
            let mut members = std::mem::take(&mut groups[group].members);
            members.sort_unstable();
            members
        })
        .collect()
}

fn single(id: usize, item: &Item) -> Group {
    let group = Group {
        members: vec![id],
        points: 0,
        dtype: item.dtype,
        code: 0,
        product: false,
        converts: reads(item).iter().any(|view| view.dtype != item.dtype),
        updates: false,
        reduced: None,
    };
    match &item.work {
        Work::Point(point, _) => Group { points: item.elements(), code: usize::from(*point != Point::Copy), ..group },
        Work::Reduce { to, .. } => Group { points: to.points(), reduced: Some(reduced_ranges(to)), ..group },
        Work::Product(product) if !product.summed && product.start.is_none() => {
            Group { points: item.elements(), product: true, ..group }
        }
        _ => group,
    }
}

impl Fusion<'_> {
    /// Producers join their users.
    fn chains(&mut self, live: &[bool]) {
        for id in (0..self.items.len()).filter(|&id| live[id]) {
            for view in reads(&self.items[id]) {
                if is_register(self.items, &self.items[id], view) {
                    self.merge(view.buffer.0, id);
                }
            }
        }
    }

    /// Groups that read the same value in the same way join.
    fn siblings(&mut self) {
        for id in 0..self.items.len() {
            for k in 1..self.users[id].len() {
                let (a, b) = (self.users[id][k - 1].0, self.users[id][k].0);
                let (ga, gb) = (self.group_of[a], self.group_of[b]);
                let near = self.position[ga].abs_diff(self.position[gb]) <= SIBLING_DISTANCE;
                if near && self.groups[ga].points == self.groups[gb].points && self.share_a_load(a, b, id) {
                    self.merge(a, b);
                }
            }
        }
    }

    fn share_a_load(&self, a: usize, b: usize, id: usize) -> bool {
        let (first, second) = (reads(&self.items[a]), reads(&self.items[b]));
        first.iter().any(|view| view.buffer.0 == id && second.iter().any(|other| other.segments() == view.segments()))
    }

    /// Merges the groups of two items if that is possible.
    fn merge(&mut self, a: usize, b: usize) {
        let (mut a, mut b) = (self.group_of[a], self.group_of[b]);
        if a == b {
            return;
        }
        if self.position[a] > self.position[b] {
            (a, b) = (b, a);
        }
        if !self.compatible(a, b) {
            return;
        }
        let Some(between) = self.dependents_between(a, b) else { return };
        if !self.fits_one_space(a, b) {
            return;
        }
        self.join(a, b, &between);
    }

    fn compatible(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.groups[a], &self.groups[b]);
        let reductions_agree = match (&a.reduced, &b.reduced) {
            (Some(x), Some(y)) => x == y,
            _ => true,
        };
        let reduces = a.reduced.is_some() || b.reduced.is_some();
        let multiplies = a.product || b.product;
        a.points == b.points
            && a.points > 0
            && a.dtype == b.dtype
            && a.code + b.code <= CODE_LIMIT
            && reductions_agree
            && !(a.product && b.product)
            && !(multiplies && (reduces || a.converts || b.converts || a.updates || b.updates))
    }

    /// Groups after `a` and before `b` that need `a`, in any order; `None` if `b` needs one of them, or needs `a` otherwise than by register.
    fn dependents_between(&mut self, a: usize, b: usize) -> Option<Vec<usize>> {
        self.stamps += 1;
        let last = self.position[b];
        let mut found = Vec::new();
        let mut stack = vec![a];
        while let Some(group) = stack.pop() {
            for &member in &self.groups[group].members {
                for &(user, register) in &self.users[member] {
                    let next = self.group_of[user];
                    if next == group || self.position[next] > last {
                        continue;
                    }
                    if next == b {
                        if group == a && register {
                            continue;
                        }
                        return None;
                    }
                    if self.stamp[next] != self.stamps {
                        self.stamp[next] = self.stamps;
                        found.push(next);
                        stack.push(next);
                    }
                }
            }
        }
        Some(found)
    }

    /// Whether loads and stores of both groups have strides on one iteration space, and are not too many.
    fn fits_one_space(&self, a: usize, b: usize) -> bool {
        let mut views: Vec<&View> = Vec::new();
        let mut loads: Vec<&View> = Vec::new();
        let mut columns = None;
        for &member in self.groups[a].members.iter().chain(&self.groups[b].members) {
            let item = &self.items[member];
            match &item.work {
                Work::Product(product) => {
                    columns = Some([1, product.b.shape[2], product.b.shape[2] * product.a.shape[1]]);
                    continue;
                }
                Work::Reduce { to, .. } => views.push(to),
                _ => {}
            }
            for view in reads(item) {
                let group = self.group_of[view.buffer.0];
                if (group == a || group == b) && is_register(self.items, item, view) {
                    continue;
                }
                if !loads.contains(&view) {
                    loads.push(view);
                }
            }
        }
        if loads.len() > LOAD_LIMIT {
            return false;
        }
        views.extend(loads);
        let Some(axes) = axes(views.into_iter(), self.groups[a].points) else { return false };
        columns.is_none_or(|allowed| axes.iter().all(|(low, _)| allowed.contains(low)))
    }

    /// Makes `b` part of `a`'s step: what needs `a` moves behind it.
    fn join(&mut self, a: usize, b: usize, between: &[usize]) {
        let (first, last) = (self.position[a], self.position[b]);
        self.stamps += 1;
        for &group in between {
            self.stamp[group] = self.stamps;
        }
        let segment: Vec<usize> = self.order[first + 1..last].to_vec();
        let before = segment.iter().copied().filter(|&g| g == usize::MAX || self.stamp[g] != self.stamps);
        let after = segment.iter().copied().filter(|&g| g != usize::MAX && self.stamp[g] == self.stamps);
        let repaired: Vec<usize> = before.chain([a]).chain(after).chain([usize::MAX]).collect();
        for (offset, group) in repaired.into_iter().enumerate() {
            self.order[first + offset] = group;
            if group != usize::MAX {
                self.position[group] = first + offset;
            }
        }
        let taken = self.groups[b].clone();
        self.groups[b].points = 0;
        for &member in &taken.members {
            self.group_of[member] = a;
        }
        let group = &mut self.groups[a];
        group.members.extend(taken.members);
        group.code += taken.code;
        group.product |= taken.product;
        group.converts |= taken.converts;
        group.updates |= taken.updates;
        group.reduced = group.reduced.take().or(taken.reduced);
    }
}
