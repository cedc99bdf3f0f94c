//! Recomputation: a cheap function of a stored value is not stored beside it but computed again where it is needed.
//!
//! The derivative 1 - h^2 of h = tanh(z), recorded with the forward pass and needed in the backward pass, is the typical case: h is stored anyway.

use super::fuse::{CODE_LIMIT, is_register, reads};
use super::lower::{Item, Point, Program, Source, Work};
use crate::op::{Binary, Unary};
use std::collections::HashSet;

/// Most instructions computed again for one value.
const LIMIT: usize = 4;

fn is_cheap(point: Point) -> bool {
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
        let mut code = Vec::new();
        let mut source = None;
        if far.is_empty()
            || !far.iter().all(by_register)
            || !expression(&program.items, stored, &group_of, value, &mut code, &mut source)
        {
            continue;
        }
        let Some(source) = source else { continue };
        let mut targets: Vec<usize> = far.iter().map(|&user| group_of[user]).collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.iter().any(|&group| groups[group].len() + code.len() > CODE_LIMIT) {
            continue;
        }
        pinned[source] = true;
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
