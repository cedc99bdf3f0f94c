#!/usr/bin/env python3
"""Samplers, gradients of networks and training steps beside PyTorch and JAX: runs all in turn and writes a Markdown report.

    python3 benches/peers.py --peers DIR --python PY --out FILE [--rounds 3] [--threads 1,2] [--only TEXT]

DIR holds the peers' scripts exact_entropy.py, toy_step.py, mm_entropy.py, lenet_step.py and wrn_step.py, PY is a Python with torch, jax and
numpy. The project's side are the benchmarks `small_samplers`, `large_samplers` and `networks`, built first. Needs the Python standard library only, and Linux (both
sides are pinned to as many cores as they have threads).

What is compared
    entropy_value_and_grad    1/2 log det(J^T J + sigma^2 I), the mean over latents, with its gradient with respect to all sampler
                              weights; f32, sigma 1e-2; the peers by their route `gram of last layer`, which is their quickest and
                              folds the last layer as livi does
    toy_step                  a whole step of the toy regression: noise, objective, gradient, update; f32, sigma 0.009; the peers by
                              their quickest route
    network_gradient          gradient of the cross-entropy, summed over images and weight samples, with respect to every sample's
                              weights, of LeNet and WideResNet-16-4; f32; PyTorch by `loop`, JAX by `im2col`, their quickest routes
    jvp, vjp, s_min_*, slq_*  the samplers of the published sizes; sigma 1e-3; livi's products are those of the folded map, which has the
                              Jacobian's singular values, the peers' those of the Jacobian itself; PyTorch by `hand`, JAX (LeNet only) by
                              `hand` and `func`; livi's quadrature has its gradient from the Krylov basis (`slq_grad_krylov`)
    step_s_min, step_slq      whole training steps with the bound, and with one probe of ten steps, at all latents; the peers' quadrature
                              has its gradient by conjugate gradients; PyTorch only

How
    Each round runs livi, PyTorch and JAX one after the other, each number of threads in turn. A round gives each route's median
    over its repeats; reported is the median over rounds. A job whose name, sizes, threads or number format differ between the two
    sides is an error, and so is a missing one. Keep other processes off the machine: before each command a second is spent on
    finding out whether they are, and a report of figures from a busy machine says that they do not count.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ENTROPY, TOY, NETWORK = "entropy_value_and_grad", "toy_step", "network_gradient"
FRAMEWORKS = ("jax", "torch")

# Jobs of mm_entropy.py: products and bounds, and quadratures that cost it tens of seconds for the larger sampler.
PRODUCTS = ["forward", "jvp", "vjp", "jvp_block8", "s_min_value", "s_min_value_and_grad", "slq_value_1x10"]
QUADRATURES = ["slq_grad_krylov_1x10", "slq_value_8x30"]
STEPS = ["step_s_min", "step_slq"]
# Seconds after which a peer ends a measurement of a large job.
BUDGET = ["--budget", "3"]

# The jobs that count, the project's program and its filter, the peers' script, and each peer's further options. A peer that is not named does not
# finish such jobs in a time worth waiting for.
JOBS = [
    ([ENTROPY], "small_samplers", "entropy", "exact_entropy.py", dict.fromkeys(FRAMEWORKS, ["--only", ENTROPY, "--routes", "gram"])),
    ([TOY], "small_samplers", TOY, "toy_step.py", dict.fromkeys(FRAMEWORKS, [])),
    *(
        ([NETWORK], "networks", name, script, {f: ["--only", NETWORK, "--routes", route] for f, route in routes.items()})
        for name, script, routes in [
            ("lenet", "lenet_step.py", {"jax": "map, im2col", "torch": "loop"}),
            ("wrn", "wrn_step.py", {"jax": "unrolled, im2col", "torch": "loop"}),
        ]
    ),
    (PRODUCTS + QUADRATURES, "large_samplers", "d=4225 latents", "mm_entropy.py", {
        "jax": ["--size", "lenet", "--only", ",".join(PRODUCTS + QUADRATURES), *BUDGET],
        "torch": ["--size", "lenet", "--only", ",".join(PRODUCTS + QUADRATURES), "--routes", "hand", *BUDGET],
    }),
    (PRODUCTS, "large_samplers", "d=9025 latents", "mm_entropy.py", {
        "torch": ["--size", "wrn", "--only", ",".join(PRODUCTS), "--routes", "hand", *BUDGET],
    }),
    *(
        (STEPS, "large_samplers", f"d={d} batch", script, {"torch": ["--only", ",".join(STEPS), "--routes", "loop", *BUDGET]})
        for d, script in [(4225, "lenet_step.py"), (9025, "wrn_step.py")]
    ),
]  # fmt: skip

LENET, WRN = "lenet m=44426 d=4225 latents=10", "wrn m=2745274 d=9025 latents=1"

# Milliseconds: the target, and the quickest peer that it was set against, both on a 2-core AVX2 machine. Their ratio carries over to other
# machines, the times only show the scale.
TARGETS = {
    (ENTROPY, "m=105 d=60 B=3 h=105"): (0.3, 1.35),
    (ENTROPY, "m=2000 d=20 B=10 h=100"): (1.4, 2.79),
    (ENTROPY, "m=10000 d=50 B=1 h=100"): (4.5, 9.4),
    (ENTROPY, "m=10000 d=50 B=10 h=100"): (5.0, 9.66),
    (TOY, "1-7-10-1, MLP 60-105-105, S=3, 70 points"): (0.45, 1.27),
    ("forward", LENET): (10, 14.2),
    ("jvp", LENET): (10, 11.7),
    ("vjp", LENET): (10, 10.9),
    ("jvp_block8", LENET): (70, 102),
    ("s_min_value", LENET): (110, 150),
    ("s_min_value_and_grad", LENET): (160, 211),
    ("slq_value_1x10", LENET): (180, 258),
    ("slq_grad_krylov_1x10", LENET): (240, 340),
    ("slq_value_8x30", LENET): (4300, 7700),
    ("forward", WRN): (25, 49.5),
    ("jvp", WRN): (14, 27.6),
    ("vjp", WRN): (14, 31.4),
    ("jvp_block8", WRN): (100, 287),
    ("s_min_value", WRN): (180, 490),
    ("s_min_value_and_grad", WRN): (330, 693),
    (NETWORK, "lenet m=44426 d=4225 batch=256 S=10"): (70, 232),
    (NETWORK, "wrn m=2745274 d=9025 batch=32 S=2"): (1250, 1540),
    ("step_s_min", "lenet m=44426 d=4225 batch=256 S=10"): (250, 463),
    ("step_s_min", "wrn m=2745274 d=9025 batch=32 S=2"): (2300, 3313),
    ("step_slq", "wrn m=2745274 d=9025 batch=32 S=2"): (2600, 5003),
}

NOTES = """\
The toy steps differ in details. Both are with AMSGrad. livi's is otherwise that of the preset `toy` as `livi train` runs it: terms of the
objective are read back and checked, and the gradient's norm is computed. The peers' step leaves its new state and no terms."""

# Rounds that figures need to count.
ROUNDS = 3
# Cores kept busy by others, on average over a second, from which on figures do not count.
BUSY = 0.1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, type=pathlib.Path, help="folder of the peers' scripts")
    parser.add_argument("--python", required=True, help="Python with torch, jax and numpy")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds; three are the least for figures that count [3]")
    parser.add_argument("--threads", default="1,2", help="numbers of threads [1,2]")
    parser.add_argument("--only", default="", help="run only jobs whose name, program or filter contains this")
    args = parser.parse_args()
    args.jobs = [job for job in JOBS if any(args.only in text for text in [*job[0], *job[1:3]])]
    if not args.jobs:
        parser.error(f"--only: no job is called {args.only}")
    try:
        args.threads = [int(text) for text in args.threads.split(",")]
    except ValueError:
        parser.error("--threads: expected whole numbers such as 1,2")
    cores = len(os.sched_getaffinity(0))
    if not all(1 <= threads <= cores for threads in args.threads):
        parser.error(f"--threads: this process may use {cores} cores")
    if args.rounds < 1:
        parser.error("--rounds: expected at least 1")
    for script in (job[3] for job in args.jobs):
        if not (args.peers / script).is_file():
            parser.error(f"--peers: there is no {script} in {args.peers}")
    return args


@contextlib.contextmanager
def pinned(threads):
    """Children started inside run on that many cores, the first ones as for the peers, which pin themselves."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def build(repository):
    """Builds the benchmarks and answers the folder of their programs."""
    command = ["cargo", "build", "--release", "--locked", "-p", "livi-benches", "--bins"]
    subprocess.run(command, cwd=repository, check=True)
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    answer = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    return pathlib.Path(json.loads(answer.stdout)["target_directory"]) / "release"


def records(text):
    """The lines that are JSON objects."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def busy_cores(seconds=1.0):
    """Number of cores busy while this program sleeps."""

    def ticks():
        user, nice, system, idle, waiting, *others = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
        return user + nice + system + sum(others), user + nice + system + idle + waiting + sum(others)

    busy, total = ticks()
    time.sleep(seconds)
    busy_after, total_after = ticks()
    return (busy_after - busy) / max(1, total_after - total) * os.cpu_count()


class Measurements:
    """Medians of rounds, by job, sizes, threads and route."""

    def __init__(self):
        self.rounds = {}
        self.busy = []
        self.commands = {}
        self.failures = {}

    def run(self, shown, command, threads, jobs):
        """Runs one benchmark and keeps its medians; `shown` is the command as the report has it."""
        print(f"{datetime.datetime.now():%H:%M:%S} {shown}", file=sys.stderr, flush=True)
        self.commands[shown.replace(f"--threads {threads}", "--threads N")] = None
        self.busy.append(busy_cores())
        answer = subprocess.run(command, capture_output=True, text=True)
        found = [record for record in records(answer.stdout) if record["job"] in jobs]
        for record in found:
            if record["threads"] != threads or record["dtype"] != "f32":
                raise SystemExit(f"{shown}: {record['threads']} threads and {record['dtype']} where {threads} and f32 were asked")
            key = record["job"], record["sizes"], threads, record["framework"], record.get("note", "")
            self.rounds.setdefault(key, []).append(record["median_ms"])
        if answer.returncode != 0:
            last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
            if not found:
                raise SystemExit(f"{shown}: ended with code {answer.returncode}: {last}")
            # A route that does not run here (torch.compile without a C++ compiler) leaves those before it standing.
            self.failures[shown] = last

    def quickest(self, job, sizes, threads, framework):
        """Median over rounds of a framework's quickest route, the route's name where there are several, and all rounds."""
        routes = {key[4]: times for key, times in self.rounds.items() if key[:4] == (job, sizes, threads, framework)}
        best = min(routes, key=lambda route: statistics.median(routes[route]))
        return statistics.median(routes[best]), best if len(routes) > 1 else "", routes[best]

    def jobs(self):
        """Pairs of job and sizes that livi has, with the peers that have them too: one at least."""
        of = lambda framework: {key[:2] for key in self.rounds if key[3] == framework}
        peers = {pair: [f for f in FRAMEWORKS if pair in of(f)] for pair in of("livi")}
        missing = [pair for pair, having in peers.items() if not having]
        if missing:
            raise SystemExit(f"jobs without a peer: {sorted(missing)}")
        order = list(TARGETS)
        return sorted(peers.items(), key=lambda item: (order.index(item[0]) if item[0] in TARGETS else len(order), item[0]))


def measure(args, programs):
    found = Measurements()
    for _ in range(args.rounds):
        for threads in args.threads:
            for jobs, program, own, script, more in args.jobs:
                options = ["--threads", str(threads), "--only", own, "--json"]
                shown = [f'"{option}"' if " " in option else option for option in options]
                with pinned(threads):
                    found.run(" ".join([program, *shown]), [programs / program, *options], threads, jobs)
                for framework in more:
                    options = ["--threads", str(threads), "--framework", framework, "--json", *more[framework]]
                    command = [args.python, args.peers / script, *options]
                    quoted = [f'"{option}"' if " " in option else option for option in options]
                    found.run(" ".join([script, *quoted]), command, threads, jobs)
    return found


def processor():
    """Model, number of cores and kind of the processor."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text()
        model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {platform.machine()}"


def commit(repository):
    git = lambda *words: subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()
    changed = " with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return git("rev-parse", "--short", "HEAD") + changed


def versions(python):
    code = "import jax, torch; print(f'torch {torch.__version__}, JAX {jax.__version__}')"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(entry):
    return f"{entry[0]:.3f}" + (f" ({entry[1]})" if entry[1] else "")


def side_by_side(found, threads):
    rows = []
    for (job, sizes), having in found.jobs():
        for n in threads:
            own = found.quickest(job, sizes, n, "livi")
            peers = {framework: found.quickest(job, sizes, n, framework) for framework in having}
            best = min(peers, key=lambda framework: peers[framework][0])
            rounds = ", ".join(f"{time:.3f}" for time in own[2])
            ratio = f"{peers[best][0] / own[0]:.2f} ({best})"
            rows.append([job, sizes, str(n), cell(own), *(cell(peers[f]) if f in peers else "-" for f in FRAMEWORKS), ratio, rounds])
    return table(["job", "sizes", "threads", "livi", *FRAMEWORKS, "quickest peer / livi", "livi's rounds"], rows)


def against_targets(found, threads):
    rows = []
    for (job, sizes), having in found.jobs():
        if (job, sizes) not in TARGETS:
            continue
        target, reference = TARGETS[job, sizes]
        own, own_threads = min((found.quickest(job, sizes, n, "livi")[0], n) for n in threads)
        peer, framework, peer_threads = min((found.quickest(job, sizes, n, f)[0], f, n) for n in threads for f in having)
        rows.append([
            job, sizes, f"{own:.3f} ({own_threads})", f"{peer:.3f} ({framework}, {peer_threads})", f"{peer / own:.2f}",
            f"{reference / target:.2f}", f"{target:g}", f"{own / target:.2f}",
        ])  # fmt: skip
    head = ["job", "sizes", "livi (threads)", "quickest peer (threads)", "peer / livi", "asked", "target", "livi / target"]
    return table(head, rows)


def report(args, found, repository):
    today = datetime.date.today().isoformat()
    busy = f"{statistics.median(found.busy):.2f} (at most {max(found.busy):.2f})"
    doubts = [
        *(["other processes were running"] if max(found.busy) > BUSY else []),
        *([f"fewer than {ROUNDS} rounds"] if args.rounds < ROUNDS else []),
    ]
    verdict = [f"**These figures do not count: {', '.join(doubts)}.**"] if doubts else []
    failures = [f"- `{command}` did not finish: {last}" for command, last in found.failures.items()]
    parts = [
        f"# Samplers, networks and training steps beside PyTorch and JAX, {today}",
        f"{processor()}; {platform.system()}; f32; livi at commit {commit(repository)}, {versions(args.python)}. Alternating rounds: "
        f"{args.rounds}; cores busy with other things before each command {busy}.",
        *verdict,
        "Medians of the rounds' medians in ms; of each peer the quickest route.",
        side_by_side(found, args.threads),
        "Against the targets, each side with the number of threads that suits it best. A target is a time on the machine it was set on and, "
        "what counts elsewhere, a ratio to the quickest peer there (asked).",
        against_targets(found, args.threads),
        NOTES,
        *(["Not complete:\n\n" + "\n".join(failures)] if failures else []),
        "Commands, in this order in each round, each number of threads N in turn:",
        "\n".join(f"    {command}" for command in found.commands),
    ]
    return "\n\n".join(parts) + "\n"


def main():
    args = arguments()
    repository = pathlib.Path(__file__).resolve().parent.parent
    found = measure(args, build(repository))
    args.out.write_text(report(args, found, repository))
    print(f"wrote {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
