//! Steps run by the machine against plain loops written here.

mod convolutions;
mod factors;
mod indices;
mod large_loops;
mod loop_cases;
mod loops;
mod machine;
mod noise;
mod products;
mod small_factors;
mod support;
