//! How much of a card's memory a job takes.

use autograd::{Device, Machine, Result};

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
        let machine = Machine::on(device)?;
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
