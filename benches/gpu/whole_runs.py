"""Whole runs of livi: the toy twice, verifications, and a training on CIFAR-10 that is interrupted, resumed and evaluated."""

import json
import re
import shutil

from machine import GRACE
from report import table

BITS, WRN_BITS = "the same seed gives the same bits, toy", "the same seed gives the same bits, WRN-16-4"
RESUMED, TRAINED = "WRN-16-4 on CIFAR-10, interrupted and resumed", "WRN-16-4 on CIFAR-10, evaluated"
ASKED = {BITS: "equal checkpoints", WRN_BITS: "equal checkpoints", RESUMED: "goes on at the step where it stood, to the end", TRAINED: "metrics"}

# Title, program and words, seconds. OUT is the folder of the runs; what names no device is for the one under test.
SHORT = [
    ("toy", "livi train toy --json --out OUT/toy", 60),
    ("toy once more", "livi train toy --json --out OUT/toy-again", 60),
    ("toy on the processor", "livi train toy --device cpu --json --out OUT/toy-cpu", 60),
    ("toy, verified", "livi verify toy --json", 30),
    ("LeNet's sampler, verified", "livi verify --published mnist-lenet --probes 8 --steps 30 --json", 60),
    ("CIFAR-10's sampler, verified", "livi verify --published cifar10 --probes 8 --steps 30 --json", 60),
]
PROFILE = ("where a step's time goes", "large_samplers --tf32 --only step_recommended --steps", 120)
# Steps of the trainings that are to have the same bits, and that tell how long a step takes.
STEPS = 40
# The part of the time that is planned for training's steps, weight samples and seconds of the evaluation.
PLANNED, SAMPLES, EVALUATION = 0.8, 20, 30
# Rows of the training curve in the report, and lines of a printed table.
CURVE, SHOWN = 20, 120
INTERRUPTED = re.compile(r"interrupted at step (\d+)")
METRICS = ("elbo", "log_likelihood", "negative_log_likelihood", "rmse", "accuracy", "brier", "expected_calibration_error", "mean_mutual_information")


class Runs:
    """Runs of the program in a folder of their own, and their rows in the report."""

    def __init__(self, state, report, clock, title):
        self.state, self.report, self.clock, self.title = state, report, clock, title
        self.folder, self.rows, self.details, self.good = state.scratch / "runs", [], [], True

    def run(self, title, words, limit, interrupt=None):
        """What a run printed and its result; (None, {}) where it was not run or failed. One that is to be interrupted ends with code 130."""
        if self.clock.left() < 5:
            return self.lacking(title, "not run: no time was left")
        program, *words = words.replace("OUT/", f"{self.folder}/").split()
        if "--device" not in words:
            words += ["--device", self.state.device]
        # TF32 is for cards alone.
        words = [word for word in words if self.state.on_card or word != "--tf32"]
        outcome = self.state.runner.run([self.state.programs / program, *words], self.state.environment, min(limit, self.clock.left()), interrupt)
        if outcome.code != 0 and not (interrupt is not None and outcome.code == 130):
            return self.lacking(title, f"**FAIL** {outcome.reason()}", outcome.seconds)
        found = result(outcome.lines)
        ending = "pass" if outcome.code == 0 else "interrupted"
        self.row(title, ending, summary(found), outcome.seconds)
        return outcome, found

    def lacking(self, title, why, seconds=0.0):
        self.good = False
        self.row(title, why, "", seconds)
        return None, {}

    def row(self, title, ending, found, seconds):
        self.rows.append([title, ending, found, f"{seconds:.1f}"])
        self.show()

    def show(self):
        self.report.section(self.title, table(["run", "", "what it found", "seconds"], self.rows), *self.details)

    def same(self, requirement, first, second):
        """Whether two runs left the same state, bit for bit."""
        paths = [self.folder / name / "checkpoint.safetensors" for name in (first, second)]
        if all(path.is_file() for path in paths):
            same = paths[0].read_bytes() == paths[1].read_bytes()
            self.good &= same
            self.report.verdict(requirement, "equal" if same else "different", same)
        else:
            self.good = False


def run_short(state, report, clock):
    """The toy on both devices and twice, verifications, and the profile of a step."""
    runs = Runs(state, report, clock, "Short runs")
    for title, words, limit in SHORT:
        if state.wants(title):
            runs.run(title, words, limit)
    if state.wants("toy"):
        runs.same(BITS, "toy", "toy-again")
    title, words, limit = PROFILE
    if state.wants(title):
        outcome, _ = runs.run(title, words, limit)
        if outcome:
            runs.details.append("```\n" + "\n".join(outcome.lines[:SHOWN]) + "\n```")
            runs.show()
    return runs.good and bool(runs.rows)


def run_training(state, report, clock):
    """WRN-16-4 on CIFAR-10, as many steps as there is time for: a Ctrl-C in the middle, then to the end, then evaluated."""
    runs = Runs(state, report, clock, "Training")
    runs.details.append(f"Data: {state.data_description}.")
    if state.data is None:
        runs.lacking("WRN-16-4 on CIFAR-10", "not run: no data were packed, and none were named by --data")
        return False
    common = f"livi train cifar10-wrn16-4 --tf32 --set data.path={state.data} " + "".join(f"--set {setting} " for setting in state.settings) + "--json"
    short = f"{common} --set prediction.samples=2 --set training.steps={STEPS} --out OUT/"
    runs.run(f"{STEPS} steps", short + "short", clock.left())
    _, found = runs.run(f"{STEPS} steps once more", short + "short-again", clock.left())
    runs.same(WRN_BITS, "short", "short-again")
    if not found:
        return False
    planned = PLANNED * (clock.left() - EVALUATION - GRACE)
    steps = int(planned * found["steps"] / found["seconds"])
    if steps < 2 * STEPS:
        runs.lacking("the long run", f"not run: there was time for {max(steps, 0)} steps only")
        return False

    folder = runs.folder / "long"
    stopped, _ = runs.run(f"{steps} steps, interrupted", f"{common} --set training.steps={steps} --out OUT/long", clock.left(), planned / 2)
    stop = int(next((found.group(1) for found in map(INTERRUPTED.search, stopped.lines if stopped else []) if found), 0))
    before, left = metrics(folder), clock.left() - EVALUATION - GRACE
    outcome, found = runs.run("the same, resumed", "livi train --resume --tf32 --json --out OUT/long", clock.left(), left)
    after = metrics(folder)
    continued = stop > 0 and found.get("steps") == steps and after[: len(before)] == before and every_step(after, steps)
    report.verdict(RESUMED, f"interrupted at step {stop} of {steps}, then to step {after[-1]['step'] if after else 0}", continued)
    runs.good &= continued
    if continued:
        runs.details.append(speed(folder, steps - stop, found["seconds"]))
    runs.details.append(curve(after))
    outcome, found = runs.run("evaluated", f"livi evaluate OUT/long --samples {SAMPLES} --json", EVALUATION)
    report.verdict(TRAINED, summary(found) or "no metrics", bool(found))
    for path in [folder / "metrics.jsonl", *(folder / "plots").glob("training.*")]:
        if path.is_file():
            shutil.copy(path, state.out / f"cifar10-{path.name}")
    return runs.good


def metrics(folder):
    """The terms of the bound that a run has noted so far."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [terms for terms in map(json.loads, lines) if "elbo" in terms]


def every_step(terms, last):
    """Whether steps follow each other at equal distances, to the last."""
    steps = [found["step"] for found in terms]
    return steps == [*range(steps[0], last, steps[0]), last] if steps else False


def speed(folder, steps, seconds):
    """Images a second of so many steps."""
    training = (folder / "config.toml").read_text().partition("[training]")[2]
    batch, samples = (int(re.search(rf"^{key} = (\d+)$", training, re.MULTILINE).group(1)) for key in ("batch_size", "samples"))
    rate = steps * batch / seconds
    return f"The resumed run did {rate:,.0f} images/s: {rate * samples:,.0f} image-samples/s with batches of {batch} and {samples} weight samples."


def curve(terms):
    """The training curve as a table: means over equal parts of the steps."""
    size = -(-len(terms) // CURVE) if terms else 1
    parts = [terms[k : k + size] for k in range(0, len(terms), size)]
    names = ("elbo", "likelihood", "prior", "entropy", "gradient_norm", "learning_rate")
    rows = [[f"{part[0]['step']} to {part[-1]['step']}", *(f"{sum(found[name] for found in part) / len(part):.6g}" for name in names)] for part in parts]
    return table(["steps", *(name.replace("_", " ") for name in names)], rows)


def result(lines):
    """The JSON object among the lines; {} where there is none."""
    text = "\n".join(lines)
    begin, end = text.find("{\n"), text.rfind("}")
    try:
        return json.loads(text[begin : end + 1]) if begin >= 0 else {}
    except ValueError:
        return {}


def summary(found):
    """What a result says, in short."""
    if "methods" in found:
        return ", ".join(f"{method['method']} {method['value']:.4f} in {method['seconds']:.3f} s" for method in found["methods"])
    bound, test = found.get("elbo") or {}, found.get("test") or found
    known = {**test, "elbo": bound.get("elbo")}
    words = [f"{name.replace('_', ' ')} {known[name]:.5g}" for name in METRICS if isinstance(known.get(name), float)]
    if found.get("steps") and found.get("seconds"):
        words += [f"{found['steps']} steps", f"{found['seconds']:.1f} s", f"{found.get('peak_bytes', 0) / 2**20:.0f} MiB announced"]
    return ", ".join(words)
