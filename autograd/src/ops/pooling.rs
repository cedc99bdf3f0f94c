//! Pooling of images: maxima and means over windows, made of views and reductions.

use super::axes_text;
use crate::{Error, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// Maxima over windows of the last two axes: (.., H, W) gives (.., H', W') with H' = (H + 2 p - size) / stride + 1, rounded down. Margins are
    /// never the maximum.
    ///
    /// ```
    /// use autograd::{DType, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.input(&[8, 6, 24, 24], DType::F32);
    /// let y = tape.max_pool2d(x, [2, 2], [2, 2], [0, 0])?;
    /// assert_eq!(tape.shape(y), &[8, 6, 12, 12]);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for fewer than two axes, a size or stride of 0, margins of more than half the size, or windows larger than the padded images;
    /// [`Error::DType`] for integers.
    #[track_caller]
    pub fn max_pool2d(&mut self, x: Var, size: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Var> {
        self.pool("max_pool2d", x, size, stride, padding, f64::NEG_INFINITY, Self::maximum, Self::max)
    }

    /// Means over windows of the last two axes, as [`Tape::max_pool2d`]; margins count as zeros.
    ///
    /// # Errors
    /// As [`Tape::max_pool2d`].
    #[track_caller]
    pub fn mean_pool2d(&mut self, x: Var, size: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Var> {
        let sum = self.pool("mean_pool2d", x, size, stride, padding, 0.0, Self::add, Self::sum)?;
        self.scale(sum, 1.0 / (size[0] * size[1]) as f64)
    }

    /// Windows combined: by a reduction where they lie side by side, else one element of all windows after the other.
    #[track_caller]
    fn pool(
        &mut self,
        op: &'static str,
        x: Var,
        size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        margin: f64,
        combine: fn(&mut Self, Var, Var) -> Result<Var>,
        reduce: fn(&mut Self, Var, &[usize]) -> Result<Var>,
    ) -> Result<Var> {
        let location = Location::caller();
        self.operands(op, &[x], location)?;
        let dtype = self.dtype(x);
        if !dtype.is_float() {
            return Err(Error::DType { op, found: dtype, expected: "f32 or f64", location });
        }
        let shape = self.shape(x).to_vec();
        let wrong = |why: &str| Error::Shape {
            op,
            problem: format!(
                "{} by windows {size:?}, stride {stride:?}, padding {padding:?}: {why}",
                axes_text(&shape)
            ),
            location,
        };
        if shape.len() < 2 {
            return Err(wrong("at least two axes are needed"));
        }
        if size.contains(&0) || stride.contains(&0) {
            return Err(wrong("sizes and strides must be positive"));
        }
        let (lead, image) = shape.split_at(shape.len() - 2);
        let mut results = [0; 2];
        for k in 0..2 {
            if padding[k] > size[k] / 2 {
                return Err(wrong("margins of more than half the window"));
            }
            let padded = padding[k].checked_mul(2).and_then(|margins| margins.checked_add(image[k]));
            let Some(padded) = padded else {
                return Err(wrong("the padding is larger than can be addressed"));
            };
            let Some(rest) = padded.checked_sub(size[k]) else {
                return Err(wrong("windows are larger than the padded images"));
            };
            results[k] = rest / stride[k] + 1;
        }
        let with = |last: &[usize]| [lead, last].concat();
        let zeros = vec![0; lead.len()];
        let from = |first: [usize; 2]| [zeros.as_slice(), &first].concat();
        if size == stride && padding == [0, 0] {
            let used = self.slice(x, &from([0, 0]), &with(&[results[0] * size[0], results[1] * size[1]]))?;
            let split = self.reshape(used, &with(&[results[0], size[0], results[1], size[1]]))?;
            let axes = [lead.len() + 1, lead.len() + 3];
            let reduced = reduce(self, split, &axes)?;
            return self.reshape(reduced, &with(&results));
        }
        // Room for every window, and for whole strides from its first element on.
        let room = [0, 1]
            .map(|k| (image[k] + padding[k]).max(results[k].saturating_mul(stride[k]).saturating_add(size[k] - 1)));
        let padded = self.pad(x, &from(padding), &with(&room))?;
        let padded = if margin == 0.0 {
            padded
        } else {
            let ones = self.constant(1.0, image, dtype);
            let inside = self.pad(ones, &padding, &room)?;
            let inside = self.broadcast_to(inside, &with(&room))?;
            let outside = self.constant(margin, &with(&room), dtype);
            self.select(inside, padded, outside)?
        };
        let mut pooled: Option<Var> = None;
        for (u, v) in (0..size[0]).flat_map(|u| (0..size[1]).map(move |v| (u, v))) {
            let strided = [results[0] * stride[0], results[1] * stride[1]];
            let part = self.slice(padded, &from([u, v]), &with(&strided))?;
            let part = self.reshape(part, &with(&[results[0], stride[0], results[1], stride[1]]))?;
            let start = vec![0; lead.len() + 4];
            let part = self.slice(part, &start, &with(&[results[0], 1, results[1], 1]))?;
            let part = self.reshape(part, &with(&results))?;
            pooled = Some(match pooled {
                Some(before) => combine(self, before, part)?,
                None => part,
            });
        }
        pooled.ok_or_else(|| wrong("windows are empty"))
    }
}
