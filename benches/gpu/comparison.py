"""The benchmarks on the card beside PyTorch and JAX."""

import json

# Names and sizes of the jobs that have a target.
WRN_LATENT = "wrn m=2745274 d=9025 latents=1"
WRN_STEP = "wrn m=2745274 d=9025 batch=128 S=10"
LENET_STEP = "lenet m=44426 d=4225 batch=256 S=10"
STEPS = ("step_s_min", "step_slq", "step_recommended")

# torch.compile takes minutes to compile each route: with these it hands functions back as they are, and what it would have timed is left out.
NO_COMPILATION = {"TORCH_COMPILE_DISABLE": "1", "TORCHDYNAMO_DISABLE": "1"}
SAMPLERS = "forward,jvp,vjp,s_min_value,slq_value_1x10,slq_value_8x30,slq_grad_krylov_1x10"
QUICK = ["--budget", "1", "--reps", "9"]


class Entry:
    """One command: the project's when `framework` is None."""

    def __init__(self, title, program, options, limit, tf32=False, framework=None):
        self.title, self.program, self.options, self.limit, self.tf32, self.framework = title, program, options, limit, tf32, framework


def own(title, program, only, limit):
    """The project's side in single precision and in TF32."""
    return [Entry(title, program, ["--only", only] if only else [], limit, tf32) for tf32 in (False, True)]


def peer(title, script, options, limit, framework="torch", tf32=False):
    return Entry(title, script, options, limit, tf32, framework)


# In order of weight: when time runs out the last ones are left out. Words before the colon are what --jobs selects by.
ENTRIES = [
    *own("wrn network", "networks", "d=9025", 40),
    *own("wrn step", "large_samplers", "d=9025 batch", 60),
    peer("wrn step", "wrn_step.py", ["--samples", "10", "--routes", "loop", "--only", "network_gradient,step_s_min,step_slq", *QUICK], 75),
    *own("lenet network", "networks", "d=4225", 30),
    *own("lenet step", "large_samplers", "d=4225 batch", 40),
    peer("lenet step", "lenet_step.py", ["--only", "network_gradient,step_s_min,step_slq", *QUICK], 50),
    peer("lenet step", "lenet_step.py", ["--tf32", "--only", "network_gradient,step_s_min,step_slq", *QUICK], 50, tf32=True),
    *own("wrn sampler", "large_samplers", "d=9025 latents", 70),
    peer("wrn sampler", "mm_entropy.py", ["--size", "wrn", "--routes", "hand", "--only", SAMPLERS, *QUICK], 45),
    *own("lenet sampler", "large_samplers", "d=4225 latents", 60),
    peer("lenet sampler", "mm_entropy.py", ["--size", "lenet", "--routes", "hand", "--only", SAMPLERS, *QUICK], 45),
    Entry("small samplers", "small_samplers", [], 40),
    peer("small samplers", "exact_entropy.py", ["--only", "entropy_value_and_grad", "--routes", "gram", *QUICK], 30),
    peer("small samplers", "exact_entropy.py", ["--only", "entropy_value_and_grad", "--routes", "gram", *QUICK], 40, "jax"),
    peer("small samplers", "toy_step.py", QUICK, 30),
    peer("small samplers", "toy_step.py", QUICK, 40, "jax"),
    *own("hot parts", "hot_parts", None, 50),
    peer("hot parts", "gemm.py", ["--budget", "0.3", "--reps", "9"], 30),
    peer("wrn grouped", "wrn_step.py", ["--samples", "10", "--routes", "grouped", "--only", "network_gradient", *QUICK], 60),
    peer("wrn vmap", "wrn_step.py", ["--samples", "10", "--routes", "vmap", "--only", "network_gradient", *QUICK], 60),
]


class Results:
    """Records of both sides by job, sizes and precision."""

    def __init__(self):
        self.livi, self.peers = {}, {}

    def take(self, record, entry):
        note = record.get("note", "")
        tf32 = entry.tf32 or "TF32" in note
        key = record["job"], record["sizes"], "TF32" if tf32 else record["dtype"]
        if entry.framework is None:
            self.livi[key] = record
        else:
            self.peers.setdefault(key, []).append(record)

    def quickest(self, key):
        records = self.peers.get(key, [])
        return min(records, key=lambda record: record["median_ms"], default=None)

    def ratio(self, key):
        """Milliseconds of the quickest peer over the project's, or None."""
        own, best = self.livi.get(key), self.quickest(key)
        return best["median_ms"] / own["median_ms"] if own and best else None


def run(state, report, clock):
    results, unfinished = Results(), []
    entries = [entry for entry in ENTRIES if state.jobs in f"{entry.title}: {entry.program}" and wanted(entry, state)]
    for entry in entries:
        name = " ".join([entry.program, *entry.options, *(["TF32"] if entry.tf32 and entry.framework is None else [])])
        if clock.left() < 8:
            unfinished.append(f"`{name}`: not run, no time was left")
            continue
        command, environment = command_of(entry, state)
        if command is None:
            unfinished.append(f"`{name}`: {environment}")
            continue
        outcome = state.runner.run(command, environment, min(entry.limit * state.stretch, clock.left()))
        for line in outcome.lines:
            if line.startswith("{"):
                keep(line, entry, state, results)
        if outcome.code != 0:
            unfinished.append(f"`{name}`: {outcome.reason()}")
        write(report, results, unfinished, state)
    write(report, results, unfinished, state)
    return bool(results.livi) and not unfinished


def wanted(entry, state):
    on_card = state.device.startswith("cuda")
    if entry.framework is None:
        return on_card or not entry.tf32
    return entry.framework in state.frameworks and (on_card or not entry.tf32)


def command_of(entry, state):
    """The command and its environment, or None and why there is none."""
    if entry.framework is None:
        program = state.programs / entry.program
        if not program.exists():
            return None, "it was not packed"
        return [program, "--device", state.device, "--json", *(["--tf32"] if entry.tf32 else []), *entry.options], state.environment
    script = state.pack / "peers" / entry.program
    if not script.exists():
        return None, "the peers' scripts were not packed"
    device = "cuda" if state.device.startswith("cuda") else "cpu"
    command = [state.python, script, "--device", device, "--framework", entry.framework, "--json", *entry.options]
    return command, {**state.outside, **({} if state.compile else NO_COMPILATION)}


def keep(line, entry, state, results):
    try:
        record = json.loads(line)
    except ValueError:
        return
    if not state.compile and "compile" in record.get("note", ""):
        return
    with open(state.records, "a") as file:
        file.write(json.dumps({**record, "tf32": entry.tf32 or "TF32" in record.get("note", "")}) + "\n")
    results.take(record, entry)


def write(report, results, unfinished, state):
    parts = [targets(results), side_by_side(results), replays(results)]
    notes = ["Medians in ms; of the peers the quickest route in the same precision. `peak` is what was taken of the card's memory, in MiB, in brackets what the plans announced; for "
             "PyTorch its allocator's peak."]
    if not state.compile:
        notes.append("Routes with `torch.compile` were left out: each takes minutes to compile.")
    if unfinished:
        parts.append("Not complete:\n\n" + "\n".join(f"- {line}" for line in unfinished))
    report.set("Benchmarks", "\n\n".join([" ".join(notes), *filter(None, parts)]))


def table(head, rows):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def side_by_side(results):
    rows = []
    for key, own in results.livi.items():
        best, ratio = results.quickest(key), results.ratio(key)
        job, sizes, precision = key
        rate = " ".join(
            [*([f"{own['gflops'] / 1e3:.2f} TFLOP/s"] if own.get("gflops") else []), *([f"{own['gigabytes_per_s']:.0f} GB/s"] if "gigabytes_per_s" in own else [])]
        )
        rows.append([
            job, sizes, precision, f"{own['median_ms']:.4g}", f"{own['min_ms']:.4g}", peer_cell(best), "-" if ratio is None else f"{ratio:.2f}",
            rate or "-", peak_cell(own), "-" if best is None or best.get("peak_mb") is None else f"{best['peak_mb']:.0f}",
        ])  # fmt: skip
    head = ["job", "sizes", "precision", "livi", "least", "quickest peer", "peer / livi", "rate", "peak", "peer's peak"]
    alone = [key for key in results.peers if key not in results.livi]
    text = table(head, rows) if rows else ""
    if alone:
        lines = [[*key, peer_cell(results.quickest(key))] for key in alone]
        text += "\n\nJobs of the peers alone:\n\n" + table(["job", "sizes", "precision", "quickest peer"], lines)
    return text


def peer_cell(record):
    if record is None:
        return "-"
    return f"{record['median_ms']:.4g} ({', '.join(filter(None, [record['framework'], record.get('note')]))})"


def peak_cell(record):
    announced = f" ({record['announced_mb']:.0f})" if "announced_mb" in record else ""
    return (f"{record['peak_mb']:.0f}" if "peak_mb" in record else "-") + announced


def replays(results):
    """What lies between the steps of a replayed plan."""
    rows = []
    for (job, sizes, precision), own in results.livi.items():
        if own.get("steps"):
            gap = own["median_ms"] - own["steps_ms"]
            rows.append([job, sizes, precision, str(own["steps"]), f"{own['median_ms']:.4g}", f"{own['steps_ms']:.4g}", f"{1e3 * gap / own['steps']:.2f}"])
    if not rows:
        return ""
    head = ["job", "sizes", "precision", "steps", "replay", "steps alone", "us a step between"]
    words = "Replayed plans against the sum of their steps, each timed by events when it is issued by itself; below zero it is the events and the gaps between launches that weigh."
    return f"{words}\n\n{table(head, rows)}"


def targets(results):
    rows = []

    def row(what, target, value, met):
        rows.append([what, target, "not measured" if value is None else value, "-" if value is None else "met" if met else "**missed**"])

    def within(what, key, most):
        own = results.livi.get(key)
        row(what, f"<= {most / 1e3:g} s", own and f"{own['median_ms'] / 1e3:.3f} s", own and own["median_ms"] <= most)

    within("slq 8 x 30 at CIFAR-10 size", ("slq_value_8x30", WRN_LATENT, "f32"), 150)
    within("exact log-determinant at CIFAR-10 size", ("exact f64", WRN_LATENT, "f64"), 5000)
    for name, sizes, least in [("WRN-16-4", WRN_STEP, 1.5), ("LeNet", LENET_STEP, 5.0)]:
        for precision in ("f32", "TF32"):
            for job in STEPS:
                ratio = step_ratio(results, job, sizes, precision)
                row(f"{name} {job}, {precision}", f">= {least:g} x the quickest peer", ratio and f"{ratio:.2f} x", ratio and ratio >= least)
    for job in STEPS:
        own = results.livi.get((job, WRN_STEP, "TF32"))
        rate = own and 1280 / own["median_ms"] * 1e3
        row(f"WRN-16-4 {job}, TF32", ">= 40,000 image-samples/s", rate and f"{rate:,.0f}", rate and rate >= 40_000)
    for (job, sizes, precision), own in results.livi.items():
        if job == "network_gradient" and own.get("steps"):
            gap = max(0.0, own["median_ms"] - own["steps_ms"]) / own["median_ms"]
            row(f"gaps between the steps of a replayed plan, {sizes}, {precision}", "< 5 %", f"{100 * gap:.1f} %", gap < 0.05)
    return table(["what", "target", "measured", ""], rows)


def step_ratio(results, job, sizes, precision):
    """A step with the presets' own entropy, which no peer has, stands against the quickest of the peers' steps."""
    if job != "step_recommended":
        return results.ratio((job, sizes, precision))
    own = results.livi.get((job, sizes, precision))
    times = [record["median_ms"] for other in STEPS[:2] for record in results.peers.get((other, sizes, precision), [])]
    return min(times) / own["median_ms"] if own and times else None
