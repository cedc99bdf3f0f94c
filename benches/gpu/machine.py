"""The machine with the card: what is installed, where CUDA's libraries lie, and child processes with a time limit and a log."""

import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

# Libraries that the programs open by name, and folders that may hold them when no Python package does.
LIBRARIES = ("libnvrtc", "libcublas", "libcublasLt", "libcudart", "libcudnn")
FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib", "/usr/lib/x86_64-linux-gnu")
TOOLS = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
# Compiled kernels, kept from one call to the next on the same machine.
CACHE = pathlib.Path(tempfile.gettempdir()) / "livi-card-cache"
# Bytes after which the log is cut.
LOG = 12 << 20
# Seconds in which a child process that was asked to end must have done so.
GRACE = 20


class Clock:
    """Time that is left."""

    def __init__(self, limit):
        self.end = time.monotonic() + limit

    def left(self):
        return self.end - time.monotonic()


class Outcome:
    """How a child process ended: its lines, its code (None when it was stopped at its limit), seconds."""

    def __init__(self, lines, code, seconds):
        self.lines, self.code, self.seconds = lines, code, seconds

    def reason(self):
        """One line for the report."""
        last = " / ".join(line.strip() for line in self.lines[-3:] if line.strip()) or "no output"
        return f"{self.ending()}; last: {last}"

    def ending(self):
        if self.code is None:
            return f"stopped at its time limit after {self.seconds:.0f} s"
        if self.code < 0:
            return f"died of {signal.Signals(-self.code).name}"
        return f"ended with code {self.code}"


class Runner:
    """Runs child processes; all that they print goes to the log, each line with the number of its command."""

    def __init__(self, log):
        self.log, self.numbers, self.lock = open(log, "a", buffering=1), itertools.count(1), threading.Lock()

    def note(self, text):
        with self.lock:
            if self.log.tell() < LOG:
                self.log.write(text + "\n")

    def run(self, command, environment, limit, interrupt=None):
        """Runs a command for at most `limit` seconds, then kills it with all that it started. After `interrupt` seconds it is asked to end, as by
        Ctrl-C, and has a grace of its own."""
        command = [str(word) for word in command]
        number, begin, lines = next(self.numbers), time.monotonic(), []
        announced = f"[{number}] {time.strftime('%H:%M:%S')} {' '.join(repr(word) if ' ' in word else word for word in command)}"
        print(announced, flush=True)
        self.note(announced)
        try:
            child = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
            )
        except OSError as error:
            return Outcome([str(error)], 127, 0.0)

        def read():
            for line in child.stdout:
                lines.append(line.rstrip("\n"))
                self.note(f"{number}: {lines[-1]}")

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        code = None
        try:
            if interrupt is not None:
                code = self.wait(child, interrupt)
                if code is None:
                    child.send_signal(signal.SIGINT)
                    limit = interrupt + GRACE
            if code is None:
                code = self.wait(child, limit - (time.monotonic() - begin))
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            # One that waits for its driver cannot even be killed.
            self.wait(child, GRACE)
        reader.join(5)
        outcome = Outcome(lines, code, time.monotonic() - begin)
        self.note(f"[{number}] {outcome.ending()} after {outcome.seconds:.1f} s")
        return outcome

    @staticmethod
    def wait(child, seconds):
        try:
            return child.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            return None


def answer(command):
    """First line that a program prints, or None where there is no such program."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (found.stdout or found.stderr).strip().splitlines()
    return lines[0].strip() if found.returncode == 0 and lines else None


def tool(name):
    """Path of one of CUDA's tools, or None."""
    return shutil.which(name) or next((f"{folder}/{name}" for folder in TOOLS if os.access(f"{folder}/{name}", os.X_OK)), None)


def library_folders(python):
    """Folders with NVRTC, cuBLAS and cuDNN: those of Python's packages first, then the toolkit's."""
    code = "import glob, sysconfig; print(*glob.glob(sysconfig.get_paths()['purelib'] + '/nvidia/**/lib', recursive=True), sep=':')"
    packaged = [folder for folder in (answer([python, "-c", code]) or "").split(":") if folder]
    holds = lambda folder: any(any(pathlib.Path(folder).glob(f"{name}.so*")) for name in LIBRARIES)
    return [folder for folder in [*packaged, *FOLDERS] if holds(folder)]


def environment(python, device, scratch):
    """Variables of the project's programs on the device under test."""
    folders = [*library_folders(python), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    own = {"LD_LIBRARY_PATH": ":".join(folders), "LIVI_TEST_DEVICE": device, "TMPDIR": str(scratch), "RUST_BACKTRACE": "0", "XDG_CACHE_HOME": str(CACHE)}
    return {**os.environ, **own}


def fill_cache(unpacked):
    """Puts the kernels that were compiled before they were packed where the programs look for them."""
    if (unpacked / "cache").is_dir():
        shutil.copytree(unpacked / "cache", CACHE, dirs_exist_ok=True)


def glibc():
    """Version of the C library, as a tuple; (0,) where it is another library."""
    found = re.search(r"[\d.]+", os.confstr("CS_GNU_LIBC_VERSION") or "") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    return tuple(map(int, found.group().split("."))) if found else (0,)


def description(python):
    """Pairs of what the report says of the machine."""
    fields = "name,driver_version,memory.total,compute_cap,clocks.max.sm,clocks.max.mem,power.limit"
    torch = "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda, 'cuDNN', torch.backends.cudnn.version())"
    model = answer(["sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"])
    return [
        (f"card ({fields})", answer(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]) or "none: nvidia-smi gives no answer"),
        ("processor", f"{model or 'unknown'}, {len(os.sched_getaffinity(0))} cores"),
        ("Python", answer([python, "--version"]) or f"no {python}"),
        ("PyTorch", answer([python, "-c", torch]) or "none: there are no peers to compare with"),
        ("C++ compiler, which some tests need", answer(["c++", "--version"]) or "none"),
        ("compute-sanitizer", answer([tool("compute-sanitizer") or "compute-sanitizer", "--version"]) or "none"),
        ("CUDA libraries from", ", ".join(library_folders(python)) or "no folder"),
        ("glibc", ".".join(map(str, glibc()))),
    ]
