//! Plans made by hand, and numbers to run them on.

use crate::exec::Machine;
use crate::plan::step::{Action, Buffer, BufferId, Place, Step, View};
use crate::{DType, Device, Result, Tape, Var};
use std::panic::Location;

/// The device that the tests run on in the place of the processor: the variable `LIVI_TEST_DEVICE`.
fn device() -> Option<String> {
    std::env::var("LIVI_TEST_DEVICE").ok()
}

/// A machine on the device that the variable `LIVI_TEST_DEVICE` names, else on the processor with so many threads.
pub(super) fn machine_with(threads: usize) -> Result<Machine> {
    match device() {
        Some(device) => Machine::on(device.parse()?),
        None => Machine::cpu(threads),
    }
}

/// What a buffer holds after a run.
struct Expected {
    buffer: BufferId,
    values: Vec<f64>,
    tolerance: f64,
    what: String,
}

/// A hand-made plan whose buffers are all persistent.
pub(super) struct Bench {
    tape: Tape,
    pub(super) buffers: Vec<Buffer>,
    pub(super) vars: Vec<Var>,
    pub(super) steps: Vec<Step>,
    inputs: Vec<(Var, Vec<f64>)>,
    expected: Vec<Expected>,
    tf32: bool,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            tape: Tape::new(),
            buffers: Vec::new(),
            vars: Vec::new(),
            steps: Vec::new(),
            inputs: Vec::new(),
            expected: Vec::new(),
            tf32: false,
        }
    }

    /// Runs on the first card, or the one that the tests run on, with products in TF32.
    pub(super) fn in_tf32(&mut self) {
        self.tf32 = true;
    }

    /// A buffer without values.
    pub(super) fn output(&mut self, elements: usize, dtype: DType) -> BufferId {
        let var = self.tape.input(&[elements], dtype);
        self.buffers.push(Buffer { dtype, elements, place: Place::Persistent(var) });
        self.vars.push(var);
        BufferId(self.buffers.len() - 1)
    }

    /// A buffer with values.
    pub(super) fn input(&mut self, values: Vec<f64>, dtype: DType) -> BufferId {
        let id = self.output(values.len(), dtype);
        self.inputs.push((self.vars[id.0], values));
        id
    }

    pub(super) fn step(&mut self, action: Action) {
        self.steps.push(step(action));
    }

    /// A machine that ran the steps.
    pub(super) fn machine(&self, threads: usize) -> Result<Machine> {
        self.spread(threads, 0.0)
    }

    /// A machine that ran the steps, spread over its threads from so much work on.
    fn spread(&self, threads: usize, from: f64) -> Result<Machine> {
        let mut machine = match device().map(|device| device.parse()) {
            Some(Ok(Device::Cuda { ordinal, .. })) if self.tf32 => Machine::on(Device::Cuda { ordinal, tf32: true })?,
            None if self.tf32 => Machine::on(Device::Cuda { ordinal: 0, tf32: true })?,
            _ => machine_with(threads)?,
        };
        machine.spread_from(from);
        let inputs: Vec<Var> = self.inputs.iter().map(|(var, _)| *var).collect();
        let plan = machine.load_steps(self.steps.clone(), self.buffers.clone(), &inputs)?;
        for (var, values) in &self.inputs {
            machine.write_f64(*var, values)?;
        }
        machine.set_noise(42, 7);
        machine.run(plan)?;
        Ok(machine)
    }

    /// The values of a buffer after a run on one thread, proven to be the same bits when spread over two and three and when two are not used; on a
    /// device, when run again.
    pub(super) fn values(&self, id: BufferId) -> Vec<f64> {
        self.values_of(&[id]).remove(0)
    }

    /// [`Bench::values`] of some buffers.
    pub(super) fn values_of(&self, ids: &[BufferId]) -> Vec<Vec<f64>> {
        let read = |machine: Machine| -> Vec<Vec<f64>> {
            ids.iter().map(|id| machine.read_f64(self.vars[id.0]).unwrap()).collect()
        };
        let all = read(self.machine(1).unwrap());
        let others: &[(usize, f64)] =
            if device().is_some() { &[(1, 0.0)] } else { &[(2, 0.0), (3, 0.0), (2, f64::INFINITY)] };
        for &(threads, from) in others {
            for ((id, values), other) in ids.iter().zip(&all).zip(read(self.spread(threads, from).unwrap())) {
                for (i, (a, b)) in values.iter().zip(&other).enumerate() {
                    let what = format!("element {i} of buffer {}, {threads} threads, spread from {from}", id.0);
                    assert_eq!(a.to_bits(), b.to_bits(), "{what}, differs from a run on one thread");
                }
            }
        }
        all
    }

    /// Says what a buffer holds after a run, to a tolerance as for [`assert_close`].
    pub(super) fn expect(&mut self, buffer: BufferId, values: Vec<f64>, tolerance: f64, what: String) {
        self.expected.push(Expected { buffer, values, tolerance, what });
    }

    /// Checks all that is expected. One plan of many steps is one call of a device's compiler.
    #[track_caller]
    pub(super) fn check(&self) {
        let buffers: Vec<BufferId> = self.expected.iter().map(|expected| expected.buffer).collect();
        for (found, Expected { values, tolerance, what, .. }) in self.values_of(&buffers).iter().zip(&self.expected) {
            assert_close(found, values, *tolerance, what);
        }
    }
}

pub(super) fn step(action: Action) -> Step {
    Step { action, op: "test", location: Location::caller(), flops: 0.0, bytes: 0.0 }
}

/// A contiguous view of a whole buffer.
pub(super) fn dense(buffer: BufferId, shape: &[usize], dtype: DType) -> View {
    View { buffer, offset: 0, shape: shape.to_vec(), strides: strides(shape), dtype }
}

pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k];
    }
    strides
}

/// The view with axes in another order.
pub(super) fn permuted(view: &View, axes: &[usize]) -> View {
    View {
        shape: axes.iter().map(|&k| view.shape[k]).collect(),
        strides: axes.iter().map(|&k| view.strides[k]).collect(),
        ..view.clone()
    }
}

/// Position of a point in a view's buffer.
pub(super) fn place(view: &View, index: &[usize]) -> usize {
    view.offset + index.iter().zip(&view.strides).map(|(i, s)| i * s).sum::<usize>()
}

/// All points of a shape, row-major.
pub(super) fn points(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let count: usize = shape.iter().product();
    (0..count).map(|mut flat| {
        let mut index = vec![0; shape.len()];
        for k in (0..shape.len()).rev() {
            index[k] = flat % shape[k];
            flat /= shape[k];
        }
        index
    })
}

/// A small generator for test data (Marsaglia's xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % bound as u64) as usize
    }

    /// Uniform on [-1, 1), exactly representable in single precision.
    pub(super) fn real(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0
    }

    pub(super) fn reals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.real()).collect()
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// An error unless all values agree to `tolerance` relative to the larger of 1 and the expected value.
#[track_caller]
pub(super) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * e.abs().max(1.0), "{what}: element {i}: {f} where {e} is right");
    }
}
