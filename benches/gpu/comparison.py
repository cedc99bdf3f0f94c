"""The benchmarks beside PyTorch: times, rates, memory, and what lies between the steps of replayed plans."""

import json

from report import bullets, table

SLQ, EXACT = "slq 8 x 30 at CIFAR-10 size, f32", "exact log-determinant at CIFAR-10 size, f64"
MEMORY, GAPS = "memory taken of the card", "gaps between the steps of a replayed plan"
# Names and sizes that the benchmarks give to the jobs asked for.
WRN_LATENT = "wrn m=2745274 d=9025 latents=1"
NETWORKS = {"WRN-16-4": ("wrn m=2745274 d=9025 batch=128 S=10", 1.5), "LeNet": ("lenet m=44426 d=4225 batch=256 S=10", 5.0)}
STEPS = {"step_s_min": "bound", "step_slq": "slq at all latents", "step_recommended": "recommended entropy"}
PRECISIONS = ("f32", "TF32")
# Where cuDNN is there, convolutions in TF32 are its own: what the project's own kernels take instead is measured beside it.
OWN = "TF32, own convolutions"
WITHOUT_CUDNN = {"LIVI_CUDNN": "0"}
# Image-samples of a step of the first network, and how many a second are asked for.
IMAGE_SAMPLES, RATE = 1280, 40_000
# What a plan's memory may differ by from what is taken: the card gives pages of 2 MiB to each of a few allocations, and kernels lie there too.
PAGES, SHARE = 16, 0.01
# The largest part of a replayed plan's time that may lie between its steps.
GAP = 0.05


def ratio_name(network, job, precision):
    return f"{network}, {STEPS[job]}, {precision}"


def rate_name(job):
    return f"WRN-16-4, {STEPS[job]}, TF32, image-samples/s"


ASKED = {
    SLQ: "<= 0.15 s",
    EXACT: "<= 5 s",
    **{
        ratio_name(network, job, precision): f">= {least:g} x the quickest PyTorch step"
        for network, (_, least) in NETWORKS.items() for precision in PRECISIONS for job in STEPS
    },
    **{rate_name(job): f">= {RATE:,}" for job in STEPS},
    GAPS: f"< {100 * GAP:.0f} % of its time",
    MEMORY: f"what plans announce, within {100 * SHARE:.0f} % or {PAGES} MiB",
}  # fmt: skip

QUICK = "--budget 1 --reps 9 --json --framework torch"
SAMPLERS = "--routes hand --only forward,jvp,vjp,s_min_value,slq_value_1x10,slq_value_8x30,slq_grad_krylov_1x10"
WHOLE = "--only network_gradient,step_s_min,step_slq"
# Title, the project's program with its filter and the seconds for each precision, the peers' commands with their seconds. In order of weight: when
# time runs out the last ones are left out.
JOBS = [
    ("WRN-16-4 step", "large_samplers", "d=9025 batch", 60, [(f"wrn_step.py --samples 10 --routes loop {WHOLE}", 90)]),
    ("CIFAR-10 sampler", "large_samplers", "d=9025 latents", 70, [(f"mm_entropy.py --size wrn {SAMPLERS}", 45)]),
    ("LeNet step", "large_samplers", "d=4225 batch", 40, [(f"lenet_step.py {WHOLE}", 50), (f"lenet_step.py --tf32 {WHOLE}", 50)]),
    ("WRN-16-4 network", "networks", "d=9025", 40, []),
    ("LeNet network", "networks", "d=4225", 30, []),
    ("LeNet sampler", "large_samplers", "d=4225 latents", 60, [(f"mm_entropy.py --size lenet {SAMPLERS}", 45)]),
    ("small samplers", "small_samplers", "", 40, [("exact_entropy.py --routes gram --only entropy_value_and_grad", 30), ("toy_step.py", 30)]),
    ("hot parts", "hot_parts", "", 50, [("gemm.py", 30)]),
    ("other routes", None, "", 0, [(f"wrn_step.py --samples 10 --routes {route} --only network_gradient", 60) for route in ("grouped", "vmap")]),
]
# torch.compile takes minutes for each route: with these PyTorch hands functions back as they are.
NO_COMPILATION = {"TORCH_COMPILE_DISABLE": "1", "TORCHDYNAMO_DISABLE": "1"}
# What the peers' time limits are multiplied by where it may compile.
COMPILATION = 4


def precisions(state, title):
    """How the project's program runs."""
    if not state.on_card:
        return ["f32"]
    return [*PRECISIONS, OWN] if title.startswith("WRN") else PRECISIONS


def commands(state):
    """Title, command, environment and seconds of all that is to be run; the project's first, then its peers."""
    for title, program, only, limit, peers in JOBS:
        if not state.wants(title):
            continue
        for precision in precisions(state, title) if program else []:
            options = ["--device", state.device, "--json", *(["--only", only] if only else []), *([] if precision == "f32" else ["--tf32"])]
            environment = {**state.environment, **(WITHOUT_CUDNN if precision == OWN else {})}
            yield title, [state.programs / program, *options], environment, limit
        for line, limit in peers:
            script, *options = f"{line} {QUICK} --device {'cuda' if state.on_card else 'cpu'}".split()
            environment = {**state.outside, **({} if state.compile else NO_COMPILATION)}
            yield title, [state.python, state.pack / "peers" / script, *options], environment, limit * (COMPILATION if state.compile else 1)


class Results:
    """Records of both sides by job, sizes and precision; times are milliseconds."""

    def __init__(self):
        self.livi, self.peers = {}, {}

    def take(self, record, tf32, own):
        precision = "f64" if record["dtype"] == "f64" else OWN if own else "TF32" if tf32 or "TF32" in record.get("note", "") else "f32"
        key = record["job"], record["sizes"], precision
        if record["framework"] == "livi":
            self.livi[key] = record
        elif key not in self.peers or record["median_ms"] < self.peers[key]["median_ms"]:
            self.peers[key] = record

    def ratio(self, job, sizes, precision):
        """The quickest peer's time over the project's, or None. The recommended entropy, which no peer has, stands against the quicker of their steps."""
        own, precision = self.livi.get((job, sizes, precision)), peers_precision(precision)
        others = ["step_s_min", "step_slq"] if job == "step_recommended" else [job]
        times = [self.peers[key]["median_ms"] for key in ((other, sizes, precision) for other in others) if key in self.peers]
        return min(times) / own["median_ms"] if own and times else None


def run(state, report, clock):
    results, unfinished, every = Results(), [], list(commands(state))
    for title, command, environment, limit in every:
        name = " ".join([title + ":", getattr(command[0], "name", "python"), *(getattr(word, "name", word) for word in command[1:])])
        if clock.left() < 8:
            unfinished.append(f"`{name}`: not run, no time was left")
            continue
        outcome = state.runner.run(command, environment, min(limit, clock.left()))
        for record in records(outcome.lines):
            if not state.compile:
                record["note"] = record.get("note", "").replace(", compile", "")
            with open(state.records, "a") as file:
                file.write(json.dumps(record) + "\n")
            results.take(record, "--tf32" in command, environment.items() >= WITHOUT_CUDNN.items())
        if outcome.code != 0:
            unfinished.append(f"`{name}`: {outcome.reason()}")
        judge(report, results)
        show(report, results, unfinished, state)
    show(report, results, unfinished, state)
    return bool(every) and not unfinished


def peers_precision(precision):
    """What stands beside the project's own kernels is what stands beside cuDNN's."""
    return "TF32" if precision == OWN else precision


def records(lines):
    for line in lines:
        try:
            record = json.loads(line) if line.startswith("{") else {}
        except ValueError:
            # A line that was cut off when its program was stopped.
            continue
        if "median_ms" in record:
            yield record


def judge(report, results):
    """What was found for all that is asked for."""
    for name, key, most in [(SLQ, ("slq_value_8x30", WRN_LATENT, "f32"), 150), (EXACT, ("exact f64", WRN_LATENT, "f64"), 5000)]:
        if own := results.livi.get(key):
            report.verdict(name, f"{own['median_ms'] / 1e3:.3f} s", own["median_ms"] <= most)
    for network, (sizes, least) in NETWORKS.items():
        for precision in PRECISIONS:
            for job in STEPS:
                if ratio := results.ratio(job, sizes, precision):
                    report.verdict(ratio_name(network, job, precision), f"{ratio:.2f} x", ratio >= least)
    for job in STEPS:
        if own := results.livi.get((job, NETWORKS["WRN-16-4"][0], "TF32")):
            rate = 1e3 * IMAGE_SAMPLES / own["median_ms"]
            report.verdict(rate_name(job), f"{rate:,.0f}", rate >= RATE)
    gaps = [(gap(own), key) for key, own in results.livi.items() if key[0] == "network_gradient" and own.get("steps")]
    if gaps:
        share, (_, sizes, precision) = max(gaps)
        report.verdict(GAPS, f"{100 * share:.1f} % at most, {sizes}, {precision}", share < GAP)
    measured = [(key, own) for key, own in results.livi.items() if {"peak_mb", "announced_mb"} <= own.keys()]
    differences = [(own["peak_mb"] - own["announced_mb"], own["announced_mb"], key) for key, own in measured]
    if differences:
        allowed = lambda announced: max(PAGES, SHARE * announced)
        difference, announced, (job, sizes, precision) = max(differences, key=lambda found: abs(found[0]) / allowed(found[1]))
        met = abs(difference) <= allowed(announced)
        report.verdict(MEMORY, f"{difference:+.0f} MiB to {announced:.0f} announced at worst: {job}, {sizes}, {precision}", met)


def gap(own):
    """The part of a replay that its steps by themselves do not account for; their clock's own time may make it less than nothing."""
    return max(0.0, 1 - own["steps_ms"] / own["median_ms"])


def show(report, results, unfinished, state):
    words = (
        "Medians in ms. Of PyTorch's routes the quickest in the same precision counts. Memory in MiB: what was taken of the card, in brackets what the "
        "plans announced; for PyTorch its allocator's peak. The recommended entropy looks at one latent, as the presets do, the other two at all ten."
    )
    if not state.compile:
        words += " `torch.compile`, which takes minutes for each route, was switched off."
    times = lambda own: [f"{own['median_ms']:.4g}", f"{own['min_ms']:.4g}"]
    rows = [[*key, *times(own), *beside(results, key), rates(own), memory(own)] for key, own in results.livi.items()]
    head = ["job", "sizes", "precision", "livi", "least", "PyTorch", "its route", "its memory", "PyTorch / livi", "rate", "memory"]
    alone = [[*key, *described(peer)] for key, peer in results.peers.items() if key not in results.livi]
    replayed = [(key, own) for key, own in results.livi.items() if own.get("steps")]
    replays = [[*key, own["steps"], f"{own['median_ms']:.4g}", f"{own['steps_ms']:.4g}", f"{100 * gap(own):.1f} %"] for key, own in replayed]
    refused = [f"Not replayed: {', '.join(key)}: {own['not_replayed']}" for key, own in results.livi.items() if "not_replayed" in own]
    report.section("Benchmarks", words, table(head, rows), bullets([*refused, *(f"Not complete: {line}" for line in unfinished)]))
    if alone:
        report.section("Jobs of PyTorch alone", table(["job", "sizes", "precision", "PyTorch", "its route", "its memory"], alone))
    if replays:
        text = "Replayed plans, and their steps issued one by one, each timed by events, which take time of their own where steps are short."
        report.section("Replays", text, table(["job", "sizes", "precision", "steps", "replay", "steps alone", "gap"], replays))


def described(peer):
    return [f"{peer['median_ms']:.4g}", peer.get("note", ""), f"{peer['peak_mb']:.0f}"] if peer else ["-"] * 3


def beside(results, key):
    ratio = results.ratio(*key)
    job, sizes, precision = key
    return [*described(results.peers.get((job, sizes, peers_precision(precision)))), "-" if ratio is None else f"{ratio:.2f}"]


def rates(own):
    found = [f"{own['gflops'] / 1e3:.2f} TFLOP/s"] if own.get("gflops") else []
    return " ".join([*found, *([f"{own['gigabytes_per_s']:.0f} GB/s"] if "gigabytes_per_s" in own else [])]) or "-"


def memory(own):
    return (f"{own['peak_mb']:.0f}" if "peak_mb" in own else "-") + (f" ({own['announced_mb']:.0f})" if "announced_mb" in own else "")
