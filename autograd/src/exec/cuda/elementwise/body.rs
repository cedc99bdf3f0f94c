//! A loop as kernels are generated from it: checked, every load once and used.

use crate::exec::view::{Site, Window};
use crate::plan::step::{Instruction, Operand, Reduction};
use crate::{DType, Result};

/// A result of a loop.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) value: Operand,
    pub(super) window: Window,
    /// `None` also where no axis is combined.
    pub(super) reduction: Option<Reduction>,
}

/// A checked loop. Views are numbered: first the loads, then the stores.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// Type computed in.
    pub(super) dtype: DType,
    /// Iteration space.
    pub(super) shape: Vec<usize>,
    /// For each axis, whether the reduced stores combine its points.
    pub(super) reduced: Vec<bool>,
    pub(super) loads: Vec<Window>,
    pub(super) code: Vec<Instruction>,
    pub(super) stores: Vec<Store>,
    /// Whether a store may share memory with a load or another store. Then it does so point by point: whatever a point needs must be loaded before
    /// anything is stored for it, and that is all.
    pub(super) shares: bool,
}

impl Body {
    /// Checks a loop over checked windows.
    pub(super) fn new(
        site: &Site<'_>,
        dtype: DType,
        shape: &[usize],
        loads: &[Window],
        code: &[Instruction],
        stores: &[(Operand, Window, Option<Reduction>)],
    ) -> Result<Self> {
        let stores = stores.iter().map(|(value, window, reduction)| Store {
            value: *value,
            window: window.clone(),
            reduction: *reduction,
        });
        let mut body = Self {
            dtype,
            shape: shape.to_vec(),
            reduced: Vec::new(),
            loads: loads.to_vec(),
            code: code.to_vec(),
            stores: stores.collect(),
            shares: false,
        };
        body.check_code(site)?;
        body.reduced = body.reduced_axes(site)?;
        if !body.reduced.contains(&true) {
            body.stores.iter_mut().for_each(|store| store.reduction = None);
        }
        body.keep_used_loads();
        body.shares = body.stores.iter().enumerate().any(|(k, store)| {
            let others = body.stores[..k].iter().map(|other| &other.window);
            body.loads.iter().chain(others).any(|other| store.window.overlaps(other))
        });
        Ok(body)
    }

    /// All views, in the order of their numbers.
    pub(super) fn views(&self) -> impl Iterator<Item = &Window> {
        self.loads.iter().chain(self.stores.iter().map(|store| &store.window))
    }

    /// Points of the iteration space.
    pub(super) fn points(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a reduction is among the stores.
    pub(super) fn combines(&self) -> bool {
        self.reduced.contains(&true)
    }

    /// The view's number of a store.
    pub(super) fn view_of_store(&self, store: usize) -> usize {
        self.loads.len() + store
    }

    /// Numbers of the stores that combine, or of those that do not.
    pub(super) fn stores_that(&self, combine: bool) -> impl Iterator<Item = usize> {
        (0..self.stores.len()).filter(move |&k| self.stores[k].reduction.is_some() == combine)
    }

    /// An error unless operands exist before they are used and the functions fit the type.
    fn check_code(&self, site: &Site<'_>) -> Result<()> {
        let known = |operand: Operand, registers: usize| match operand {
            Operand::Load(load) => (load as usize) < self.loads.len(),
            Operand::Register(register) => (register as usize) < registers,
            Operand::Constant(_) => true,
        };
        for (k, instruction) in self.code.iter().enumerate() {
            if let Instruction::Unary(f, _) = instruction
                && self.dtype == DType::U32
            {
                return Err(site.error(format!("{} of integers in a loop", f.name())));
            }
            if !operands(instruction).all(|operand| known(operand, k)) {
                return Err(site.error(format!("instruction {k} of a loop uses a value that is not there yet")));
            }
        }
        if self.stores.iter().all(|store| known(store.value, self.code.len())) {
            Ok(())
        } else {
            Err(site.error("a loop stores a value that it does not have".into()))
        }
    }

    /// Which axes the reduced stores combine; an error if they disagree.
    fn reduced_axes(&self, site: &Site<'_>) -> Result<Vec<bool>> {
        let mut result: Option<Vec<bool>> = None;
        for store in self.stores.iter().filter(|store| store.reduction.is_some()) {
            let axes: Vec<bool> =
                (0..self.shape.len()).map(|k| self.shape[k] > 1 && store.window.strides[k] == 0).collect();
            if result.as_ref().is_some_and(|known| *known != axes) {
                return Err(site.error("reduced stores of one loop combine different axes".into()));
            }
            result = Some(axes);
        }
        Ok(result.unwrap_or_else(|| vec![false; self.shape.len()]))
    }

    /// Drops instructions and loads that no store needs, and all but one of loads that show the same elements.
    fn keep_used_loads(&mut self) {
        let mut needed = vec![false; self.code.len()];
        let mut used = vec![false; self.loads.len()];
        let mut need = |operand: Operand, needed: &mut Vec<bool>| match operand {
            Operand::Load(load) => used[load as usize] = true,
            Operand::Register(register) => needed[register as usize] = true,
            Operand::Constant(_) => {}
        };
        self.stores.iter().for_each(|store| need(store.value, &mut needed));
        for k in (0..self.code.len()).rev().filter(|&k| k < self.code.len()) {
            if needed[k] {
                operands(&self.code[k]).for_each(|operand| need(operand, &mut needed));
            }
        }
        let mut kept: Vec<Window> = Vec::with_capacity(self.loads.len());
        let mut load_numbers = vec![0; self.loads.len()];
        for (k, window) in self.loads.iter().enumerate().filter(|(k, _)| used[*k]) {
            load_numbers[k] = kept.iter().position(|known| known.same(window)).unwrap_or_else(|| {
                kept.push(window.clone());
                kept.len() - 1
            }) as u32;
        }
        let mut register_numbers = vec![0; self.code.len()];
        let mut code = Vec::with_capacity(self.code.len());
        let renumbered = |operand: Operand, registers: &[u32]| match operand {
            Operand::Load(load) => Operand::Load(load_numbers[load as usize]),
            Operand::Register(register) => Operand::Register(registers[register as usize]),
            constant => constant,
        };
        for (k, instruction) in self.code.iter().enumerate().filter(|(k, _)| needed[*k]) {
            register_numbers[k] = code.len() as u32;
            let number = |operand| renumbered(operand, &register_numbers);
            code.push(match *instruction {
                Instruction::Unary(f, a) => Instruction::Unary(f, number(a)),
                Instruction::Binary(f, a, b) => Instruction::Binary(f, number(a), number(b)),
                Instruction::Select(a, b, c) => Instruction::Select(number(a), number(b), number(c)),
            });
        }
        self.stores.iter_mut().for_each(|store| store.value = renumbered(store.value, &register_numbers));
        (self.loads, self.code) = (kept, code);
    }
}

/// What an instruction works on.
fn operands(instruction: &Instruction) -> impl Iterator<Item = Operand> {
    let operands = match *instruction {
        Instruction::Unary(_, a) => [Some(a), None, None],
        Instruction::Binary(_, a, b) => [Some(a), Some(b), None],
        Instruction::Select(a, b, c) => [Some(a), Some(b), Some(c)],
    };
    operands.into_iter().flatten()
}
