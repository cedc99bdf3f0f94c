//! Convolutions, most of them straight from padded copies of the images.
//!
//! Images are copied channel by channel with their margins of zeros ([`copies`], [`planes`]), so that what a tap of the filters multiplies lies at
//! a fixed distance from the first one's, for every result alike. Results and the transpose in the images are then one and the same loop over taps whose
//! sums stay in registers ([`correlate`], [`tile`]); the transpose in the filters sums over results instead ([`filter`]). Filters of 3 x 3 between
//! many channels take fewer products another way: [`winograd`]. Those with strides, and of a single tap, are products of matrices: [`unfolded`].

mod arranged;
mod copies;
mod correlate;
mod filter;
mod planes;
mod tile;
mod unfolded;
mod winograd;

use super::frame::{Kernel, Nothing};
use super::product::Field;
use super::scalar::Cast;
use super::vector::Lanes;
use crate::exec::view::{Site, Window};
use crate::op::ConvPart;
use crate::plan::step::Convolution;
use crate::{DType, Result};
use std::marker::PhantomData;

/// Floating-point operations of a step from which on it is spread over threads.
const SPREAD: usize = 1 << 21;

/// (groups, n, channels, rows, columns) in memory.
#[derive(Clone, Copy, Debug)]
struct Stack<T> {
    pointer: *mut T,
    shape: [usize; 5],
    strides: [usize; 5],
}

impl<T> Stack<T> {
    /// The rows and columns of one channel.
    fn channel(&self, group: usize, n: usize, channel: usize) -> *mut T {
        let [g, i, c, ..] = self.strides;
        self.pointer.wrapping_add(group * g + n * i + channel * c)
    }
}

/// The element that tap (u, v) of the filters meets.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    stride: [usize; 2],
    padding: [usize; 2],
}

/// Compiles a part of convolutions.
pub(crate) fn compile(site: &Site<'_>, step: &Convolution) -> Result<Box<dyn Kernel>> {
    match step.out().dtype {
        DType::F32 => typed::<f32>(site, step),
        DType::F64 => typed::<f64>(site, step),
        DType::U32 => Err(site.error("a convolution of integers".into())),
    }
}

fn typed<T: Field>(site: &Site<'_>, step: &Convolution) -> Result<Box<dyn Kernel>>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    let part = step.conv.part;
    let window = |view, own| if part == own { site.output(view, |_| false) } else { site.window(view) };
    let images = window(&step.images, ConvPart::Input)?;
    let filters = window(&step.filters, ConvPart::Filter)?;
    let results = window(&step.results, ConvPart::Output)?;
    let out = match part {
        ConvPart::Input => &images,
        ConvPart::Filter => &filters,
        ConvPart::Output => &results,
    };
    for window in [&images, &filters, &results] {
        site.expect_dtype(window, T::DTYPE, "the convolution's own type")?;
        if !std::ptr::eq(window, out) && window.overlaps(out) {
            return Err(site.error("the result lies on top of an operand".into()));
        }
    }
    if !out.is_contiguous() {
        return Err(site.error("the result is not contiguous".into()));
    }
    let geometry = Geometry { stride: step.conv.stride, padding: step.conv.padding };
    let [groups, n, channels, rows, columns] = site.rank::<5>(&images, "the images")?;
    let [_, outputs, _, h, w] = site.rank::<5>(&filters, "the filters")?;
    if geometry.stride.contains(&0) || h * w == 0 {
        return Err(site.error(format!("filters of {h} x {w}, strides {:?}", geometry.stride)));
    }
    let size = |k: usize, image: usize, filter: usize| {
        (image + 2 * geometry.padding[k]).checked_sub(filter).map_or(0, |rest| rest / geometry.stride[k] + 1)
    };
    site.expect_shape(&filters, &[groups, outputs, channels, h, w], "the filters")?;
    site.expect_shape(&results, &[groups, n, outputs, size(0, rows, h), size(1, columns, w)], "the results")?;
    if out.elements() == 0 {
        return Ok(Box::new(Nothing));
    }
    let [images, filters, results] = [stack::<T>(&images), stack(&filters), stack(&results)];
    let lanes = pulp::Arch::new().dispatch(Lanes::<T>(PhantomData));
    if winograd::suits(filters.shape, geometry) {
        return Ok(match part {
            ConvPart::Output => Box::new(winograd::correlate::output(images, filters, results, geometry, lanes)),
            ConvPart::Input => Box::new(winograd::correlate::input(images, filters, results, geometry, lanes)),
            ConvPart::Filter => {
                Box::new(winograd::filter::FilterKernel::new(images, filters, results, geometry, lanes))
            }
        });
    }
    if let Some(kernel) = unfolded::Unfolded::new(part, images, filters, results, geometry) {
        return Ok(Box::new(kernel));
    }
    Ok(match part {
        ConvPart::Output => Box::new(correlate::output(images, filters, results, geometry, lanes)),
        ConvPart::Input => Box::new(correlate::input(images, filters, results, geometry, lanes)),
        ConvPart::Filter => Box::new(filter::FilterKernel::new(images, filters, results, geometry, lanes)),
    })
}

fn stack<T>(window: &Window) -> Stack<T> {
    let five = |values: &[usize]| <[usize; 5]>::try_from(values).unwrap_or([0; 5]);
    Stack { pointer: window.pointer.cast(), shape: five(&window.shape), strides: five(&window.strides) }
}
