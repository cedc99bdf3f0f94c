//! How much of a card's memory a job takes.

use autograd::{DType, Device, Machine, Plan, Request, Result, Tape};

/// A look at what is free on a card. It keeps a machine there from beginning to end, so that what every program needs once counts for no job.
#[derive(Debug)]
pub struct Gauge {
    machine: Machine,
    free: Option<usize>,
}

impl Gauge {
    /// Begins counting.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(device: Device) -> Result<Self> {
        let mut machine = Machine::on(device)?;
        if matches!(device, Device::Cuda { tf32: true, .. }) {
            convolve(&mut machine)?;
        }
        let free = machine.memory_free()?;
        Ok(Self { machine, free })
    }

    /// Begins counting anew.
    ///
    /// # Errors
    /// Those of the device.
    pub fn reset(&mut self) -> Result<()> {
        self.free = self.machine.memory_free()?;
        Ok(())
    }

    /// Bytes taken since, by anybody, for memory of plans, kernels and libraries; `None` on a processor.
    ///
    /// # Errors
    /// Those of the device.
    pub fn taken(&self) -> Result<Option<usize>> {
        let now = self.machine.memory_free()?;
        Ok(self.free.zip(now).map(|(before, now)| before.saturating_sub(now)))
    }
}

/// A convolution that is large enough for cuDNN, which makes ready what it needs in all programs.
fn convolve(machine: &mut Machine) -> Result<()> {
    let mut tape = Tape::new();
    let (x, w) =
        (tape.named_input("x", &[64, 64, 32, 32], DType::F32), tape.named_input("w", &[64, 64, 3, 3], DType::F32));
    let y = tape.conv2d(x, w, [1, 1], [1, 1])?;
    let plan = machine.load(Plan::new(&tape, &Request::outputs(&[y]))?)?;
    machine.write_f64(x, &vec![0.0; tape.elements(x)])?;
    machine.write_f64(w, &vec![0.0; tape.elements(w)])?;
    machine.run(plan)?;
    machine.read_f64(y).map(drop)
}

/// Bytes that loaded plans take: on a card their scratch memory, which is the device's matter, comes on top of what they announced.
pub fn with_scratch(machine: &Machine, announced: usize) -> usize {
    match machine.device() {
        Device::Cpu { .. } => announced,
        _ => announced + machine.scratch_bytes(),
    }
}
