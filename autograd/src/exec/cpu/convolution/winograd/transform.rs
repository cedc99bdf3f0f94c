//! The transforms of tiles and of filters: sums and differences, a register of neighbouring tiles at a time.

use super::super::planes::Planes;
use super::{FILTER, IN, Layout, OUT, PLACES, Taps};
use crate::exec::cpu::scalar::Scalar;
use crate::exec::cpu::vector::{Vector, lanes};
use pulp::Simd;

/// B^T d B of all tiles in a copy of some rows of a channel.
///
/// # Safety
/// `copy` shows `rows` rows of tiles by `columns`, with room for registers that begin at the last one, and `to` is a channel of `layout` with room for
/// as many tiles, where what lies behind the last of a row is written before it belongs to others.
#[inline(always)]
pub(super) unsafe fn images<T: Vector, S: Simd>(
    simd: S,
    planes: &Planes,
    copy: *const T,
    [rows, columns]: [usize; 2],
    to: *mut T,
    layout: Layout,
) {
    let zero = T::splat(simd, T::ZERO);
    for row in 0..rows {
        for first in (0..columns).step_by(lanes::<T, S>()) {
            let to = to.wrapping_add(row * columns + first);
            let mut t = [[zero; IN]; IN];
            for v in 0..IN {
                let mut d = [zero; IN];
                for u in 0..IN {
                    let at = planes.at(row * OUT + u, first * OUT + v);
                    // SAFETY: the caller's promise.
                    d[u] = unsafe { copy.add(at).cast::<T::Register<S>>().read_unaligned() };
                }
                let column = differences::<T, S>(simd, d);
                for u in 0..IN {
                    t[u][v] = column[u];
                }
            }
            for u in 0..IN {
                let row = differences::<T, S>(simd, t[u]);
                for v in 0..IN {
                    // SAFETY: the caller's promise.
                    unsafe { to.add((IN * u + v) * layout.place).cast::<T::Register<S>>().write_unaligned(row[v]) };
                }
            }
        }
    }
}

// What the transforms do to a row or a column are functions of their own, called from plain loops: closures that go through a function of the standard
// library, which is not compiled for wide registers, pass each of them through memory.

/// B^T d.
#[inline(always)]
fn differences<T: Vector, S: Simd>(simd: S, d: [T::Register<S>; IN]) -> [T::Register<S>; IN] {
    [
        T::minus::<S>(simd, d[0], d[2]),
        T::plus::<S>(simd, d[1], d[2]),
        T::minus::<S>(simd, d[2], d[1]),
        T::minus::<S>(simd, d[1], d[3]),
    ]
}

/// A y.
#[inline(always)]
fn spread<T: Vector, S: Simd>(simd: S, x: T::Register<S>, y: T::Register<S>) -> [T::Register<S>; IN] {
    let zero = T::splat(simd, T::ZERO);
    [x, T::plus::<S>(simd, x, y), T::minus::<S>(simd, x, y), T::minus::<S>(simd, zero, y)]
}

/// A^T m.
#[inline(always)]
fn gather<T: Vector, S: Simd>(simd: S, m: [T::Register<S>; IN]) -> [T::Register<S>; OUT] {
    let (sum, difference) = (T::plus::<S>(simd, m[1], m[2]), T::minus::<S>(simd, m[1], m[2]));
    [T::plus::<S>(simd, m[0], sum), T::minus::<S>(simd, difference, m[3])]
}

/// G g.
#[inline(always)]
fn ends_and_middles<T: Scalar, const SIDE: usize>(g: [[T; SIDE]; FILTER]) -> [[T; SIDE]; IN] {
    let half = T::from_f64(0.5);
    let mut out = [[T::ZERO; SIDE]; IN];
    for k in 0..SIDE {
        let ends = g[0][k].add(g[2][k]);
        out[0][k] = g[0][k];
        out[1][k] = half.mul(ends.add(g[1][k]));
        out[2][k] = half.mul(ends.sub(g[1][k]));
        out[3][k] = g[2][k];
    }
    out
}

/// G^T s.
#[inline(always)]
fn halves<T: Vector, S: Simd>(simd: S, s: [T::Register<S>; IN]) -> [T::Register<S>; FILTER] {
    let (sum, difference) = (T::plus::<S>(simd, s[1], s[2]), T::minus::<S>(simd, s[1], s[2]));
    let (half, zero) = (T::splat(simd, T::from_f64(0.5)), T::splat(simd, T::ZERO));
    [
        T::add_product::<S>(simd, half, sum, s[0]),
        T::add_product::<S>(simd, half, difference, zero),
        T::add_product::<S>(simd, half, sum, s[3]),
    ]
}

/// A y A^T of all tiles in a copy of some rows of a channel of results.
///
/// # Safety
/// As for [`images`].
#[inline(always)]
pub(super) unsafe fn results<T: Vector, S: Simd>(
    simd: S,
    planes: &Planes,
    copy: *const T,
    [rows, columns]: [usize; 2],
    to: *mut T,
    layout: Layout,
) {
    for row in 0..rows {
        for first in (0..columns).step_by(lanes::<T, S>()) {
            let mut y = [[T::splat(simd, T::ZERO); OUT]; OUT];
            for u in 0..OUT {
                for v in 0..OUT {
                    let at = planes.at(row * OUT + u, first * OUT + v);
                    // SAFETY: the caller's promise.
                    y[u][v] = unsafe { copy.add(at).cast::<T::Register<S>>().read_unaligned() };
                }
            }
            let to = to.wrapping_add(row * columns + first);
            let left = spread::<T, S>(simd, y[0][0], y[1][0]);
            let right = spread::<T, S>(simd, y[0][1], y[1][1]);
            for u in 0..IN {
                let row = spread::<T, S>(simd, left[u], right[u]);
                for v in 0..IN {
                    // SAFETY: the caller's promise.
                    unsafe { to.add((IN * u + v) * layout.place).cast::<T::Register<S>>().write_unaligned(row[v]) };
                }
            }
        }
    }
}

/// A^T m A of all tiles in some rows of a channel, written to results of which the tiles' first row is at `to`.
///
/// # Safety
/// `from` is a channel of `layout` with `rows` by `columns` tiles and room for registers that begin at the last; `to` belongs to the caller, `size` rows
/// by columns of it.
#[inline(always)]
pub(super) unsafe fn sums<T: Vector, S: Simd>(
    simd: S,
    from: *const T,
    layout: Layout,
    [rows, columns]: [usize; 2],
    to: *mut T,
    size: [usize; 2],
) {
    const MOST_LANES: usize = 16;
    let lanes = lanes::<T, S>();
    for row in 0..rows {
        for first in (0..columns).step_by(lanes) {
            let from = from.wrapping_add(row * columns + first);
            // The rows of A^T m, whose columns are those of m.
            let mut half = [[T::splat(simd, T::ZERO); IN]; OUT];
            for v in 0..IN {
                let mut m = [T::splat(simd, T::ZERO); IN];
                for u in 0..IN {
                    let at = from.wrapping_add((IN * u + v) * layout.place);
                    // SAFETY: the caller's promise.
                    m[u] = unsafe { at.cast::<T::Register<S>>().read_unaligned() };
                }
                let column = gather::<T, S>(simd, m);
                for u in 0..OUT {
                    half[u][v] = column[u];
                }
            }
            for u in 0..OUT.min(size[0] - row * OUT) {
                let y = gather::<T, S>(simd, half[u]);
                let mut halves = [[T::ZERO; MOST_LANES]; OUT];
                let count = (size[1] - first * OUT).min(OUT * lanes);
                // SAFETY: an array has room for a register; the caller's promise.
                unsafe {
                    for v in 0..OUT {
                        halves[v].as_mut_ptr().cast::<T::Register<S>>().write_unaligned(y[v]);
                    }
                    let to = to.add((row * OUT + u) * size[1] + first * OUT);
                    if count == OUT * lanes {
                        for k in 0..lanes {
                            *to.add(2 * k) = halves[0][k];
                            *to.add(2 * k + 1) = halves[1][k];
                        }
                    } else {
                        for k in 0..count {
                            *to.add(k) = halves[k % OUT][k / OUT];
                        }
                    }
                }
            }
        }
    }
}

/// G g G^T of the filters of some channels side by side.
///
/// # Safety
/// `filters` shows the first channel's filter, whose elements `taps` tells, and the others `channel` apart.
#[inline(always)]
pub(super) unsafe fn filters<T: Scalar, const SIDE: usize>(
    filters: *const T,
    channel: usize,
    channels: usize,
    taps: Taps,
) -> [[T; SIDE]; PLACES] {
    let mut rows = [[[T::ZERO; SIDE]; FILTER]; FILTER];
    for (u, row) in rows.iter_mut().enumerate() {
        for (v, place) in row.iter_mut().enumerate() {
            let offset = taps.first.wrapping_add_signed(u as isize * taps.row + v as isize * taps.column);
            for (k, element) in place.iter_mut().enumerate().take(channels) {
                // SAFETY: the caller's promise.
                *element = unsafe { *filters.add(k * channel + offset) };
            }
        }
    }
    // The rows of G g, whose columns are those of g.
    let mut half = [[[T::ZERO; SIDE]; FILTER]; IN];
    for v in 0..FILTER {
        let column = ends_and_middles([rows[0][v], rows[1][v], rows[2][v]]);
        for u in 0..IN {
            half[u][v] = column[u];
        }
    }
    let mut out = [[T::ZERO; SIDE]; PLACES];
    for u in 0..IN {
        let row = ends_and_middles(half[u]);
        for v in 0..IN {
            out[IN * u + v] = row[v];
        }
    }
    out
}

/// G^T s G of sums for a register of neighbouring channels.
///
/// # Safety
/// `from` shows a register of each place, `place` elements apart.
#[inline(always)]
pub(super) unsafe fn filter_sums<T: Vector, S: Simd>(
    simd: S,
    from: *const T,
    place: usize,
) -> [T::Register<S>; FILTER * FILTER] {
    let zero = T::splat(simd, T::ZERO);
    // The rows of G^T s, whose columns are those of s.
    let mut half = [[zero; IN]; FILTER];
    for v in 0..IN {
        let mut s = [zero; IN];
        for u in 0..IN {
            // SAFETY: the caller's promise.
            s[u] = unsafe { from.add((IN * u + v) * place).cast::<T::Register<S>>().read_unaligned() };
        }
        let column = halves::<T, S>(simd, s);
        for u in 0..FILTER {
            half[u][v] = column[u];
        }
    }
    let mut taps = [zero; FILTER * FILTER];
    for u in 0..FILTER {
        let row = halves::<T, S>(simd, half[u]);
        for v in 0..FILTER {
            taps[u * FILTER + v] = row[v];
        }
    }
    taps
}
