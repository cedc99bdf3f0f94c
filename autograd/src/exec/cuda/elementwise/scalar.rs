//! Scalar instructions as text.

use super::body::Body;
use super::text::Text;
use crate::DType;
use crate::op::{Binary, Unary};
use crate::plan::step::{Instruction, Operand, Reduction};

/// The kernels' name of an element type.
pub(super) const fn name_of(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::U32 => "u32",
    }
}

/// Rough number of machine instructions that a loop's code takes at each point.
pub(super) fn weight(body: &Body) -> usize {
    let times = if body.dtype == DType::F64 { 3 } else { 1 };
    let weight = |instruction: &Instruction| match instruction {
        Instruction::Unary(f, _) => match f {
            Unary::Neg | Unary::Square | Unary::Abs | Unary::Sign | Unary::Relu | Unary::Step => 1,
            Unary::Sqrt | Unary::Reciprocal => 10 * times,
            Unary::Exp | Unary::Ln => 12 * times,
            Unary::Expm1 | Unary::Log1p | Unary::Tanh | Unary::Sigmoid | Unary::Elu => 25 * times,
            Unary::Softplus => 40 * times,
            Unary::Sin | Unary::Cos => 80 * times,
        },
        Instruction::Binary(Binary::Div, ..) => 10 * times,
        Instruction::Binary(..) | Instruction::Select(..) => 2,
    };
    body.code.iter().map(weight).sum()
}

impl Text<'_> {
    /// An operand's name: `x..` are the loads of a point, `r..` the results of instructions.
    pub(super) fn operand(&mut self, operand: Operand) -> String {
        match operand {
            Operand::Load(load) => format!("x{load}"),
            Operand::Register(register) => format!("r{register}"),
            Operand::Constant(bits) => self.constant(f64::from_bits(bits)),
        }
    }

    /// A number of the loop's type.
    fn constant(&mut self, value: f64) -> String {
        match self.body.dtype {
            DType::U32 => format!("{}u", value as u32),
            DType::F32 if !(value as f32).is_finite() => {
                self.used.insert("float_bits");
                format!("float_bits(0x{:08x}u)", (value as f32).to_bits())
            }
            DType::F64 if !value.is_finite() => {
                self.used.insert("double_bits");
                format!("double_bits(0x{:016x}ull)", value.to_bits())
            }
            DType::F32 => format!("({:?}f)", value as f32),
            DType::F64 => format!("({value:?})"),
        }
    }

    /// A call of a device function.
    fn call(&mut self, function: &'static str, arguments: &[&str]) -> String {
        self.used.insert(function);
        format!("math_{function}({})", arguments.join(", "))
    }

    /// The code of a point, once its loads have their names.
    pub(super) fn code(&mut self) {
        let real = name_of(self.body.dtype);
        for (k, instruction) in self.body.code.iter().enumerate() {
            let expression = match *instruction {
                Instruction::Unary(f, a) => {
                    let a = self.operand(a);
                    self.unary(f, &a)
                }
                Instruction::Binary(f, a, b) => {
                    let (a, b) = (self.operand(a), self.operand(b));
                    self.binary(f, &a, &b)
                }
                Instruction::Select(mask, a, b) => {
                    let (mask, a, b) = (self.operand(mask), self.operand(a), self.operand(b));
                    format!("{mask} != ({real})0 ? {a} : {b}")
                }
            };
            self.line(&format!("const {real} r{k} = {expression};"));
        }
    }

    fn unary(&mut self, f: Unary, a: &str) -> String {
        let function = match f {
            Unary::Neg => return format!("-{a}"),
            Unary::Reciprocal => return format!("({})1 / {a}", name_of(self.body.dtype)),
            Unary::Square => return self.call("mul", &[a, a]),
            Unary::Exp => "exp",
            Unary::Expm1 => "expm1",
            Unary::Ln => "ln",
            Unary::Log1p => "log1p",
            Unary::Sqrt => "sqrt",
            Unary::Tanh => "tanh",
            Unary::Sigmoid => "sigmoid",
            Unary::Softplus => "softplus",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Relu => "relu",
            Unary::Step => "step",
            Unary::Elu => "elu",
        };
        self.call(function, &[a])
    }

    fn binary(&mut self, f: Binary, a: &str, b: &str) -> String {
        let real = name_of(self.body.dtype);
        match f {
            Binary::Add => self.call("add", &[a, b]),
            Binary::Sub => self.call("sub", &[a, b]),
            Binary::Mul => self.call("mul", &[a, b]),
            Binary::Div => self.call("div", &[a, b]),
            Binary::Max => self.call("max", &[a, b]),
            Binary::Min => self.call("min", &[a, b]),
            Binary::Greater => format!("({real})({a} > {b})"),
            Binary::GreaterEqual => format!("({real})({a} >= {b})"),
            Binary::Equal => format!("({real})({a} == {b})"),
        }
    }

    /// Two values combined.
    pub(super) fn combined(&mut self, reduction: Reduction, a: &str, b: &str) -> String {
        match reduction {
            Reduction::Sum => self.call("add", &[a, b]),
            Reduction::Max => self.call("max", &[a, b]),
        }
    }

    /// What combines with any value to that value.
    pub(super) fn neutral(&mut self, reduction: Reduction) -> String {
        match reduction {
            Reduction::Sum => self.constant(0.0),
            Reduction::Max => self.constant(f64::NEG_INFINITY),
        }
    }
}
