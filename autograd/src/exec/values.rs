//! Values of variables: into a machine, out of it, and from one variable to another.

use super::memory::Storage;
use super::{Held, Machine};
use crate::{DType, Error, Result, Var};

/// Rust types of tensor elements: `f32`, `f64` and `u32`.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The type's run-time tag.
    const DTYPE: DType;
}

mod sealed {
    /// Only types whose every bit pattern is a value may be elements.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

impl Machine {
    /// Gives a variable its values, in row-major order.
    ///
    /// A plan mentions only what its outputs and updates need: [`Plan::inputs`](crate::Plan::inputs), asked before the plan is loaded, says what it
    /// reads.
    ///
    /// # Errors
    /// [`Error::Unbound`] if no loaded plan mentions the variable, [`Error::Buffer`] if type or length do not fit.
    pub fn write<T: Element>(&mut self, var: Var, values: &[T]) -> Result<()> {
        let position = self.position(var)?;
        let held = &mut self.held[position];
        if held.dtype != T::DTYPE || held.elements != values.len() {
            return Err(Error::Buffer {
                name: held.name.clone(),
                problem: format!(
                    "{} elements of {} were given for {} of {}",
                    values.len(),
                    T::DTYPE,
                    held.elements,
                    held.dtype
                ),
            });
        }
        match (&held.storage, self.processor.device()) {
            (Storage::Device(memory), Some(device)) => {
                held.mirror.forget();
                // SAFETY: the memory holds as many bytes, and elements have no padding.
                unsafe {
                    let bytes = std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values));
                    device.write(memory.address(), bytes)?;
                }
            }
            (storage, _) => {
                // SAFETY: the block holds `elements` elements of this type, and `&mut self` keeps everyone else out.
                unsafe { std::slice::from_raw_parts_mut(storage.pointer().cast::<T>(), values.len()) }
                    .copy_from_slice(values);
            }
        }
        held.written = true;
        Ok(())
    }

    /// Copies `count` elements of a variable, from its `start`-th on in row-major order, to the `to_start`-th and following ones of another.
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let (rows, row) = (tape.input(&[2, 3], DType::F64), tape.input(&[3], DType::F64));
    /// let sum = tape.sum_all(row)?;
    /// let mut machine = Machine::cpu(1)?;
    /// machine.load(Plan::new(&tape, &Request::outputs(&[rows]))?)?;
    /// let plan = machine.load(Plan::new(&tape, &Request::outputs(&[sum]))?)?;
    /// machine.write(rows, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// machine.copy(rows, 3, row, 0, 3)?;
    /// machine.run(plan)?;
    /// assert_eq!(machine.read_scalar(sum)?, 15.0);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unbound`] if no loaded plan mentions one of the variables or the first was never given values; [`Error::Buffer`] for elements that
    /// one of them does not have, for two element types, and for a copy of a variable to itself.
    pub fn copy(&mut self, from: Var, start: usize, to: Var, to_start: usize, count: usize) -> Result<()> {
        let (source, target) = (self.position(from)?, self.position(to)?);
        let wrong = |held: &Held, problem: String| Err(Error::Buffer { name: held.name.clone(), problem });
        if source == target {
            return wrong(&self.held[source], "a copy needs two variables".into());
        }
        for (position, first) in [(source, start), (target, to_start)] {
            let held = &self.held[position];
            if first.checked_add(count).is_none_or(|end| end > held.elements) {
                return wrong(
                    held,
                    format!("{count} elements from {first} on were asked for, it has {}", held.elements),
                );
            }
        }
        let (source, target) = (&self.held[source], &self.held[target]);
        if source.dtype != target.dtype {
            return wrong(
                target,
                format!("is of {}, elements of {} were to be copied to it", target.dtype, source.dtype),
            );
        }
        if !source.written {
            return Err(Error::Unbound {
                name: source.name.clone(),
                problem: "it was never given values; write it first",
            });
        }
        let size = source.dtype.size();
        let from = source.storage.pointer().wrapping_add(start * size);
        let into = target.storage.pointer().wrapping_add(to_start * size);
        match self.processor.device() {
            // SAFETY: both ranges lie within their blocks, which are two and nobody else's while `&mut self` lasts.
            None => unsafe { std::ptr::copy_nonoverlapping(from, into, count * size) },
            // SAFETY: as above, on the device.
            Some(device) => unsafe { device.copy(from as u64, into as u64, count * size)? },
        }
        let target = self.position(to)?;
        self.held[target].written = true;
        self.held[target].mirror.forget();
        Ok(())
    }

    /// The values of a variable, in row-major order.
    ///
    /// # Errors
    /// [`Error::Unbound`] if no loaded plan mentions the variable or it was never given values, [`Error::Buffer`] if the type does not fit;
    /// with a card [`Error::OutOfMemory`] where there is no room for the values here, and [`Error::Device`].
    pub fn read<T: Element>(&self, var: Var) -> Result<&[T]> {
        let held = &self.held[self.position(var)?];
        if held.dtype != T::DTYPE {
            return Err(Error::Buffer {
                name: held.name.clone(),
                problem: format!("read as {}, but its elements are {}", T::DTYPE, held.dtype),
            });
        }
        if !held.written {
            return Err(Error::Unbound {
                name: held.name.clone(),
                problem: "it has no values yet; run the plan first",
            });
        }
        let pointer = match (&held.storage, self.processor.device()) {
            (Storage::Device(memory), Some(device)) => held.mirror.get(device, memory)?.pointer(),
            (storage, _) => storage.pointer(),
        };
        // SAFETY: the block holds `elements` initialised elements of this type; what changes them needs `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(pointer.cast::<T>(), held.elements) })
    }

    /// The values of a variable of any type as `f64`.
    ///
    /// # Errors
    /// [`Error::Unbound`] as in [`Machine::read`].
    pub fn read_f64(&self, var: Var) -> Result<Vec<f64>> {
        Ok(match self.held[self.position(var)?].dtype {
            DType::F32 => self.read::<f32>(var)?.iter().map(|&x| f64::from(x)).collect(),
            DType::F64 => self.read::<f64>(var)?.to_vec(),
            DType::U32 => self.read::<u32>(var)?.iter().map(|&x| f64::from(x)).collect(),
        })
    }

    /// Gives a variable of any type its values from `f64`, rounded to the type (towards zero and saturating for integers).
    ///
    /// # Errors
    /// As for [`Machine::write`], types excepted.
    pub fn write_f64(&mut self, var: Var, values: &[f64]) -> Result<()> {
        match self.held[self.position(var)?].dtype {
            DType::F32 => self.write(var, &values.iter().map(|&x| x as f32).collect::<Vec<_>>()),
            DType::F64 => self.write(var, values),
            DType::U32 => self.write(var, &values.iter().map(|&x| x as u32).collect::<Vec<_>>()),
        }
    }

    /// The value of a variable of one element, of any type, as `f64`; nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the variable has more elements than one, or none; [`Error::Unbound`] as in [`Machine::read`].
    pub fn read_scalar(&self, var: Var) -> Result<f64> {
        Ok(match self.held[self.scalar_position(var)?].dtype {
            DType::F32 => f64::from(self.read::<f32>(var)?[0]),
            DType::F64 => self.read::<f64>(var)?[0],
            DType::U32 => f64::from(self.read::<u32>(var)?[0]),
        })
    }

    /// Gives a variable of one element, of any type, its value, rounded to the type as [`Machine::write_f64`] does; nothing is allocated.
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let rate = tape.input(&[], DType::F32);
    /// let half = tape.scale(rate, 0.5)?;
    /// let plan = Plan::new(&tape, &Request::outputs(&[half]))?;
    /// let mut machine = Machine::cpu(1)?;
    /// let plan = machine.load(plan)?;
    /// machine.write_scalar(rate, 3.0)?;
    /// machine.run(plan)?;
    /// assert_eq!(machine.read_scalar(half)?, 1.5);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Buffer`] if the variable has more elements than one, or none; [`Error::Unbound`] if no loaded plan mentions it.
    pub fn write_scalar(&mut self, var: Var, value: f64) -> Result<()> {
        match self.held[self.scalar_position(var)?].dtype {
            DType::F32 => self.write(var, &[value as f32]),
            DType::F64 => self.write(var, &[value]),
            DType::U32 => self.write(var, &[value as u32]),
        }
    }

    /// Position of a variable that has one element.
    fn scalar_position(&self, var: Var) -> Result<usize> {
        let position = self.position(var)?;
        match self.held[position].elements {
            1 => Ok(position),
            elements => Err(Error::Buffer {
                name: self.held[position].name.clone(),
                problem: format!("used as one number, but it has {elements} elements"),
            }),
        }
    }
}
