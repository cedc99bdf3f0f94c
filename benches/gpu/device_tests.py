"""Test programs on the device under test, by themselves and under compute-sanitizer."""

import concurrent.futures
import re

from machine import tool
from report import bullets, table

TESTS, GOLDEN, CHECKED = "tests on the device", "golden vectors, TF32 off", "compute-sanitizer, memcheck and racecheck"
ASKED = {TESTS: "every one passes", GOLDEN: "as on the processor, within the tests' tolerances", CHECKED: "no errors and no hazards"}

# Test program, what the report calls it, its options, seconds. Tests that only a card can pass are those that are ignored elsewhere.
SUITES = [
    ("devices", "duties of a device", "--ignored", 60),
    ("kernels", "convolutions on tensor cores and without", "convolution::tests::tiles", 60),
    ("golden", "golden vectors", "--include-ignored", 90),
    ("autograd", "executor", "exec:: --include-ignored", 150),
    ("planned", "planned programs", "--include-ignored", 200),
    ("emulated", "training, prediction, verification", "--include-ignored", 120),
]
# The checkers slow programs down by much: they see one family of steps after the other, each with both tools. Seconds are for each tool.
SANITIZED = [
    ("devices", "--ignored", 40),
    *(("autograd", f"exec::tests::{family} --include-ignored", 40) for family in ("products", "loops", "convolutions", "factors", "indices", "noise")),
]
# Answers of the driver that are errors are asked for on purpose: how many parameters a kernel has is found by asking for one too many.
OPTIONS = {"memcheck": ["--report-api-errors", "no"], "racecheck": []}
# The part of the time left that a whole program may take, so that some is left for its tests by themselves.
WHOLE = 0.7
# Tests at a time in one program, programs at a time where a test runs by itself, and seconds for such a test.
THREADS, PROGRAMS, ALONE = 8, 8, 60

RESULT = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED)$")
SECTION = re.compile(r"^---- (.+?) stdout ----$")
# Lines of a failure that the report shows, and their characters.
LINES, CHARACTERS = 6, 700


def results(lines):
    """Names of tests that passed, in order, and names with messages of those that failed, from what a test program printed."""
    passed, failed, section, messages = [], {}, None, {}
    for line in lines:
        result, begins = RESULT.match(line), SECTION.match(line)
        if result and result.group(2) == "ok":
            passed.append(result.group(1))
        elif result:
            failed[result.group(1)] = "no message"
        if begins:
            section = messages.setdefault(begins.group(1), [])
        elif line == "failures:":
            section = None
        elif section is not None and line.strip() and not line.startswith(("note: run with", "stack backtrace")):
            section.append(line.strip())
    failed.update((name, " / ".join(text[-LINES:])[-CHARACTERS:]) for name, text in messages.items() if name in failed and text)
    return passed, failed


class Suite:
    """A test program: its tests, and how they went together and by themselves."""

    def __init__(self, title):
        self.title, self.listed, self.passed, self.failed, self.alone, self.note, self.seconds = title, [], [], {}, {}, "not run: no time was left", 0.0

    def unfinished(self):
        return [name for name in self.listed if name not in self.passed and name not in self.failed]

    def good(self):
        return bool(self.passed) and not self.note and not self.failed and not self.unfinished()

    def row(self):
        verdict = "pass" if self.good() else f"**FAIL** {self.note}".rstrip()
        return [self.title, len(self.passed), len(self.failed), len(self.unfinished()), f"{self.seconds:.0f}", verdict]

    def details(self):
        for name, message in [*self.failed.items(), *((name, "did not finish") for name in self.unfinished() if self.listed)]:
            alone = self.alone.get(name, "not tried")
            yield f"{self.title}: `{name}`: {message}" + (f"; by itself: {alone}" if alone != message else "; by itself as well")


def run_suite(state, clock, suite, program, options, limit, changed):
    """All tests in one program; then those that did not pass, each in a program of its own, since one that dies takes all others along."""
    path, environment = state.programs / program, {**state.environment, "LIVI_GOLDEN_DIR": str(state.pack / "golden")}
    listing = state.runner.run([path, *options, "--list"], environment, 20)
    suite.listed = [line.removesuffix(": test") for line in listing.lines if line.endswith(": test")]
    if listing.code != 0 or not suite.listed:
        suite.note = listing.reason() if listing.code != 0 else "it has no such tests"
        return
    outcome = state.runner.run([path, *options, "--test-threads", THREADS], environment, min(limit, WHOLE * clock.left()))
    suite.seconds = outcome.seconds
    suite.passed, suite.failed = results(outcome.lines)
    # 101 says that tests failed, and these are named.
    expected = outcome.code == 0 or (outcome.code == 101 and suite.failed)
    suite.note = "" if expected else f"{outcome.ending()}, the last that passed was `{(suite.passed or ['none'])[-1]}`"
    changed()

    def alone(name):
        if clock.left() < 2:
            return
        single = state.runner.run([path, "--exact", name, "--include-ignored"], environment, min(ALONE, clock.left()))
        passed, failed = results(single.lines)
        suite.alone[name] = "passes" if name in passed and single.code == 0 else failed.get(name, single.reason())
        changed()

    with concurrent.futures.ThreadPoolExecutor(PROGRAMS) as pool:
        list(pool.map(alone, [*suite.unfinished(), *suite.failed]))


def run_tests(state, report, clock):
    """All suites."""
    chosen = [suite for suite in SUITES if state.wants(f"{suite[0]}: {suite[1]}")]
    suites = {program: Suite(title) for program, title, _, _ in chosen}

    def changed():
        rows = table(["suite", "passed", "failed", "not finished", "seconds", ""], [suite.row() for suite in suites.values()])
        report.section("Tests", rows, bullets(line for suite in suites.values() for line in suite.details()))

    for program, _, options, limit in chosen:
        suite = suites[program]
        if program == "golden" and not (state.pack / "golden").is_dir():
            suite.note = "not run: no golden vectors were packed"
        elif clock.left() > 5:
            # Off a card all tests but those that need one.
            words = [word for word in options.split() if state.on_card or word != "--ignored"]
            run_suite(state, clock, suite, program, words, limit, changed)
        changed()
    if "golden" in suites:
        report.verdict(GOLDEN, suites["golden"].note or f"{'as' if suites['golden'].good() else 'not as'} on the processor", suites["golden"].good())
    passed, listed = (sum(len(tests) for tests in found) for found in ([s.passed for s in suites.values()], [s.listed for s in suites.values()]))
    good = all(suite.good() for suite in suites.values())
    report.verdict(TESTS, f"{passed} of {listed} passed", good and bool(suites))
    return good


def run_sanitizer(state, report, clock):
    """memcheck and racecheck over a short set of the tests."""
    title, sanitizer = "compute-sanitizer", tool("compute-sanitizer")
    if sanitizer is None or not state.on_card:
        report.section(title, "Not run: " + ("it needs a card" if sanitizer else "there is no compute-sanitizer on this machine") + ".")
        return False
    rows, clean = [], 0
    chosen = [(which, *entry) for entry in SANITIZED if state.wants(f"{entry[0]} {entry[1]}") for which in ("memcheck", "racecheck")]
    for which, program, options, limit in chosen:
        if clock.left() < 5:
            rows.append([which, f"{program} {options}", "", "", "", "", "not run: no time was left"])
            continue
        checked = [state.programs / program, *options.split(), "--test-threads", "1"]
        command = [sanitizer, "--tool", which, *OPTIONS[which], "--error-exitcode", "9", "--print-limit", "5", *checked]
        outcome = state.runner.run(command, state.environment, min(limit, clock.left()))
        passed, failed = results(outcome.lines)
        found, first = problems(outcome.lines)
        good = outcome.code == 0 and found == 0 and bool(passed) and not failed
        clean += good
        verdict = "pass" if good else f"**FAIL** {first or outcome.reason()}"
        if outcome.code is None and not first and not failed:
            verdict = "no problem until its time limit"
        rows.append([which, f"{program} {options}", len(passed), len(failed), "-" if found is None else found, f"{outcome.seconds:.0f}", verdict])
        report.section(title, table(["tool", "tests", "passed", "failed", "problems", "seconds", ""], rows))
    report.verdict(CHECKED, f"{clean} of {len(chosen)} runs clean and complete", clean == len(chosen) > 0)
    return clean == len(chosen) > 0


def problems(lines):
    """How many errors or hazards compute-sanitizer counted, None where it gave no summary, and the first that it described."""
    marked = [line.lstrip("= ") for line in lines if line.startswith("=========")]
    counts = [int(count) for line in marked if "SUMMARY" in line for count in re.findall(r"(\d+) (?:errors?|hazards?)", line)]
    first = next((line for line in marked if "SUMMARY" not in line and re.search(r"Invalid|hazard|[Ee]rror|ninitialized|isaligned|eaked", line)), "")
    return (max(counts) if counts else None), first
