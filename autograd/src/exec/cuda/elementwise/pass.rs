//! Loops without reductions: every thread computes a few points.

use super::body::Body;
use super::launch;
use super::layout::{Space, in_packs};
use super::scalar::weight;
use super::text::{Packs, Rest, Text};
use crate::exec::cuda::Lowering;
use crate::exec::view::Site;
use crate::{DType, Result};

/// Threads that fill a large card.
pub(super) const FILL: usize = 1 << 18;
/// Points from which on threads work on packs, where little is computed.
const PACKED: usize = 1 << 16;
/// Bytes that a thread should have on their way from memory.
const IN_FLIGHT: usize = 32;
/// Machine instructions of a thread, loops unrolled.
const INSTRUCTIONS: usize = 2048;
/// Registers, of 4 bytes, that a thread's packs may take.
const REGISTERS: usize = 128;

/// Elements of a pack that suit a loop's code.
pub(super) fn pack_sizes(body: &Body) -> impl Iterator<Item = usize> {
    let (weight, views, words) = (weight(body), body.loads.len() + body.stores.len(), body.dtype.size() / 4);
    let sizes: &[usize] = if body.dtype == DType::F64 { &[2] } else { &[4, 2] };
    sizes.iter().copied().filter(move |size| size * weight <= INSTRUCTIONS && size * views * words <= REGISTERS)
}

/// Packs that a thread works on at the same time: enough to keep memory busy, at most `most`, a power of two.
pub(super) fn in_flight(body: &Body, packs: usize, most: usize) -> usize {
    let moving = body.loads.iter().filter(|window| window.strides.iter().any(|&stride| stride != 0));
    let bytes: usize = moving.map(|window| packs * window.dtype.size()).sum();
    if bytes == 0 {
        return 1;
    }
    let words = body.dtype.size() / 4 * packs;
    let free = REGISTERS.saturating_sub(words * body.stores.len());
    let most =
        most.min(free / (words * body.loads.len()).max(1)).min(INSTRUCTIONS / (packs * weight(body)).max(1)).max(1);
    IN_FLIGHT.div_ceil(bytes).next_power_of_two().min(1 << most.ilog2())
}

/// Lowers a loop that combines nothing.
pub(super) fn lower(site: &Site<'_>, body: &Body, space: &Space, lowering: &mut Lowering) -> Result<()> {
    let points = space.outputs();
    let fits = |size: usize| {
        let whole = space.kept.last().is_some_and(|last| last.length.is_multiple_of(size)) || space.kept.len() == 1;
        points >= PACKED * (1 + weight(body) / 64)
            && whole
            && body.stores_that(false).all(|k| space.packs(&body.stores[k].window, body.view_of_store(k), true, size))
    };
    let pack = pack_sizes(body).find(|&size| fits(size)).unwrap_or(1);
    let items = points.div_ceil(pack);
    let flight = if items >= 2 * FILL { in_flight(body, pack, 4) } else { 1 };
    let threads = if items <= 128 {
        items.next_multiple_of(32)
    } else if items < FILL / 4 {
        128
    } else {
        256
    };
    let blocks = items.div_ceil(threads * flight);

    let mut text = Text::new(body, space.is_wide(2 * threads * flight * pack));
    let packs = Packs::new(body, space, true, pack);
    let axes = in_packs(&space.kept, pack);
    let rest = (!points.is_multiple_of(pack))
        .then(|| Rest { whole: format!("i != {}", text.number(items - 1)), count: points % pack });
    let (loads, stores): (Vec<usize>, Vec<usize>) =
        ((0..body.loads.len()).collect(), (0..body.stores.len()).map(|k| body.view_of_store(k)).collect());
    let exact = items == blocks * threads * flight;
    let index = text.index();
    let count = text.number(items);
    text.let_index("first", &format!("({index})blockIdx.x * {}u + threadIdx.x", threads * flight));
    if flight == 1 {
        text.let_index("i", "first");
        if !exact {
            text.line(&format!("if (i >= {count}) return;"));
        }
        let digits = text.digits("p", "i", &axes);
        let all: Vec<usize> = loads.iter().chain(&stores).copied().collect();
        let offsets = text.offsets("o", &all, (&digits, &axes), |_| None);
        text.declare_loads(pack, None);
        for &k in &loads {
            text.load(k, "", &offsets[k], &packs, rest.as_ref());
        }
        text.points(pack, "");
        for (k, &view) in stores.iter().enumerate() {
            text.store(k, &offsets[view], &packs, rest.as_ref());
        }
    } else {
        text.declare_loads(pack, Some(flight));
        text.unrolled("u", flight);
        let at = format!("first + u * {threads}u");
        // Beyond the end the last item is loaded again: loads without conditions are all under way at once.
        let last = text.number(items - 1);
        text.let_index("i", &if exact { at.clone() } else { format!("{at} < {count} ? {at} : {last}") });
        let digits = text.digits("p", "i", &axes);
        let offsets = text.offsets("o", &loads, (&digits, &axes), |_| None);
        for &k in &loads {
            text.load(k, "[u]", &offsets[k], &packs, rest.as_ref());
        }
        text.close();
        text.unrolled("u", flight);
        text.let_index("i", &at);
        if !exact {
            text.line(&format!("if (i >= {count}) continue;"));
        }
        let digits = text.digits("p", "i", &axes);
        let offsets = text.offsets("o", &stores, (&digits, &axes), |_| None);
        text.points(pack, "[u]");
        for (k, offset) in offsets.iter().enumerate() {
            text.store(k, offset, &packs, rest.as_ref());
        }
        text.close();
    }
    launch(site, lowering, text.kernel(threads, |_| false), (blocks, threads), body.views())
}
