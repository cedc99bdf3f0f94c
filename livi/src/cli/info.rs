//! `livi info`.

use super::output::{emit, emit_json};
use crate::Result;
use clap::Args;
use cuda_kernels::{Device, Toolkit};
use serde::Serialize;

/// Say what this program is and what of the machine it uses.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  livi info\n  livi info --json")]
pub(super) struct InfoArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Info {
    version: &'static str,
    target: String,
    threads: usize,
    cpu_features: Vec<&'static str>,
    built_with_cuda: bool,
    gpu_usable: bool,
    gpu: String,
    cuda_found: Vec<String>,
    cuda_missing: Vec<String>,
    cuda_optional: Vec<String>,
}

pub(super) fn run(args: &InfoArgs) -> Result<()> {
    let built_with_cuda = cfg!(feature = "cuda");
    let toolkit = Toolkit::find();
    let card = Device::card(0).and_then(|card| {
        let (free, all) = card.memory()?;
        let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
        Ok(format!("{}, {:.1} of {:.1} GiB free; use it with --device cuda", card.name(), gib(free), gib(all)))
    });
    let info = Info {
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
        threads: threads(),
        cpu_features: cpu_features(),
        built_with_cuda,
        gpu_usable: card.is_ok(),
        gpu: card.unwrap_or_else(|error| format!("no GPU: {error}")),
        cuda_found: toolkit.found(),
        cuda_missing: toolkit.missing(),
        cuda_optional: toolkit.optional(),
    };
    if args.json {
        return emit_json(&info);
    }
    let features = if info.cpu_features.is_empty() { "none known".into() } else { info.cpu_features.join(", ") };
    // The first reason why there is no GPU is told already.
    let missing = info.cuda_missing.iter().filter(|missing| !info.gpu.ends_with(*missing));
    let missing = missing.map(|missing| format!("missing: {missing}"));
    // Of no use without a card.
    let optional = info.cuda_optional.iter().filter(|_| info.gpu_usable).map(|missing| format!("optional: {missing}"));
    let lines = info.cuda_found.iter().cloned().chain(missing).chain(optional);
    let details: String = lines.map(|line| format!("              {line}\n")).collect();
    emit(&format!(
        "livi {}\ntarget        {}\nthreads       {}\nCPU features  {features}\nCUDA          {}\n{details}",
        info.version, info.target, info.threads, info.gpu
    ))
}

/// Hardware threads of the machine, as the system allows them to this process.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Vector instructions that products and loops can use.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx", std::is_x86_feature_detected!("avx")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("fma", std::is_x86_feature_detected!("fma")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ];
        known.into_iter().filter(|feature| feature.1).map(|feature| feature.0).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}
