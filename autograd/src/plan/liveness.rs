//! Liveness: from when to when each storage is needed, and which may follow another in the same bytes.

use super::place::Storage;
use super::step::{Action, Operand, Step, View};

/// A range of arena bytes for one storage, or several that follow each other in place.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Storages in it.
    pub storages: Vec<usize>,
    /// Bytes of the largest.
    pub bytes: usize,
    /// First step that writes it.
    pub first: usize,
    /// Last step that uses it.
    pub last: usize,
}

/// Whether a step may write `new` into the bytes of `old`: it does not read `old`, or it is a loop that reads each element of it only at the
/// point that writes the same element.
///
/// A store that takes a load as it is may read it after other stores have written, so no other store may take `old` that way.
pub(super) fn overwrites_safely(action: &Action, old: usize, new: usize) -> bool {
    let views = action.views();
    let reads: Vec<&View> =
        views.iter().filter(|(v, written)| !written && v.buffer.0 == old).map(|(v, _)| *v).collect();
    if reads.is_empty() {
        return true;
    }
    let Action::Loop(l) = action else { return false };
    let mut stores = l.stores.iter().filter(|s| s.to.buffer.0 == new);
    let (Some(store), None) = (stores.next(), stores.next()) else { return false };
    let takes_old = |value: Operand| matches!(value, Operand::Load(k) if l.loads[k as usize].buffer.0 == old);
    if l.stores.iter().any(|other| other.to.buffer.0 != new && takes_old(other.value)) {
        return false;
    }
    let elements: usize = store.to.points();
    let repeats = store.to.shape.iter().zip(&store.to.strides).any(|(&n, &s)| n > 1 && s == 0);
    let same = |view: &&View| {
        view.offset == store.to.offset
            && view.strides == store.to.strides
            && view.shape == store.to.shape
            && view.dtype.size() == store.to.dtype.size()
    };
    store.reduction.is_none() && !repeats && elements > 0 && reads.iter().all(same)
}

/// The slots of all arena storages that steps use; with `reuse` a loop may write over what it reads for the last time.
pub(super) fn slots(steps: &[Step], storages: &[Storage], reuse: bool) -> Vec<Slot> {
    let mut first = vec![usize::MAX; storages.len()];
    let mut last = vec![0; storages.len()];
    for (index, step) in steps.iter().enumerate() {
        for (view, _) in step.action.views() {
            let id = view.buffer.0;
            first[id] = first[id].min(index);
            last[id] = index;
        }
    }
    let mut slots: Vec<Slot> = Vec::new();
    let mut slot_of = vec![usize::MAX; storages.len()];
    for (index, step) in steps.iter().enumerate() {
        let views = step.action.views();
        for (view, written) in &views {
            let new = view.buffer.0;
            if !written || storages[new].var.is_some() || slot_of[new] != usize::MAX {
                continue;
            }
            let bytes = storages[new].elements * storages[new].dtype.size();
            let dying = views.iter().filter(|(_, written)| !written).map(|(v, _)| v.buffer.0).find(|&old| {
                reuse
                    && storages[old].var.is_none()
                    && last[old] == index
                    && slot_of[old] != usize::MAX
                    && slots[slot_of[old]].last == index
                    && storages[old].elements * storages[old].dtype.size() == bytes
                    && overwrites_safely(&step.action, old, new)
            });
            slot_of[new] = dying.map_or(slots.len(), |old| slot_of[old]);
            match dying {
                Some(old) => {
                    let slot = &mut slots[slot_of[old]];
                    slot.storages.push(new);
                    slot.last = last[new];
                }
                None => slots.push(Slot { storages: vec![new], bytes, first: first[new], last: last[new] }),
            }
        }
    }
    slots
}
