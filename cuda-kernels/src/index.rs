//! Work that is steered by integer tensors, and the identity matrix.

use crate::{Argument, Command, Kernel, Launch};

const THREADS: usize = 256;

/// Element types that indices select from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// `float`.
    F32,
    /// `double`.
    F64,
    /// `unsigned int`.
    U32,
}

/// Where failures are reported: the least of `report` plus the position of an index out of range is left in the `u64` at `status`.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Address of the report.
    pub status: u64,
    /// What the position is added to.
    pub report: u64,
}

/// A rank-1 index on the device.
#[derive(Clone, Copy, Debug)]
pub struct IndexVector {
    /// Address of its first element, a `u32`.
    pub address: u64,
    /// Elements between neighbours.
    pub stride: usize,
    /// Elements.
    pub count: usize,
}

/// An (outer, middle, inner) array that is read.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    /// Address of the first element.
    pub address: u64,
    /// Elements between neighbours on each axis.
    pub strides: [usize; 3],
}

/// One thread for each of `count` elements.
fn over(item: Item, name: &str, count: usize, arguments: Vec<Argument>) -> Vec<Command> {
    if count == 0 {
        return Vec::new();
    }
    let name_of_item = match item {
        Item::F32 => "float",
        Item::F64 => "double",
        Item::U32 => "u32",
    };
    let source = format!("#define T {name_of_item}\n{}", include_str!("../kernels/index.cu"));
    vec![Command::Launch(Launch {
        kernel: Kernel { source: source.into(), name: name.into() },
        grid: [count.div_ceil(THREADS) as u32, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: 0,
        arguments,
    })]
}

fn number(n: usize) -> Argument {
    Argument::U64(n as u64)
}

fn steered(
    item: Item,
    name: &str,
    source: Array,
    index: IndexVector,
    out: u64,
    [outer, middle, entries, inner]: [usize; 4],
    status: Status,
) -> Vec<Command> {
    let [s0, s1, s2] = source.strides.map(number);
    let count = outer * middle * inner;
    let arguments = vec![
        Argument::Pointer(source.address),
        Argument::Pointer(index.address),
        Argument::Pointer(out),
        number(count),
        number(index.count),
        number(entries),
        number(inner),
        s0,
        s1,
        s2,
        number(index.stride),
        Argument::Pointer(status.status),
        Argument::U64(status.report),
    ];
    over(item, name, count, arguments)
}

/// out\[i, j, l\] = x\[i, index\[j\], l\], for x of shape (outer, entries, inner) and a contiguous result.
pub fn gather(
    item: Item,
    x: Array,
    index: IndexVector,
    out: u64,
    [outer, entries, inner]: [usize; 3],
    status: Status,
) -> Vec<Command> {
    steered(item, "gather", x, index, out, [outer, index.count, entries, inner], status)
}

/// out\[i, index\[j\], l\] += u\[i, j, l\] onto zeros, in the order of j, for a contiguous result of shape (outer, entries, inner).
pub fn scatter_add(
    item: Item,
    u: Array,
    index: IndexVector,
    out: u64,
    [outer, entries, inner]: [usize; 3],
    status: Status,
) -> Vec<Command> {
    steered(item, "scatter_add", u, index, out, [outer, entries, entries, inner], status)
}

/// out\[j, c\] = 1 where index\[j\] = c, else 0, for a contiguous result of shape (index.count, classes).
pub fn one_hot(item: Item, index: IndexVector, out: u64, classes: usize, status: Status) -> Vec<Command> {
    let count = index.count * classes;
    let arguments = vec![
        Argument::Pointer(index.address),
        Argument::Pointer(out),
        number(count),
        number(classes),
        number(index.stride),
        Argument::Pointer(status.status),
        Argument::U64(status.report),
    ];
    over(item, "one_hot", count, arguments)
}

/// out\[r, c\] = index\[r, c\] + r stride, modulo 2^32, for a contiguous result of shape (rows, columns).
pub fn index_offset(
    index: u64,
    strides: [usize; 2],
    out: u64,
    [rows, columns]: [usize; 2],
    stride: u32,
) -> Vec<Command> {
    let count = rows * columns;
    let arguments = vec![
        Argument::Pointer(index),
        Argument::Pointer(out),
        number(count),
        number(columns),
        number(strides[0]),
        number(strides[1]),
        Argument::U32(stride),
    ];
    over(Item::U32, "index_offset", count, arguments)
}

/// The identity matrix of n rows, contiguous.
pub fn identity(item: Item, out: u64, n: usize) -> Vec<Command> {
    over(item, "identity", n * n, vec![Argument::Pointer(out), number(n * n), number(n)])
}
