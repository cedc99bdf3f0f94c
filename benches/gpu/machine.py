"""The machine with the card: what is installed, where CUDA's libraries lie, and child processes with a time limit and a log."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

# Libraries that the programs open by name.
LIBRARIES = ("libnvrtc", "libcublas", "libcublasLt", "libcudart")
# Folders that may hold CUDA's libraries, when no Python package does.
FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib", "/usr/lib/x86_64-linux-gnu")
TOOLS = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
# Bytes after which the log is cut.
LOG = 12 << 20


class Outcome:
    """How a child process ended: its lines, its code (None when it was stopped at its limit), seconds."""

    def __init__(self, lines, code, seconds):
        self.lines, self.code, self.seconds = lines, code, seconds

    @property
    def stopped(self):
        return self.code is None

    def reason(self, lines=3):
        """One line for the report."""
        last = " / ".join(line.strip() for line in self.lines[-lines:] if line.strip()) or "no output"
        if self.stopped:
            return f"stopped at its time limit after {self.seconds:.0f} s; last: {last}"
        return f"ended with code {self.code}: {last}"


class Clock:
    """Time that is left."""

    def __init__(self, limit):
        self.begin, self.limit = time.monotonic(), limit

    def left(self):
        return self.limit - (time.monotonic() - self.begin)

    def part(self, limit):
        """A clock for a part, which ends no later than the whole."""
        return Clock(min(limit, self.left()))


class Runner:
    """Runs child processes one after the other; everything they print goes to the log."""

    def __init__(self, log):
        self.log, self.written = log, 0

    def _note(self, text):
        if self.written < LOG:
            with open(self.log, "a") as file:
                file.write(text)
            self.written += len(text)
            if self.written >= LOG:
                with open(self.log, "a") as file:
                    file.write("\n(the log ends here)\n")

    def run(self, command, environment, limit, interrupt=None):
        """Runs a command, for at most `limit` seconds; the whole process group is stopped then. After `interrupt` seconds it is asked to end, as by Ctrl-C."""
        command = [str(word) for word in command]
        shown = " ".join(f'"{word}"' if " " in word else word for word in command)
        print(f"[{time.strftime('%H:%M:%S')}] {shown}", flush=True)
        self._note(f"\n=== {time.strftime('%H:%M:%S')} {shown}\n")
        begin, lines = time.monotonic(), []
        try:
            child = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
            )
        except OSError as error:
            self._note(f"{error}\n")
            return Outcome([str(error)], 127, 0.0)

        def read():
            for line in child.stdout:
                lines.append(line.rstrip("\n"))
                self._note(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            if interrupt is not None:
                try:
                    child.wait(interrupt)
                except subprocess.TimeoutExpired:
                    child.send_signal(signal.SIGINT)
            code = child.wait(max(1.0, limit - (time.monotonic() - begin)))
        except subprocess.TimeoutExpired:
            code = None
        # What it left running ends with it.
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        reader.join(5)
        seconds = time.monotonic() - begin
        self._note(f"=== {'stopped at its limit' if code is None else f'code {code}'} after {seconds:.1f} s\n")
        return Outcome(lines, code, seconds)


def _first(command):
    """First line that a program prints, or None where there is no such program."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (answer.stdout or answer.stderr).strip().splitlines()
    return lines[0].strip() if answer.returncode == 0 and lines else None


def tool(name):
    """Path of one of CUDA's tools, or None."""
    return shutil.which(name) or next((f"{folder}/{name}" for folder in TOOLS if os.access(f"{folder}/{name}", os.X_OK)), None)


def library_folders(python):
    """Folders with NVRTC and cuBLAS: those of Python's packages first, then the toolkit's."""
    code = "import glob, sysconfig; print(*glob.glob(sysconfig.get_paths()['purelib'] + '/nvidia/**/lib', recursive=True), sep='\\n')"
    try:
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        answer = []
    holds = lambda folder: any(pathlib.Path(folder).glob(f"{name}.so*") for name in LIBRARIES)
    return [folder for folder in [*answer, *FOLDERS] if pathlib.Path(folder).is_dir() and holds(folder)]


def environment(python, device, scratch):
    """Variables of the project's programs on the device under test. Compiled kernels are kept in `scratch`."""
    folders = library_folders(python)
    known = os.environ.get("LD_LIBRARY_PATH", "")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join([*folders, *([known] if known else [])]),
        "LIVI_TEST_DEVICE": device,
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "TMPDIR": str(scratch),
        "RUST_BACKTRACE": "0",
    }


def glibc():
    """Version of the C library, as a tuple."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        text = ""
    found = re.search(r"([\d.]+)", text)
    return tuple(map(int, found.group(1).split("."))) if found else (0,)


def description(python):
    """Pairs of what the report says of the machine."""
    fields = "name,driver_version,memory.total,compute_cap,clocks.max.sm,clocks.max.mem,power.limit"
    card = _first(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"])
    versions = "import torch; print('torch', torch.__version__, 'cuDNN', torch.backends.cudnn.version(), 'CUDA', torch.version.cuda)"
    jax = _first([python, "-c", "from importlib.metadata import version; print('JAX', version('jax'))"])
    model = _first(["sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"])
    return [
        ("card", card or "none: nvidia-smi gives no answer"),
        ("its fields", fields),
        ("processor", f"{model or 'unknown'}, {len(os.sched_getaffinity(0))} cores"),
        ("Python side", ", ".join(filter(None, [_first([python, "--version"]), _first([python, "-c", versions]) or "no torch", jax]))),
        ("compilers", ", ".join(filter(None, [_first(["sh", "-c", f"{tool('nvcc') or 'nvcc'} --version | tail -1"]), _first(["g++", "--version"])])) or "none"),
        ("compute-sanitizer", tool("compute-sanitizer") or "none"),
        ("libraries from", ", ".join(library_folders(python)) or "no folder"),
        ("glibc", ".".join(map(str, glibc()))),
    ]
