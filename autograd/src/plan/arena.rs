//! The arena: an offset for each slot so that slots alive at the same time do not overlap.

use super::liveness::Slot;

/// Offsets are multiples of this many bytes.
const ALIGNMENT: usize = 64;

/// Offsets of the slots, in their order, and the bytes of the arena.
///
/// Larger slots are placed first, each into the tightest gap between those it meets in time (best fit). Without `reuse` each has bytes of its own.
pub(super) fn assign(slots: &[Slot], reuse: bool) -> (Vec<usize>, usize) {
    let padded = |slot: &Slot| slot.bytes.next_multiple_of(ALIGNMENT);
    let mut offsets = vec![0; slots.len()];
    if !reuse {
        let mut end = 0;
        for (offset, slot) in offsets.iter_mut().zip(slots) {
            *offset = end;
            end += padded(slot);
        }
        return (offsets, end);
    }
    let mut by_size: Vec<usize> = (0..slots.len()).collect();
    by_size.sort_by_key(|&k| (std::cmp::Reverse(slots[k].bytes), slots[k].first));
    // Placed slots by offset.
    let mut placed: Vec<usize> = Vec::with_capacity(slots.len());
    let mut end = 0;
    for k in by_size {
        let need = padded(&slots[k]);
        let (mut at, mut best) = (0, None);
        for &other in &placed {
            let meets = slots[other].first <= slots[k].last && slots[k].first <= slots[other].last;
            if !meets {
                continue;
            }
            let gap = offsets[other].saturating_sub(at);
            if gap >= need && best.is_none_or(|(size, _)| gap < size) {
                best = Some((gap, at));
            }
            at = at.max(offsets[other] + padded(&slots[other]));
        }
        offsets[k] = best.map_or(at, |(_, offset)| offset);
        end = end.max(offsets[k] + need);
        let index = placed.partition_point(|&other| offsets[other] <= offsets[k]);
        placed.insert(index, k);
    }
    (offsets, end)
}
