//! A fitted posterior: the trained sampler, ready to draw weights and predict.

use crate::config::{Config, Dtype, LikelihoodKind};
use crate::data::Standardiser;
use crate::device::require_memory;
use crate::draw::Draw;
use crate::export::{SampleDescription, export_samples, normalisation_tensors};
use crate::forward::{Evaluator, Forward};
use crate::metrics::PredictiveMixture;
use crate::metrics::classification::{mean_probabilities, softmax};
use crate::metrics::log_probabilities::{log_softmax, mean_log_probabilities};
use crate::model::Model;
use crate::train::{Encoded, dtype_of};
use crate::{Error, Result};
use autograd::{Device, Machine, Plan, Request, Tape};
use std::path::Path;

/// Weight samples drawn at once.
const DRAW: usize = 16;

/// The trained sampler with everything that prediction needs.
pub struct Posterior {
    /// Network, sampler, prior and likelihood.
    pub model: Model,
    /// Components of the posterior, mixed in equal parts; each is all parameters of the model in one vector.
    pub components: Vec<Vec<f64>>,
    /// Noise standard deviation of each target in units of the standardised targets; empty for a softmax likelihood, which has none.
    pub noise_std: Vec<f64>,
    /// Standardisation of inputs and targets.
    pub standardiser: Standardiser,
    /// Number format of the computation.
    pub dtype: Dtype,
    /// Where it draws and predicts.
    pub device: Device,
    /// Standardised training rows on which batch normalisation takes its statistics ([`crate::forward`]), rows x inputs; empty for networks
    /// without.
    pub reference: Vec<f64>,
}

/// Network outputs of many weight samples.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// S x N x outputs, row-major; for a Gaussian likelihood in the target's original units, for a softmax logits.
    pub outputs: Vec<f64>,
    /// Weight samples S.
    pub samples: usize,
    /// Inputs N.
    pub rows: usize,
    /// Network outputs.
    pub columns: usize,
    /// Noise standard deviation of each target in original units; 1 for a softmax likelihood.
    pub noise_std: Vec<f64>,
    /// The likelihood's family: what the outputs are.
    pub likelihood: LikelihoodKind,
}

impl Predictions {
    /// The predictive distribution of regression, with means, standard deviations, quantiles and densities.
    ///
    /// # Errors
    /// [`Error::Argument`] for a softmax likelihood, no samples or rows, or outputs that are not finite.
    pub fn mixture(self) -> Result<PredictiveMixture> {
        self.require(LikelihoodKind::Gaussian)?;
        PredictiveMixture::new(self.outputs, self.samples, self.rows, self.noise_std)
    }

    /// Probabilities of the classes, the mean over weight samples, rows x classes; [`ClassPredictions`](crate::metrics::ClassPredictions) and
    /// the measures beside it take them.
    ///
    /// # Errors
    /// [`Error::Argument`] for a Gaussian likelihood, no samples, or outputs that are not finite.
    pub fn class_probabilities(self) -> Result<Vec<f64>> {
        self.require(LikelihoodKind::Softmax)?;
        mean_probabilities(&softmax(self.outputs, self.columns), self.samples, self.columns)
    }

    fn require(&self, wanted: LikelihoodKind) -> Result<()> {
        if self.likelihood == wanted {
            return Ok(());
        }
        let problem = format!("are those of a {} likelihood, expected those of a {wanted} one", self.likelihood);
        Err(Error::Argument { name: "predictions".into(), problem })
    }
}

impl Posterior {
    /// Draws weight vectors, row-major (samples, m): theta = g(z) + sigma eta (times the scales, where they are learned), and point
    /// estimates as they are; draw i from component i modulo their number. The same seed gives the same draws, whatever their number.
    ///
    /// # Errors
    /// [`Error::Argument`] for a posterior without components; those of planning and running.
    pub fn draw(&self, samples: usize, seed: u64) -> Result<Vec<f64>> {
        if self.components.is_empty() {
            let problem = "there are none, so there is nothing to draw from".into();
            return Err(Error::Argument { name: "components of the posterior".into(), problem });
        }
        let dtype = dtype_of(self.dtype);
        let mut tape = Tape::new();
        let weights = tape.named_input("weights", &[self.model.parameter_count()], dtype);
        let theta = Draw::record(&mut tape, &self.model, weights, DRAW)?.theta;
        let mut machine = Machine::on(self.device)?;
        let plan = machine.load(Plan::new(&tape, &Request::outputs(&[theta]))?)?;
        let (m, count) = (self.model.network.layout().len(), self.components.len());
        require_memory(samples.checked_mul(m), size_of::<f64>(), "ask for fewer weight samples")?;
        let mut drawn = vec![0.0; samples * m];
        for (k, component) in self.components.iter().enumerate().take(samples) {
            machine.write_f64(weights, component)?;
            let mut own = drawn.chunks_exact_mut(m).skip(k).step_by(count);
            for chunk in 0..(samples - k).div_ceil(count).div_ceil(DRAW) {
                machine.set_noise(component_seed(seed, k), chunk as u64);
                machine.run(plan)?;
                let values = machine.read_f64(theta)?;
                values.chunks_exact(m).zip(&mut own).for_each(|(draw, place)| place.copy_from_slice(draw));
            }
        }
        Ok(drawn)
    }

    /// Predictions of given weight vectors (samples x m) for inputs in original units (rows x inputs).
    ///
    /// # Errors
    /// [`Error::Argument`] for as many numbers as these shapes do not have; those of planning and running.
    pub fn predict_with(&self, theta: &[f64], samples: usize, x: &[f64], rows: usize) -> Result<Predictions> {
        self.predictor().predict(theta, samples, x, rows)
    }

    /// What predicts for one set of rows after another.
    pub fn predictor(&self) -> Predictor<'_> {
        Predictor { posterior: self, evaluator: self.network().evaluator() }
    }

    /// Mean log-likelihood, in nats a row and in the units of the standardised targets, of rows under the mixture of the given weight
    /// vectors: log-mean-exp over samples of p(y | f_theta(x)).
    ///
    /// # Errors
    /// Those of planning and running; outputs that are not finite.
    pub fn log_likelihood(&self, theta: &[f64], samples: usize, data: &Encoded) -> Result<f64> {
        let outputs = self.standardised_outputs(theta, samples, data)?;
        let (rows, columns) = (data.rows, self.columns());
        if self.model.likelihood == LikelihoodKind::Gaussian {
            let mixture = PredictiveMixture::new(outputs, samples, rows, self.noise_std.clone())?;
            return Ok(mixture.log_likelihoods(&data.y)?.iter().sum::<f64>() / rows as f64);
        }
        // Targets are indicator vectors: the sum has one term a row, and probabilities that underflow keep finite logarithms.
        let logs = mean_log_probabilities(&log_softmax(outputs, columns), samples, columns)?;
        let true_classes = logs.iter().zip(&data.y).filter(|(_, y)| **y == 1.0);
        Ok(true_classes.map(|(log, _)| log).sum::<f64>() / rows as f64)
    }

    /// Network outputs of weight vectors (samples x m) for encoded rows, samples x rows x outputs.
    pub(crate) fn standardised_outputs(&self, theta: &[f64], samples: usize, data: &Encoded) -> Result<Vec<f64>> {
        self.network().run(theta, samples, &data.x, data.rows)
    }

    /// Noise standard deviation of each target in original units; empty for a softmax likelihood, which has none.
    pub fn target_noise_std(&self) -> Vec<f64> {
        self.standardiser.y_std.iter().zip(&self.noise_std).map(|(unit, std)| unit * std).collect()
    }

    /// How inputs become those of the network, and its outputs those in original units: logits are as they are.
    pub fn output_standardiser(&self) -> Standardiser {
        let Standardiser { x_mean, x_std, y_mean, y_std } = self.standardiser.clone();
        match self.model.likelihood {
            LikelihoodKind::Gaussian => Standardiser { x_mean, x_std, y_mean, y_std },
            LikelihoodKind::Softmax => {
                let identity = Standardiser::identity(x_mean.len(), y_mean.len());
                Standardiser { x_mean, x_std, ..identity }
            }
        }
    }

    fn columns(&self) -> usize {
        self.model.network.outputs()
    }

    /// Statistics of batch normalisation with which given weight vectors (samples x m) predict: see [`Forward::statistics`].
    ///
    /// # Errors
    /// As there.
    pub fn normalisation_statistics(&self, theta: &[f64], samples: usize) -> Result<Vec<f64>> {
        self.network().statistics(theta, samples)
    }

    /// Draws weights as [`Posterior::draw`] does and writes them to a safetensors file for other programs, with the statistics of batch
    /// normalisation beside them and all that predictions need in the metadata ([`crate::export`]). Answers names and shapes of the tensors,
    /// without the leading axis of samples.
    ///
    /// # Errors
    /// Those of drawing and of writing; names that do not fit the data's columns.
    ///
    /// # Examples
    /// ```no_run
    /// # fn example(posterior: livi::posterior::Posterior, config: livi::config::Config) -> livi::Result<()> {
    /// let (inputs, outputs) = (["area".to_string(), "rooms".to_string()], ["price".to_string()]);
    /// posterior.export("weights.safetensors", 100, 7, &config, &inputs, &outputs)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn export(
        &self,
        path: impl AsRef<Path>,
        samples: usize,
        seed: u64,
        config: &Config,
        input_names: &[String],
        output_names: &[String],
    ) -> Result<Vec<(String, Vec<usize>)>> {
        let theta = self.draw(samples, seed)?;
        let network = &self.model.network;
        let statistics = self.normalisation_statistics(&theta, samples)?;
        let beside = normalisation_tensors(network, &statistics, samples, self.dtype)?;
        let description = SampleDescription {
            config: config.to_toml_string()?,
            seed,
            components: self.components.len(),
            input_names: input_names.to_vec(),
            output_names: output_names.to_vec(),
            noise_std: self.target_noise_std(),
            standardiser: self.output_standardiser(),
        };
        let mut tensors = network.layout().names_and_shapes();
        match self.dtype {
            Dtype::F64 => export_samples(path, &tensors, theta.as_slice(), samples, &beside, &description)?,
            Dtype::F32 => {
                let theta: Vec<f32> = theta.iter().map(|&weight| weight as f32).collect();
                export_samples(path, &tensors, theta.as_slice(), samples, &beside, &description)?;
            }
        }
        tensors.extend(beside.into_iter().map(|tensor| (tensor.name, tensor.shape[1..].to_vec())));
        Ok(tensors)
    }

    fn network(&self) -> Forward<'_> {
        let (network, dtype) = (&self.model.network, dtype_of(self.dtype));
        Forward { network, dtype, device: self.device, reference: &self.reference }
    }

    /// Draws weights and predicts with them: see [`Posterior::draw`] and [`Posterior::predict_with`].
    ///
    /// # Errors
    /// Those of both.
    pub fn predict(&self, x: &[f64], rows: usize, samples: usize, seed: u64) -> Result<Predictions> {
        let theta = self.draw(samples, seed)?;
        self.predict_with(&theta, samples, x, rows)
    }
}

/// A posterior whose network is loaded, for predictions in parts.
pub struct Predictor<'a> {
    posterior: &'a Posterior,
    evaluator: Evaluator<'a>,
}

impl Predictor<'_> {
    /// As [`Posterior::predict_with`].
    ///
    /// # Errors
    /// As there.
    pub fn predict(&mut self, theta: &[f64], samples: usize, x: &[f64], rows: usize) -> Result<Predictions> {
        let posterior = self.posterior;
        let standardiser = &posterior.standardiser;
        let x = standardiser.apply_x(x)?;
        let mut outputs = self.evaluator.run(theta, samples, &x, rows)?;
        let columns = posterior.columns();
        let noise_std = if posterior.model.likelihood == LikelihoodKind::Gaussian {
            for row in outputs.chunks_mut(columns) {
                for ((value, mean), std) in row.iter_mut().zip(&standardiser.y_mean).zip(&standardiser.y_std) {
                    *value = *value * std + mean;
                }
            }
            posterior.target_noise_std()
        } else {
            vec![1.0; columns]
        };
        let likelihood = posterior.model.likelihood;
        Ok(Predictions { outputs, samples, rows, columns, noise_std, likelihood })
    }
}

/// Seed of the random numbers of component k of a mixture, in training as in drawing; the first keeps the run's own.
pub fn component_seed(seed: u64, k: usize) -> u64 {
    seed ^ (k as u64).wrapping_mul(0xD1B5_4A32_D192_ED03)
}
