//! Loops with reductions: threads combine terms of their own, then the threads of a block combine theirs, and where the results are few and long
//! blocks combine segments that a second loop combines.

use super::arrange::Arrangement;
use super::body::Body;
use super::layout::{Axis, Space, in_packs};
use super::text::{Lanes, Packs, Text};
use super::{launch, lower_loop};
use crate::exec::cuda::Lowering;
use crate::exec::view::{Site, Window};
use crate::plan::step::{Operand, Reduction};
use crate::{DType, Result};
use cuda_kernels::Kernel;

/// Threads that exchange values without shared memory.
const WARP: usize = 32;

/// Lowers a loop some stores of which are reduced.
pub(super) fn lower(site: &Site<'_>, body: &Body, space: &Space, lowering: &mut Lowering) -> Result<()> {
    let arrangement = Arrangement::new(body, space);
    let writer = Writer::new(body, space, arrangement);
    let grid = (writer.groups * arrangement.segments, arrangement.across * arrangement.along);
    let kernel = writer.kernel();
    if arrangement.segments == 1 {
        return launch(site, lowering, kernel, grid, body.views());
    }
    let reduced: Vec<usize> = body.stores_that(true).collect();
    let lengths: Vec<usize> = space.kept.iter().map(|axis| axis.length).collect();
    let partials: Vec<Window> =
        reduced.iter().map(|_| partial(body.dtype, arrangement.segments, &lengths, lowering)).collect();
    let target = |store: usize| match reduced.iter().position(|&k| k == store) {
        Some(k) => &partials[k],
        None => &body.stores[store].window,
    };
    let views: Vec<&Window> = body.loads.iter().chain((0..body.stores.len()).map(target)).collect();
    launch(site, lowering, kernel, grid, views.into_iter())?;

    let shape = &partials[0].shape;
    let results = reduced.iter().enumerate().map(|(k, &store)| {
        let view = body.view_of_store(store);
        let mut window = body.stores[store].window.clone();
        window.shape.clone_from(shape);
        window.strides = std::iter::once(0).chain(space.kept.iter().map(|axis| axis.strides[view])).collect();
        (Operand::Load(k as u32), window, body.stores[store].reduction)
    });
    let results: Vec<_> = results.collect();
    lower_loop(site, body.dtype, shape, &partials, &[], &results, lowering)
}

/// Scratch memory for the segments' results: (segments, kept axes..).
fn partial(dtype: DType, segments: usize, lengths: &[usize], lowering: &mut Lowering) -> Window {
    let shape: Vec<usize> = std::iter::once(segments).chain(lengths.iter().copied()).collect();
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k];
    }
    let bytes = shape.iter().product::<usize>() * dtype.size();
    Window { pointer: lowering.scratch(bytes) as *mut u8, shape, strides, dtype }
}

/// Writes the kernel of a reduction.
struct Writer<'a> {
    body: &'a Body,
    arrangement: Arrangement,
    text: Text<'a>,
    /// Packs of the loop's points.
    packs: Packs,
    kept: Vec<Axis>,
    reduced: Vec<Axis>,
    /// Results, in packs where packs are of results.
    outputs: usize,
    /// Terms, in packs where packs are of terms.
    terms: usize,
    /// Blocks for all results.
    groups: usize,
    /// Numbers of the stores that combine.
    results: Vec<usize>,
}

impl<'a> Writer<'a> {
    fn new(body: &'a Body, space: &Space, arrangement: Arrangement) -> Self {
        let Arrangement { rows, pack, across, along, flight, segment, segments } = arrangement;
        let along_axes = |axes: &[Axis], packed: bool| in_packs(axes, if packed { pack } else { 1 });
        let (outputs, terms) =
            if rows { (space.outputs(), space.terms() / pack) } else { (space.outputs() / pack, space.terms()) };
        let slack = across * (segment * segments + along * flight) * pack;
        Self {
            body,
            arrangement,
            text: Text::new(body, space.is_wide(slack)),
            packs: Packs::new(body, space, !rows, pack),
            kept: along_axes(&space.kept, !rows),
            reduced: along_axes(&space.reduced, rows),
            outputs,
            terms,
            groups: outputs.div_ceil(across),
            results: body.stores_that(true).collect(),
        }
    }

    /// Elements of the packs of results.
    fn width(&self) -> usize {
        if self.arrangement.rows { 1 } else { self.arrangement.pack }
    }

    fn reduction(&self, store: usize) -> Reduction {
        self.body.stores[store].reduction.unwrap_or(Reduction::Sum)
    }

    /// Whether a store's rounding errors are carried along.
    fn carries(&self, store: usize) -> bool {
        self.reduction(store) == Reduction::Sum && self.body.dtype != DType::U32
    }

    /// Whether blocks have threads without a result.
    fn ragged(&self) -> bool {
        !self.outputs.is_multiple_of(self.arrangement.across)
    }

    fn kernel(mut self) -> Kernel {
        self.place();
        let views: Vec<usize> = (0..self.body.loads.len() + self.body.stores.len()).collect();
        let digits = self.text.digits("k", "output", &self.kept);
        let bases = self.text.offsets("base", &views, (&digits, &self.kept), |_| None);
        self.terms(&bases);
        self.join();
        self.leave(&bases);
        let Self { text, arrangement, results, .. } = self;
        text.kernel(arrangement.across * arrangement.along, |store| {
            arrangement.segments > 1 && results.contains(&store)
        })
    }

    /// Where the thread stands: `along` among those of its result, `output` its result, `begin` and `end` of its segment.
    fn place(&mut self) {
        let Arrangement { rows, across, along, segment, segments, .. } = self.arrangement;
        let inner = if rows { along } else { across };
        let (low, high) = (format!("threadIdx.x % {inner}u"), format!("threadIdx.x / {inner}u"));
        let (first, second) = if rows { (low, high) } else { (high, low) };
        self.text.line(&format!("const u32 along = {first};"));
        self.text.line(&format!("const u32 across = {second};"));
        self.text.let_index("block", "blockIdx.x");
        let groups = self.text.number(self.groups);
        let group = match segments {
            1 => "block".to_owned(),
            _ => {
                self.text.let_index("segment", &format!("block / {groups}"));
                format!("(block % {groups})")
            }
        };
        let output = format!("{} + across", self.text.times(&group, across));
        if self.ragged() {
            let (count, last) = (self.text.number(self.outputs), self.text.number(self.outputs - 1));
            self.text.let_index("place", &output);
            self.text.line(&format!("const bool live = place < {count};"));
            self.text.let_index("output", &format!("live ? place : {last}"));
        } else {
            self.text.let_index("output", &output);
        }
        let (segment, terms) = (self.text.number(segment), self.text.number(self.terms));
        if segments == 1 {
            self.text.let_index("begin", "0");
            self.text.let_index("end", &terms);
        } else {
            self.text.let_index("begin", &format!("segment * {segment}"));
            self.text.let_index("end", &format!("{terms} - begin < {segment} ? {terms} : begin + {segment}"));
        }
    }

    /// Combines the terms of a thread: `s..` and, of sums, the rounding errors `e..`.
    fn terms(&mut self, bases: &[String]) {
        let Arrangement { rows, pack, along, flight, segment, segments, .. } = self.arrangement;
        let (real, index, width) = (self.text.real(), self.text.index(), self.width());
        for store in self.results.clone() {
            let neutral = self.text.neutral(self.reduction(store));
            self.fill('s', store, &neutral);
            if self.carries(store) {
                self.fill('e', store, &format!("({real})0"));
            }
        }
        let step = along * flight;
        self.text.open(&format!("for ({index} first = begin + along; first < end; first += {step}u)"));
        self.text.declare_loads(pack, Some(flight));
        let exact = self.terms.is_multiple_of(step) && (segments == 1 || segment.is_multiple_of(step));
        let at = if flight == 1 { "first".to_owned() } else { format!("first + u * {along}u") };
        let loads: Vec<usize> = (0..self.body.loads.len()).collect();
        let plain: Vec<usize> = self.body.stores_that(false).collect();

        // Beyond the end the last term is loaded again: loads without conditions are all under way at once.
        self.text.unrolled("u", flight);
        let exact = exact || flight == 1;
        self.text.let_index("i", &if exact { at.clone() } else { format!("{at} < end ? {at} : end - 1") });
        let digits = self.text.digits("r", "i", &self.reduced);
        let offsets = self.text.offsets("o", &loads, (&digits, &self.reduced), |view| Some(bases[view].clone()));
        for &load in &loads {
            self.text.load(load, "[u]", &offsets[load], &self.packs, None);
        }
        self.text.close();

        for store in self.results.clone() {
            let neutral = self.text.neutral(self.reduction(store));
            self.fill('p', store, &neutral);
        }
        self.text.unrolled("u", flight);
        self.text.let_index("i", &at);
        if !exact {
            self.text.line("if (i >= end) continue;");
        }
        self.text.points(pack, "[u]");
        if !plain.is_empty() {
            let views: Vec<usize> = plain.iter().map(|&store| self.body.view_of_store(store)).collect();
            let digits = self.text.digits("r", "i", &self.reduced);
            let offsets = self.text.offsets("o", &views, (&digits, &self.reduced), |view| Some(bases[view].clone()));
            let live = if self.ragged() { "if (live)" } else { "" };
            self.text.open(live);
            for (&store, offset) in plain.iter().zip(&offsets) {
                self.text.store(store, offset, &self.packs, None);
            }
            self.text.close();
        }
        for store in self.results.clone() {
            self.term(store, rows);
        }
        self.text.close();
        for store in self.results.clone() {
            self.text.unrolled("v", width);
            self.add(store);
            self.text.close();
        }
        self.text.close();
    }

    /// Declares a pack of equal values for a store.
    fn fill(&mut self, name: char, store: usize, value: &str) {
        let (real, width) = (self.text.real(), self.width());
        self.text.line(&format!("Pack<{real}, {width}> {name}{store};"));
        self.text.unrolled("v", width);
        self.text.line(&format!("{name}{store}.at[v] = {value};"));
        self.text.close();
    }

    /// Combines a pack of terms, or a term of each of a pack of results, with the part `p..`.
    fn term(&mut self, store: usize, rows: bool) {
        let reduction = self.reduction(store);
        let part = format!("p{store}.at");
        if rows {
            let fold = match reduction {
                Reduction::Sum => "fold_sum",
                Reduction::Max => "fold_max",
            };
            self.text.used.insert(fold);
            let sum = self.text.combined(reduction, &format!("{part}[0]"), &format!("{fold}(w{store})"));
            self.text.line(&format!("{part}[0] = {sum};"));
        } else {
            self.text.unrolled("v", self.width());
            let sum = self.text.combined(reduction, &format!("{part}[v]"), &format!("w{store}.at[v]"));
            self.text.line(&format!("{part}[v] = {sum};"));
            self.text.close();
        }
    }

    /// Adds the part to the sum.
    fn add(&mut self, store: usize) {
        let (sum, part) = (format!("s{store}.at[v]"), format!("p{store}.at[v]"));
        if self.carries(store) {
            self.text.used.insert("add_to");
            self.text.line(&format!("add_to({sum}, e{store}.at[v], {part});"));
        } else {
            let both = self.text.combined(self.reduction(store), &sum, &part);
            self.text.line(&format!("{sum} = {both};"));
        }
    }

    /// Combines what the threads of a result have; the first of them then holds the result in `w..`.
    fn join(&mut self) {
        let real = self.text.real();
        let (along, width) = (self.arrangement.along, self.width());
        for store in self.results.clone() {
            self.text.line(&format!("Pack<{real}, {width}> w{store};"));
            self.text.unrolled("v", width);
            if self.carries(store) {
                self.text.used.insert("total");
                self.text.line(&format!("w{store}.at[v] = total(s{store}.at[v], e{store}.at[v]);"));
            } else {
                self.text.line(&format!("w{store}.at[v] = s{store}.at[v];"));
            }
            self.text.close();
        }
        if along == 1 {
            return;
        }
        if self.arrangement.rows { self.join_warps() } else { self.join_columns() }
    }

    /// Combines neighbouring threads' results: within warps by exchange, between them through shared memory.
    fn join_warps(&mut self) {
        let along = self.arrangement.along;
        for store in self.results.clone() {
            let own = format!("w{store}.at[0]");
            let other = format!("__shfl_xor_sync(0xffffffffu, {own}, distance)");
            let both = self.text.combined(self.reduction(store), &own, &other);
            let distance = along.min(WARP) / 2;
            self.text.line("#pragma unroll");
            self.text.line(&format!("for (int distance = {distance}; distance > 0; distance /= 2) {own} = {both};"));
        }
        if along <= WARP {
            return;
        }
        let warps = along / WARP;
        self.text.line(&format!("__shared__ {} shared[{}][{warps}];", self.text.real(), self.results.len()));
        self.text.open(&format!("if (along % {WARP}u == 0u)"));
        for (k, store) in self.results.clone().into_iter().enumerate() {
            self.text.line(&format!("shared[{k}][along / {WARP}u] = w{store}.at[0];"));
        }
        self.text.close();
        self.text.line("__syncthreads();");
        self.text.open("if (along == 0u)");
        self.text.open(&format!("for (u32 warp = 1u; warp < {warps}u; ++warp)"));
        for (k, store) in self.results.clone().into_iter().enumerate() {
            let own = format!("w{store}.at[0]");
            let both = self.text.combined(self.reduction(store), &own, &format!("shared[{k}][warp]"));
            self.text.line(&format!("{own} = {both};"));
        }
        self.text.close();
        self.text.close();
    }

    /// Combines the results of threads that stand `across` apart, halving their number step by step.
    fn join_columns(&mut self) {
        let Arrangement { across, along, .. } = self.arrangement;
        let width = self.width();
        self.text.line(&format!("__shared__ {} shared[{}];", self.text.real(), across * along * width));
        self.text.line(&format!("const u32 own = threadIdx.x * {width}u;"));
        for (k, store) in self.results.clone().into_iter().enumerate() {
            if k > 0 {
                self.text.line("__syncthreads();");
            }
            self.text.line(&format!("for (u32 v = 0u; v < {width}u; ++v) shared[own + v] = w{store}.at[v];"));
            self.text.line("#pragma unroll");
            self.text.open(&format!("for (u32 half = {}u; half > 0u; half /= 2u)", along / 2));
            self.text.line("__syncthreads();");
            self.text.open("if (along < half)");
            self.text.unrolled("v", width);
            let other = format!("shared[own + v + half * {}u]", across * width);
            let both = self.text.combined(self.reduction(store), "shared[own + v]", &other);
            self.text.line(&format!("shared[own + v] = {both};"));
            self.text.close();
            self.text.close();
            self.text.close();
            self.text.line(&format!("for (u32 v = 0u; v < {width}u; ++v) w{store}.at[v] = shared[own + v];"));
        }
    }

    /// Stores the results.
    fn leave(&mut self, bases: &[String]) {
        let Arrangement { along, segments, .. } = self.arrangement;
        let conditions = [(along > 1, "along == 0u"), (self.ragged(), "live")];
        let conditions: Vec<&str> = conditions.iter().filter(|(needed, _)| *needed).map(|(_, text)| *text).collect();
        let head = if conditions.is_empty() { String::new() } else { format!("if ({})", conditions.join(" && ")) };
        self.text.open(&head);
        let whole = Packs(vec![Lanes::Packed; self.packs.0.len()]);
        for store in self.results.clone() {
            if segments > 1 {
                self.text.used.insert("store");
                let place = format!("({} + output)", self.text.times("segment", self.outputs));
                let place = self.text.times(&place, self.width());
                self.text.line(&format!("store(b{store} + {place}, w{store});"));
            } else {
                let packs = if self.arrangement.rows { &whole } else { &self.packs };
                self.text.store(store, &bases[self.body.view_of_store(store)], packs, None);
            }
        }
        self.text.close();
    }
}
