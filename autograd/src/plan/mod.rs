//! Plans: what a tape becomes before it runs.

pub mod step;
