//! A sampler's derivative at given latents, recorded: the folded product and its transpose, for blocks of vectors.

use super::folding::{Factor, folded_product};
use super::residuals::residuals;
use crate::Result;
use crate::sampler::{Sampler, record};
use autograd::{DType, Linear, Machine, Options, Plan, PlanId, Request, Tape, Var};

/// Linear programs of J', the folded twin of J = dg/dz, at S latents, one vector a latent.
#[derive(Clone, Debug)]
pub(super) struct Linearised {
    /// Latents (S, d).
    pub latents: Var,
    /// Factors in the place of last layers.
    pub factors: Vec<Factor>,
    /// Rows of J'.
    pub rows: usize,
    /// Columns d.
    pub cols: usize,
    /// Latents S.
    pub samples: usize,
    /// Element type.
    pub dtype: DType,
    /// (S, d), and what becomes of it: (S, rows).
    tangent: Var,
    folded: Var,
    /// (S, rows), and what becomes of it: (S, d).
    covector: Var,
    back: Var,
}

impl Linearised {
    /// Records the derivative at latents of its own.
    ///
    /// # Errors
    /// Those of recording.
    pub fn record(
        tape: &mut Tape,
        sampler: &dyn Sampler,
        parameters: &[Var],
        dtype: DType,
        samples: usize,
    ) -> Result<Self> {
        let cols = sampler.latents();
        let latents = tape.named_input("latent", &[samples, cols], dtype);
        let recorded = record(sampler, tape, parameters, latents)?;
        let outputs: Vec<Var> = recorded.pieces.iter().map(|piece| piece.hidden).collect();
        let linear = tape.linearize(&outputs, &[latents])?;
        let tangent = linear.inputs[0];
        let mut tangents: Vec<Var> = Vec::with_capacity(outputs.len());
        for (&output, found) in outputs.iter().zip(&linear.outputs) {
            tangents.push(found.unwrap_or_else(|| tape.zeros_like(output)));
        }
        let mut factors = Vec::new();
        let mut parts = Vec::with_capacity(recorded.pieces.len());
        for (piece, &hidden) in recorded.pieces.iter().zip(&tangents) {
            let part = folded_product(tape, piece, hidden, &mut factors)?;
            parts.push(tape.reshape(part, &[samples, tape.elements(part) / samples])?);
        }
        let folded = tape.concat(&parts, 1)?;
        let rows = tape.shape(folded)[1];
        let covector = tape.named_input("covector", &[samples, rows], dtype);
        let back = Linear { inputs: vec![tangent], outputs: vec![Some(folded)] }.transpose(tape, &[covector])?;
        let back = back[0].unwrap_or_else(|| tape.zeros_like(tangent));
        Ok(Self { latents, factors, rows, cols, samples, dtype, tangent, folded, covector, back })
    }

    /// An input of `count` vectors for each latent, (count, S, d).
    pub fn vectors(&self, tape: &mut Tape, count: usize) -> Var {
        tape.named_input("vectors", &[count, self.samples, self.cols], self.dtype)
    }

    /// An input of `count` covectors for each latent, (count, S, rows).
    pub fn covectors(&self, tape: &mut Tape, count: usize) -> Var {
        tape.named_input("covectors", &[count, self.samples, self.rows], self.dtype)
    }

    /// J' v, (count, S, rows).
    ///
    /// # Errors
    /// Those of recording.
    pub fn apply(&self, tape: &mut Tape, vectors: Var) -> Result<Var> {
        Ok(tape.batch(&[self.folded], &[(self.tangent, vectors)])?[0])
    }

    /// J'^T u, (count, S, d).
    ///
    /// # Errors
    /// Those of recording.
    pub fn apply_transpose(&self, tape: &mut Tape, covectors: Var) -> Result<Var> {
        Ok(tape.batch(&[self.back], &[(self.covector, covectors)])?[0])
    }
}

/// One product: the plan with its input and output.
#[derive(Clone, Debug)]
pub(super) struct Product<P> {
    pub plan: P,
    pub input: Var,
    pub output: Var,
}

impl Product<Plan> {
    /// Loads the plan on a machine.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn load(self, machine: &mut Machine) -> Result<Product<PlanId>> {
        let Self { plan, input, output } = self;
        Ok(Product { plan: machine.load(plan)?, input, output })
    }
}

/// Plans products and gathers the residuals they need.
pub(super) struct Planner<'a> {
    pub tape: &'a mut Tape,
    kept: Vec<Var>,
}

impl<'a> Planner<'a> {
    /// Without any residual yet.
    pub fn new(tape: &'a mut Tape) -> Self {
        Self { tape, kept: Vec::new() }
    }

    /// Plans `output` as a function of `input`, everything else that it depends on being at hand.
    ///
    /// # Errors
    /// Those of planning.
    pub fn product(&mut self, input: Var, output: Var) -> Result<Product<Plan>> {
        Ok(Product { plan: self.plan(&[input], &[output], &[])?, input, output })
    }

    /// Plans outputs and new values of inputs as functions of `inputs`, everything else that they depend on being at hand.
    ///
    /// # Errors
    /// Those of planning.
    pub fn plan(&mut self, inputs: &[Var], outputs: &[Var], updates: &[(Var, Var)]) -> Result<Plan> {
        let values: Vec<Var> = outputs.iter().copied().chain(updates.iter().map(|&(_, value)| value)).collect();
        let given = residuals(self.tape, inputs, &values);
        let plan = Plan::new(self.tape, &Request { outputs, given: &given, updates, options: Options::default() })?;
        self.kept.extend(given);
        Ok(plan)
    }

    /// The plan that computes all residuals; none if there are none.
    ///
    /// # Errors
    /// Those of planning.
    pub fn linearise(mut self) -> Result<Option<Plan>> {
        self.kept.sort();
        self.kept.dedup();
        Ok(match self.kept.is_empty() {
            true => None,
            false => Some(Plan::new(self.tape, &Request::outputs(&self.kept))?),
        })
    }
}
