//! Batches of normalised training images, made ahead of time by a thread of its own.
//!
//! Every pass over the images has a new order, derived from the seed and the number of the pass ([`Batches`]); what is left of
//! a pass begins the first batch of the next, so every batch is whole. A batch depends on the seeds and its step alone: a
//! stream that starts at a step gives the same bits as one that ran up to it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::augment::Augmentation;
use super::{Images, PixelScale, PixelTable};
use crate::train::Batches;
use crate::{Error, Result};

/// Batches that may lie ready; one more is with the reader.
const READY: usize = 2;

/// Normalised images and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Pixels, `batch x channels x height x width`.
    pub x: Vec<f32>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// The step that the batch belongs to.
    pub step: u64,
}

/// Batches, one after another.
///
/// Three buffers go round between the reader and the thread; nothing is allocated for a batch. Dropping the
/// stream ends the thread.
#[derive(Debug)]
pub struct BatchStream {
    current: Option<Batch>,
    filled: Option<Receiver<Batch>>,
    emptied: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl BatchStream {
    /// A stream of batches of `batch` images that begins with the batch of `first_step`.
    ///
    /// The order of the images follows from `seed` and the pass, their variation from `seed`, the step and the position in the
    /// batch. Without `augmentation` images are only normalised.
    ///
    /// # Errors
    /// [`Error::Argument`] when `batch` is 0 or `scale` has not one entry for each channel or cannot be used
    /// ([`PixelScale::validate`]); [`Error::Io`] when no thread can be started.
    ///
    /// # Examples
    /// ```
    /// use livi::data::images::{Images, PixelScale, stream::BatchStream};
    /// use std::sync::Arc;
    /// let images = Arc::new(Images::new([1, 1, 1], vec![0, 255, 51], vec![0, 1, 0], 2, vec![], "made up").unwrap());
    /// let scale = PixelScale { mean: vec![0.0], std: vec![1.0] };
    /// let mut stream = BatchStream::new(images, scale, 3, 1, None, 0).unwrap();
    /// let mut pixels = stream.next().unwrap().x.clone();
    /// pixels.sort_by(f32::total_cmp);
    /// assert_eq!(pixels, [0.0, 0.2, 1.0]); // a whole pass, in some order
    /// assert_eq!(stream.next().unwrap().step, 1);
    /// ```
    pub fn new(
        images: Arc<Images>,
        scale: PixelScale,
        batch: usize,
        seed: u64,
        augmentation: Option<Augmentation>,
        first_step: u64,
    ) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Argument { name: "batch".into(), problem: "is 0, expected at least 1 image".into() });
        }
        scale.validate()?;
        if scale.channels() != images.channels {
            let problem = format!("has {} channels, the images have {}", scale.channels(), images.channels);
            return Err(Error::Argument { name: "pixel scale".into(), problem });
        }
        let (to_reader, filled) = sync_channel(READY + 1);
        let (emptied, to_thread) = sync_channel(READY + 1);
        for _ in 0..=READY {
            let buffer = Batch { x: vec![0.0; batch * images.image_size()], labels: vec![0; batch], step: 0 };
            // There is room for every buffer, and the receiver is held here.
            let _ = emptied.send(buffer);
        }
        let maker =
            Maker { order: Batches::new(images.count, batch, seed), table: scale.table(), images, seed, augmentation };
        let thread = Builder::new()
            .name("batches".into())
            .spawn(move || maker.run(first_step, &to_thread, &to_reader))
            .map_err(|source| Error::Io { path: "thread of the batches".into(), action: "start", source })?;
        Ok(Self { current: None, filled: Some(filled), emptied: Some(emptied), thread: Some(thread) })
    }

    /// The batch of the next step; waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Numerical`] when the thread is no more, which is a defect of this program.
    #[expect(clippy::should_implement_trait, reason = "an iterator's items could not borrow the stream's buffer")]
    pub fn next(&mut self) -> Result<&Batch> {
        let gone =
            || Error::Numerical { method: "batch stream", problem: "the thread that makes the batches ended".into() };
        if let (Some(used), Some(emptied)) = (self.current.take(), &self.emptied) {
            emptied.send(used).map_err(|_| gone())?;
        }
        let batch = self.filled.as_ref().and_then(|filled| filled.recv().ok()).ok_or_else(gone)?;
        Ok(self.current.insert(batch))
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        // With both channels closed the thread ends at its next send or receive.
        self.emptied = None;
        self.filled = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Maker {
    images: Arc<Images>,
    table: PixelTable,
    order: Batches,
    seed: u64,
    augmentation: Option<Augmentation>,
}

impl Maker {
    /// Fills emptied buffers with one step after another until the reader is gone.
    fn run(mut self, first_step: u64, emptied: &Receiver<Batch>, filled: &SyncSender<Batch>) {
        let mut rows = Vec::new();
        for step in first_step.. {
            let Ok(mut batch) = emptied.recv() else { return };
            self.order.fill(step, &mut rows);
            self.fill(&mut batch, &rows, step);
            if filled.send(batch).is_err() {
                return;
            }
        }
    }

    fn fill(&self, batch: &mut Batch, rows: &[u32], step: u64) {
        let shape = self.images.shape();
        let still = Augmentation { padding: 0, flip: false };
        let augmentation = self.augmentation.unwrap_or(still);
        batch.step = step;
        let images = batch.x.chunks_exact_mut(self.images.image_size());
        for (position, ((out, label), &row)) in images.zip(&mut batch.labels).zip(rows).enumerate() {
            *label = self.images.labels[row as usize];
            let variation = augmentation.draw(self.seed, step, position);
            variation.apply(self.images.image(row as usize), shape, augmentation.padding, &self.table, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images whose first pixel is their index, as is their label.
    fn numbered(count: usize) -> Arc<Images> {
        let pixels = (0..count * 12).map(|k| if k % 12 == 0 { (k / 12) as u8 } else { (k * 31 % 256) as u8 }).collect();
        Arc::new(Images::new([3, 2, 2], pixels, (0..count as u32).collect(), count, vec![], "").unwrap())
    }

    fn stream(batch: usize, seed: u64, augmentation: Option<Augmentation>, first: u64) -> BatchStream {
        let images = numbered(10);
        let scale = PixelScale::fit(&images);
        BatchStream::new(images, scale, batch, seed, augmentation, first).unwrap()
    }

    const VARIED: Option<Augmentation> = Some(Augmentation { padding: 1, flip: true });

    #[test]
    fn every_image_comes_once_in_each_pass_and_the_rest_is_carried_over() {
        let mut stream = stream(4, 3, None, 0);
        let mut seen = Vec::new();
        for step in 0..10 {
            let batch = stream.next().unwrap();
            assert_eq!((batch.step, batch.labels.len(), batch.x.len()), (step, 4, 48));
            seen.extend_from_slice(&batch.labels);
        }
        for pass in seen.chunks(10) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<u32>>());
        }
        assert_ne!(seen[..10], seen[10..20]);
    }

    #[test]
    fn a_stream_started_at_a_step_gives_the_bits_of_one_that_ran_up_to_it() {
        let mut whole = stream(4, 9, VARIED, 0);
        let mut batches: Vec<Batch> = (0..12).map(|_| whole.next().unwrap().clone()).collect();
        let mut resumed = stream(4, 9, VARIED, 7);
        for expected in batches.drain(7..) {
            assert_eq!(*resumed.next().unwrap(), expected);
        }
    }

    #[test]
    fn a_batch_holds_the_normalised_pixels_of_its_images() {
        let images = numbered(10);
        let scale = PixelScale::fit(&images);
        let mut stream = BatchStream::new(Arc::clone(&images), scale.clone(), 5, 2, None, 0).unwrap();
        let batch = stream.next().unwrap();
        let mut expected = [0.0; 12];
        for (k, &label) in batch.labels.iter().enumerate() {
            scale.normalise(images.image(label as usize), &mut expected).unwrap();
            assert_eq!(batch.x[12 * k..12 * (k + 1)], expected);
        }
    }

    #[test]
    fn a_varied_batch_has_the_same_images_in_the_same_order() {
        let (mut still, mut varied) = (stream(4, 5, None, 0), stream(4, 5, VARIED, 0));
        let (still, varied) = (still.next().unwrap(), varied.next().unwrap());
        assert_eq!(still.labels, varied.labels);
        assert_ne!(still.x, varied.x);
    }

    #[test]
    fn a_batch_may_be_larger_than_the_set() {
        let mut stream = stream(25, 1, None, 0);
        let labels = &stream.next().unwrap().labels;
        assert!((0..10).all(|class| labels.iter().filter(|&&label| label == class).count() >= 2));
    }

    #[test]
    fn a_stream_that_is_dropped_early_ends_its_thread() {
        let images = numbered(10);
        let mut stream = BatchStream::new(Arc::clone(&images), PixelScale::fit(&images), 4, 1, None, 0).unwrap();
        stream.next().unwrap();
        drop(stream);
        assert_eq!(Arc::strong_count(&images), 1);
    }

    #[test]
    fn a_batch_of_nothing_and_a_scale_of_other_channels_are_refused() {
        let images = numbered(10);
        let scale = PixelScale::fit(&images);
        assert!(BatchStream::new(Arc::clone(&images), scale, 0, 1, None, 0).is_err());
        let grey = PixelScale { mean: vec![0.0], std: vec![1.0] };
        let message = BatchStream::new(images, grey, 4, 1, None, 0).unwrap_err().to_string();
        assert_eq!(message, "pixel scale: has 1 channels, the images have 3");
    }
}
