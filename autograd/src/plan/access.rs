//! What a step reads and writes.

use super::step::{Action, View};
use crate::op::ConvPart;

impl Action {
    /// All views of the action, each with whether it is written. An accumulating product's result is listed twice.
    pub fn views(&self) -> Vec<(&View, bool)> {
        match self {
            Self::Loop(l) => {
                let stores = l.stores.iter().map(|s| (&s.to, true));
                l.loads.iter().map(|v| (v, false)).chain(stores).collect()
            }
            Self::Product(p) => {
                let mut views = vec![(&p.a, false), (&p.b, false)];
                if p.accumulate {
                    views.push((&p.out, false));
                }
                views.push((&p.out, true));
                if let Some(epilogue) = &p.epilogue {
                    views.extend(epilogue.loads.iter().map(|v| (v, false)));
                    views.extend(epilogue.stores.iter().map(|(_, v)| (v, true)));
                }
                views
            }
            Self::Convolution(c) => {
                let part = c.conv.part;
                [(&c.images, ConvPart::Input), (&c.filters, ConvPart::Filter), (&c.results, ConvPart::Output)]
                    .map(|(view, own)| (view, own == part))
                    .to_vec()
            }
            Self::Cholesky { a, factor } => vec![(a, false), (factor, true)],
            Self::SolveFactor { factor, b, out } => vec![(factor, false), (b, false), (out, true)],
            Self::InverseFactor { factor, out } | Self::LogDetFactor { factor, out } => {
                vec![(factor, false), (out, true)]
            }
            Self::Gather { x, index, out } | Self::ScatterAdd { u: x, index, out } => {
                vec![(x, false), (index, false), (out, true)]
            }
            Self::OneHot { index, out } | Self::IndexOffset { index, out, .. } => vec![(index, false), (out, true)],
            Self::Identity { out } | Self::Noise { out, .. } => vec![(out, true)],
        }
    }

    /// Changes every view; `None` from the function leaves the rest unchanged and is handed on.
    pub(super) fn try_map(&mut self, mut f: impl FnMut(&View) -> Option<View>) -> Option<()> {
        let mut apply = |view: &mut View| f(view).map(|new| *view = new);
        match self {
            Self::Loop(l) => {
                l.loads.iter_mut().try_for_each(&mut apply)?;
                l.stores.iter_mut().try_for_each(|s| apply(&mut s.to))
            }
            Self::Product(p) => {
                [&mut p.a, &mut p.b, &mut p.out].into_iter().try_for_each(&mut apply)?;
                let Some(epilogue) = &mut p.epilogue else { return Some(()) };
                epilogue.loads.iter_mut().try_for_each(&mut apply)?;
                epilogue.stores.iter_mut().try_for_each(|(_, view)| apply(view))
            }
            Self::Convolution(c) => [&mut c.images, &mut c.filters, &mut c.results].into_iter().try_for_each(apply),
            Self::Cholesky { a, factor } => [a, factor].into_iter().try_for_each(apply),
            Self::SolveFactor { factor, b, out } => [factor, b, out].into_iter().try_for_each(apply),
            Self::InverseFactor { factor, out } | Self::LogDetFactor { factor, out } => {
                [factor, out].into_iter().try_for_each(apply)
            }
            Self::Gather { x, index, out } | Self::ScatterAdd { u: x, index, out } => {
                [x, index, out].into_iter().try_for_each(apply)
            }
            Self::OneHot { index, out } | Self::IndexOffset { index, out, .. } => {
                [index, out].into_iter().try_for_each(apply)
            }
            Self::Identity { out } | Self::Noise { out, .. } => apply(out),
        }
    }

    /// Whether results may be written with any strides.
    pub(super) fn writes_strided(&self) -> bool {
        matches!(self, Self::Loop(_) | Self::Product(_))
    }

    /// Floating-point operations, counting a multiply-add as two and any scalar function as one.
    pub(super) fn flops(&self) -> f64 {
        let cube = |view: &View| view.shape[0] as f64 * (view.shape[1] as f64).powi(3);
        match self {
            Self::Loop(l) => {
                let reductions = l.stores.iter().filter(|s| s.reduction.is_some()).count();
                l.shape.iter().product::<usize>() as f64 * (l.code.len() + reductions) as f64
            }
            Self::Product(p) => {
                let code = p.epilogue.as_ref().map_or(0, |e| e.code.len());
                p.out.points() as f64 * (2 * p.a.shape[2] + code) as f64
            }
            Self::Convolution(c) => {
                2.0 * c.results.points() as f64 * c.filters.shape[2..].iter().product::<usize>() as f64
            }
            Self::Cholesky { a, .. } => cube(a) / 3.0,
            Self::SolveFactor { factor, out, .. } => 2.0 * factor.shape[1] as f64 * out.points() as f64,
            Self::InverseFactor { factor, .. } => 2.0 / 3.0 * cube(factor),
            Self::LogDetFactor { out, factor } => (out.points() * factor.shape[1]) as f64,
            Self::ScatterAdd { u, .. } => u.points() as f64,
            Self::Gather { .. }
            | Self::OneHot { .. }
            | Self::IndexOffset { .. }
            | Self::Identity { .. }
            | Self::Noise { .. } => 0.0,
        }
    }

    /// Bytes read and bytes written, each operand once; a gather reads what it picks.
    pub(super) fn bytes(&self) -> [f64; 2] {
        let mut counted: Vec<(&View, bool)> = Vec::new();
        for entry in self.views() {
            if !counted.contains(&entry) {
                counted.push(entry);
            }
        }
        let mut bytes = [0.0; 2];
        for (view, written) in counted {
            let elements = match self {
                Self::Gather { x, out, .. } if view == x => x.distinct().min(out.points()),
                _ => view.distinct(),
            };
            bytes[usize::from(written)] += (elements * view.dtype.size()) as f64;
        }
        bytes
    }
}
