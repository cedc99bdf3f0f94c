//! The pictures of a completed run: predictions, the evidence lower bound over the steps, the singular spectrum.

use crate::Result;
use crate::config::{LikelihoodKind, Source};
use crate::data::{Dataset, Table, toy};
use crate::entropy::{Method, Settings};
use crate::plot::{
    EntropyLevel, PredictedAgainstObserved, PredictiveBand, Spectrum, TrainingCurves, plot_predicted_against_observed,
    plot_predictive_band, plot_spectrum, plot_training_curves,
};
use crate::run_folder::RunFolder;
use crate::sampler::Sampler;
use crate::train::{Saved, dtype_of};
use crate::verify::verify_within;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// Points of the grid under a predictive band.
const GRID: usize = 401;
/// Sampled functions drawn over it.
const FUNCTIONS: usize = 8;
/// Rows drawn as predictions against observations at most.
const MOST_ROWS: usize = 2000;
/// Latents whose spectra are drawn.
const LATENTS: usize = 4;
/// Latent dimensions up to which the spectrum is computed: it costs d products and a dense decomposition.
const MOST_LATENTS: usize = 1000;

/// Draws what can be drawn into the folder's `plots`; returns file stems with captions.
///
/// # Errors
/// Those of prediction and of writing.
pub fn draw_pictures(folder: &RunFolder, saved: &Saved, dataset: &Dataset) -> Result<Vec<(String, String)>> {
    let mut drawn = Vec::new();
    let table = dataset.test.as_ref().or_else(|| dataset.training.table());
    let gaussian = saved.posterior.model.likelihood == LikelihoodKind::Gaussian;
    if let (true, 1, 1, Some(training)) =
        (gaussian, saved.input_names.len(), saved.output_names.len(), dataset.training.table())
    {
        band(folder, saved, &dataset.name, training)?;
        let caption =
            "Predictive mean, epistemic and total band (two standard deviations each), data and sampled functions";
        drawn.push(("predictive".to_string(), caption.to_string()));
    } else if let (true, Some(table)) = (gaussian, table) {
        for (target, name) in saved.output_names.iter().enumerate() {
            let stem = if target == 0 { "predictive".to_string() } else { format!("predictive-{target}") };
            against_observed(folder, saved, table, target, &stem)?;
            drawn.push((stem, format!("Predictions of {name} against observations, with two standard deviations")));
        }
    }
    if curves(folder, saved)? {
        drawn.push(("training".into(), "Terms of the evidence lower bound over the steps".into()));
    }
    if let Some(sampler) = saved.posterior.model.sampler.as_deref().filter(|own| own.latents() <= MOST_LATENTS) {
        spectrum(folder, saved, sampler)?;
        drawn.push(("spectrum".into(), "Singular values of the sampler's Jacobian with the entropy's bounds".into()));
    }
    Ok(drawn)
}

fn band(folder: &RunFolder, saved: &Saved, name: &str, data: &Table) -> Result<()> {
    let is_toy = saved.config.data.source == Source::Toy;
    let (low, high) = if is_toy { (-2.0, 2.0) } else { widened(&data.x) };
    let x: Vec<f64> = (0..GRID).map(|i| low + (high - low) * i as f64 / (GRID - 1) as f64).collect();
    let samples = saved.config.prediction.samples;
    let predictions = saved.posterior.predict(&x, GRID, samples, saved.config.seed)?;
    let sampled_functions = predictions.outputs.chunks_exact(GRID).take(FUNCTIONS).map(<[f64]>::to_vec).collect();
    let mixture = predictions.mixture()?;
    let true_function = is_toy.then(|| x.iter().map(|&x| toy::truth(x)).collect());
    let band = PredictiveBand {
        title: format!("{name}: predictive distribution"),
        x_label: saved.input_names[0].clone(),
        y_label: saved.output_names[0].clone(),
        mean: mixture.mean(),
        epistemic_std: mixture.epistemic_std(),
        total_std: mixture.total_std(),
        data_x: data.x.clone(),
        data_y: data.y.clone(),
        true_function,
        sampled_functions,
        x,
    };
    plot_predictive_band(folder.plots_folder().join("predictive"), &band)
}

/// The range of the data and a quarter of it more on either side.
fn widened(x: &[f64]) -> (f64, f64) {
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = if high > low { 0.25 * (high - low) } else { 1.0 };
    (low - margin, high + margin)
}

fn against_observed(folder: &RunFolder, saved: &Saved, table: &Table, target: usize, stem: &str) -> Result<()> {
    let rows: Vec<usize> = (0..table.rows.min(MOST_ROWS)).collect();
    let table = table.select(&rows)?;
    let samples = saved.config.prediction.samples;
    let found = saved.posterior.predict(&table.x, table.rows, samples, saved.config.seed)?;
    let mixture = found.mixture()?;
    let of = |values: Vec<f64>| values.iter().skip(target).step_by(table.outputs).copied().collect::<Vec<f64>>();
    let points = PredictedAgainstObserved {
        title: "Predictions against observations".into(),
        target: saved.output_names[target].clone(),
        observed: of(table.y.clone()),
        mean: of(mixture.mean()),
        epistemic_std: of(mixture.epistemic_std()),
        total_std: of(mixture.total_std()),
    };
    plot_predicted_against_observed(folder.plots_folder().join(stem), &points)
}

/// Whether anything was recorded to draw.
fn curves(folder: &RunFolder, saved: &Saved) -> Result<bool> {
    let mut curves = TrainingCurves::default();
    // Of a single target the noise is shown in its own unit, of several in those of the standardised ones.
    let unit = if saved.output_names.len() == 1 { saved.posterior.standardiser.y_std[0] } else { 1.0 };
    let mut noise = vec![Vec::new(); saved.posterior.noise_std.len()];
    for record in folder.read_metrics()? {
        let number = |key: &str| record.get(key).and_then(serde_json::Value::as_f64);
        let step = record.get("step").and_then(serde_json::Value::as_u64);
        let terms = (step, number("elbo"), number("likelihood"), number("prior"), number("entropy"));
        let (Some(step), Some(elbo), Some(likelihood), Some(prior), Some(entropy)) = terms else { continue };
        curves.steps.push(step);
        curves.elbo.push(elbo);
        curves.log_likelihood.push(likelihood);
        curves.log_prior.push(prior);
        curves.entropy.push(entropy);
        let levels = match record.get("noise_std") {
            Some(serde_json::Value::Array(several)) => several.iter().collect(),
            level => Vec::from_iter(level),
        };
        for (values, level) in noise.iter_mut().zip(levels) {
            values.extend(level.as_f64().map(|std| std * unit));
        }
    }
    if curves.steps.is_empty() {
        return Ok(false);
    }
    if noise.iter().all(|values| values.len() == curves.steps.len()) {
        curves.noise_std = saved.output_names.iter().cloned().zip(noise).collect();
    }
    plot_training_curves(folder.plots_folder().join("training"), &curves)?;
    Ok(true)
}

fn spectrum(folder: &RunFolder, saved: &Saved, sampler: &dyn Sampler) -> Result<()> {
    let (config, model) = (&saved.config, &saved.posterior.model);
    let (parameters, _) = model.tensors(&saved.posterior.components[0]);
    let latents = standard_normal_latents(sampler, LATENTS, config.seed);
    let (settings, dtype) = (Settings { directions: false, ..Settings::default() }, dtype_of(config.dtype));
    let methods = [Method::Exact, Method::Smallest, Method::Largest];
    let (sigma, seed, device) = (model.sigma, config.seed, saved.posterior.device);
    let say = &mut |_: &str| ();
    let found =
        verify_within(sampler, &parameters, &latents, sigma, &methods, &settings, dtype, seed, device, None, say)?;
    let total = found.constants.total();
    let levels = found
        .methods
        .iter()
        .map(|row| EntropyLevel { label: label(row.method).into(), half_log_det: row.value - total })
        .collect();
    let spectrum = Spectrum {
        title: "Singular values of the sampler's Jacobian".into(),
        singular_values: found.singular_values,
        sigma: model.sigma,
        levels,
    };
    plot_spectrum(folder.plots_folder().join("spectrum"), &spectrum)
}

fn label(method: &str) -> &str {
    match method {
        "smallest" => "smallest (lower bound)",
        "largest" => "largest (upper bound)",
        "interlacing" => "interlacing (lower bound)",
        "frobenius" => "frobenius (upper bound)",
        other => other,
    }
}

/// `count` standard normal latents, row-major (count, d).
pub fn standard_normal_latents(sampler: &dyn Sampler, count: usize, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count * sampler.latents()).map(|_| rng.sample(StandardNormal)).collect()
}
