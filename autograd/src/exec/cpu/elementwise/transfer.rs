//! Between strided memory and the contiguous tiles in cache.
//!
//! Bound by memory, hence compiled once for each pair of types and not for every instruction set.

use super::layout::Pattern;
use crate::exec::cpu::scalar::Cast;
use std::any::TypeId;

/// Copies a tile's elements from memory into `to`, row-major.
///
/// # Safety
/// Every element of the pattern must be readable, and `to` writable for as many elements and apart from them.
#[inline(never)]
pub(crate) unsafe fn gather<S: Copy + Cast<T> + 'static, T: Copy + 'static>(
    to: *mut T,
    from: *const S,
    rows: usize,
    pattern: &Pattern,
) {
    // SAFETY: the offsets are those of the pattern's elements; `to` advances by the elements written.
    unsafe {
        match *pattern.inner.as_slice() {
            [] => gather_line(to, from, rows, pattern.row),
            [(length, stride)] => {
                if pattern.row == 1 && stride != 1 && rows >= 8 {
                    // Transposed: read along memory, write across the tile, which is in cache.
                    for j in 0..length {
                        let column = from.add(j * stride);
                        for i in 0..rows {
                            *to.add(i * length + j) = (*column.add(i)).cast();
                        }
                    }
                } else {
                    for i in 0..rows {
                        gather_line(to.add(i * length), from.add(i * pattern.row), length, stride);
                    }
                }
            }
            [(lines, by), (length, 2)] => {
                for i in 0..rows {
                    for j in 0..lines {
                        every_other(to.add((i * lines + j) * length), from.add(i * pattern.row + j * by), length);
                    }
                }
            }
            _ => {
                let elements: usize = pattern.inner.iter().map(|axis| axis.0).product();
                for i in 0..rows {
                    gather_nested(to.add(i * elements), from.add(i * pattern.row), &pattern.inner);
                }
            }
        }
    }
}

/// Copies a contiguous tile to its places in memory.
///
/// # Safety
/// Every element of the pattern must be writable, and `from` readable for as many elements and apart from them.
#[inline(never)]
pub(crate) unsafe fn scatter<T: Copy + Cast<S>, S: Copy>(to: *mut S, from: *const T, rows: usize, pattern: &Pattern) {
    // SAFETY: as in `gather`.
    unsafe {
        match *pattern.inner.as_slice() {
            [] => scatter_line(to, from, rows, pattern.row),
            [(length, stride)] => {
                for i in 0..rows {
                    scatter_line(to.add(i * pattern.row), from.add(i * length), length, stride);
                }
            }
            [(lines, by), (length, 2)] => {
                for i in 0..rows {
                    for j in 0..lines {
                        let (to, from) = (to.add(i * pattern.row + j * by), from.add((i * lines + j) * length));
                        for k in 0..length {
                            *to.add(2 * k) = (*from.add(k)).cast();
                        }
                    }
                }
            }
            _ => {
                let elements: usize = pattern.inner.iter().map(|axis| axis.0).product();
                for i in 0..rows {
                    scatter_nested(to.add(i * pattern.row), from.add(i * elements), &pattern.inner);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn gather_line<S: Copy + Cast<T> + 'static, T: Copy + 'static>(
    to: *mut T,
    from: *const S,
    length: usize,
    stride: usize,
) {
    // SAFETY: forwarded from `gather`.
    unsafe {
        match stride {
            0 => {
                let value = (*from).cast();
                for i in 0..length {
                    *to.add(i) = value;
                }
            }
            1 => {
                for i in 0..length {
                    *to.add(i) = (*from.add(i)).cast();
                }
            }
            2 => every_other(to, from, length),
            _ => {
                for i in 0..length {
                    *to.add(i) = (*from.add(i * stride)).cast();
                }
            }
        }
    }
}

/// Every other element, as poolings take them. Of two neighbours of 32 bits, read as a number of 64, the first is its lower half: registers are narrowed
/// instead of filled one by one.
#[inline(always)]
unsafe fn every_other<S: Copy + Cast<T> + 'static, T: Copy + 'static>(to: *mut T, from: *const S, length: usize) {
    let narrowed = cfg!(target_endian = "little") && size_of::<S>() == 4 && TypeId::of::<S>() == TypeId::of::<T>();
    // The last element has no neighbour that may be read.
    let pairs = if narrowed { length.saturating_sub(1) } else { 0 };
    // SAFETY: forwarded from `gather`: the last element read is number 2 (length - 1); where halves are moved the types are one.
    unsafe {
        for i in 0..pairs {
            let pair = from.add(2 * i).cast::<u64>().read_unaligned();
            to.add(i).cast::<u32>().write(pair as u32);
        }
        for i in pairs..length {
            *to.add(i) = (*from.add(2 * i)).cast();
        }
    }
}

#[inline(always)]
unsafe fn scatter_line<T: Copy + Cast<S>, S: Copy>(to: *mut S, from: *const T, length: usize, stride: usize) {
    // SAFETY: forwarded from `scatter`.
    unsafe {
        if stride == 1 {
            for i in 0..length {
                *to.add(i) = (*from.add(i)).cast();
            }
        } else {
            for i in 0..length {
                *to.add(i * stride) = (*from.add(i)).cast();
            }
        }
    }
}

unsafe fn gather_nested<S: Copy + Cast<T> + 'static, T: Copy + 'static>(
    to: *mut T,
    from: *const S,
    axes: &[(usize, usize)],
) {
    // SAFETY: forwarded from `gather`.
    unsafe {
        match *axes {
            [] => *to = (*from).cast(),
            [(length, stride)] => gather_line(to, from, length, stride),
            [(length, stride), ref rest @ ..] => {
                let elements: usize = rest.iter().map(|axis| axis.0).product();
                for i in 0..length {
                    gather_nested(to.add(i * elements), from.add(i * stride), rest);
                }
            }
        }
    }
}

unsafe fn scatter_nested<T: Copy + Cast<S>, S: Copy>(to: *mut S, from: *const T, axes: &[(usize, usize)]) {
    // SAFETY: forwarded from `scatter`.
    unsafe {
        match *axes {
            [] => *to = (*from).cast(),
            [(length, stride)] => scatter_line(to, from, length, stride),
            [(length, stride), ref rest @ ..] => {
                let elements: usize = rest.iter().map(|axis| axis.0).product();
                for i in 0..length {
                    scatter_nested(to.add(i * stride), from.add(i * elements), rest);
                }
            }
        }
    }
}
