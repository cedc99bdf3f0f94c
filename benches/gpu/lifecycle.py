"""Whole jobs of livi on the card: training, verification, where a step's time goes."""

import json
import shutil

# Title, words of the command, seconds. DEVICE, OUT and DATA are filled in.
JOBS = [
    ("toy, on the device", "train toy --device DEVICE --json --out OUT/toy-device", 60),
    ("toy, on the processor", "train toy --device cpu --json --out OUT/toy-cpu", 60),
    ("toy, verified", "verify toy --device DEVICE --json", 30),
    ("LeNet's sampler, verified", "verify --published mnist-lenet --device DEVICE --json", 90),
    ("LeNet on images", "train mnist-lenet --device DEVICE --set data.path=DATA --set training.epochs=2 --json --out OUT/lenet-device", 120),
    ("LeNet on images, TF32", "train mnist-lenet --device DEVICE --tf32 --set data.path=DATA --set training.epochs=2 --json --out OUT/lenet-tf32", 120),
    ("a step of LeNet", "train mnist-lenet --profile --device DEVICE --set data.path=DATA", 60),
]
# Lines of a printed table that the report shows.
SHOWN = 40


def run(state, report, clock):
    rows, details, good = [], [], True
    data = state.pack / "data"
    out = state.scratch / "runs"
    for title, words, limit in JOBS:
        if "DATA" in words and not data.is_dir():
            rows.append([title, "not run: no data were packed", ""])
            continue
        if "--tf32" in words and not state.device.startswith("cuda"):
            continue
        if clock.left() < 5:
            rows.append([title, "not run: no time was left", ""])
            good = False
            continue
        filled = [word.replace("DEVICE", state.device).replace("OUT", str(out)).replace("DATA", str(data)) for word in words.split()]
        out.mkdir(parents=True, exist_ok=True)
        outcome = state.runner.run([state.programs / "livi", *filled], state.environment, min(limit, clock.left()))
        good &= outcome.code == 0
        verdict = "pass" if outcome.code == 0 else f"**FAIL**: {outcome.reason()}"
        found = answer(outcome.lines)
        rows.append([title, verdict.replace("|", "\\|"), summary(found), f"{outcome.seconds:.1f}"])
        if found is None and outcome.code == 0:
            details.append("```\n" + "\n".join(outcome.lines[:SHOWN]) + "\n```")
        report.set("Whole jobs", section(rows, details))
    shutil.rmtree(out, ignore_errors=True)
    report.set("Whole jobs", section(rows, details))
    return good


def section(rows, details):
    head = ["job", "", "what it found", "seconds"]
    lines = ["| " + " | ".join([*row, *[""] * (len(head) - len(row))]) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n\n".join(["\n".join(lines), *details])


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
    test = found.get("test") or {}
    shown = [("ELBO", (found.get("elbo") or {}).get("elbo")), *((name.replace("_", " "), test.get(name)) for name in ("log_likelihood", "rmse", "accuracy"))]
    numbers = [f"{name} {value:.5g}" for name, value in shown if isinstance(value, float)]
    steps, seconds = found.get("steps"), found.get("seconds")
    if steps and seconds:
        numbers.append(f"{1e3 * seconds / steps:.3f} ms a step")
    return ", ".join(numbers)
