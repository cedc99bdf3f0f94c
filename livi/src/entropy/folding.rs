//! Small factors in the place of a sampler's last layers.

use crate::Result;
use crate::sampler::{LastLayer, LastWeight, Piece, two_sided};
use autograd::{DType, Machine, Tape, Var};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

/// An input that takes the triangular factor of a last layer's weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    /// Where the factor goes, shape (n, n).
    input: Var,
    /// The weight's parameter, with `parameter_columns` columns.
    parameter: Var,
    parameter_columns: usize,
    /// The part of it that is folded: `rows` rows from this one on, the first `columns` columns.
    first_row: usize,
    rows: usize,
    columns: usize,
    side: Side,
    dtype: DType,
}

/// On which side of the hidden units a weight W is multiplied.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// W X: the factor is R of W = Q R.
    Left,
    /// X W: the factor is R^T of W^T = Q R.
    Right,
    /// X W^T: the factor is R^T of W = Q R.
    RightTransposed,
}

impl Factor {
    fn record(tape: &mut Tape, weight: LastWeight, side: Side) -> Self {
        let LastWeight { value, parameter, first_row } = weight;
        let (rows, columns) = (tape.shape(value)[0], tape.shape(value)[1]);
        let n = match side {
            Side::Left | Side::RightTransposed => columns,
            Side::Right => rows,
        };
        let name = format!("{} folded", tape.name(parameter));
        let dtype = tape.dtype(value);
        let input = tape.named_input(name, &[n, n], dtype);
        let parameter_columns = tape.shape(parameter)[1];
        Self { input, parameter, parameter_columns, first_row, rows, columns, side, dtype }
    }

    /// The weight's parameter.
    pub(super) fn parameter(&self) -> Var {
        self.parameter
    }

    /// Computes the factor from the weight's present value, in f64, and writes it.
    pub(super) fn refresh(&self, machine: &mut Machine) -> Result<()> {
        let values = machine.read_f64(self.parameter)?;
        self.write(machine, &values)
    }

    /// The same for a parameter that the machine does not hold: `values` are those of `parameters`, in the same order.
    pub(super) fn refresh_from(&self, machine: &mut Machine, parameters: &[Var], values: &[Vec<f64>]) -> Result<()> {
        let found = parameters.iter().zip(values).find(|(var, _)| **var == self.parameter);
        found.map_or(Ok(()), |(_, values)| self.write(machine, values))
    }

    fn write(&self, machine: &mut Machine, values: &[f64]) -> Result<()> {
        let columns = self.parameter_columns;
        let parameter = MatRef::from_row_major_slice(values, values.len() / columns, columns);
        let weight = parameter.submatrix(self.first_row, 0, self.rows, self.columns);
        let factor = match self.side {
            Side::Left | Side::RightTransposed => triangular_factor(weight, self.dtype),
            Side::Right => triangular_factor(weight.transpose(), self.dtype),
        };
        let factor = if matches!(self.side, Side::Left) { factor.as_ref() } else { factor.transpose() };
        let n = factor.ncols();
        let flat: Vec<f64> = (0..n * n).map(|i| factor[(i / n, i % n)]).collect();
        Ok(machine.write_f64(self.input, &flat)?)
    }
}

/// The upper triangular R with R^T R = W^T W, for products in `dtype`.
///
/// A Cholesky factor of the Gram matrix takes a fraction of the time of a QR factorisation, but loses singular values below about 1e-8 of the
/// largest: those that products in f32 lose anyway. For f64, and where W^T W is singular, it is the R of W = Q R.
fn triangular_factor(weight: MatRef<'_, f64>, dtype: DType) -> Mat<f64> {
    if dtype == DType::F32 {
        let n = weight.ncols();
        let mut gram = Mat::<f64>::zeros(n, n);
        use BlockStructure::{Rectangular, TriangularLower};
        let (left, lower, par) = (weight.transpose(), gram.as_mut(), Par::rayon(0));
        triangular::matmul(lower, TriangularLower, Accum::Replace, left, Rectangular, weight, Rectangular, 1.0, par);
        if let Ok(found) = gram.llt(faer::Side::Lower) {
            return found.L().transpose().to_owned();
        }
    }
    weight.qr().thin_R().to_owned()
}

/// Records R t for the tangent t of a piece's hidden units, where R^T R = L^T L for its last layer L. Weights that are no larger than their
/// factor stay; the others' factors are appended to `factors`.
pub(super) fn folded_product(tape: &mut Tape, piece: &Piece, tangent: Var, factors: &mut Vec<Factor>) -> Result<Var> {
    let mut fold = |tape: &mut Tape, weight: LastWeight, side: Side| {
        let factor = Factor::record(tape, weight, side);
        factors.push(factor);
        factor.input
    };
    match piece.last {
        LastLayer::Dense { weight } => {
            let right = if tape.shape(weight)[0] > tape.shape(weight)[1] {
                fold(tape, LastWeight::whole(weight), Side::RightTransposed)
            } else {
                tape.transpose(weight)?
            };
            Ok(tape.matmul(tangent, right)?)
        }
        LastLayer::TwoSided { left, right } => {
            let (l, r) = (tape.shape(left.value), tape.shape(right.value));
            let (tall, wide) = (l[0] > l[1], r[1] > r[0]);
            let left = if tall { fold(tape, left, Side::Left) } else { left.value };
            let right = if wide { fold(tape, right, Side::Right) } else { right.value };
            two_sided(tape, left, tangent, right)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tall matrix, and R^T R - W^T W relative to the squared norm.
    fn defect(weight: &Mat<f64>, dtype: DType) -> f64 {
        let factor = triangular_factor(weight.as_ref(), dtype);
        assert_eq!((factor.nrows(), factor.ncols()), (weight.ncols(), weight.ncols()));
        assert!((0..factor.nrows()).all(|i| (0..i).all(|j| factor[(i, j)] == 0.0)), "not upper triangular");
        (factor.transpose() * &factor - weight.transpose() * weight).norm_l2() / weight.squared_norm_l2()
    }

    #[test]
    fn the_factor_has_the_gram_matrix_of_the_weight_in_either_precision() {
        let weight = Mat::from_fn(23, 9, |i, j| ((i * 37 + j * 91) % 101) as f64 / 50.0 - 1.0);
        for dtype in [DType::F32, DType::F64] {
            assert!(defect(&weight, dtype) < 1e-14, "{dtype}");
        }
    }

    #[test]
    fn a_weight_without_full_rank_has_a_factor_too() {
        let weight = Mat::from_fn(7, 4, |i, j| if j == 2 { 0.0 } else { (1 + i * (j + 2) % 5) as f64 });
        for dtype in [DType::F32, DType::F64] {
            assert!(defect(&weight, dtype) < 1e-14, "{dtype}");
        }
    }
}
