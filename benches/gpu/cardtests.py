"""Test programs on the card, by themselves and under compute-sanitizer."""

import re
from machine import tool

RESULT = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)")
SECTION = re.compile(r"^---- (.+?) stdout ----$")
# Lines of a failure that the report shows, and their characters.
LINES, CHARACTERS = 6, 700
# Tests of a program that are tried again by themselves, at most, and seconds for each.
ALONE, ALONE_LIMIT = 30, 30
# Tests at a time: kernels are compiled by the processor.
THREADS = 8

# Program, filters of its tests, what the report calls it, seconds.
SUITES = [
    ("kernels-devices", ["DEVICES"], "duties of a device", 60),
    ("kernels-lib", [], "kernels and their launches", 60),
    ("autograd-lib", ["exec::"], "executor", 150),
    ("autograd-planned", [], "planned programs", 200),
    ("golden", [], "golden vectors", 90),
    ("livi-emulated", [], "training and verification", 120),
]

# Tool, program, filters, seconds.
SANITIZED = [
    ("memcheck", "kernels-devices", ["DEVICES"], 30),
    ("memcheck", "autograd-lib", ["exec::tests::products"], 40),
    ("memcheck", "autograd-lib", ["exec::tests::loops"], 40),
    ("racecheck", "autograd-lib", ["exec::tests::products"], 40),
    ("racecheck", "autograd-lib", ["exec::tests::loops"], 40),
    ("memcheck", "autograd-lib", ["exec::tests::convolutions"], 40),
    ("racecheck", "autograd-lib", ["exec::tests::convolutions"], 40),
    ("memcheck", "autograd-lib", ["exec::tests::factors"], 40),
    ("racecheck", "autograd-lib", ["exec::tests::factors"], 40),
    ("memcheck", "autograd-lib", ["exec::tests::indices"], 30),
    ("memcheck", "autograd-lib", ["exec::tests::noise"], 30),
    ("racecheck", "autograd-lib", ["exec::tests::indices"], 30),
    ("racecheck", "kernels-devices", ["DEVICES"], 30),
]


class Suite:
    """What a test program said."""

    def __init__(self, title, listed):
        self.title, self.listed = title, listed
        self.passed, self.failed, self.ignored, self.alone = [], {}, [], {}
        self.note, self.seconds = "", 0.0

    def take(self, lines):
        """Results and the output of failed tests from lines of a test program."""
        section, texts = None, {}
        for line in lines:
            found = RESULT.match(line)
            if found:
                name, result = found.groups()
                if result == "FAILED":
                    self.failed.setdefault(name, "no message")
                else:
                    (self.passed if result == "ok" else self.ignored).append(name)
            begins = SECTION.match(line)
            if begins:
                section = begins.group(1)
            elif line == "failures:":
                section = None
            elif section is not None:
                texts.setdefault(section, []).append(line)
        for name, text in texts.items():
            if name in self.failed:
                self.failed[name] = shortened(text)

    def unfinished(self):
        done = {*self.passed, *self.failed, *self.ignored}
        return [name for name in self.listed if name not in done]

    def good(self):
        return bool(self.passed) and not self.note and not self.failed and not self.unfinished()


def shortened(lines):
    """The last lines of a message, without what the test harness adds."""
    useful = [line.strip() for line in lines if line.strip() and not line.startswith(("note: run with", "stack backtrace"))]
    return " / ".join(useful[-LINES:])[-CHARACTERS:] or "no message"


def filters(names, device):
    """Filters for a device: the program that tests devices themselves has a module for each kind."""
    own = "emulated::" if device == "emulated" else "card::"
    return [own if name == "DEVICES" else name for name in names]


def run_tests(state, report, clock):
    """All suites; what fails is tried again by itself, because a kernel that goes astray takes the tests after it along."""
    suites = []
    for program, names, title, limit in SUITES:
        path = state.programs / program
        if not path.exists():
            suites.append(missing(title, f"{program} was not packed"))
            continue
        if program == "golden" and not (state.pack / "golden").is_dir():
            suites.append(missing(title, "no golden vectors were packed"))
            continue
        if clock.left() < 5:
            suites.append(missing(title, "not run: no time was left"))
            continue
        environment = {**state.environment, "LIVI_GOLDEN_DIR": str(state.pack / "golden")}
        chosen = [*filters(names, state.device), "--include-ignored"]
        listing = state.runner.run([path, *chosen, "--list"], environment, 20)
        listed = [line[: -len(": test")] for line in listing.lines if line.endswith(": test")]
        suite = Suite(title, listed)
        suites.append(suite)
        if listing.code != 0 or not listed:
            suite.note = "its tests cannot be listed: " + listing.reason() if listing.code != 0 else "it has no such tests"
            continue
        outcome = state.runner.run([path, *chosen, "--test-threads", THREADS], environment, min(limit, clock.left()))
        suite.seconds = outcome.seconds
        suite.take(outcome.lines)
        if outcome.stopped:
            suite.note = f"stopped at its time limit after {outcome.seconds:.0f} s"
        elif outcome.code not in (0, 101):
            suite.note = outcome.reason()
        report.set("Tests", test_section(suites))
        again = [*suite.failed, *(suite.unfinished() if not outcome.stopped else [])]
        if len(again) > 1 or (again and suite.note):
            for name in again[:ALONE]:
                if clock.left() < 5:
                    break
                single = Suite(name, [name])
                outcome = state.runner.run([path, "--exact", name, "--include-ignored"], environment, min(ALONE_LIMIT, clock.left()))
                single.take(outcome.lines)
                suite.alone[name] = None if single.passed else single.failed.get(name, outcome.reason())
            report.set("Tests", test_section(suites))
    report.set("Tests", test_section(suites))
    return all(suite.good() for suite in suites)


def missing(title, why):
    suite = Suite(title, [])
    suite.note = why
    return suite


def test_section(suites):
    rows = ["| suite | passed | failed | not finished | seconds | |", "| --- | --- | --- | --- | --- | --- |"]
    details = []
    for suite in suites:
        unfinished = suite.unfinished()
        verdict = "pass" if suite.good() else "**FAIL**" + (f": {suite.note}" if suite.note else "")
        rows.append(f"| {suite.title} | {len(suite.passed)} | {len(suite.failed)} | {len(unfinished)} | {suite.seconds:.0f} | {escaped(verdict)} |")
        for name, text in suite.failed.items():
            details.append(f"- {suite.title}: `{name}`{alone(suite, name)}: {escaped(text)}")
        for name in unfinished[:40]:
            details.append(f"- {suite.title}: `{name}` did not finish{alone(suite, name)}")
    return "\n".join(rows) + ("\n\n" + "\n".join(details) if details else "")


def alone(suite, name):
    if name not in suite.alone:
        return ""
    text = suite.alone[name]
    return " (passes by itself)" if text is None else f" (by itself: {escaped(text)})" if text != suite.failed.get(name) else " (by itself as well)"


def escaped(text):
    return text.replace("|", "\\|").replace("\n", " / ")


def run_sanitizer(state, report, clock):
    """memcheck and racecheck over a subset of the tests."""
    sanitizer = tool("compute-sanitizer")
    if sanitizer is None:
        report.set("compute-sanitizer", "**FAIL**: there is no compute-sanitizer on this machine.")
        return False
    if state.device == "emulated":
        report.set("compute-sanitizer", "**FAIL**: it needs a card, the device is `emulated`.")
        return False
    rows = ["| tool | tests | passed | failed | errors | seconds | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    good = True
    for which, program, names, limit in SANITIZED:
        title = f"{program} {' '.join(filters(names, state.device))}"
        if clock.left() < 5:
            rows.append(f"| {which} | {title} | | | | | not run: no time was left |")
            good = False
            continue
        command = [sanitizer, "--tool", which, "--error-exitcode", "9", "--print-limit", "5"]
        command += [state.programs / program, *filters(names, state.device), "--include-ignored", "--test-threads", "1"]
        outcome = state.runner.run(command, state.environment, min(limit, clock.left()))
        suite = Suite(title, [])
        suite.take(outcome.lines)
        marked = [line for line in outcome.lines if line.startswith("=========")]
        summary = next((line for line in reversed(marked) if "SUMMARY" in line), "")
        counts = [int(number) for number in re.findall(r"(\d+) (?:errors?|hazards?)", summary)]
        first = next((line.lstrip("= ") for line in marked if re.search(r"Invalid|hazard|Error|uninit|misaligned|leak", line) and "SUMMARY" not in line), "")
        clean = bool(counts) and max(counts) == 0 and not suite.failed and outcome.code == 0
        verdict = "pass" if clean else "**FAIL**: " + (first or outcome.reason())
        if outcome.stopped and not first and suite.passed and not suite.failed:
            verdict = f"no error until its time limit, {outcome.seconds:.0f} s"
        else:
            good &= clean
        errors = str(max(counts)) if counts else "-"
        rows.append(f"| {which} | {title} | {len(suite.passed)} | {len(suite.failed)} | {errors} | {outcome.seconds:.0f} | {escaped(verdict)} |")
        report.set("compute-sanitizer", "\n".join(rows))
    report.set("compute-sanitizer", "\n".join(rows))
    return good
