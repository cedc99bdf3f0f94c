//! The part of a data set that is trained on: a table in memory, or images that are normalised and varied batch by batch.

use super::Table;
use super::images::augment::Augmentation;
use super::images::{Images, PixelScale};
use std::sync::Arc;

/// Rows to train on.
#[derive(Debug, Clone, PartialEq)]
pub enum Training {
    /// A table, all of which lies in the machine's memory.
    Table(Table),
    /// Images, of which a batch lies there.
    Images(TrainingImages),
}

/// Images to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingImages {
    /// The images.
    pub images: Arc<Images>,
    /// Their normalisation.
    pub scale: PixelScale,
    /// How they are varied from batch to batch.
    pub augmentation: Option<Augmentation>,
}

impl Training {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Table(table) => table.rows,
            Self::Images(part) => part.images.count,
        }
    }

    /// Numbers of one input.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Table(table) => table.inputs,
            Self::Images(part) => part.images.image_size(),
        }
    }

    /// Names of the inputs.
    pub fn input_names(&self) -> Vec<String> {
        match self {
            Self::Table(table) => table.input_names.clone(),
            Self::Images(part) => part.images.pixel_names(),
        }
    }

    /// Names of the targets.
    pub fn output_names(&self) -> Vec<String> {
        match self {
            Self::Table(table) => table.output_names.clone(),
            Self::Images(_) => vec!["class".into()],
        }
    }

    /// The table, where it is one.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Images(_) => None,
        }
    }
}
