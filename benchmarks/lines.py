"""Two Python environments in one run: a worker answers each line of JSON on its input with one on its output.

Used by the peer's environment too, hence the standard library alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def serve(handlers: Mapping[str, Callable[..., Any]]) -> None:
    """Answer {"do": name, ...} with what the handler of that name returns for the other fields, until input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(handlers[request.pop("do")](**request)), file=answers, flush=True)


class Worker:
    """A process that serves; ends with the `with` block."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self.command = [str(part) for part in command]

    def __enter__(self) -> "Worker":
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def ask(self, do: str, **arguments: Any) -> Any:
        """What the handler `do` returns. Raises RuntimeError if the worker has ended."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            print(json.dumps({"do": do, **arguments}), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{' '.join(self.command)} ended with status {self.process.wait()}; see above")
        return json.loads(answer)


def memory() -> dict[str, int]:
    """Bytes resident in this process: now, and at most so far.

    Not `getrusage`, whose maximum a process inherits from the one that started it.
    """
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[field].split()[0]) * 1024 for name, field in (("now", "VmRSS"), ("peak", "VmHWM"))}
