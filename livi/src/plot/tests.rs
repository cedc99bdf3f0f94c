use super::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder for the pictures: `LIVI_PLOT_DIR` to look at them, a temporary one otherwise.
fn stem(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    match std::env::var_os("LIVI_PLOT_DIR") {
        Some(chosen) => PathBuf::from(chosen).join(name),
        None => folder.path().join(name),
    }
}

/// The size in a PNG's header chunk.
fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&bytes[12..16], b"IHDR");
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (number(16), number(20))
}

fn assert_pictures(stem: &Path, labels: &[&str]) {
    let png = fs::read(stem.with_extension("png")).unwrap();
    assert_eq!(png_size(&png), (PICTURE_WIDTH, PICTURE_HEIGHT));
    assert!((10_000..200_000).contains(&png.len()), "{} bytes", png.len());
    let svg = fs::read_to_string(stem.with_extension("svg")).unwrap();
    assert!(svg.starts_with("<svg width=\"1200\" height=\"750\""), "{}", &svg[..80]);
    assert!(svg.trim_end().ends_with("</svg>"));
    for label in labels {
        assert!(svg.lines().any(|line| line.trim() == *label), "no `{label}` in the picture");
    }
}

/// Repeatable numbers that look like noise, in [-1, 1).
fn noise(index: usize) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn wave(x: f64) -> f64 {
    x + 0.8 * (std::f64::consts::TAU * x).sin() + 0.8 * (2.0 * std::f64::consts::TAU * x).sin()
}

fn band() -> PredictiveBand {
    let x: Vec<f64> = (0..400).map(|i| -1.5 + 3.0 * f64::from(i) / 399.0).collect();
    let epistemic: Vec<f64> =
        x.iter().map(|x| 0.08 + 1.5 * (-8.0 * x * x).exp() + 2.0 * (x.abs() - 1.28).max(0.0)).collect();
    let data_x: Vec<f64> =
        (0..70).map(|i| if i < 38 { -1.28 + 0.0176 * i as f64 } else { 0.61 + 0.0209 * (i - 38) as f64 }).collect();
    PredictiveBand {
        title: "Toy regression: predictive distribution".into(),
        x_label: "x".into(),
        y_label: "y".into(),
        mean: x.iter().map(|&x| wave(x) * (1.0 - 0.5 * (-6.0 * x * x).exp())).collect(),
        total_std: epistemic.iter().map(|std| std.hypot(0.3)).collect(),
        true_function: Some(x.iter().map(|&x| wave(x)).collect()),
        sampled_functions: (0..5)
            .map(|sample| {
                let shift = noise(sample);
                x.iter().zip(&epistemic).map(|(&x, std)| wave(x) + std * shift * (3.0 * x + shift).cos()).collect()
            })
            .collect(),
        data_y: data_x.iter().enumerate().map(|(i, &x)| wave(x) + 0.5 * noise(i)).collect(),
        data_x,
        epistemic_std: epistemic,
        x,
    }
}

#[test]
fn a_predictive_band_is_drawn_with_all_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "predictive");
    plot_predictive_band(&stem, &band()).unwrap();
    let labels = [
        "Toy regression: predictive distribution",
        "x",
        "y",
        "mean",
        "epistemic \u{b1} 2 std",
        "total \u{b1} 2 std",
        "sampled functions",
        "true function",
        "data",
    ];
    assert_pictures(&stem, &labels);
}

#[test]
fn predictions_are_drawn_against_observations() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "predicted_against_observed");
    let observed: Vec<f64> = (0..400).map(|i| 22.0 + 15.0 * noise(i)).collect();
    let points = PredictedAgainstObserved {
        title: "boston, split 0: test data".into(),
        target: "house price (1000 $)".into(),
        mean: observed.iter().enumerate().map(|(i, y)| y + 3.0 * noise(i + 900)).collect(),
        epistemic_std: (0..400).map(|i| 0.8 + 0.5 * noise(i + 5000)).collect(),
        total_std: (0..400).map(|i| 2.6 + 0.5 * noise(i + 5000)).collect(),
        observed,
    };
    plot_predicted_against_observed(&stem, &points).unwrap();
    let labels = ["observed house price (1000 $)", "predicted house price (1000 $)", "predicted = observed", "mean"];
    assert_pictures(&stem, &labels);
}

#[test]
fn many_points_are_thinned_and_the_picture_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "thinned");
    let observed: Vec<f64> = (0..4000).map(noise).collect();
    let points = PredictedAgainstObserved {
        mean: observed.iter().enumerate().map(|(i, y)| y + 0.2 * noise(i + 4001)).collect(),
        epistemic_std: vec![0.05; 4000],
        total_std: vec![0.2; 4000],
        observed,
        ..Default::default()
    };
    plot_predicted_against_observed(&stem, &points).unwrap();
    assert_pictures(&stem, &["mean (500 of 4000 points)"]);
}

fn curves(count: usize) -> TrainingCurves {
    let over = |end: f64, start: f64, rough: f64, salt: usize| -> Vec<f64> {
        (0..count)
            .map(|i| end + (start - end) * (-9.0 * i as f64 / count as f64).exp() + rough * noise(i + salt))
            .collect()
    };
    TrainingCurves {
        steps: (0..count as u64).map(|i| 1 + i * 2).collect(),
        elbo: over(-190.0, -3.0e5, 12.0, 0),
        log_likelihood: over(-35.0, -4000.0, 9.0, 10_000),
        log_prior: over(-130.0, -110.0, 3.0, 20_000),
        entropy: over(-25.0, -220.0, 1.0, 30_000),
        noise_std: vec![("y".into(), over(0.3, 0.9, 0.004, 40_000))],
    }
}

#[test]
fn training_curves_have_a_panel_for_every_term() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "training");
    plot_training_curves(&stem, &curves(3750)).unwrap();
    assert_pictures(
        &stem,
        &["ELBO", "Expected log-likelihood", "Expected log-prior", "Entropy", "Noise", "nats", "step"],
    );
}

#[test]
fn the_noise_of_several_targets_is_named_in_one_panel() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "training_of_two_targets");
    let mut two = curves(300);
    two.noise_std = ["price", "rent"].map(|name| (name.to_string(), two.noise_std[0].1.clone())).to_vec();
    plot_training_curves(&stem, &two).unwrap();
    assert_pictures(&stem, &["Noise", "price", "rent", "standard deviation (standardised)"]);
    two.noise_std[1].1.pop();
    assert!(plot_training_curves(&stem, &two).is_err());
}

#[test]
fn training_curves_without_noise_have_four_panels() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "training_without_noise");
    plot_training_curves(&stem, &TrainingCurves { noise_std: Vec::new(), ..curves(60) }).unwrap();
    assert_pictures(&stem, &["ELBO", "Entropy"]);
    let svg = fs::read_to_string(stem.with_extension("svg")).unwrap();
    assert!(!svg.contains("Noise"));
    assert_eq!(svg.lines().filter(|line| line.trim() == "step").count(), 4);
}

fn spectrum(sigma: f64) -> Spectrum {
    let singular_values: Vec<Vec<f64>> = (0..3)
        .map(|latent| (0..60).map(|i| 2.5 * (-0.13 * f64::from(i) + 0.2 * noise(latent)).exp()).collect())
        .collect();
    let mean = |value: &dyn Fn(&[f64]) -> f64| singular_values.iter().map(|s| value(s)).sum::<f64>() / 3.0;
    let half_log = |s: f64| 0.5 * (s * s + sigma * sigma).ln();
    let entry = |label: &str, half_log_det: f64| EntropyLevel { label: label.into(), half_log_det };
    Spectrum {
        title: "Singular values of the sampler's Jacobian (3 latents)".into(),
        sigma,
        levels: vec![
            entry("largest (upper bound)", mean(&|s| 60.0 * half_log(s[0]))),
            entry("exact", mean(&|s| s.iter().map(|&s| half_log(s)).sum())),
            entry("slq", mean(&|s| s.iter().map(|&s| half_log(s)).sum::<f64>() + 1.5)),
            entry("smallest (lower bound)", mean(&|s| 60.0 * half_log(s[59]))),
        ],
        singular_values,
    }
}

#[test]
fn a_spectrum_is_drawn_with_sigma_and_every_level() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "spectrum");
    let spectrum = spectrum(0.009);
    plot_spectrum(&stem, &spectrum).unwrap();
    let exact =
        format!("exact: \u{bd} \u{3a3} log(s\u{b2} + \u{3c3}\u{b2}) = {:.2} nats", spectrum.levels[1].half_log_det)
            .replace('-', "\u{2212}");
    assert_pictures(&stem, &["\u{3c3} = 0.009", "singular values s", &exact]);
}

#[test]
fn a_collapsed_spectrum_says_how_many_values_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "collapsed");
    plot_spectrum(&stem, &spectrum(3.0)).unwrap();
    let hidden = spectrum(3.0).singular_values.iter().flatten().filter(|s| **s < 0.03).count();
    assert_pictures(&stem, &[&format!("{hidden} singular values below \u{3c3}/100 not shown")]);
}

#[test]
fn the_levels_of_the_bounds_enclose_that_of_the_exact_value() {
    let spectrum = spectrum(0.009);
    let levels: Vec<f64> = spectrum.levels.iter().map(|entry| spectrum::level(entry.half_log_det, 60)).collect();
    assert!(levels[3] < levels[1] && levels[1] < levels[0], "{levels:?}");
}

#[test]
fn a_reliability_diagram_is_drawn_with_its_errors_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "reliability");
    let bins = (0..15)
        .map(|bin| {
            let confidence = (bin as f64 + 0.6) / 15.0;
            let count = if bin < 2 { 0 } else { 40 + 25 * bin * bin };
            crate::metrics::calibration::ReliabilityBin { count, confidence, accuracy: confidence.powf(1.4) }
        })
        .collect();
    let error = crate::metrics::CalibrationError { expected: 0.0432, maximum: 0.1017, bins };
    plot_reliability(&stem, "digits: <test> rows", &error).unwrap();
    let total: usize = error.bins.iter().map(|bin| bin.count).sum();
    let count = format!("{total} predictions");
    let labels = [
        "digits: &lt;test&gt; rows",
        "accuracy",
        "confidence",
        "calibrated",
        "gap to the mean confidence: 0.0432 expected, 0.1017 at most",
        &count,
    ];
    assert_pictures(&stem, &labels);
}

fn entropy_curves() -> EntropyCurves {
    let set = |label: &str, count: usize, scale: f64, power: f64| EntropySet {
        label: label.into(),
        entropies: (0..count).map(|i| scale * (0.5 + 0.5 * noise(i)).powf(power)).collect(),
    };
    EntropyCurves {
        title: "Predictive entropy".into(),
        classes: 10,
        sets: vec![
            set("digits", 10_000, 2.0, 6.0),
            set("clothes", 10_000, 2.2, 1.0),
            set("characters", 5000, 2.3, 0.6),
        ],
    }
}

#[test]
fn entropy_curves_are_drawn_with_every_set_and_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let stem = stem(&folder, "entropy");
    plot_entropy_curves(&stem, &entropy_curves()).unwrap();
    let labels = [
        "Predictive entropy",
        "digits (10000 rows)",
        "clothes (10000 rows)",
        "characters (5000 rows)",
        "cumulative",
        "predictive entropy (nats)",
    ];
    assert_pictures(&stem, &labels);
}

#[test]
fn an_entropy_that_so_many_classes_cannot_have_is_refused_by_row() {
    let folder = tempfile::tempdir().unwrap();
    for bad in [2.4, -0.1, f64::NAN] {
        let mut curves = entropy_curves();
        curves.sets[1].entropies[7] = bad;
        let message = plot_entropy_curves(folder.path().join("wrong"), &curves).unwrap_err().to_string();
        assert!(message.contains(&format!("clothes: row 7 is {bad}, expected 0 to 2.3026")), "{message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_bitmap_shows_text_where_it_was_put_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("lettered");
    let lettering = surface::Lettering {
        size: 24.0,
        colour: plotters::style::BLACK,
        anchor: (plotters::style::text_anchor::HPos::Left, plotters::style::text_anchor::VPos::Center),
        upright: false,
    };
    surface::save_picture(&stem, |surface| surface.text("Singular", (100.0, 50.0), lettering)).unwrap();
    let file = std::io::BufReader::new(fs::File::open(stem.with_extension("png")).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    reader.next_frame(&mut pixels).unwrap();
    let dark: Vec<(usize, usize)> = (0..pixels.len() / 3)
        .filter(|index| pixels[3 * index] < 128)
        .map(|index| (index % PICTURE_WIDTH as usize, index / PICTURE_WIDTH as usize))
        .collect();
    assert!(dark.len() > 150, "{}", dark.len());
    assert!(dark.iter().all(|(x, y)| (98..200).contains(x) && (38..=62).contains(y)), "{dark:?}");
}

#[test]
fn lengths_that_differ_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("wrong");
    let error = plot_predictive_band(&stem, &PredictiveBand { mean: vec![0.0; 3], ..band() }).unwrap_err();
    assert!(error.to_string().contains("mean") && error.to_string().contains("expected 400"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_sigma_of_nought_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = plot_spectrum(folder.path().join("wrong"), &spectrum(0.0)).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string()), (2, "sigma: is 0, expected more than 0".into()));
}

#[test]
fn a_new_picture_replaces_the_old_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("spectrum");
    plot_spectrum(&stem, &spectrum(0.1)).unwrap();
    plot_spectrum(&stem, &spectrum(0.2)).unwrap();
    assert!(fs::read_to_string(stem.with_extension("svg")).unwrap().contains("\u{3c3} = 0.2"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
