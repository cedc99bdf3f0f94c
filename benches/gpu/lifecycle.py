"""Whole jobs of livi on the card: verification, training, a long run that is interrupted and resumed."""

import json
import re
import shutil

# Title, words of the command, seconds. DEVICE, OUT, DIGITS and PICTURES are filled in; a job whose data were not packed is left out.
JOBS = [
    ("toy, on the device", "train toy --device DEVICE --json --out OUT/toy-device", 60),
    ("toy again, with the same seed", "train toy --device DEVICE --json --out OUT/toy-again", 60),
    ("toy, on the processor", "train toy --device cpu --json --out OUT/toy-cpu", 60),
    ("toy, verified", "verify toy --device DEVICE --json", 30),
    ("LeNet's sampler, verified", "verify --published mnist-lenet --probes 8 --steps 30 --device DEVICE --json", 60),
    ("CIFAR-10's sampler, verified", "verify --published cifar10 --probes 8 --steps 30 --device DEVICE --json", 60),
    ("LeNet on digits", "train mnist-lenet --device DEVICE --set data.path=DIGITS --set training.epochs=2 --json --out OUT/lenet", 60),
    ("LeNet on digits, TF32", "train mnist-lenet --device DEVICE --tf32 --set data.path=DIGITS --set training.epochs=2 --json --out OUT/lenet-tf32", 60),
    ("a step of LeNet", "train mnist-lenet --profile --device DEVICE --set data.path=DIGITS", 60),
    ("a step of WRN-16-4", "train cifar10-wrn16-4 --profile --device DEVICE --tf32 --set data.path=PICTURES --set training.batch_size=128", 60),
]
# The long run, from scratch and taken up again.
BEGUN = "train cifar10-wrn16-4 --device DEVICE --tf32 --set data.path=PICTURES --set training.batch_size=128 --out OUT/cifar10"
RESUMED = "train --resume --device DEVICE --tf32 --out OUT/cifar10"
EVALUATED = "evaluate OUT/cifar10 --device DEVICE --samples 20 --json"
# Seconds that evaluation is left, and those in which an interrupted run must have saved its state.
EVALUATION, SAVING = 45, 20
# Lines of a printed table that the report shows, and of the curve of a long run.
SHOWN, CURVE = 40, 20
# Lines of progress.
PROGRESS = re.compile(r"^step (\d+)/(\d+) .*?([\d,.]+) images/s.*?ELBO (\S+) = likelihood (\S+)")


class Jobs:
    """Jobs with what they are filled in with, and the rows of the report."""

    def __init__(self, state, report, clock):
        self.state, self.report, self.clock = state, report, clock
        self.out, self.rows, self.details, self.good = state.scratch / "runs", [], [], True
        self.out.mkdir(parents=True, exist_ok=True)

    def run(self, title, words, limit, interrupt=None):
        """Runs a job; its outcome, or None where it was not run."""
        folders = {name: self.state.pack / name.lower() for name in ("DIGITS", "PICTURES")}
        lacking = [name for name, folder in folders.items() if name in words and not folder.is_dir()]
        if lacking:
            return self.left_out(title, f"no {lacking[0].lower()} were packed")
        if self.clock.left() < 5:
            return self.left_out(title, "no time was left")
        values = {"DEVICE": self.state.device, "OUT": self.out, **folders}
        words = re.sub("|".join(values), lambda found: str(values[found.group()]), words).split()
        if not self.state.device.startswith("cuda"):
            words = [word for word in words if word != "--tf32"]
        outcome = self.state.runner.run([self.state.programs / "livi", *words], self.state.environment, min(limit, self.clock.left()), interrupt)
        expected = (0,) if interrupt is None else (0, 130)
        self.good &= outcome.code in expected
        verdict = "pass" if outcome.code in expected else f"**FAIL**: {outcome.reason()}"
        found = answer(outcome.lines)
        self.add(title, verdict, summary(found), f"{outcome.seconds:.1f}")
        if found is None and outcome.code == 0 and "--profile" in words:
            self.details.append("```\n" + "\n".join(outcome.lines[:SHOWN]) + "\n```")
        self.write()
        return outcome

    def left_out(self, title, why):
        self.good = False
        self.add(title, f"not run: {why}", "", "")
        self.write()

    def add(self, *cells):
        self.rows.append([cell.replace("|", "\\|") for cell in cells])

    def write(self):
        self.report.set("Whole jobs", section(self.rows, self.details))


def run(state, report, clock):
    """All short jobs; whether the same seed gave the same numbers."""
    jobs = Jobs(state, report, clock)
    for title, words, limit in JOBS:
        jobs.run(title, words, limit)
    first, again = (jobs.out / name / "checkpoint.safetensors" for name in ("toy-device", "toy-again"))
    if first.is_file() and again.is_file():
        same = first.read_bytes() == again.read_bytes()
        jobs.good &= same
        jobs.add("the same seed gives the same bits", "pass" if same else "**FAIL**", "", "")
    else:
        jobs.left_out("the same seed gives the same bits", "there are no two runs")
    jobs.write()
    shutil.rmtree(jobs.out, ignore_errors=True)
    return jobs.good


def long_run(state, report, clock):
    """CIFAR-10 for as long as there is: interrupted after half of the time, resumed, interrupted again, evaluated."""
    jobs = Jobs(state, report, clock)
    jobs.report = Titled(report, "Long run")
    half = (clock.left() - EVALUATION - 2 * SAVING) / 2
    if half < 5:
        jobs.left_out("WRN-16-4 on CIFAR-10", "no time was left")
        return False
    outcomes = [
        jobs.run("WRN-16-4 on CIFAR-10", BEGUN, half + SAVING, half),
        jobs.run("the same, resumed", RESUMED, half + SAVING, half),
    ]
    jobs.run("evaluated", EVALUATED, EVALUATION)
    points = [found.groups() for outcome in outcomes if outcome for found in map(PROGRESS.match, outcome.lines) if found]
    if points:
        every = -(-len(points) // CURVE)
        head = ["step", "of", "images/s", "ELBO", "likelihood"]
        jobs.details.append(table(head, [*points[::every], points[-1]]))
    steps = [int(step) for step, *_ in points]
    continued = all(outcomes) and len(steps) > 1 and all(later > former for former, later in zip(steps, steps[1:]))
    jobs.add("steps go on where the first run was interrupted", "pass" if continued else "**FAIL**", "", "")
    jobs.good &= continued
    folder = jobs.out / "cifar10"
    for path in [folder / "metrics.jsonl", folder / "evaluation.html", *folder.glob("plots/*")]:
        if path.is_file():
            shutil.copy(path, state.out / f"cifar10-{path.name}")
    jobs.write()
    return jobs.good


class Titled:
    """A report whose sections are called differently."""

    def __init__(self, report, title):
        self.report, self.title = report, title

    def set(self, _, text):
        self.report.set(self.title, text)


def table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def section(rows, details):
    return "\n\n".join([table(["job", "", "what it found", "seconds"], rows), *details])


def answer(lines):
    """The JSON object among the lines, which may be spread over several."""
    text = "\n".join(lines)
    begin, end = text.find("{\n"), text.rfind("}")
    try:
        return json.loads(text[begin : end + 1]) if begin >= 0 else None
    except ValueError:
        return None


def summary(found):
    """What a result says, in short."""
    if found is None:
        return ""
    if "methods" in found:
        return ", ".join(f"{method['method']} {method['value']:.4f} in {method['seconds']:.3f} s" for method in found["methods"])
    test = found.get("test") or found
    shown = [("ELBO", (found.get("elbo") or {}).get("elbo") if isinstance(found.get("elbo"), dict) else None)]
    shown += [(name.replace("_", " "), test.get(name)) for name in ("log_likelihood", "negative_log_likelihood", "rmse", "accuracy", "ece")]
    numbers = [f"{name} {value:.5g}" for name, value in shown if isinstance(value, float)]
    steps, seconds = found.get("steps"), found.get("seconds")
    if steps and seconds:
        numbers.append(f"{1e3 * seconds / steps:.3f} ms a step")
    return ", ".join(numbers)
