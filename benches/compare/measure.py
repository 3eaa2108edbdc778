"""One measured command: wall clock, CPU seconds, peak memory, and what the rest of the machine did meanwhile."""

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
# No push or pull of these sizes takes this long; one that does hangs.
LIMIT_SECS = 1800


class CommandFailed(Exception):
    """A command under measurement ended with an error; the message quotes the end of its log."""


@dataclass
class Run:
    """What one command took."""

    wall_secs: float
    # user + system of the process and every child it waited for (wait4).
    cpu_secs: float
    # The largest resident set of any one process of the command. Never below that of this interpreter (about
    # 22 MB), which Linux charges to the child between fork and exec.
    peak_rss_bytes: int
    # CPU seconds that everything else on the machine used meanwhile, the hypervisor's steal included (/proc/stat).
    # Far from zero means: trust cpu_secs, not wall_secs.
    foreign_secs: float


def run(command: str, env: dict[str, str], log: Path, source: Path | None = None) -> Run:
    """Runs a shell command, its standard input a pipe that `cat source` fills, its output thrown away.

    Raises CommandFailed when it ends with an error or runs longer than LIMIT_SECS. The CPU of the feeding `cat`
    counts neither for the command nor as foreign.
    """
    feeder = None
    if source is not None:
        feeder = subprocess.Popen(["cat", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with log.open("ab") as errors:
        errors.write(f"$ {command}\n".encode())
        errors.flush()
        machine_before = _machine_cpu_secs()
        started = time.monotonic()
        process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=feeder.stdout if feeder else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | env,
            start_new_session=True,
        )
        usage, wall_secs = _reap(process, started)
    feeder_secs = 0.0
    if feeder is not None:
        # The reading end closes here too, so that a command that stopped early stops `cat` as well.
        feeder.stdout.close()
        _, _, fed = os.wait4(feeder.pid, 0)
        feeder.returncode = 0
        feeder_secs = fed.ru_utime + fed.ru_stime
    if process.returncode != 0:
        raise CommandFailed(_failure(command, process.returncode, log))
    cpu_secs = usage.ru_utime + usage.ru_stime
    foreign_secs = max(0.0, _machine_cpu_secs() - machine_before - cpu_secs - feeder_secs)
    return Run(wall_secs, cpu_secs, usage.ru_maxrss * 1024, foreign_secs)


def sha256_of_output(command: str, env: dict[str, str], log: Path) -> str:
    """The digest of what a shell command prints. Raises CommandFailed when the command does not end well."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | env,
            start_new_session=True,
        )
        with _killed_after_limit(process):
            digest = hashlib.file_digest(process.stdout, "sha256").hexdigest()
            process.wait()
    if process.returncode != 0:
        raise CommandFailed(_failure(command, process.returncode, log))
    return digest


def sha256_of_file(path: Path) -> str:
    """The digest of a file. Reading it also brings it into the page cache, where every tool finds it alike."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored(directory: Path) -> tuple[int, int]:
    """How many bytes and files a repository is."""
    sizes = [path.lstat().st_size for path in directory.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def _reap(process: subprocess.Popen, started: float):
    """Waits with wait4, the only call that tells one child's resource use."""
    with _killed_after_limit(process):
        _, status, usage = os.wait4(process.pid, 0)
    wall_secs = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage, wall_secs


class _killed_after_limit:
    """Kills the process group of a command that is still running after LIMIT_SECS, or when nobody waits any more."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        self.timer = threading.Timer(LIMIT_SECS, self.kill)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self):
        self.timer.start()

    def __exit__(self, interrupted, *_):
        self.timer.cancel()
        if interrupted:
            self.kill()


def _machine_cpu_secs() -> float:
    """CPU seconds used on the whole machine since it started, steal included; idle and waiting for disks are not."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / CLOCK_TICKS_PER_SEC


def _failure(command: str, code: int, log: Path) -> str:
    last_lines = log.read_text(errors="replace").splitlines()[-12:]
    return f"`{command}` ended with {code}; the end of {log}:\n    " + "\n    ".join(last_lines)
