"""Runs of Snakemake without the second that it takes to import it: a process that has imported it forks for each.

A run is then as alone as one started anew: its environment, folder, modules and logging end with it.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

# What a run imports, beside what Snakemake's own modules do.
IMPORTED = (
    *("snakemake.api", "snakemake_storage_plugin_s3", "boto3", "docutils.core", "pydantic", "requests", "smart_open"),
)


class Server:
    """A process that runs Snakemake once for each request, one after the other."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            asked = {
                "arguments": list(arguments),
                "environment": dict(environment),
                "folder": str(Path.cwd()),
                "files": [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (stdout, stderr)],
            }
            requests, answers = _pipes(self.process)
            requests.write(json.dumps(asked).encode() + b"\n")
            requests.flush()
            code = int(answers.readline())
            for file in (stdout, stderr):
                file.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, stdout.read(), stderr.read())


@cache
def server() -> Server:
    """The one of this process, with which it ends."""
    started = Server()
    atexit.register(started.process.communicate)
    return started


def _pipes(process: subprocess.Popen) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout


# What follows is the server's own side.


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")  # what Snakemake prints goes elsewhere
    for request in sys.stdin:
        child = os.fork()
        if not child:
            run(**json.loads(request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def run(arguments: list[str], environment: dict[str, str], folder: str, files: list[str]) -> NoReturn:
    """To the end of this process as Python ends it, with what was registered for that."""
    for descriptor, path in zip((0, 1, 2), (os.devnull, *files), strict=True):
        os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["snakemake", *arguments]
    importlib.import_module("snakemake.cli").main()
    sys.exit()


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    serve()
