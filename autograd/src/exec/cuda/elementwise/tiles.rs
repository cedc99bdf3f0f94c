//! Loops whose loads run across the order of their stores: squares of them are turned in shared memory, so that both sides meet memory in whole
//! lines.

use super::body::Body;
use super::launch;
use super::layout::Space;
use super::text::{Packs, Text};
use crate::Result;
use crate::exec::cuda::Lowering;
use crate::exec::view::Site;

/// Side of a square.
const SIDE: usize = 32;
/// Rows that the threads of a block cover at a time.
const ROWS: usize = 8;
/// Bytes of shared memory of a block.
const SHARED: usize = 48 << 10;

/// How many loads can be turned.
pub(super) fn most_turned(body: &Body) -> usize {
    SHARED / (SIDE * (SIDE + 1) * body.dtype.size())
}

/// Lowers a loop, the loads `turned` of which run along the kept axis `across` and not along the last one.
pub(super) fn lower(
    site: &Site<'_>,
    body: &Body,
    space: &Space,
    (across, turned): (usize, &[usize]),
    lowering: &mut Lowering,
) -> Result<()> {
    let along = space.kept.len() - 1;
    let mut walked = space.kept.clone();
    walked[along].length = walked[along].length.div_ceil(SIDE);
    walked[across].length = walked[across].length.div_ceil(SIDE);
    let blocks: usize = walked.iter().map(|axis| axis.length).product();
    let threads = SIDE * ROWS;
    let mut text = Text::new(body, space.is_wide(threads * blocks));
    let packs = Packs::new(body, space, true, 1);
    let real = text.real();

    for load in turned {
        text.line(&format!("__shared__ {real} t{load}[{SIDE}][{}];", SIDE + 1));
    }
    text.line(&format!("const u32 column = threadIdx.x % {SIDE}u;"));
    text.line(&format!("const u32 row = threadIdx.x / {SIDE}u;"));
    let block = format!("({})blockIdx.x", text.index());
    text.let_index("block", &block);
    let corner = text.digits("p", "block", &walked);
    let within = |text: &mut Text<'_>, (rows, columns): (usize, usize)| {
        text.unrolled("j", SIDE / ROWS);
        let mut digits = corner.clone();
        digits[rows] = "down".into();
        digits[columns] = "right".into();
        text.let_index("down", &format!("{} * {SIDE}u + row + j * {ROWS}u", corner[rows]));
        text.let_index("right", &format!("{} * {SIDE}u + column", corner[columns]));
        for (name, axis) in [("down", rows), ("right", columns)] {
            if !space.kept[axis].length.is_multiple_of(SIDE) {
                text.line(&format!("if ({name} >= {}) continue;", text.number(space.kept[axis].length)));
            }
        }
        digits
    };

    let digits = within(&mut text, (along, across));
    let offsets = text.offsets("o", turned, (&digits, &space.kept), |_| None);
    for (load, offset) in turned.iter().zip(&offsets) {
        let from = crate::exec::cuda::elementwise::scalar::name_of(body.loads[*load].dtype);
        text.line(&format!("t{load}[row + j * {ROWS}u][column] = Convert<{real}, {from}>::of(a{load}[{offset}]);"));
    }
    text.close();
    text.line("__syncthreads();");

    let digits = within(&mut text, (across, along));
    let views: Vec<usize> = (0..body.loads.len() + body.stores.len()).filter(|view| !turned.contains(view)).collect();
    let offsets = text.offsets("o", &views, (&digits, &space.kept), |_| None);
    text.declare_loads(1, None);
    for load in 0..body.loads.len() {
        match views.iter().position(|&view| view == load) {
            Some(at) => text.load(load, "", &offsets[at], &packs, None),
            None => text.line(&format!("l{load}.at[0] = t{load}[column][row + j * {ROWS}u];")),
        }
    }
    text.points(1, "");
    for (store, offset) in offsets[views.len() - body.stores.len()..].iter().enumerate() {
        text.store(store, offset, &packs, None);
    }
    text.close();
    launch(site, lowering, text.kernel(threads, |_| false), (blocks, threads), body.views())
}
