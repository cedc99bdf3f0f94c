//! Placement: which values share storage because one is a window of another, an accumulator, an output or the new value of an input.

use super::emit::{Emitted, Role, copy, step};
use super::lower::{Program, Source, Work};
use super::step::{BufferId, Step, View};
use crate::{DType, Var};
use std::collections::HashMap;

/// A buffer before it has a place in the arena.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub dtype: DType,
    pub elements: usize,
    /// The variable under which the machine keeps it; `None` in the arena.
    pub var: Option<Var>,
}

/// Steps whose views name storages.
#[derive(Debug)]
pub(super) struct Placed {
    pub steps: Vec<Step>,
    pub storages: Vec<Storage>,
}

/// Gives every value a storage. Without `share` only outputs are placed, and new values of inputs are copied at the end.
pub(super) fn place(
    program: &Program,
    emitted: Vec<Emitted>,
    leaves: &HashMap<Var, (usize, DType)>,
    share: bool,
) -> Placed {
    let mut placer = Placer::new(program, emitted);
    placer.values(share);
    let mut placed = placer.finish();
    let places = placer.places;
    let mut final_copies = Vec::new();
    let mut moved: HashMap<usize, usize> = HashMap::new();
    let mut touches = Touches::new(&placed);
    let mut leaf_storages: HashMap<Var, usize> =
        placed.storages.iter().enumerate().filter_map(|(id, s)| s.var.map(|var| (var, id))).collect();
    for &(var, value) in &program.updates {
        let Some(place) = places[value].clone() else { continue };
        let (elements, dtype) = leaves[&var];
        let leaf = *leaf_storages.entry(var).or_insert_with(|| {
            placed.storages.push(Storage { dtype, elements, var: Some(var) });
            placed.storages.len() - 1
        });
        let storage = place.buffer.0;
        if share && !moved.contains_key(&storage) && placed.take_over(&mut touches, storage, leaf, &place) {
            moved.insert(storage, leaf);
            continue;
        }
        let to = View::whole(BufferId(leaf), &place.shape, dtype);
        final_copies.push((place, to, program.items[value].origin));
    }
    let Placed { mut steps, storages } = placed;
    for (mut from, to, origin) in final_copies {
        from.buffer = moved.get(&from.buffer.0).map_or(from.buffer, |&leaf| BufferId(leaf));
        steps.push(step(copy(&Source::View(from), &to), origin));
    }
    Placed { steps, storages }
}

struct Placer<'a> {
    program: &'a Program,
    emitted: Vec<Emitted>,
    storages: Vec<Storage>,
    /// For each value where it lies: a view of its shape whose buffer is a storage.
    places: Vec<Option<View>>,
    /// For each value the views of it: step, and whether strides must be kept contiguous.
    views: Vec<Vec<(View, bool)>>,
    /// For each value the steps that write it.
    writers: Vec<Vec<usize>>,
    /// For each value those made within it.
    parts: Vec<Vec<usize>>,
    gone: Vec<bool>,
}

impl<'a> Placer<'a> {
    fn new(program: &'a Program, emitted: Vec<Emitted>) -> Self {
        let count = program.items.len();
        let mut placer = Self {
            program,
            storages: Vec::new(),
            places: vec![None; count],
            views: vec![Vec::new(); count],
            writers: vec![Vec::new(); count],
            parts: vec![Vec::new(); count],
            gone: vec![false; emitted.len()],
            emitted,
        };
        for (index, emitted) in placer.emitted.iter().enumerate() {
            let strided = emitted.step.action.writes_strided();
            for (view, written) in emitted.step.action.views() {
                let value = view.buffer.0;
                placer.views[value].push((view.clone(), written && !strided));
                if written && placer.writers[value].last() != Some(&index) {
                    placer.writers[value].push(index);
                }
            }
        }
        placer
    }

    fn fresh(&mut self, value: usize, var: Option<Var>) {
        let item = &self.program.items[value];
        let storage = BufferId(self.storages.len());
        self.storages.push(Storage { dtype: item.dtype, elements: item.elements(), var });
        self.places[value] = Some(View::whole(storage, &item.shape, item.dtype));
    }

    /// Places all values, users before what they use, so that a value can be made where its user wants it.
    fn values(&mut self, share: bool) {
        for value in 0..self.program.items.len() {
            match self.program.items[value].work {
                Work::Leaf(var) if !self.views[value].is_empty() => self.fresh(value, Some(var)),
                _ => {
                    if let Some(var) = self.program.homes[value] {
                        self.fresh(value, Some(var));
                    }
                }
            }
        }
        for index in (0..self.emitted.len()).rev() {
            let written: Vec<usize> = self.emitted[index]
                .step
                .action
                .views()
                .into_iter()
                .filter_map(|(view, written)| written.then_some(view.buffer.0))
                .collect();
            for value in written {
                if self.places[value].is_none() {
                    self.fresh(value, None);
                }
            }
            if share && let Role::Part { value, window } = self.emitted[index].role.clone() {
                self.gone[index] = self.made_in_place(value, &window, index);
            }
        }
    }

    /// Tries to make a value in a window of another. The step that would copy it does not count as a use.
    fn made_in_place(&mut self, value: usize, window: &View, copying: usize) -> bool {
        if self.places[value].is_some() || self.writers[value].iter().any(|&writer| writer >= copying) {
            return false;
        }
        let Some(place) = self.places[window.buffer.0].as_ref().and_then(|outer| window.through(outer)) else {
            return false;
        };
        let fits = self.views[value].iter().all(|(view, contiguous)| {
            view.through(&place).is_some_and(|through| {
                let segments = through.segments();
                !contiguous || segments.len() <= 1 && segments.first().is_none_or(|s| s.stride == 1)
            })
        });
        if fits {
            self.places[value] = Some(place);
            self.parts[window.buffer.0].push(value);
        }
        fits
    }

    /// First step that writes the value or a part of it, fills not counted.
    fn first_maker(&self, value: usize) -> usize {
        let own = self.writers[value].iter().copied().filter(|&w| !self.gone[w]);
        let own = own.filter(|&w| !matches!(self.emitted[w].role, Role::Fill)).min().unwrap_or(usize::MAX);
        self.parts[value].iter().map(|&part| self.first_maker(part)).fold(own, usize::min)
    }

    /// The steps that remain, fills before what they would overwrite, on storages.
    fn finish(&mut self) -> Placed {
        let mut order: Vec<(usize, usize, usize)> = Vec::new();
        for (index, emitted) in self.emitted.iter().enumerate().filter(|(index, _)| !self.gone[*index]) {
            order.push(match emitted.role {
                // Of two fills before the same step the outer one, emitted later, comes first.
                Role::Fill => {
                    let filled = emitted.step.action.views()[0].0.buffer.0;
                    (self.first_maker(filled).min(index), usize::MAX - index, index)
                }
                _ => (index, usize::MAX, index),
            });
        }
        order.sort_unstable();
        let mut steps = Vec::with_capacity(order.len());
        for (_, _, index) in order {
            let mut step = self.emitted[index].step.clone();
            let places = &self.places;
            let mapped =
                step.action.try_map(|view| places[view.buffer.0].as_ref().and_then(|place| view.through(place)));
            debug_assert!(mapped.is_some(), "places are chosen so that all views pass");
            steps.push(step);
        }
        Placed { steps, storages: std::mem::take(&mut self.storages) }
    }
}

/// For each storage the steps that touch it, ascending.
struct Touches(Vec<Vec<usize>>);

impl Touches {
    fn new(placed: &Placed) -> Self {
        let mut steps: Vec<Vec<usize>> = vec![Vec::new(); placed.storages.len()];
        for (index, step) in placed.steps.iter().enumerate() {
            for (view, _) in step.action.views() {
                let touched = &mut steps[view.buffer.0];
                if touched.last() != Some(&index) {
                    touched.push(index);
                }
            }
        }
        Self(steps)
    }

    fn of(&self, storage: usize) -> &[usize] {
        self.0.get(storage).map_or(&[], Vec::as_slice)
    }
}

impl Placed {
    /// Lets an input's buffer hold a new value from the start, if nobody still needs the old one by then.
    fn take_over(&mut self, touches: &mut Touches, storage: usize, leaf: usize, place: &View) -> bool {
        let (new, old) = (&self.storages[storage], &self.storages[leaf]);
        if new.var.is_some() || new.elements != old.elements || !place.is_whole(old.elements) {
            return false;
        }
        let Some(&first) = touches.of(storage).first() else { return false };
        let writes = |step: &usize| {
            self.steps[*step].action.views().iter().any(|(view, written)| *written && view.buffer.0 == leaf)
        };
        let readers = touches.of(leaf);
        if readers.last().is_some_and(|&last| last > first)
            || readers.iter().any(writes)
            || !super::liveness::overwrites_safely(&self.steps[first].action, leaf, storage)
        {
            return false;
        }
        for &step in touches.of(storage) {
            self.steps[step].action.try_map(|view| {
                let buffer = if view.buffer.0 == storage { BufferId(leaf) } else { view.buffer };
                Some(View { buffer, ..view.clone() })
            });
        }
        touches.0[storage].clear();
        true
    }
}
