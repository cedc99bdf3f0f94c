//! Sums and maxima in an order fixed by the shape alone.
//!
//! Tiles are summed in many independent lanes; the tiles' sums are added in pairs, pairs of pairs and so on, which keeps rounding errors at the order
//! of log n units in the last place (Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14, 1993).

use super::layout::{Fold, tile_elements};
use crate::exec::cpu::scalar::Scalar;

/// How two values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    Sum,
    Max,
}

/// Tiles that are added one after another before pairing begins, where results are wide.
const BLOCK: usize = 32;

/// Independent sums along a run.
const LANES: usize = 32;

/// Tiles of scratch memory that a combination of so many tiles uses: the running one, its copy, and one for each level of pairs.
pub(crate) fn slots(fold: Fold, tiles: usize) -> usize {
    match fold {
        Fold::None => 0,
        Fold::Rows(_) => 1,
        Fold::All => 1,
        Fold::Columns(_) | Fold::Lanes => 2 + tiles.div_ceil(BLOCK).ilog2() as usize + 1,
    }
}

#[inline(always)]
fn apply<T: Scalar>(combine: Combine, a: T, b: T) -> T {
    match combine {
        Combine::Sum => a.add(b),
        Combine::Max => a.maximum(b),
    }
}

/// to\[i\] = to\[i\] combined with from\[i\].
///
/// # Safety
/// n elements at `to` writable, at `from` readable, apart from each other.
#[inline(always)]
pub(crate) unsafe fn combine_into<T: Scalar>(combine: Combine, to: *mut T, from: *const T, n: usize) {
    // SAFETY: the caller's promise.
    let (to, from) = unsafe { (std::slice::from_raw_parts_mut(to, n), std::slice::from_raw_parts(from, n)) };
    match combine {
        Combine::Sum => to.iter_mut().zip(from).for_each(
            #[inline(always)]
            |(to, from)| *to = to.add(*from),
        ),
        Combine::Max => to.iter_mut().zip(from).for_each(
            #[inline(always)]
            |(to, from)| *to = to.maximum(*from),
        ),
    }
}

/// One value from a run.
#[inline(always)]
fn run<T: Scalar>(combine: Combine, values: &[T]) -> T {
    let neutral = match combine {
        Combine::Sum => T::ZERO,
        Combine::Max => T::LOWEST,
    };
    if values.len() < LANES {
        let mut result = values[0];
        for value in &values[1..] {
            result = apply(combine, result, *value);
        }
        return result;
    }
    let mut lanes = [neutral; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    match combine {
        Combine::Sum => {
            for block in blocks {
                for i in 0..LANES {
                    lanes[i] = lanes[i].add(block[i]);
                }
            }
        }
        Combine::Max => {
            for block in blocks {
                for i in 0..LANES {
                    lanes[i] = lanes[i].maximum(block[i]);
                }
            }
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = apply(combine, *lane, *value);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = apply(combine, lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Combines tile number `index` (of this segment), n elements, into the state at `slots`.
///
/// # Safety
/// n readable elements at `value`; `slots` as many tiles as the function of that name says, apart from `value`.
#[inline(always)]
pub(crate) unsafe fn add_tile<T: Scalar>(
    fold: Fold,
    combine: Combine,
    value: *const T,
    n: usize,
    index: usize,
    slots: *mut T,
) {
    let tile = tile_elements(size_of::<T>());
    // SAFETY: the caller's promise; widths never exceed a tile.
    unsafe {
        match fold {
            Fold::None => {}
            Fold::Rows(length) => {
                let values = std::slice::from_raw_parts(value, n);
                for (i, row) in values.chunks_exact(length).enumerate() {
                    *slots.add(i) = run(combine, row);
                }
            }
            Fold::All => {
                // Level k holds the sum of 2^k tiles where bit k of the count is set.
                let mut sum = run(combine, std::slice::from_raw_parts(value, n));
                let mut level = 0;
                while index >> level & 1 == 1 {
                    sum = apply(combine, *slots.add(level), sum);
                    level += 1;
                }
                *slots.add(level) = sum;
            }
            Fold::Columns(width) => {
                let (running, copy) = (slots, slots.add(tile));
                let mut from = value;
                let mut rows = n / width;
                // Halve the rows until one is left; the first step leaves the (maybe shared) tile.
                while rows > 1 {
                    let half = rows / 2;
                    let kept = rows - half;
                    if std::ptr::eq(from, value) {
                        std::ptr::copy_nonoverlapping(from, copy, kept * width);
                    }
                    combine_into(combine, copy, from.add(kept * width), half * width);
                    from = copy;
                    rows = kept;
                }
                add_columns(combine, from, width, index, running);
            }
            Fold::Lanes => add_columns(combine, value, n, index, slots),
        }
    }
}

#[inline(always)]
unsafe fn add_columns<T: Scalar>(combine: Combine, from: *const T, width: usize, index: usize, running: *mut T) {
    // SAFETY: forwarded from `add_tile`.
    unsafe {
        if index.is_multiple_of(BLOCK) {
            if index > 0 {
                push_block(combine, width, index / BLOCK - 1, running);
            }
            std::ptr::copy_nonoverlapping(from, running, width);
        } else {
            combine_into(combine, running, from, width);
        }
    }
}

/// Puts the running block, number `block`, to the pairs.
#[inline(always)]
unsafe fn push_block<T: Scalar>(combine: Combine, width: usize, block: usize, running: *mut T) {
    let tile = tile_elements(size_of::<T>());
    // SAFETY: forwarded from `add_tile`; levels lie behind the running tile and its copy.
    unsafe {
        let levels = running.add(2 * tile);
        let mut level = 0;
        while block >> level & 1 == 1 {
            combine_into(combine, running, levels.add(level * tile), width);
            level += 1;
        }
        std::ptr::copy_nonoverlapping(running, levels.add(level * tile), width);
    }
}

/// The combined value of `tiles` tiles, at the address answered.
///
/// # Safety
/// As for `add_tile`, which must have been called for each of the tiles.
#[inline(always)]
pub(crate) unsafe fn finish<T: Scalar>(
    fold: Fold,
    combine: Combine,
    tiles: usize,
    width: usize,
    slots: *mut T,
) -> *const T {
    let tile = tile_elements(size_of::<T>());
    // SAFETY: the caller's promise.
    unsafe {
        match fold {
            Fold::None | Fold::Rows(_) => slots,
            Fold::All => {
                let mut level = tiles.trailing_zeros() as usize;
                let mut sum = *slots.add(level);
                level += 1;
                while tiles >> level != 0 {
                    if tiles >> level & 1 == 1 {
                        sum = apply(combine, *slots.add(level), sum);
                    }
                    level += 1;
                }
                *slots = sum;
                slots
            }
            Fold::Columns(_) | Fold::Lanes => {
                let blocks = (tiles - 1) / BLOCK;
                let mut level = 0;
                while blocks >> level != 0 {
                    if blocks >> level & 1 == 1 {
                        combine_into(combine, slots, slots.add((2 + level) * tile), width);
                    }
                    level += 1;
                }
                slots
            }
        }
    }
}
