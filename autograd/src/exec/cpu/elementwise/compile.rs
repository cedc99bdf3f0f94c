//! From a plan's loop to a loop that runs: tiles, slots of scratch memory, direct stores, tasks.

use super::fold::{self, Combine};
use super::kernel::{Code, Element, Load, LoopKernel, Mode, Output, Port, Source, Store, Target, Tile};
use super::layout::{Axis, Fold, Layout, Pattern, tile_elements};
use crate::exec::cpu::frame::{Kernel, Nothing};
use crate::exec::cpu::scalar::{Cast, Scalar};
use crate::exec::view::{Site, Window};
use crate::op::{Binary, Unary};
use crate::plan::step::{Instruction, Loop, Operand, Reduction};
use crate::{DType, Result};

/// Units of work (simple operations on an element) below which a loop stays on one thread.
const SPREAD: usize = 1 << 16;
/// Units of work of one task.
const TASK: usize = 1 << 14;

/// A view of a loop about to be compiled.
pub(crate) struct Entry {
    /// The part that one run of the loop covers.
    pub(crate) window: Window,
    /// The whole that all runs cover.
    pub(crate) whole: Window,
    /// Elements that the caller's two counters move the window by.
    pub(crate) outer: [usize; 2],
}

impl Entry {
    fn whole(window: Window) -> Self {
        Self { whole: window.clone(), window, outer: [0, 0] }
    }
}

/// Compiles a loop.
pub(crate) fn compile(site: &Site<'_>, body: &Loop) -> Result<Box<dyn Kernel>> {
    let mut loads = Vec::with_capacity(body.loads.len());
    for view in &body.loads {
        let window = site.window(view)?;
        site.expect_shape(&window, &body.shape, "a load")?;
        loads.push(Entry::whole(window));
    }
    if body.shape.contains(&0) {
        return Ok(Box::new(Nothing));
    }
    let mut stores = Vec::with_capacity(body.stores.len());
    for store in &body.stores {
        let reduced = store.reduction.is_some();
        let window = site.output(&store.to, |axis| reduced && store.to.strides[axis] == 0)?;
        site.expect_shape(&window, &body.shape, "a store")?;
        stores.push((store.value, Entry::whole(window), store.reduction));
    }
    Ok(match body.dtype {
        DType::F32 => Box::new(build::<f32>(site, &body.shape, loads, &body.code, stores)?),
        DType::F64 => Box::new(build::<f64>(site, &body.shape, loads, &body.code, stores)?),
        DType::U32 => Box::new(build::<u32>(site, &body.shape, loads, &body.code, stores)?),
    })
}

/// Work of an instruction on one element, in simple operations.
fn weight(instruction: &Instruction) -> usize {
    match instruction {
        Instruction::Unary(f, _) => match f {
            Unary::Neg | Unary::Square | Unary::Abs | Unary::Sign | Unary::Relu | Unary::Step => 1,
            Unary::Sqrt | Unary::Reciprocal => 3,
            Unary::Sin | Unary::Cos => 30,
            _ => 10,
        },
        Instruction::Binary(Binary::Div, ..) => 3,
        Instruction::Binary(..) => 1,
        Instruction::Select(..) => 2,
    }
}

/// Compiles a loop of element type `T` over checked views.
pub(crate) fn build<T: Element>(
    site: &Site<'_>,
    shape: &[usize],
    loads: Vec<Entry>,
    code: &[Instruction],
    stores: Vec<(Operand, Entry, Option<Reduction>)>,
) -> Result<LoopKernel<T>>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    check_code::<T>(site, loads.len(), code, &stores)?;
    let reduced = reduced_axes(site, shape, &stores)?;
    let combines = reduced.contains(&true);

    // Loads that share memory with a store: element by element they may share it within a tile, otherwise order matters.
    let mut shares = false;
    let mut ordered = false;
    for (k, (_, store, _)) in stores.iter().enumerate() {
        for load in &loads {
            if store.whole.overlaps(&load.whole) {
                shares = true;
                ordered |= !store.whole.same(&load.whole);
            }
        }
        for (_, other, _) in &stores[..k] {
            if store.whole.overlaps(&other.whole) {
                shares = true;
                ordered = true;
            }
        }
    }

    let windows: Vec<&Window> =
        loads.iter().map(|entry| &entry.window).chain(stores.iter().map(|(_, entry, _)| &entry.window)).collect();
    let tile = tile_elements(size_of::<T>());
    let order = (!stores.is_empty()).then_some(loads.len());
    let layout = Layout::new(shape, &windows, order, |axis| reduced[axis], tile);

    let port = |entry: &Entry, pattern: Pattern| Port {
        pointer: entry.window.pointer,
        dtype: entry.window.dtype,
        pattern,
        outer: entry.outer,
    };
    let full = |view: usize| Pattern::new(layout.piece.strides[view], layout.inner.iter(), view);

    // Stores first: which of them take their value where it is made.
    let direct_store = |index: usize, value: &Operand, entry: &Entry, reduction: &Option<Reduction>| {
        !shares
            && (reduction.is_none() || !combines)
            && entry.window.dtype == T::DTYPE
            && full(loads.len() + index).is_contiguous(layout.rows)
            && matches!(value, Operand::Register(_) | Operand::Load(_))
            && stores[..index].iter().all(|(other, ..)| other != value)
    };
    let direct: Vec<bool> = stores.iter().enumerate().map(|(k, (v, e, r))| direct_store(k, v, e, r)).collect();
    let taken_by =
        |value: Operand| (0..stores.len()).find(|&k| direct[k] && stores[k].0 == value).map(|k| loads.len() + k);

    let mut slots = Slots { free: Vec::new(), count: 3 };
    let mut load_sources = Vec::with_capacity(loads.len());
    let mut ported_loads = Vec::with_capacity(loads.len());
    for (view, entry) in loads.iter().enumerate() {
        let pattern = full(view);
        let keeps = layout.piece.strides[view] == 0;
        // A load that is stored as it is must be copied first where another store may overwrite it.
        let endangered = shares
            && stores.iter().any(|(value, ..)| *value == Operand::Load(view as u32))
            && stores.iter().any(|(_, store, _)| store.whole.overlaps(&entry.whole));
        let (mode, source) = if pattern.is_uniform() {
            (Mode::Uniform, Source::Uniform(view))
        } else if entry.window.dtype == T::DTYPE && pattern.is_contiguous(layout.rows) && !endangered {
            (Mode::Direct, Source::View(view))
        } else if let Some(target) = taken_by(Operand::Load(view as u32)).filter(|_| !keeps) {
            (Mode::Gather(Tile::View(target)), Source::View(target))
        } else {
            let slot = slots.take();
            (Mode::Gather(Tile::Slot(slot)), Source::Slot(slot))
        };
        ported_loads.push(Load { port: port(entry, pattern), mode, keeps });
        load_sources.push(source);
    }

    // Registers get slots that are free again after their last use; stores at the end of the tile use theirs.
    let mut last_use = vec![0; code.len()];
    let operands = |instruction: &Instruction| match *instruction {
        Instruction::Unary(_, a) => [Some(a), None, None],
        Instruction::Binary(_, a, b) => [Some(a), Some(b), None],
        Instruction::Select(a, b, c) => [Some(a), Some(b), Some(c)],
    };
    for (k, instruction) in code.iter().enumerate() {
        for operand in operands(instruction).into_iter().flatten() {
            if let Operand::Register(register) = operand {
                last_use[register as usize] = k;
            }
        }
    }
    for (value, ..) in &stores {
        if let Operand::Register(register) = value {
            last_use[*register as usize] = usize::MAX;
        }
    }
    let mut registers: Vec<Source<T>> = Vec::with_capacity(code.len());
    let mut compiled = Vec::with_capacity(code.len());
    for (k, instruction) in code.iter().enumerate() {
        let target = match taken_by(Operand::Register(k as u32)) {
            Some(view) => Target::View(view),
            None => Target::Slot(slots.take()),
        };
        let source = |operand| source(operand, &load_sources, &registers);
        let instruction_code = match *instruction {
            Instruction::Unary(f, a) => Code::Unary(f, source(a)),
            Instruction::Binary(f, a, b) => Code::Binary(f, source(a), source(b)),
            Instruction::Select(a, b, c) => Code::Select(source(a), source(b), source(c)),
        };
        compiled.push((target, instruction_code));
        registers.push(match target {
            Target::Slot(slot) => Source::Slot(slot),
            Target::View(view) => Source::View(view),
        });
        // Freed only now: an instruction never writes over its operands.
        for register in 0..=k {
            if last_use[register] == k
                && let Source::Slot(slot) = registers[register]
            {
                slots.give(slot);
            }
        }
    }

    let reduced_tiles = layout.reduced_tiles();
    let kept_tiles = layout.kept_tiles();
    let elements: usize = shape.iter().product();
    let per_element = loads.len() + stores.len() + code.iter().map(weight).sum::<usize>();
    let (segment, segments) = if combines && kept_tiles < 16 && reduced_tiles >= 64 {
        let segment = (reduced_tiles / 32).next_power_of_two().max(32);
        (segment, reduced_tiles.div_ceil(segment))
    } else {
        (reduced_tiles, 1)
    };
    let tile_work = layout.tile() * reduced_tiles * per_element;
    let kept_per_task = if segments > 1 { 1 } else { TASK.div_ceil(tile_work.max(1)).clamp(1, kept_tiles.max(1)) };

    let mut plain = Vec::new();
    let mut outputs = Vec::new();
    for (k, (value, entry, reduction)) in stores.iter().enumerate() {
        let view = loads.len() + k;
        let value = source(*value, &load_sources, &registers);
        match reduction {
            Some(reduction) if combines => {
                let count = fold::slots(layout.fold, segment.min(reduced_tiles));
                let slot = slots.reserve(count);
                outputs.push(Output {
                    port: port(entry, result_pattern(&layout, view)),
                    view,
                    value,
                    combine: match reduction {
                        Reduction::Sum => Combine::Sum,
                        Reduction::Max => Combine::Max,
                    },
                    slot,
                });
            }
            _ => {
                let direct = matches!(value, Source::View(source) if source == view);
                plain.push(Store { port: port(entry, full(view)), view, value, direct });
            }
        }
    }

    Ok(LoopKernel {
        views: loads.len() + stores.len(),
        loads: ported_loads,
        code: compiled,
        stores: plain,
        outputs,
        slots: slots.count,
        kept_per_task: if ordered { kept_tiles.max(1) } else { kept_per_task },
        segment,
        segments,
        spread: !ordered && elements * per_element >= SPREAD && kept_tiles.div_ceil(kept_per_task) * segments > 1,
        layout,
    })
}

/// The elements of a tile's results in an output's view.
fn result_pattern(layout: &Layout, view: usize) -> Pattern {
    let kept = |axis: &&Axis| !axis.reduced;
    match layout.fold {
        Fold::Rows(_) | Fold::Lanes => Pattern::new(layout.piece.strides[view], layout.inner.iter().filter(kept), view),
        _ => Pattern::new(0, layout.inner.iter().filter(kept), view),
    }
}

/// Scratch tiles in use.
struct Slots {
    free: Vec<usize>,
    count: usize,
}

impl Slots {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| self.reserve(1))
    }

    fn reserve(&mut self, count: usize) -> usize {
        self.count += count;
        self.count - count
    }

    fn give(&mut self, slot: usize) {
        if !self.free.contains(&slot) {
            self.free.push(slot);
        }
    }
}

fn source<T: Scalar>(operand: Operand, loads: &[Source<T>], registers: &[Source<T>]) -> Source<T> {
    match operand {
        Operand::Load(load) => loads[load as usize],
        Operand::Register(register) => registers[register as usize],
        Operand::Constant(bits) => Source::Constant(T::from_f64(f64::from_bits(bits))),
    }
}

/// Which axes the reduced stores combine; an error if they disagree.
fn reduced_axes(site: &Site<'_>, shape: &[usize], stores: &[(Operand, Entry, Option<Reduction>)]) -> Result<Vec<bool>> {
    let mut result: Option<Vec<bool>> = None;
    for (_, entry, reduction) in stores {
        if reduction.is_some() {
            let axes: Vec<bool> = (0..shape.len()).map(|k| shape[k] > 1 && entry.window.strides[k] == 0).collect();
            if result.as_ref().is_some_and(|known| *known != axes) {
                return Err(site.error("reduced stores of one loop combine different axes".into()));
            }
            result = Some(axes);
        }
    }
    Ok(result.unwrap_or_else(|| vec![false; shape.len()]))
}

/// An error unless operands exist before they are used and the functions fit the type.
fn check_code<T: Scalar>(
    site: &Site<'_>,
    loads: usize,
    code: &[Instruction],
    stores: &[(Operand, Entry, Option<Reduction>)],
) -> Result<()> {
    let known = |operand: Operand, registers: usize| match operand {
        Operand::Load(load) => (load as usize) < loads,
        Operand::Register(register) => (register as usize) < registers,
        Operand::Constant(_) => true,
    };
    for (k, instruction) in code.iter().enumerate() {
        let fits = match *instruction {
            Instruction::Unary(f, a) => {
                if T::DTYPE == DType::U32 {
                    return Err(site.error(format!("{} of integers in a loop", f.name())));
                }
                known(a, k)
            }
            Instruction::Binary(_, a, b) => known(a, k) && known(b, k),
            Instruction::Select(a, b, c) => known(a, k) && known(b, k) && known(c, k),
        };
        if !fits {
            return Err(site.error(format!("instruction {k} of a loop uses a value that is not there yet")));
        }
    }
    if stores.iter().all(|(value, ..)| known(*value, code.len())) {
        Ok(())
    } else {
        Err(site.error("a loop stores a value that it does not have".into()))
    }
}
