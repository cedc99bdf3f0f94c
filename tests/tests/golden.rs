//! Every golden case of a kind we know, in f64 and f32: outputs, Jacobians, singular values, entropies, bounds, products, gradients.

use autograd::{DType, Result as TapeResult, Tape, Var};
use faer::MatRef;
use livi::entropy::{DirectionInputs, Method, Settings, record_exact, record_surrogate};
use livi::likelihood::{gaussian_log_likelihood, softmax_log_likelihood};
use livi::network::{Layer, Network};
use livi_tests::golden::{Case, Checks, cases, folder, run, tolerance};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
#[ignore = "needs LIVI_GOLDEN_DIR"]
fn every_golden_case_holds_in_both_precisions() {
    let all = cases(&folder());
    let mut failures = Vec::new();
    for case in &all {
        for dtype in [DType::F64, DType::F32] {
            // One case that does not hold must not hide others.
            match catch_unwind(AssertUnwindSafe(|| check(case, dtype))).unwrap_or_else(|_| Err("it panicked".into())) {
                Ok((count, worst)) => {
                    println!(
                        "golden: {} in {dtype}: {count} comparisons, worst at {worst:.3} of its tolerance",
                        case.name
                    );
                }
                Err(failure) => failures.push(format!("{} in {dtype}: {failure}", case.name)),
            }
        }
    }
    assert!(failures.is_empty(), "{} do not hold:\n{}", failures.len(), failures.join("\n"));
    assert!(!all.is_empty(), "no golden case was found in {}", folder().display());
    println!("golden: {} cases", all.len());
}

/// Number of comparisons and the worst error as a part of its tolerance, or what is wrong.
fn check(case: &Case, dtype: DType) -> Result<(usize, f64), String> {
    let mut checks = Checks::default();
    match case.kind() {
        "mlp" | "mm" | "corremm" => check_sampler(case, dtype, &mut checks),
        "bnn" => check_network(case, dtype, &mut checks),
        other => return Err(format!("kind `{other}` is unknown")),
    }
    .map_err(|error| error.to_string())?;
    checks.finish()
}

/// Parameters and latents on a tape.
struct Inputs {
    names: Vec<String>,
    parameters: Vec<Var>,
    latents: Var,
    values: Vec<Vec<f64>>,
    z: Vec<f64>,
}

impl Inputs {
    fn all(&self) -> Vec<(Var, &[f64])> {
        let mut all: Vec<(Var, &[f64])> =
            self.parameters.iter().zip(&self.values).map(|(&p, v)| (p, v.as_slice())).collect();
        all.push((self.latents, &self.z));
        all
    }

    /// Parameters and latents, with the names their gradients have.
    fn wanted(&self) -> (Vec<String>, Vec<Var>) {
        let names = self.names.iter().cloned().chain(["z".to_string()]).collect();
        let vars = self.parameters.iter().copied().chain([self.latents]).collect();
        (names, vars)
    }
}

/// Outputs, Jacobians, products, entropies and bounds.
fn check_sampler(case: &Case, dtype: DType, checks: &mut Checks) -> livi::Result<()> {
    let allowed = tolerance(dtype);
    let sampler = case.sampler();
    let mut tape = Tape::new();
    let t = &mut tape;
    let specification = sampler.parameters();
    let parameters: Vec<Var> = specification.iter().map(|p| t.named_input(&p.name, &p.shape, dtype)).collect();
    let (z, z_shape) = case.tensor("z");
    let (batch, d, m) = (z_shape[0], z_shape[1], sampler.outputs());
    let latents = t.named_input("z", &[batch, d], dtype);
    let names: Vec<String> = specification.iter().map(|p| p.name.clone()).collect();
    let values = names.iter().map(|n| case.values(&format!("param.{n}"))).collect();
    let inputs = Inputs { names, parameters, latents, values, z };
    let recorded = sampler.record(t, &inputs.parameters, latents)?;
    let theta = recorded.theta;

    // Outputs and Jacobians.
    let basis = t.identity(d, dtype);
    let basis = t.reshape(basis, &[d, 1, d])?;
    let basis = t.expand(basis, &[d, batch, d])?;
    let linear = t.linearize(&[theta], &[latents])?;
    let tangent = linear.outputs[0].expect("outputs depend on latents");
    let columns = t.batch(&[tangent], &[(linear.inputs[0], basis)])?[0];
    let jacobian = t.permute(columns, &[1, 2, 0])?;
    let got = run(t, &inputs.all(), &[theta, jacobian]);
    checks.close("g", &got[0], &case.values("g"), allowed.values);
    checks.close("jacobian", &got[1], &case.values("jacobian"), allowed.values);
    let singular: Vec<f64> = got[1].chunks(m * d).flat_map(|j| singular_values(j, m, d)).collect();
    checks.close("singular values", &singular, &case.values("singular_values"), allowed.values);

    check_products(case, t, &inputs, theta, checks, allowed.values, allowed.gradients)?;
    for (s, sigma) in case.values("sigmas").into_iter().enumerate() {
        check_entropy(case, dtype, s, sigma, checks)?;
        check_bounds(case, dtype, s, sigma, &singular, checks)?;
    }
    Ok(())
}

/// J v, J^T u, gradients of <u, g>, mixed second derivatives.
fn check_products(
    case: &Case,
    t: &mut Tape,
    inputs: &Inputs,
    theta: Var,
    checks: &mut Checks,
    values: f64,
    gradients: f64,
) -> livi::Result<()> {
    let dtype = t.dtype(theta);
    let latents = inputs.latents;
    let (v, v_shape) = case.tensor("jvp_v");
    let (u, u_shape) = case.tensor("vjp_u");
    let many_v = t.input(&v_shape, dtype);
    let many_u = t.input(&u_shape, dtype);
    let linear = t.linearize(&[theta], &[latents])?;
    let tangent = linear.outputs[0].expect("outputs depend on latents");
    let jv = t.batch(&[tangent], &[(linear.inputs[0], many_v)])?[0];
    let cotangent = t.input(&u_shape[1..], dtype);
    let back = linear.transpose(t, &[cotangent])?[0].expect("outputs depend on latents");
    let jtu = t.batch(&[back], &[(cotangent, many_u)])?[0];
    let mut given = inputs.all();
    given.push((many_v, &v));
    given.push((many_u, &u));
    let got = run(t, &given, &[jv, jtu]);
    checks.close("jvp_out", &got[0], &case.values("jvp_out"), values);
    checks.close("vjp_out", &got[1], &case.values("vjp_out"), values);

    let (names, wanted) = inputs.wanted();
    let first_u = t.narrow(many_u, 0, 0, 1)?;
    let first_u = t.reshape(first_u, &u_shape[1..])?;
    let along = t.vjp(&[theta], &[first_u], &wanted)?;
    let first_v = t.narrow(many_v, 0, 0, 1)?;
    let first_v = t.reshape(first_v, &v_shape[1..])?;
    let jv = t.jvp(&[theta], &[(latents, first_v)])?[0].expect("outputs depend on latents");
    let square = t.square(jv)?;
    let by_latent = t.sum(square, &[1])?;
    let mixed_value = t.reshape(by_latent, &[v_shape[1]])?;
    let mean = t.mean_all(mixed_value)?;
    let mixed = t.grad(mean, &wanted)?;
    let outputs: Vec<Var> = along.iter().chain(&mixed).copied().chain([mixed_value]).collect();
    let got = run(t, &given, &outputs);
    for (k, name) in names.iter().enumerate() {
        checks.close(&format!("vjp_param.{name}"), &got[k], &case.values(&format!("vjp_param.{name}")), gradients);
        let want = case.values(&format!("mixed.{name}"));
        checks.close(&format!("mixed.{name}"), &got[names.len() + k], &want, gradients);
    }
    checks.close("mixed_value", &got[2 * names.len()], &case.values("mixed_value"), values);
    Ok(())
}

/// The exact entropy and its gradient, both through the log-determinant and through the surrogate.
fn check_entropy(case: &Case, dtype: DType, s: usize, sigma: f64, checks: &mut Checks) -> livi::Result<()> {
    let allowed = tolerance(dtype);
    let (mut tape, inputs, recorded) = fresh(case, dtype)?;
    let t = &mut tape;
    let exact = record_exact(t, &recorded, sigma)?;
    let batch = t.shape(exact.half_log_det)[0] as f64;
    let mean = t.mean_all(exact.half_log_det)?;
    let (names, wanted) = inputs.wanted();
    let through_value = t.grad(mean, &wanted)?;
    let scaled = t.scale(exact.surrogate, 1.0 / batch)?;
    let through_surrogate = t.grad(scaled, &wanted)?;
    let outputs: Vec<Var> = [exact.half_log_det].into_iter().chain(through_value).chain(through_surrogate).collect();
    let got = run(t, &inputs.all(), &outputs);
    let split = row(&case.values("entropy_split_half"), s, batch as usize);
    checks.close(&format!("entropy_split_half {sigma}"), &got[0], &split, allowed.values);
    let constant = case.values("entropy_split_const")[s];
    let ours = livi::entropy::Constants::new(t.shape(recorded.theta)[1], t.shape(recorded.latents)[1], sigma).excess;
    checks.close("entropy_split_const", &[ours], &[constant], allowed.values);
    let whole: Vec<f64> = got[0].iter().map(|h| h + ours).collect();
    checks.close(&format!("entropy {sigma}"), &whole, &row(&case.values("entropy"), s, batch as usize), allowed.values);
    for (k, name) in names.iter().enumerate() {
        let want = case.values(&format!("grad_entropy.{s}.{name}"));
        checks.close(&format!("grad_entropy.{s}.{name}"), &got[1 + k], &want, allowed.gradients);
        let what = format!("grad_entropy.{s}.{name} by the surrogate");
        checks.close(&what, &got[1 + names.len() + k], &want, allowed.gradients);
    }
    Ok(())
}

/// The one-singular-value bounds, and the gradient of the lower one from the smallest singular vectors.
fn check_bounds(
    case: &Case,
    dtype: DType,
    s: usize,
    sigma: f64,
    singular: &[f64],
    checks: &mut Checks,
) -> livi::Result<()> {
    let allowed = tolerance(dtype);
    let (mut tape, inputs, recorded) = fresh(case, dtype)?;
    let t = &mut tape;
    let (batch, d) = (t.shape(recorded.latents)[0], t.shape(recorded.latents)[1]);
    let m = t.shape(recorded.theta)[1];
    let constant = livi::entropy::Constants::new(m, d, sigma).excess;
    let bound = |s: f64| d as f64 / 2.0 * (s * s + sigma * sigma).ln() + constant;
    let largest: Vec<f64> = singular.chunks(d).map(|s| bound(s[0])).collect();
    let smallest: Vec<f64> = singular.chunks(d).map(|s| bound(s[d - 1])).collect();
    checks.close(&format!("upper {sigma}"), &largest, &row(&case.values("upper"), s, batch), allowed.values);
    checks.close(&format!("lower {sigma}"), &smallest, &row(&case.values("lower"), s, batch), allowed.values);

    let found = livi_tests::golden::smallest_directions(case, dtype, sigma)?;
    let lower: Vec<f64> = found.values.iter().map(|v| v + constant).collect();
    checks.close(&format!("lower {sigma} by iteration"), &lower, &row(&case.values("lower"), s, batch), allowed.values);
    let directions = DirectionInputs::record(t, Method::Smallest, &Settings::default(), batch, d, dtype);
    let total = record_surrogate(t, &recorded, directions)?.value;
    let mean = t.scale(total, 1.0 / batch as f64)?;
    let (names, wanted) = inputs.wanted();
    let gradient = t.grad(mean, &wanted)?;
    let mut given = inputs.all();
    given.push((directions.v, &found.vectors));
    given.push((directions.factors, &found.factors));
    let got = run(t, &given, &gradient);
    // The singular vectors' error grows with the inverse gap between the two smallest singular values, and where the smallest is lost in rounding the
    // gradient d s / (s^2 + sigma^2) ds of its bound is, too. With fewer weights than latents it is 0 on both sides, exactly.
    let gap = case.json["gap_min"].as_f64().unwrap_or(1.0).max(f64::EPSILON);
    let epsilon = if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let lost = |s: &[f64]| d as f64 * epsilon * s[0] / (s[d - 1] * s[d - 1] + sigma * sigma);
    let lost = if m < d { 0.0 } else { singular.chunks(d).map(lost).fold(0.0, f64::max) };
    let least = lost / (allowed.gradients / gap);
    for (k, name) in names.iter().enumerate() {
        let want = case.values(&format!("grad_lower.{s}.{name}"));
        checks.close_above(&format!("grad_lower.{s}.{name}"), &got[k], &want, allowed.gradients / gap, least);
    }
    Ok(())
}

fn fresh(case: &Case, dtype: DType) -> livi::Result<(Tape, Inputs, livi::sampler::Recorded)> {
    let sampler = case.sampler();
    let mut tape = Tape::new();
    let specification = sampler.parameters();
    let parameters: Vec<Var> = specification.iter().map(|p| tape.named_input(&p.name, &p.shape, dtype)).collect();
    let (z, shape) = case.tensor("z");
    let latents = tape.named_input("z", &shape, dtype);
    let names: Vec<String> = specification.iter().map(|p| p.name.clone()).collect();
    let values = names.iter().map(|n| case.values(&format!("param.{n}"))).collect();
    let recorded = sampler.record(&mut tape, &parameters, latents)?;
    Ok((tape, Inputs { names, parameters, latents, values, z }, recorded))
}

fn row(values: &[f64], index: usize, length: usize) -> Vec<f64> {
    values[index * length..(index + 1) * length].to_vec()
}

/// Singular values of a row-major m x d matrix, descending, padded with zeros to d.
fn singular_values(j: &[f64], m: usize, d: usize) -> Vec<f64> {
    let mut values = MatRef::from_row_major_slice(j, m, d).singular_values().expect("a converged SVD");
    values.resize(d, 0.0);
    values
}

/// Outputs, loss, gradients and Hessian-vector products.
fn check_network(case: &Case, dtype: DType, checks: &mut Checks) -> livi::Result<()> {
    let allowed = tolerance(dtype);
    let network = case.network();
    let layout = case.json["layout"].as_array().expect("a layout");
    assert_eq!(network.layout().entries().len(), layout.len(), "{}: layout", case.name);
    for (entry, want) in network.layout().entries().iter().zip(layout) {
        assert_eq!(entry.name, want["name"].as_str().unwrap_or_default(), "{}: layout", case.name);
        assert_eq!(entry.range.start as u64, want["start"].as_u64().unwrap_or(u64::MAX), "{}: layout", case.name);
    }
    let mut tape = Tape::new();
    let t = &mut tape;
    let m = network.layout().len();
    let flat = t.input(&[m], dtype);
    let (x_values, x_shape) = case.tensor("x");
    let x = t.input(&x_shape, dtype);
    let theta = t.reshape(flat, &[1, m])?;
    let recorded = network.record_with(t, theta, x, None)?;
    let outputs = recorded.values;
    let (flat_values, v) = (case.values("flat"), case.values("hvp_v"));
    let mut given: Vec<(Var, Vec<f64>)> = vec![(flat, flat_values), (x, x_values)];
    let mut wanted = vec![("grad_flat", flat), ("grad_x", x)];
    let shape = t.shape(outputs)[1..].to_vec();
    let loss = match case.json["loss_kind"].as_str().expect("a kind of loss") {
        "sum(out*cotangent)" => {
            let cotangent = t.input(&shape, dtype);
            given.push((cotangent, case.values("cotangent")));
            let weighted = t.mul(outputs, cotangent)?;
            t.sum_all(weighted)?
        }
        "mean softmax cross-entropy" => {
            let y = t.input(&shape, dtype);
            given.push((y, case.indicators("y", shape[1])));
            let log_likelihood = softmax_log_likelihood(t, outputs, y)?;
            t.scale(log_likelihood, -1.0 / shape[0] as f64)?
        }
        _ => {
            let y = t.input(&shape, dtype);
            let log_var = t.input(&[1], dtype);
            given.extend([(y, case.values("y")), (log_var, case.values("log_var"))]);
            wanted.push(("grad_log_var", log_var));
            let std = noise_std(t, log_var)?;
            let log_likelihood = gaussian_log_likelihood(t, outputs, y, std)?;
            t.neg(log_likelihood)?
        }
    };
    let direction = t.input(&[m], dtype);
    given.push((direction, v));
    let gradients = t.grad(loss, &wanted.iter().map(|w| w.1).collect::<Vec<_>>())?;
    let product = t.hvp(loss, flat, direction)?;
    let mut all = vec![outputs, product];
    all.extend(&gradients);
    all.extend(recorded.statistics);
    if case.has("loss") {
        all.push(loss);
    }
    let given: Vec<(Var, &[f64])> = given.iter().map(|(var, values)| (*var, values.as_slice())).collect();
    let got = run(t, &given, &all);
    checks.close("out", &got[0], &case.values("out"), allowed.values);
    checks.close("hvp", &got[1], &case.values("hvp"), allowed.gradients);
    for ((name, _), got) in wanted.iter().zip(&got[2..]) {
        checks.close(name, got, &case.values(name), allowed.gradients);
    }
    if case.has("loss") {
        checks.close("loss", &got[all.len() - 1], &case.values("loss"), allowed.values);
    }
    if recorded.statistics.is_some() {
        check_statistics(case, &network, &got[2 + gradients.len()], checks, allowed.values);
    }
    Ok(())
}

/// Batch statistics: ours divide variances by the number of values, the vectors' by one less.
fn check_statistics(case: &Case, network: &Network, found: &[f64], checks: &mut Checks, allowed: f64) {
    let images = case.tensor("x").1[0];
    let mut sizes = Vec::new();
    normalised_sizes(network.layers(), &mut [network.input()[1], network.input()[2]], &mut sizes);
    let mut at = 0;
    for (k, [rows, columns]) in sizes.into_iter().enumerate() {
        let mean = case.values(&format!("bn.{k}.batch_mean"));
        let channels = mean.len();
        let count = (images * rows * columns) as f64;
        let unbiased: Vec<f64> =
            found[at + channels..at + 2 * channels].iter().map(|v| v * count / (count - 1.0)).collect();
        checks.close(&format!("bn.{k}.batch_mean"), &found[at..at + channels], &mean, allowed);
        let want = case.values(&format!("bn.{k}.batch_var_unbiased"));
        checks.close(&format!("bn.{k}.batch_var_unbiased"), &unbiased, &want, allowed);
        at += 2 * channels;
    }
    assert_eq!(at, found.len(), "{}: statistics", case.name);
    assert!(!case.has(&format!("bn.{}.batch_mean", network.statistics())), "{}: statistics", case.name);
}

/// Rows and columns that each normalisation sees.
fn normalised_sizes(layers: &[Layer], image: &mut [usize; 2], sizes: &mut Vec<[usize; 2]>) {
    for layer in layers {
        match layer {
            Layer::BatchNorm { .. } => sizes.push(*image),
            Layer::Conv { size, stride, padding, .. } => {
                for k in 0..2 {
                    image[k] = (image[k] + 2 * padding[k] - size[k]) / stride[k] + 1;
                }
            }
            Layer::Residual { before, main, .. } => {
                normalised_sizes(before, image, sizes);
                normalised_sizes(main, image, sizes);
            }
            _ => {}
        }
    }
}

/// exp(log_var / 2) + 1e-8, a scalar.
fn noise_std(t: &mut Tape, log_var: Var) -> TapeResult<Var> {
    let half = t.scale(log_var, 0.5)?;
    let std = t.exp(half)?;
    let std = t.add_scalar(std, 1e-8)?;
    t.reshape(std, &[])
}
