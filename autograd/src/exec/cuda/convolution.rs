//! Parts of convolutions.

use super::{Lowering, real};
use crate::Result;
use crate::exec::view::{Site, Window};
use crate::op::ConvPart;
use crate::plan::step::Convolution;
use cuda_kernels::convolution::{Convolution as Parts, Part, Stack};

/// Lowers a part of a convolution.
pub(super) fn lower(site: &Site<'_>, step: &Convolution, lowering: &mut Lowering) -> Result<()> {
    let part = step.conv.part;
    let window = |view, own| if part == own { site.output(view, |_| false) } else { site.window(view) };
    let images = window(&step.images, ConvPart::Input)?;
    let filters = window(&step.filters, ConvPart::Filter)?;
    let results = window(&step.results, ConvPart::Output)?;
    let (out, written) = match part {
        ConvPart::Input => (&images, Part::Images),
        ConvPart::Filter => (&filters, Part::Filters),
        ConvPart::Output => (&results, Part::Results),
    };
    let real = real(site, out.dtype)?;
    for window in [&images, &filters, &results] {
        site.expect_dtype(window, out.dtype, "the convolution's own type")?;
        if !std::ptr::eq(window, out) && window.overlaps(out) {
            return Err(site.error("the result lies on top of an operand".into()));
        }
    }
    if !out.is_contiguous() {
        return Err(site.error("the result is not contiguous".into()));
    }
    let (stride, padding) = (step.conv.stride, step.conv.padding);
    let [groups, count, channels, rows, columns] = site.rank::<5>(&images, "the images")?;
    let [_, outputs, _, h, w] = site.rank::<5>(&filters, "the filters")?;
    if stride.contains(&0) || h * w == 0 {
        return Err(site.error(format!("filters of {h} x {w}, strides {stride:?}")));
    }
    let size = |k: usize, image: usize, filter: usize| {
        (image + 2 * padding[k]).checked_sub(filter).map_or(0, |rest| rest / stride[k] + 1)
    };
    let result = [size(0, rows, h), size(1, columns, w)];
    site.expect_shape(&filters, &[groups, outputs, channels, h, w], "the filters")?;
    site.expect_shape(&results, &[groups, count, outputs, result[0], result[1]], "the results")?;
    if out.elements() == 0 {
        return Ok(());
    }
    if [&images, &filters, &results].iter().any(|window| window.elements() == 0) {
        // Nothing meets anything: all sums are empty.
        let bytes = out.elements() * out.dtype.size();
        lowering.commands.push(cuda_kernels::Command::Zero { to: out.pointer as u64, bytes });
        return Ok(());
    }
    let parts = Parts {
        real,
        precision: lowering.precision,
        part: written,
        groups,
        count,
        channels,
        outputs,
        image: [rows, columns],
        filter: [h, w],
        result,
        stride,
        padding,
        images: stack(&images),
        filters: stack(&filters),
        results: stack(&results),
    };
    let device = lowering.device.clone();
    let commands = device.convolution(&parts, &mut |bytes| lowering.scratch(bytes));
    let too_large =
        || site.error(format!("{h} x {w} filters of images of {rows} x {columns} are too large for a card"));
    lowering.commands.extend(commands.ok_or_else(too_large)?);
    Ok(())
}

fn stack(window: &Window) -> Stack {
    let strides = <[usize; 5]>::try_from(window.strides.as_slice()).unwrap_or([0; 5]);
    Stack { address: window.pointer as u64, strides }
}
