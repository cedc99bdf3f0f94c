//! Recomputation: a cheap function of a stored value is not stored beside it but computed again where it is needed.
//!
//! The derivative 1 - h^2 of h = tanh(z), recorded with the forward pass and needed in the backward pass, is the typical case: h is stored anyway.
//! A comparison of two values, such as the mask of a maximum, is computed again from both.

use super::fuse::{CODE_LIMIT, LOAD_LIMIT, axes, is_register, reads};
use super::lower::{Item, Point, Program, Source, Work};
use super::step::View;
use crate::op::{Binary, Unary};
use std::collections::HashSet;

/// Most instructions computed again for one value.
const LIMIT: usize = 4;

/// Whether work on one point takes a few cycles at most.
pub(super) fn is_cheap(point: Point) -> bool {
    match point {
        Point::Copy => false,
        Point::Unary(f) => {
            matches!(f, Unary::Neg | Unary::Square | Unary::Abs | Unary::Sign | Unary::Relu | Unary::Step)
        }
        Point::Binary(f) => f != Binary::Div,
        Point::Select => true,
    }
}

/// Replaces loads of cheap values by code in the groups that load them. `stored` tells which items are stored and is kept up to date.
pub(super) fn recompute(program: &mut Program, groups: &mut [Vec<usize>], stored: &mut Vec<bool>) {
    let mut group_of = vec![usize::MAX; program.items.len()];
    for (group, members) in groups.iter().enumerate() {
        members.iter().for_each(|&member| group_of[member] = group);
    }
    let mut users = vec![Vec::new(); program.items.len()];
    for &user in groups.iter().flatten() {
        reads(&program.items[user]).iter().for_each(|view| users[view.buffer.0].push(user));
    }
    let mut pinned: Vec<bool> = program.homes.iter().map(Option::is_some).collect();
    program.updates.iter().for_each(|(_, item)| pinned[*item] = true);
    for value in 0..users.len() {
        if !stored[value] || pinned[value] {
            continue;
        }
        let far: Vec<usize> = users[value].iter().copied().filter(|&user| group_of[user] != group_of[value]).collect();
        let by_register = |&user: &usize| {
            let item = &program.items[user];
            reads(item).iter().all(|view| view.buffer.0 != value || is_register(&program.items, item, view))
        };
        if far.is_empty() || !far.iter().all(by_register) {
            continue;
        }
        let mut code = Vec::new();
        let mut source = None;
        let expressed = expression(&program.items, stored, &group_of, value, &mut code, &mut source);
        let sources =
            if expressed { source.into_iter().collect() } else { compared(&program.items, &users, stored, value) };
        if sources.is_empty() {
            continue;
        }
        if !expressed {
            code = vec![value];
        }
        let mut targets: Vec<usize> = far.iter().map(|&user| group_of[user]).collect();
        targets.sort_unstable();
        targets.dedup();
        let fits = |&group: &usize| {
            groups[group].len() + code.len() <= CODE_LIMIT
                && (expressed || shares_space(&program.items, &groups[group], &program.items[value]))
        };
        if !targets.iter().all(fits) {
            continue;
        }
        for source in sources {
            pinned[source] = true;
            stored[source] |= !matches!(program.items[source].work, Work::Leaf(_));
        }
        stored[value] = false;
        for group in targets {
            let copies = copy_into(program, &code);
            let copy_of = |old: usize| copies.iter().find(|(from, _)| *from == old).map(|(_, to)| *to);
            for &member in &groups[group] {
                rename(&mut program.items[member], |old| if old == value { copy_of(old) } else { None });
            }
            for &(_, copy) in &copies {
                rename(&mut program.items[copy], copy_of);
            }
            let with_copies = copies.iter().map(|(_, to)| *to).chain(groups[group].iter().copied()).collect();
            groups[group] = with_copies;
            stored.resize(program.items.len(), false);
        }
    }
    for members in groups.iter_mut().filter(|members| members.len() > 1) {
        drop_unused(&program.items, members, stored);
    }
}

/// Removes members that are neither stored nor needed by another member.
fn drop_unused(items: &[Item], members: &mut Vec<usize>, stored: &[bool]) {
    let mut needed: HashSet<usize> = HashSet::new();
    for &member in members.iter().rev() {
        if stored[member] || needed.contains(&member) {
            needed.insert(member);
            needed.extend(reads(&items[member]).iter().map(|view| view.buffer.0));
        }
    }
    members.retain(|member| needed.contains(member));
}

/// Collects the items that make `value` from constants and one stored value; false if there is no such short code.
fn expression(
    items: &[Item],
    stored: &[bool],
    group_of: &[usize],
    value: usize,
    code: &mut Vec<usize>,
    source: &mut Option<usize>,
) -> bool {
    let Work::Point(point, sources) = &items[value].work else { return false };
    if !is_cheap(*point) || code.len() == LIMIT {
        return false;
    }
    for operand in sources {
        let Source::View(view) = operand else { continue };
        let id = view.buffer.0;
        let near = id < group_of.len() && group_of[id] == group_of[value];
        if !near || !is_register(items, &items[value], view) {
            return false;
        }
        if stored[id] {
            if source.is_some_and(|known| known != id) {
                return false;
            }
            *source = Some(id);
        } else if !code.contains(&id) && !expression(items, stored, group_of, id, code, source) {
            return false;
        }
    }
    if !code.contains(&value) {
        code.push(value);
    }
    code.len() <= LIMIT
}

/// The values that a comparison compares, if all of them lie in memory or would do so instead of several comparisons; none for other work.
fn compared(items: &[Item], users: &[Vec<usize>], stored: &[bool], value: usize) -> Vec<usize> {
    let comparison = |id: usize| match &items[id].work {
        Work::Point(Point::Binary(Binary::Greater | Binary::GreaterEqual | Binary::Equal), sources) => Some(sources),
        _ => None,
    };
    let mut found = Vec::new();
    for source in comparison(value).into_iter().flatten() {
        let Source::View(view) = source else { continue };
        let id = view.buffer.0;
        let replaced = || users[id].iter().filter(|&&user| stored[user] && comparison(user).is_some()).count();
        match items[id].work {
            Work::Leaf(_) => {}
            _ if stored[id] => {}
            Work::Point(..) if replaced() > 1 => {}
            _ => return Vec::new(),
        }
        found.push(id);
    }
    found
}

/// Whether a loop of these items has strides for what another item reads, too.
fn shares_space(items: &[Item], members: &[usize], other: &Item) -> bool {
    let mut loads: Vec<&View> = Vec::new();
    let mut views: Vec<&View> = Vec::new();
    for item in members.iter().map(|&member| &items[member]).chain([other]) {
        match &item.work {
            Work::Product(_) => return false,
            Work::Reduce { to, .. } => views.push(to),
            _ => {}
        }
        let loaded = |view: &View| !(members.contains(&view.buffer.0) && is_register(items, item, view));
        loads.extend(reads(item).into_iter().filter(|view| loaded(view)));
    }
    let mut distinct: Vec<&View> = Vec::new();
    loads.into_iter().for_each(|view| {
        if !distinct.contains(&view) {
            distinct.push(view)
        }
    });
    distinct.len() <= LOAD_LIMIT && axes(views.into_iter().chain(distinct), other.elements()).is_some()
}

/// Appends copies of items; pairs of old and new numbers.
fn copy_into(program: &mut Program, code: &[usize]) -> Vec<(usize, usize)> {
    code.iter()
        .map(|&old| {
            let item = program.items[old].clone();
            program.items.push(item);
            program.homes.push(None);
            (old, program.items.len() - 1)
        })
        .collect()
}

/// Points the operands of elementwise work and reductions at other items.
fn rename(item: &mut Item, new: impl Fn(usize) -> Option<usize>) {
    let rename = |source: &mut Source| {
        if let Source::View(view) = source
            && let Some(id) = new(view.buffer.0)
        {
            view.buffer.0 = id;
        }
    };
    match &mut item.work {
        Work::Point(_, sources) => sources.iter_mut().for_each(rename),
        Work::Reduce { from, .. } => rename(from),
        _ => {}
    }
}
