//! Groups become steps. Their views still name items instead of buffers.

use super::fuse::{axes, is_register, reads};
use super::graph::Origin;
use super::lower::{Item, Multiply, Point, Program, Source, Work};
use super::step::{Action, BufferId, Epilogue, Instruction, Loop, Operand, Product, Step, Store, View};
use crate::DType;
use std::collections::HashMap;

/// What a step is to the placement of values.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// It makes values.
    Make,
    /// It fills the gaps of an assembled value with zeros, before any part is written.
    Fill,
    /// It copies a value into a window (a view) of another; it can go if the value is made there in the first place.
    Part { value: usize, window: View },
}

/// A step and its role.
#[derive(Clone, Debug)]
pub(super) struct Emitted {
    pub step: Step,
    pub role: Role,
}

/// A step with its costs.
pub(super) fn step(action: Action, origin: Origin) -> Step {
    let (flops, bytes) = (action.flops(), action.bytes().iter().sum());
    Step { action, op: origin.op, location: origin.location, flops, bytes }
}

/// A loop that copies, converts or fills: one operand to one store over the store's shape.
pub(super) fn copy(from: &Source, to: &View) -> Action {
    let view = match from {
        Source::View(view) => Some(view),
        Source::Constant(_) => None,
    };
    let space = axes(view.into_iter().chain([to]), to.points());
    // A reshaped copy may have no common space: then the original axes, which both have, are the space.
    let on = |view: &View| match &space {
        Some(axes) => view.on_axes(axes).unwrap_or_else(|| view.clone()),
        None => view.clone(),
    };
    let to = filled(on(to));
    let (loads, value) = match from {
        Source::View(view) => (vec![filled(on(view))], Operand::Load(0)),
        Source::Constant(bits) => (Vec::new(), Operand::Constant(*bits)),
    };
    let stores = vec![Store { value, to: to.clone(), reduction: None }];
    Action::Loop(Loop { shape: to.shape, dtype: to.dtype, loads, code: Vec::new(), stores })
}

/// A loop over a single point still has one axis.
fn filled(mut view: View) -> View {
    if view.shape.is_empty() {
        view.shape.push(1);
        view.strides.push(0);
    }
    view
}

/// Which items are needed outside of their groups.
pub(super) fn stored(program: &Program, groups: &[Vec<usize>]) -> Vec<bool> {
    let items = &program.items;
    let mut group_of = vec![usize::MAX; items.len()];
    for (group, members) in groups.iter().enumerate() {
        members.iter().for_each(|&member| group_of[member] = group);
    }
    let mut stored: Vec<bool> = program.homes.iter().map(Option::is_some).collect();
    for (_, item) in &program.updates {
        stored[*item] = true;
    }
    for &id in groups.iter().flatten() {
        let item = &items[id];
        stored[id] |= matches!(item.work, Work::Reduce { .. });
        for view in reads(item) {
            let value = view.buffer.0;
            stored[value] |= group_of[value] != group_of[id] || !is_register(items, item, view);
        }
    }
    stored
}

/// All steps, in the order of the groups.
pub(super) fn emit(program: &Program, groups: &[Vec<usize>], stored: &[bool]) -> Vec<Emitted> {
    let mut emitter = Emitter { program, group_of: vec![usize::MAX; program.items.len()], stored };
    for (group, members) in groups.iter().enumerate() {
        for &member in members {
            emitter.group_of[member] = group;
        }
    }
    let mut steps = Vec::with_capacity(groups.len());
    for members in groups {
        emitter.group(members, &mut steps);
    }
    steps
}

struct Emitter<'a> {
    program: &'a Program,
    group_of: Vec<usize>,
    /// Items whose values are needed outside of their groups.
    stored: &'a [bool],
}

impl Emitter<'_> {
    fn in_register(&self, id: usize, item: &Item, view: &View) -> bool {
        self.group_of[view.buffer.0] == self.group_of[id] && is_register(&self.program.items, item, view)
    }

    fn group(&self, members: &[usize], steps: &mut Vec<Emitted>) {
        let items = &self.program.items;
        let last = members[members.len() - 1];
        let origin = items[last].origin;
        let mut push = |action: Action, role: Role| steps.push(Emitted { step: step(action, origin), role });
        let product = members.iter().copied().find(|&m| matches!(items[m].work, Work::Product(_)));
        match (&items[last].work, product) {
            (Work::Action(action), _) => push(action.clone(), Role::Make),
            (Work::Assemble { parts, gaps }, _) => {
                let whole = View::whole(BufferId(last), &items[last].shape, items[last].dtype);
                if *gaps {
                    push(copy(&Source::Constant(0), &whole), Role::Fill);
                }
                for (source, window) in parts {
                    push(copy(source, window), part_role(items, source, window));
                }
            }
            (_, Some(product)) => {
                let Work::Product(multiply) = &items[product].work else { return };
                let out = out_view(multiply, product, items[product].dtype);
                if let Some(start) = &multiply.start {
                    let whole = View::whole(BufferId(product), &start.shape, start.dtype);
                    let source = Source::View(start.clone());
                    push(copy(&source, &whole), part_role(items, &source, &whole));
                }
                push(self.product(members, multiply, product, out), Role::Make);
            }
            _ => push(Action::Loop(self.elementwise(members)), Role::Make),
        }
    }

    fn product(&self, members: &[usize], multiply: &Multiply, product: usize, out: View) -> Action {
        let (a, b) = (multiply.a.clone(), multiply.b.clone());
        let accumulate = multiply.start.is_some();
        if members.len() == 1 {
            return Action::Product(Product { a, b, out, accumulate, epilogue: None });
        }
        let [batch, rows, columns] = [out.shape[0], out.shape[1], out.shape[2]];
        let space = [(rows * columns, batch), (columns, rows), (1, columns)];
        let mut code = Code::new(self, &space, 1);
        code.registers.insert(product, Operand::Load(0));
        for &member in members {
            code.item(member);
        }
        let stores: Vec<(Operand, View)> = members
            .iter()
            .filter(|&&m| self.stored[m])
            .map(|&m| (code.registers[&m], View { buffer: BufferId(m), ..out.clone() }))
            .collect();
        // The product is made in the first result's buffer, where the epilogue then works on it.
        let out = stores.first().map_or(out, |(_, view)| view.clone());
        let epilogue = Some(Epilogue { loads: code.loads, code: code.code, stores });
        Action::Product(Product { a, b, out, accumulate, epilogue })
    }

    fn elementwise(&self, members: &[usize]) -> Loop {
        let items = &self.program.items;
        let dtype = items[members[0]].dtype;
        let mut points = 1;
        let mut views: Vec<View> = Vec::new();
        for &member in members {
            let item = &items[member];
            match &item.work {
                Work::Reduce { to, .. } => {
                    points = to.points();
                    views.push(to.clone());
                }
                _ => points = item.elements(),
            }
            views.extend(reads(item).into_iter().filter(|v| !self.in_register(member, item, v)).cloned());
        }
        let space = axes(views.iter(), points).unwrap_or_else(|| {
            // Only a lone reduction of a view can be without common axes; its own shape has strides for both.
            let shape = views.first().map_or(&[][..], |v| v.shape.as_slice());
            super::strided::row_major(shape).into_iter().zip(shape.iter().copied()).collect()
        });
        let mut code = Code::new(self, &space, 0);
        for &member in members {
            code.item(member);
        }
        let mut stores = Vec::new();
        for &member in members.iter().filter(|&&m| self.stored[m]) {
            let item = &items[member];
            let value = code.registers[&member];
            let (to, reduction) = match &item.work {
                Work::Reduce { reduction, to, .. } => (to.clone(), Some(*reduction)),
                _ => (View::whole(BufferId(member), &item.shape, item.dtype), None),
            };
            stores.push(Store { value, to: code.on_space(&to), reduction });
        }
        let shape = filled_shape(&space);
        let mut result = Loop { shape, dtype, loads: code.loads, code: code.code, stores };
        put_contiguous_axis_last(&mut result);
        result
    }
}

/// Moves the axis along which most views are contiguous to the end. Reductions keep their axes, and with them the order of their sums.
fn put_contiguous_axis_last(l: &mut Loop) {
    let rank = l.shape.len();
    if rank < 2 || l.stores.iter().any(|store| store.reduction.is_some()) {
        return;
    }
    let contiguous = |axis: usize| {
        let views = l.loads.iter().chain(l.stores.iter().map(|store| &store.to));
        views.filter(|view| view.strides[axis] == 1).count()
    };
    let Some(best) = (0..rank).rev().max_by_key(|&axis| (contiguous(axis), axis == rank - 1)) else { return };
    if best == rank - 1 {
        return;
    }
    let last = |values: &mut Vec<usize>| values[best..].rotate_left(1);
    last(&mut l.shape);
    for view in l.loads.iter_mut().chain(l.stores.iter_mut().map(|store| &mut store.to)) {
        last(&mut view.shape);
        last(&mut view.strides);
    }
}

fn filled_shape(space: &[(usize, usize)]) -> Vec<usize> {
    if space.is_empty() { vec![1] } else { space.iter().map(|axis| axis.1).collect() }
}

/// (batch, rows, columns) of a product's result, a view of the item's value.
fn out_view(multiply: &Multiply, item: usize, dtype: DType) -> View {
    let shape = [multiply.a.shape[0], multiply.a.shape[1], multiply.b.shape[2]];
    let mut view = View::whole(BufferId(item), &shape, dtype);
    if multiply.summed {
        view.strides[0] = 0;
    }
    view
}

/// The role of a copy into a window: the source may be made there if it is the whole of a computed value of the same type.
fn part_role(items: &[Item], source: &Source, window: &View) -> Role {
    match source {
        Source::View(view)
            if view.is_whole(items[view.buffer.0].elements())
                && view.dtype == window.dtype
                && !matches!(items[view.buffer.0].work, Work::Leaf(_)) =>
        {
            Role::Part { value: view.buffer.0, window: window.clone() }
        }
        _ => Role::Make,
    }
}

/// Straight-line code under construction.
struct Code<'a> {
    emitter: &'a Emitter<'a>,
    space: &'a [(usize, usize)],
    /// Number of the first load.
    first_load: u32,
    loads: Vec<View>,
    code: Vec<Instruction>,
    registers: HashMap<usize, Operand>,
}

impl<'a> Code<'a> {
    fn new(emitter: &'a Emitter<'a>, space: &'a [(usize, usize)], first_load: u32) -> Self {
        Self { emitter, space, first_load, loads: Vec::new(), code: Vec::new(), registers: HashMap::new() }
    }

    /// A view on the iteration space.
    fn on_space(&self, view: &View) -> View {
        filled(view.on_axes(self.space).unwrap_or_else(|| view.clone()))
    }

    fn operand(&mut self, id: usize, source: &Source) -> Operand {
        let view = match source {
            Source::Constant(bits) => return Operand::Constant(*bits),
            Source::View(view) => view,
        };
        if self.emitter.in_register(id, &self.emitter.program.items[id], view) {
            return self.registers[&view.buffer.0];
        }
        let view = self.on_space(view);
        let k = self.loads.iter().position(|known| *known == view).unwrap_or_else(|| {
            self.loads.push(view);
            self.loads.len() - 1
        });
        Operand::Load(k as u32 + self.first_load)
    }

    /// Adds an item's instruction; its register then holds the value (for a reduction: what is reduced).
    fn item(&mut self, id: usize) {
        let emitter = self.emitter;
        let value = match &emitter.program.items[id].work {
            Work::Point(point, sources) => {
                let o: Vec<Operand> = sources.iter().map(|source| self.operand(id, source)).collect();
                let instruction = match *point {
                    Point::Copy => None,
                    Point::Unary(f) => Some(Instruction::Unary(f, o[0])),
                    Point::Binary(f) => Some(Instruction::Binary(f, o[0], o[1])),
                    Point::Select => Some(Instruction::Select(o[0], o[1], o[2])),
                };
                match instruction {
                    None => o[0],
                    Some(instruction) => {
                        self.code.push(instruction);
                        Operand::Register(self.code.len() as u32 - 1)
                    }
                }
            }
            Work::Reduce { from, .. } => self.operand(id, from),
            _ => return,
        };
        self.registers.insert(id, value);
    }
}
