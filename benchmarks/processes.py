"""What other processes take: wall time and memory, of one alone or of all that it starts.

As a program (`python benchmarks/processes.py COMMAND ...`) it runs the command and prints its cost as JSON. A process
inherits its greatest memory from the one that started it, hence a small one in between.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float  # wall time
    cpu: float  # seconds of all its cores
    bytes: int  # of resident memory, at most


def alone(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command in a folder: its time, and the memory of its largest process. Raises RuntimeError if it fails."""
    done = subprocess.run(
        [sys.executable, __file__, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}; see above")
    return Cost(**json.loads(done.stdout))


def together(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, every: float = 1.0
) -> Cost:
    """Run a command in a folder: its time, and the summed memory of it and all that it starts, at the greatest.

    Pages that processes share count in each of them.

    Args:
        command: whose output goes to `log`.
        folder: where it runs.
        environment: of the command.
        log: a file.
        every: seconds between two looks.

    Raises: RuntimeError with the log's end if the command fails.
    """
    greatest = 0
    used, started = _cpu(), time.perf_counter()
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        while process.poll() is None:
            greatest = max(greatest, resident(process.pid))
            try:
                process.wait(every)
            except subprocess.TimeoutExpired:
                continue
    taken = time.perf_counter() - started
    if process.returncode:
        end = log.read_text()[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{end}")
    return Cost(taken, _cpu() - used, greatest)


def resident(pid: int) -> int:
    """Bytes resident now in a process and all its descendants; 0 of one that has ended meanwhile."""
    import psutil

    total = 0
    try:
        first = psutil.Process(pid)
        found = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in found:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _cpu() -> float:
    """Seconds that the ended processes below this one have computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(command: Sequence[str]) -> int:
    started = time.perf_counter()
    done = subprocess.run(command, stdout=sys.stderr)
    taken = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(json.dumps(asdict(Cost(taken, _cpu(), peak))))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
