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
    let (add, sub) = (T::plus::<S>, T::minus::<S>);
    for row in 0..rows {
        for first in (0..columns).step_by(lanes::<T, S>()) {
            let at = |u: usize, v: usize| copy.wrapping_add(planes.at(row * OUT + u, first * OUT + v));
            let to = to.wrapping_add(row * columns + first);
            for u in 0..IN {
                // SAFETY: the caller's promise.
                let d = |u: usize, v: usize| unsafe { at(u, v).cast::<T::Register<S>>().read_unaligned() };
                let mut t = [T::splat(simd, T::ZERO); IN];
                for v in 0..IN {
                    t[v] = match u {
                        0 => sub(simd, d(0, v), d(2, v)),
                        1 => add(simd, d(1, v), d(2, v)),
                        2 => sub(simd, d(2, v), d(1, v)),
                        _ => sub(simd, d(1, v), d(3, v)),
                    };
                }
                let t = [sub(simd, t[0], t[2]), add(simd, t[1], t[2]), sub(simd, t[2], t[1]), sub(simd, t[1], t[3])];
                for v in 0..IN {
                    // SAFETY: the caller's promise.
                    unsafe { to.add((IN * u + v) * layout.place).cast::<T::Register<S>>().write_unaligned(t[v]) };
                }
            }
        }
    }
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
    let zero = T::splat(simd, T::ZERO);
    let spread =
        |x: T::Register<S>, y: T::Register<S>| [x, T::plus(simd, x, y), T::minus(simd, x, y), T::minus(simd, zero, y)];
    for row in 0..rows {
        for first in (0..columns).step_by(lanes::<T, S>()) {
            // SAFETY: the caller's promise.
            let y = |u: usize, v: usize| unsafe {
                copy.add(planes.at(row * OUT + u, first * OUT + v)).cast::<T::Register<S>>().read_unaligned()
            };
            let to = to.wrapping_add(row * columns + first);
            let (left, right) = (spread(y(0, 0), y(1, 0)), spread(y(0, 1), y(1, 1)));
            for u in 0..IN {
                for (v, value) in spread(left[u], right[u]).into_iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe { to.add((IN * u + v) * layout.place).cast::<T::Register<S>>().write_unaligned(value) };
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
    let gather = |m: [T::Register<S>; IN]| {
        let (sum, difference) = (T::plus(simd, m[1], m[2]), T::minus(simd, m[1], m[2]));
        [T::plus(simd, m[0], sum), T::minus(simd, difference, m[3])]
    };
    let lanes = lanes::<T, S>();
    for row in 0..rows {
        for first in (0..columns).step_by(lanes) {
            let from = from.wrapping_add(row * columns + first);
            // SAFETY: the caller's promise.
            let m = |u: usize, v: usize| unsafe {
                from.add((IN * u + v) * layout.place).cast::<T::Register<S>>().read_unaligned()
            };
            let columns = [0, 1, 2, 3].map(
                #[inline(always)]
                |v| gather([m(0, v), m(1, v), m(2, v), m(3, v)]),
            );
            for u in 0..OUT.min(size[0] - row * OUT) {
                let y = gather([columns[0][u], columns[1][u], columns[2][u], columns[3][u]]);
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
    let half = T::from_f64(0.5);
    let spread = |g: [[T; SIDE]; FILTER]| {
        let mut out = [[T::ZERO; SIDE]; IN];
        for k in 0..SIDE {
            let ends = g[0][k].add(g[2][k]);
            out[0][k] = g[0][k];
            out[1][k] = half.mul(ends.add(g[1][k]));
            out[2][k] = half.mul(ends.sub(g[1][k]));
            out[3][k] = g[2][k];
        }
        out
    };
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
    let columns = [0, 1, 2].map(|v| spread([rows[0][v], rows[1][v], rows[2][v]]));
    let mut out = [[T::ZERO; SIDE]; PLACES];
    for u in 0..IN {
        let row = spread([columns[0][u], columns[1][u], columns[2][u]]);
        out[IN * u..IN * (u + 1)].copy_from_slice(&row);
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
    let half = T::splat(simd, T::from_f64(0.5));
    let gather = |s: [T::Register<S>; IN]| {
        let (sum, difference) = (T::plus(simd, s[1], s[2]), T::minus(simd, s[1], s[2]));
        let zero = T::splat(simd, T::ZERO);
        [
            T::add_product(simd, half, sum, s[0]),
            T::add_product(simd, half, difference, zero),
            T::add_product(simd, half, sum, s[3]),
        ]
    };
    // SAFETY: the caller's promise.
    let s = |u: usize, v: usize| unsafe { from.add((IN * u + v) * place).cast::<T::Register<S>>().read_unaligned() };
    let columns = [0, 1, 2, 3].map(
        #[inline(always)]
        |v| gather([s(0, v), s(1, v), s(2, v), s(3, v)]),
    );
    let rows = [0, 1, 2].map(
        #[inline(always)]
        |u| gather([columns[0][u], columns[1][u], columns[2][u], columns[3][u]]),
    );
    std::array::from_fn(
        #[inline(always)]
        |k| rows[k / FILTER][k % FILTER],
    )
}
