//! Convolutions of images with filters: one trilinear form between images, filters and results, closed under transposition.
//!
//! With stride s and padding p, `y[n, o, i, j] = sum_{c, u, v} x[n, c, s i + u - p, s j + v - p] w[o, c, u, v]` (a correlation, as networks use it).
//! Any two of x, w and y give the third: the result itself, its transpose in the images and its transpose in the filters.

use super::axes_text;
use crate::op::{Conv2d, ConvPart};
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// Images (.., N, C, H, W) with filters (.., O, C, h, w) give (.., N, O, H', W') with H' = (H + 2 p - h) / s + 1, rounded down.
    ///
    /// Leading axes must be equal, or one operand has none (or only axes of length 1) and is shared: so each weight sample has filters of its own.
    ///
    /// On processors, filters of 3 x 3 between at least 16 channels and with strides of 1 are multiplied by Winograd's F(2 x 2, 3 x 3): results
    /// differ from plain sums by rounding, and what is not finite spreads over tiles of 2 x 2 results.
    ///
    /// ```
    /// use autograd::{DType, Tape};
    /// let mut tape = Tape::new();
    /// let images = tape.input(&[8, 3, 32, 32], DType::F32);
    /// let filters = tape.input(&[10, 16, 3, 3, 3], DType::F32);
    /// let y = tape.conv2d(images, filters, [2, 2], [1, 1])?;
    /// assert_eq!(tape.shape(y), &[10, 8, 16, 16, 16]);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, a stride of 0, filters larger than the padded images, or a padding beyond what can be addressed;
    /// [`Error::DType`].
    #[track_caller]
    pub fn conv2d(&mut self, x: Var, w: Var, stride: [usize; 2], padding: [usize; 2]) -> Result<Var> {
        let location = Location::caller();
        self.convolve(Conv2d { part: ConvPart::Output, stride, padding }, [x, w], [0, 0], location)
    }

    /// The transpose of [`Tape::conv2d`] in its images: filters (.., O, C, h, w) and results (.., N, O, H', W') give images
    /// (.., N, C, `size`). Also known as transposed convolution.
    ///
    /// # Errors
    /// As [`Tape::conv2d`].
    #[track_caller]
    pub fn conv2d_input(
        &mut self,
        w: Var,
        y: Var,
        size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Result<Var> {
        let location = Location::caller();
        self.convolve(Conv2d { part: ConvPart::Input, stride, padding }, [w, y], size, location)
    }

    /// The transpose of [`Tape::conv2d`] in its filters: images (.., N, C, H, W) and results (.., N, O, H', W') give filters (.., O, C, `size`).
    ///
    /// # Errors
    /// As [`Tape::conv2d`].
    #[track_caller]
    pub fn conv2d_filter(
        &mut self,
        x: Var,
        y: Var,
        size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Result<Var> {
        let location = Location::caller();
        self.convolve(Conv2d { part: ConvPart::Filter, stride, padding }, [x, y], size, location)
    }

    /// The part of a convolution that the other two give, in the order images, filters, results; `size` are its last two axes where it is not the
    /// result itself.
    fn convolve(
        &mut self,
        conv: Conv2d,
        operands: [Var; 2],
        size: [usize; 2],
        location: &'static Location<'static>,
    ) -> Result<Var> {
        let op = conv.name();
        self.operands(op, &operands, location)?;
        let dtype = self.dtype(operands[0]);
        if !dtype.is_float() || self.dtype(operands[1]) != dtype {
            let (found, expected) = (self.dtype(operands[1]), "two operands of one floating-point type");
            return Err(Error::DType { op, found, expected, location });
        }
        let shapes = operands.map(|v| self.shape(v).to_vec());
        let wrong = |why: String| Error::Shape {
            op,
            problem: format!("{} with {}: {why}", axes_text(&shapes[0]), axes_text(&shapes[1])),
            location,
        };
        if shapes.iter().any(|shape| shape.len() < 4) {
            return Err(wrong("operands need at least four axes".into()));
        }
        let lead = shapes.each_ref().map(|shape| &shape[..shape.len() - 4]);
        let groups = lead.map(|lead| lead.iter().product::<usize>());
        let joint = if lead[0] == lead[1] || groups[1] == 1 && lead[0].len() >= lead[1].len() {
            lead[0]
        } else if groups[0] == 1 && lead[1].len() >= lead[0].len() {
            lead[1]
        } else {
            return Err(wrong("leading axes must be equal, or one operand has none".into()));
        };
        let four = shapes.each_ref().map(|shape| &shape[shape.len() - 4..]);
        let own = conv.shape(four[0], four[1], size).map_err(wrong)?;
        let mut whole = [[groups[0], four[0][0], four[0][1]], [groups[1], four[1][0], four[1][1]]];
        let mut result = [groups[0].max(groups[1]), own[0], own[1]];
        // Filters shared by a batch of groups are the same for all images of the batch.
        let filters = match conv.part {
            ConvPart::Output => Some(1),
            ConvPart::Input => Some(0),
            ConvPart::Filter => None,
        };
        if let Some(filters) = filters
            && groups[filters] == 1
        {
            let images = 1 - filters;
            whole[images] = [1, groups[images] * whole[images][1], whole[images][2]];
            result = [1, groups[images] * result[1], result[2]];
        }
        let mut inputs = Vec::with_capacity(2);
        for k in 0..2 {
            let shape: Vec<usize> = whole[k].iter().chain(&four[k][2..]).copied().collect();
            inputs.push(self.reshape(operands[k], &shape)?);
        }
        let shape: Vec<usize> = result.iter().chain(&own[2..]).copied().collect();
        let product = self.record(Op::Conv2d(conv), inputs, shape, dtype, location)?;
        let shape: Vec<usize> = joint.iter().chain(&own).copied().collect();
        self.reshape(product, &shape)
    }
}

impl Conv2d {
    /// The last four axes of this part from those of the other two, in the order images, filters, results.
    fn shape(&self, first: &[usize], second: &[usize], size: [usize; 2]) -> std::result::Result<[usize; 4], String> {
        if self.stride.contains(&0) {
            return Err("a stride is 0".into());
        }
        let results = |images: &[usize], filters: &[usize]| -> std::result::Result<[usize; 2], String> {
            let mut found = [0; 2];
            for k in 0..2 {
                let padded = self.padding[k].checked_mul(2).and_then(|margins| margins.checked_add(images[k]));
                let Some(padded) = padded.filter(|&padded| isize::try_from(padded).is_ok()) else {
                    return Err(format!("images padded by {:?} are larger than can be addressed", self.padding));
                };
                if filters[k] == 0 || filters[k] > padded {
                    return Err(format!(
                        "filters of {filters:?} do not fit images of {images:?} padded by {:?}",
                        self.padding
                    ));
                }
                found[k] = (padded - filters[k]) / self.stride[k] + 1;
            }
            Ok(found)
        };
        let same = |what: &str, a: usize, b: usize| if a == b { Ok(()) } else { Err(format!("{what}: {a} and {b}")) };
        let consistent = |images: &[usize], filters: &[usize], given: &[usize]| match results(images, filters)? {
            found if found == given => Ok(()),
            found => Err(format!("images of {images:?} and filters of {filters:?} give {found:?}, not {given:?}")),
        };
        match self.part {
            ConvPart::Output => {
                same("channels differ", first[1], second[1])?;
                let size = results(&first[2..], &second[2..])?;
                Ok([first[0], second[0], size[0], size[1]])
            }
            ConvPart::Input => {
                same("channels of the results differ", first[0], second[1])?;
                consistent(&size, &first[2..], &second[2..])?;
                Ok([second[0], first[1], size[0], size[1]])
            }
            ConvPart::Filter => {
                same("numbers of images differ", first[0], second[0])?;
                consistent(&first[2..], &size, &second[2..])?;
                Ok([second[1], first[1], size[0], size[1]])
            }
        }
    }
}

/// The part of the node's convolution from given other two, sized like `like`.
fn part(tape: &mut Tape, conv: Conv2d, operands: [Var; 2], like: &[usize]) -> Result<Var> {
    let size = [like[like.len() - 2], like[like.len() - 1]];
    tape.convolve(conv, operands, size, Location::caller())
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, conv: Conv2d, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let left = tangents[0].map(|da| part(tape, conv, [da, b], &node.shape)).transpose()?;
    let right = tangents[1].map(|db| part(tape, conv, [a, db], &node.shape)).transpose()?;
    match (left, right) {
        (Some(left), Some(right)) => tape.add(left, right).map(Some),
        (left, right) => Ok(left.or(right)),
    }
}

pub(super) fn transpose(
    tape: &mut Tape,
    node: &Node,
    conv: Conv2d,
    cotangent: Var,
    linear: &[bool],
) -> Result<Option<Vec<Option<Var>>>> {
    if linear[0] && linear[1] {
        return Ok(None);
    }
    const ORDER: [ConvPart; 3] = [ConvPart::Input, ConvPart::Filter, ConvPart::Output];
    let others = ORDER.map(|part| (part != conv.part).then_some(part));
    let slots: Vec<ConvPart> = others.into_iter().flatten().collect();
    let (wanted, kept) = if linear[0] { (0, 1) } else { (1, 0) };
    let target = node.inputs[wanted];
    // The two known ones in their order.
    let mut known = [(slots[kept], node.inputs[kept]), (conv.part, cotangent)];
    known.sort_by_key(|(part, _)| ORDER.iter().position(|p| p == part));
    let like = tape.shape(target).to_vec();
    let back = part(tape, Conv2d { part: slots[wanted], ..conv }, known.map(|k| k.1), &like)?;
    // A shared operand collects from all groups.
    let back = if like[0] == 1 && tape.shape(back)[0] != 1 { tape.sum(back, &[0])? } else { back };
    let back = tape.reshape(back, &like)?;
    Ok(Some(if wanted == 0 { vec![Some(back), None] } else { vec![None, Some(back)] }))
}

pub(super) fn batch(tape: &mut Tape, node: &Node, conv: Conv2d, inputs: &[(Var, bool)], size: usize) -> Result<Var> {
    let groups = node.shape[0];
    let mut operands = [inputs[0].0, inputs[1].0];
    for k in 0..2 {
        let own = tape.shape(node.inputs[k]).to_vec();
        let alone =
            inputs.iter().enumerate().any(|(j, input)| j != k && input.1 && tape.shape(node.inputs[j])[0] == groups);
        if !inputs[k].1 && own[0] == 1 && alone {
            // Shared by the old groups: by the new ones as well.
            continue;
        }
        let full: Vec<usize> = [size, groups].iter().chain(&own[1..]).copied().collect();
        let joined: Vec<usize> = std::iter::once(size * groups).chain(own[1..].iter().copied()).collect();
        let whole = if inputs[k].1 { tape.expand(operands[k], &full)? } else { tape.broadcast_to(operands[k], &full)? };
        operands[k] = tape.reshape(whole, &joined)?;
    }
    let result = part(tape, conv, operands, &node.shape)?;
    let shape: Vec<usize> = std::iter::once(size).chain(node.shape.iter().copied()).collect();
    tape.reshape(result, &shape)
}
