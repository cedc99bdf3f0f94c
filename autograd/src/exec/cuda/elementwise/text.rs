//! A kernel's text while it is written.

use super::body::Body;
use super::layout::{Axis, Space};
use super::scalar::name_of;
use crate::plan::step::Operand;
use cuda_kernels::{Kernel, device_functions};
use std::collections::BTreeSet;

/// Where the elements of a pack lie in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    /// Side by side and aligned.
    Packed,
    /// So many elements from one to the next.
    Apart(usize),
}

/// How packs lie in each view.
#[derive(Clone, Debug)]
pub(super) struct Packs(pub(super) Vec<Lanes>);

impl Packs {
    /// Packs of `size` elements along the last kept or the last reduced axis.
    pub(super) fn new(body: &Body, space: &Space, along_kept: bool, size: usize) -> Self {
        let axis = if along_kept { space.kept.last() } else { space.reduced.last() };
        let lanes = body.views().enumerate().map(|(view, window)| match axis {
            Some(axis) if size > 1 && !space.packs(window, view, along_kept, size) => Lanes::Apart(axis.strides[view]),
            _ => Lanes::Packed,
        });
        Self(lanes.collect())
    }
}

/// The last pack of a row, which has fewer elements than the others.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// Condition for a pack to be complete.
    pub(super) whole: String,
    /// Elements of the last one.
    pub(super) count: usize,
}

/// A kernel's body under construction. Its parameters are `a0`, `a1`, .. for the loads and `b0`, `b1`, .. for the stores.
pub(super) struct Text<'a> {
    pub(super) body: &'a Body,
    /// Whether indices have 64 bits.
    pub(super) wide: bool,
    /// Device functions called, without those that every kernel has.
    pub(super) used: BTreeSet<&'static str>,
    lines: String,
    depth: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(body: &'a Body, wide: bool) -> Self {
        Self { body, wide, used: BTreeSet::new(), lines: String::new(), depth: 1 }
    }

    /// The type of indices.
    pub(super) fn index(&self) -> &'static str {
        if self.wide { "u64" } else { "u32" }
    }

    /// The type computed in.
    pub(super) fn real(&self) -> &'static str {
        name_of(self.body.dtype)
    }

    /// A multiple of an index.
    pub(super) fn times(&self, index: &str, factor: usize) -> String {
        if factor == 1 { index.to_owned() } else { format!("{index} * {}", self.number(factor)) }
    }

    /// A number of the indices' type.
    pub(super) fn number(&self, value: usize) -> String {
        if self.wide { format!("{value}ull") } else { format!("{value}u") }
    }

    pub(super) fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.lines.push_str("    ");
        }
        self.lines.push_str(line);
        self.lines.push('\n');
    }

    /// Opens a block behind a head.
    pub(super) fn open(&mut self, head: &str) {
        self.line(&if head.is_empty() { "{".into() } else { format!("{head} {{") });
        self.depth += 1;
    }

    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    /// Opens a loop that the compiler unrolls.
    pub(super) fn unrolled(&mut self, counter: &str, count: usize) {
        if count == 1 {
            self.open("");
            return self.line(&format!("const u32 {counter} = 0u;"));
        }
        self.line("#pragma unroll");
        self.open(&format!("for (u32 {counter} = 0u; {counter} < {count}u; ++{counter})"));
    }

    /// Names an index.
    pub(super) fn let_index(&mut self, name: &str, value: &str) {
        self.line(&format!("const {} {name} = {value};", self.index()));
    }

    /// The position on each axis of a point given by its row-major number.
    pub(super) fn digits(&mut self, prefix: &str, point: &str, axes: &[Axis]) -> Vec<String> {
        let mut digits = vec!["0".to_owned(); axes.len()];
        let mut rest = point.to_owned();
        for k in (0..axes.len()).rev() {
            if axes[..k].iter().all(|axis| axis.length == 1) {
                digits[k] = rest;
                break;
            }
            if axes[k].length == 1 {
                continue;
            }
            let length = self.number(axes[k].length);
            digits[k] = format!("{prefix}{k}");
            self.let_index(&digits[k], &format!("{rest} % {length}"));
            self.let_index(&format!("{prefix}q{k}"), &format!("{rest} / {length}"));
            rest = format!("{prefix}q{k}");
        }
        digits
    }

    /// Names of the offsets in `views` of the point with these digits, one after another added to `bases`; equal ones have one name.
    pub(super) fn offsets(
        &mut self,
        prefix: &str,
        views: &[usize],
        (digits, axes): (&[String], &[Axis]),
        base: impl Fn(usize) -> Option<String>,
    ) -> Vec<String> {
        let mut named: Vec<(String, String)> = Vec::new();
        let mut names = Vec::with_capacity(views.len());
        for &view in views {
            let steps = digits.iter().zip(axes).filter(|(digit, axis)| *digit != "0" && axis.strides[view] != 0);
            let steps = steps.map(|(digit, axis)| self.times(digit, axis.strides[view]));
            let terms: Vec<String> = base(view).filter(|base| base != "0").into_iter().chain(steps).collect();
            let sum = if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") };
            let known = named.iter().find(|(known, _)| *known == sum).map(|(_, name)| name.clone());
            names.push(known.unwrap_or_else(|| {
                let name = if sum.contains(' ') { format!("{prefix}{}", named.len()) } else { sum.clone() };
                if name != sum {
                    self.let_index(&name, &sum);
                }
                named.push((sum, name.clone()));
                name
            }));
        }
        names
    }

    /// Declares packs for all loads; `count` is their array length if they are many.
    pub(super) fn declare_loads(&mut self, pack: usize, count: Option<usize>) {
        let array = count.map_or(String::new(), |count| format!("[{count}]"));
        for k in 0..self.body.loads.len() {
            self.line(&format!("Pack<{}, {pack}> l{k}{array};", self.real()));
        }
    }

    /// Fills the pack of a load.
    pub(super) fn load(&mut self, load: usize, subscript: &str, offset: &str, packs: &Packs, rest: Option<&Rest>) {
        let arguments = format!("l{load}{subscript}, a{load} + {offset}");
        self.transfer("load", load, &arguments, packs, rest);
    }

    /// Empties the pack of a store.
    pub(super) fn store(&mut self, store: usize, offset: &str, packs: &Packs, rest: Option<&Rest>) {
        let arguments = format!("b{store} + {offset}, w{store}");
        self.transfer("store", self.body.view_of_store(store), &arguments, packs, rest);
    }

    fn transfer(&mut self, what: &'static str, view: usize, arguments: &str, packs: &Packs, rest: Option<&Rest>) {
        let apart = if what == "load" { "load_apart" } else { "store_apart" };
        let step = match packs.0[view] {
            Lanes::Packed => 1,
            Lanes::Apart(step) => step,
        };
        let packed = packs.0[view] == Lanes::Packed;
        let whole = if packed {
            self.used.insert(what);
            format!("{what}({arguments});")
        } else {
            self.used.insert(apart);
            format!("{apart}({arguments}, {step}u);")
        };
        match rest {
            None => self.line(&whole),
            Some(rest) => {
                self.used.insert(apart);
                self.line(&format!("if ({}) {whole}", rest.whole));
                self.line(&format!("else {apart}({arguments}, {step}u, {});", rest.count));
            }
        }
    }

    /// Computes the packs `w..` of all stores from the loads' packs.
    pub(super) fn points(&mut self, pack: usize, subscript: &str) {
        let real = self.real();
        for k in 0..self.body.stores.len() {
            self.line(&format!("Pack<{real}, {pack}> w{k};"));
        }
        self.unrolled("v", pack);
        for k in 0..self.body.loads.len() {
            self.line(&format!("const {real} x{k} = l{k}{subscript}.at[v];"));
        }
        self.code();
        for (k, store) in self.body.stores.iter().enumerate() {
            let value = self.value(store.value);
            self.line(&format!("w{k}.at[v] = {value};"));
        }
        self.close();
    }

    /// What a store takes.
    pub(super) fn value(&mut self, value: Operand) -> String {
        self.operand(value)
    }

    /// The kernel, for blocks of so many threads. Stores for which `partial` holds go to memory of the loop's own type.
    pub(super) fn kernel(mut self, threads: usize, partial: impl Fn(usize) -> bool) -> Kernel {
        self.used.extend(["pack", "convert"]);
        for (user, functions) in
            [("fold_max", &["max"][..]), ("fold_sum", &["add"]), ("add_to", &["add", "sub"]), ("total", &["add"])]
        {
            if self.used.contains(user) {
                self.used.extend(functions);
            }
        }
        let restrict = if self.body.shares { "" } else { " __restrict__" };
        let loads = self.body.loads.iter().enumerate();
        let loads = loads.map(|(k, window)| format!("const {}*{restrict} a{k}", name_of(window.dtype)));
        let stores = self.body.stores.iter().enumerate().map(|(k, store)| {
            let dtype = if partial(k) { self.body.dtype } else { store.window.dtype };
            format!("{}*{restrict} b{k}", name_of(dtype))
        });
        let parameters: Vec<String> = loads.chain(stores).collect();
        let functions = device_functions(|name| self.used.contains(name));
        // Two large blocks at a time are enough: assemblers that would have three keep registers in memory for that.
        let bounds = if threads == 512 { "512, 2".to_string() } else { threads.to_string() };
        let source = format!(
            "{functions}extern \"C\" __global__ void __launch_bounds__({bounds}) loop({}) {{\n{}}}\n",
            parameters.join(", "),
            self.lines
        );
        Kernel { source: source.into(), name: "loop".into() }
    }
}
