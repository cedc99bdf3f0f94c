//! How a step gets its rows: by their numbers out of a table that lies in the machine, or as a batch of images made ahead of time.

use super::program::Program;
use crate::Result;
use crate::data::images::stream::BatchStream;
use crate::data::{Batches, Training, TrainingImages};
use autograd::{DType, Machine};

/// The rows of each step.
pub(super) enum Feed {
    /// Numbers of rows; none are written for full batches.
    Rows { batches: Batches, index: Vec<u32> },
    /// Batches of images.
    Images(Box<ImageFeed>),
}

/// Batches of images as the program takes them.
pub(super) struct ImageFeed {
    part: TrainingImages,
    batch: usize,
    classes: usize,
    seed: u64,
    /// The stream and the step that it gives next.
    stream: Option<(BatchStream, u64)>,
    /// Indicator vectors of the classes, batch x classes.
    targets: Vec<f32>,
}

impl Feed {
    pub(super) fn new(training: &Training, batch: usize, classes: usize) -> Self {
        match training {
            Training::Table(table) => {
                Self::Rows { batches: Batches::new(table.rows, batch, 0), index: Vec::with_capacity(batch) }
            }
            Training::Images(part) => Self::Images(Box::new(ImageFeed {
                part: part.clone(),
                batch,
                classes,
                seed: 0,
                stream: None,
                targets: vec![0.0; batch * classes],
            })),
        }
    }

    /// Starts anew with a seed.
    pub(super) fn begin(&mut self, seed: u64) {
        match self {
            Self::Rows { batches, .. } => batches.reseed(seed),
            Self::Images(feed) => {
                feed.seed = seed;
                feed.stream = None;
            }
        }
    }

    /// Writes the rows of a step (0, 1, ...) to the machine. Steps may be asked for in any order; one after another is quick.
    pub(super) fn write(&mut self, step: u64, program: &Program, machine: &mut Machine) -> Result<()> {
        match self {
            Self::Rows { batches, index } => {
                if let Some(var) = program.index {
                    batches.fill(step, index);
                    machine.write(var, index)?;
                }
                Ok(())
            }
            Self::Images(feed) => feed.write(step, program, machine),
        }
    }
}

impl ImageFeed {
    fn write(&mut self, step: u64, program: &Program, machine: &mut Machine) -> Result<()> {
        let stream = match &mut self.stream {
            Some((stream, next)) if *next == step => stream,
            slot => {
                let TrainingImages { images, scale, augmentation } = self.part.clone();
                let stream = BatchStream::new(images, scale, self.batch, self.seed, augmentation, step)?;
                &mut slot.insert((stream, step)).0
            }
        };
        let batch = stream.next()?;
        self.targets.fill(0.0);
        for (row, &label) in batch.labels.iter().enumerate() {
            self.targets[row * self.classes + label as usize] = 1.0;
        }
        if program.tape.dtype(program.x) == DType::F32 {
            machine.write(program.x, &batch.x)?;
            machine.write(program.y, &self.targets)?;
        } else {
            let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
            machine.write_f64(program.x, &wide(&batch.x))?;
            machine.write_f64(program.y, &wide(&self.targets))?;
        }
        if let Some((_, next)) = &mut self.stream {
            *next += 1;
        }
        Ok(())
    }
}
