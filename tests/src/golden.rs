//! Reading golden cases (NAME.json and NAME.safetensors) and comparing with them.

use autograd::{DType, Machine, Plan, Request, Tape, Var};
use livi::activation::Activation;
use livi::entropy::{JacobianPrograms, Method, Settings, estimate};
use livi::export::{TensorFile, read_tensors};
use livi::network::{Network, wide_block};
use livi::sampler::{CorrelatedSampler, Head, MatMulSampler, MlpSampler, Sampler};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One case.
pub struct Case {
    /// File name without extension.
    pub name: String,
    /// Semantics.
    pub json: Value,
    /// Arrays.
    pub tensors: TensorFile,
}

/// The folder of golden cases: `LIVI_GOLDEN_DIR`, else `../shared/golden`; both as seen from the project's root.
pub fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    root.join(std::env::var_os("LIVI_GOLDEN_DIR").unwrap_or_else(|| "../shared/golden".into()))
}

/// All cases of a folder, by name.
///
/// # Panics
/// If a file cannot be read: a golden test never passes without vectors.
pub fn cases(folder: &Path) -> Vec<Case> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|path| Case {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            json: parsed(&std::fs::read_to_string(&path).expect("a readable case"))
                .unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            tensors: read_tensors(path.with_extension("safetensors")).expect("a safetensors file beside the JSON"),
        })
        .collect()
}

/// JSON in which numbers may also be `NaN` or `Infinity`, as Python writes them: those become null.
fn parsed(text: &str) -> serde_json::Result<Value> {
    let finite = ["NaN", "-Infinity", "Infinity"].iter().fold(text.to_string(), |text, no| text.replace(no, "null"));
    serde_json::from_str(&finite)
}

impl Case {
    /// Kind: `mlp`, `mm`, `corremm` or `bnn`.
    pub fn kind(&self) -> &str {
        self.json["kind"].as_str().expect("a kind")
    }

    /// A tensor and its shape.
    pub fn tensor(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let tensor = self.tensors.get(name).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let livi::export::TensorData::F64(values) = &tensor.data else { panic!("{}: {name} is not f64", self.name) };
        (values.clone(), tensor.shape.clone())
    }

    /// Classes, as indicator vectors of so many.
    pub fn indicators(&self, name: &str, classes: usize) -> Vec<f64> {
        let tensor = self.tensors.get(name).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let livi::export::TensorData::I64(labels) = &tensor.data else { panic!("{}: {name} is not i64", self.name) };
        labels.iter().flat_map(|&y| (0..classes).map(move |c| f64::from(u8::from(y == c as i64)))).collect()
    }

    /// A tensor's values.
    pub fn values(&self, name: &str) -> Vec<f64> {
        self.tensor(name).0
    }

    /// Whether the case has a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.names().any(|n| n == name)
    }

    fn pair(value: &Value) -> [usize; 2] {
        let list: Vec<usize> = Self::list(value);
        [list[0], list[1]]
    }

    fn list(value: &Value) -> Vec<usize> {
        value.as_array().expect("a list").iter().map(|v| v.as_u64().expect("a size") as usize).collect()
    }

    /// The activation.
    pub fn activation(name: &Value) -> Activation {
        serde_json::from_value(name.clone()).expect("a known activation")
    }

    /// The network of a case of kind `bnn`: a multilayer perceptron, LeNet, a wide residual block or a whole wide residual network.
    ///
    /// # Panics
    /// For arguments of none of them.
    pub fn network(&self) -> Network {
        let args = self.json["args"].as_array().expect("arguments");
        let first = self.json["layout"][0]["name"].as_str().expect("a name");
        let image = &self.tensor("x").1[1..];
        let outputs = || self.json["shapes"]["out"][1].as_u64().expect("a number of classes") as usize;
        let network = match args.as_slice() {
            [] if first == "conv1.weight" => Network::lenet(image, outputs(), Activation::Relu),
            [widths, activation] if widths.is_array() => {
                Network::mlp(&Self::list(widths), Self::activation(activation))
            }
            [_, _] => {
                let [depth, width] = Self::pair(&self.json["args"]);
                Network::wide_resnet(image, depth, width, outputs(), Activation::Relu)
            }
            [_, _, _] if first == "block.conv1.weight" => {
                let sizes = Self::list(&self.json["args"]);
                let block = wide_block("block", sizes[0], sizes[1], sizes[2], Activation::Relu);
                Network::new(image, vec![block])
            }
            _ => panic!("{}: no known network has arguments {args:?} and a first tensor {first}", self.name),
        };
        network.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// The case's sampler.
    ///
    /// # Panics
    /// For a kind that is no sampler's.
    pub fn sampler(&self) -> Box<dyn Sampler> {
        let json = &self.json;
        let activation = Self::activation(&json["act"]);
        let size = |key: &str| json[key].as_u64().expect("a size") as usize;
        match self.kind() {
            "mlp" => Box::new(
                MlpSampler::new(size("d"), &Self::list(&json["hidden"]), size("m"), activation)
                    .expect("a valid sampler"),
            ),
            "mm" => Box::new(
                MatMulSampler::new(
                    Self::pair(&json["latent"]),
                    Self::pair(&json["hidden"]),
                    size("n_hidden"),
                    &[Self::pair(&json["out"])],
                    activation,
                )
                .expect("a valid sampler"),
            ),
            "corremm" => {
                let trunk: Vec<[usize; 2]> = json["trunk"].as_array().expect("a list").iter().map(Self::pair).collect();
                let heads: Vec<Head> = json["subs"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|h| Head {
                        input: Self::pair(&h["input"]),
                        hidden: Self::pair(&h["hidden"]),
                        outputs: vec![Self::pair(&h["out"])],
                        hidden_layers: h["n_hidden"].as_u64().expect("a count") as usize,
                    })
                    .collect();
                let noise = Self::pair(&json["noise"]);
                Box::new(CorrelatedSampler::new(noise, &trunk, &heads, activation).expect("a valid sampler"))
            }
            other => panic!("{}: kind {other} is no sampler", self.name),
        }
    }
}

/// A machine on the device that the variable `LIVI_TEST_DEVICE` names, else on one thread of the processor.
///
/// # Errors
/// Those of the device.
pub fn machine() -> autograd::Result<Machine> {
    match std::env::var("LIVI_TEST_DEVICE") {
        Ok(device) => Machine::on(device.parse()?),
        Err(_) => Machine::cpu(1),
    }
}

/// Runs a recorded program: inputs with their values, outputs read back.
///
/// # Panics
/// If planning or running fails.
pub fn run(tape: &Tape, inputs: &[(Var, &[f64])], outputs: &[Var]) -> Vec<Vec<f64>> {
    let mut machine = machine().expect("a machine");
    let plan = Plan::new(tape, &Request::outputs(outputs)).expect("a plan");
    let needed: Vec<Var> = plan.inputs().to_vec();
    let plan = machine.load(plan).expect("a loaded plan");
    for (var, values) in inputs.iter().filter(|(var, _)| needed.contains(var)) {
        machine.write_f64(*var, values).expect("an input that fits");
    }
    machine.run(plan).expect("a run");
    outputs.iter().map(|&y| machine.read_f64(y).expect("an output")).collect()
}

/// The smallest singular value's bound at each latent of a case, with the directions of its gradient.
#[derive(Debug, Default)]
pub struct SmallestDirections {
    /// d/2 log(s_min^2 + sigma^2), one a latent.
    pub values: Vec<f64>,
    /// Singular vectors (1, S, d).
    pub vectors: Vec<f64>,
    /// (1, S).
    pub factors: Vec<f64>,
}

/// Runs the project's own method on a case's sampler.
///
/// # Errors
/// Those of the method.
pub fn smallest_directions(case: &Case, dtype: DType, sigma: f64) -> livi::Result<SmallestDirections> {
    let sampler = case.sampler();
    let mut tape = Tape::new();
    let specification = sampler.parameters();
    let parameters: Vec<Var> = specification.iter().map(|p| tape.named_input(&p.name, &p.shape, dtype)).collect();
    let programs = JacobianPrograms::record(&mut tape, &*sampler, &parameters, dtype, 8)?;
    let mut machine = machine()?;
    let jacobian = programs.load(&mut machine)?;
    for (&parameter, specification) in parameters.iter().zip(&specification) {
        match machine.write_f64(parameter, &case.values(&format!("param.{}", specification.name))) {
            // Biases have no part in a Jacobian's programs.
            Ok(()) | Err(autograd::Error::Unbound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    jacobian.fold(&mut machine)?;
    let mut found = SmallestDirections::default();
    let mut generator = StdRng::seed_from_u64(1);
    let settings = Settings::default();
    for latent in case.values("z").chunks(sampler.latents()) {
        jacobian.linearise(&mut machine, latent)?;
        let estimate = match dtype {
            DType::F64 => {
                let mut map = jacobian.map::<f64>(&mut machine);
                estimate(Method::Smallest, &mut map, sigma, &settings, &mut generator)?
            }
            _ => {
                let mut map = jacobian.map::<f32>(&mut machine);
                estimate(Method::Smallest, &mut map, sigma, &settings, &mut generator)?
            }
        };
        found.values.push(estimate.half_log_det);
        for direction in estimate.directions {
            found.vectors.extend(direction.v);
            found.factors.push(direction.factor);
        }
    }
    Ok(found)
}

/// Tolerances of a precision.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative error of values.
    pub values: f64,
    /// Relative error of gradients.
    pub gradients: f64,
}

/// f64: 1e-9 for values, 1e-7 for gradients; f32: 2e-4 for both.
pub fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F64 => Tolerance { values: 1e-9, gradients: 1e-7 },
        _ => Tolerance { values: 2e-4, gradients: 2e-4 },
    }
}

/// Largest error relative to the largest magnitude wanted, but to no less than `least`.
pub fn relative_error(got: &[f64], want: &[f64], least: f64) -> f64 {
    assert_eq!(got.len(), want.len(), "lengths differ");
    let scale = want.iter().fold(least, |a, w| a.max(w.abs()));
    // What is not a number is wrong on either side.
    let error = |(g, w): (&f64, &f64)| if (g - w).is_nan() { f64::INFINITY } else { (g - w).abs() };
    let worst = got.iter().zip(want).map(error).fold(0.0, f64::max);
    if worst == 0.0 { 0.0 } else { worst / scale.max(1e-300) }
}

/// Collects comparisons of a case.
#[derive(Default)]
pub struct Checks {
    failures: Vec<String>,
    worst: f64,
    count: usize,
}

impl Checks {
    /// Compares within a relative tolerance.
    pub fn close(&mut self, what: &str, got: &[f64], want: &[f64], tolerance: f64) {
        self.close_above(what, got, want, tolerance, 0.0);
    }

    /// Compares within a tolerance relative to the largest magnitude wanted, or to `least` where that is larger: what is smaller is not known better.
    pub fn close_above(&mut self, what: &str, got: &[f64], want: &[f64], tolerance: f64, least: f64) {
        let error = relative_error(got, want, least);
        self.count += 1;
        self.worst = self.worst.max(error / tolerance);
        if error > tolerance {
            self.failures.push(format!("{what}: relative error {error:.2e}, allowed {tolerance:.0e}"));
        }
    }

    /// Number of comparisons and the worst error as a part of its tolerance, or all that miss.
    ///
    /// # Errors
    /// The misses, a line each; also where nothing was compared.
    pub fn finish(self) -> Result<(usize, f64), String> {
        match (self.count, self.failures.len()) {
            (0, _) => Err("nothing was compared".into()),
            (count, 0) => Ok((count, self.worst)),
            (count, missed) => Err(format!("{missed} of {count} miss:\n{}", self.failures.join("\n"))),
        }
    }
}
