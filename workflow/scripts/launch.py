"""Start a program on one or several GPUs, by `accelerate launch` where there are several.

    python workflow/scripts/launch.py --gpus 4 --nodes 1 -- workflow/scripts/train.py --base ...

SIGTERM is passed on, and the processes have ten minutes to end: a training writes a checkpoint and ends with status 75,
which is also this program's then.
"""

import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence

from calgrid import cli
from calgrid.errors import Interrupted
from calgrid.launch import command

log = logging.getLogger("launch")

GRACE_SECONDS = 600  # that the launcher gives its processes to end; as long as the profile's signal comes early


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--gpus", type=int, default=1, help="processes in all, one a GPU (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=1, help="machines that they are on (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=1, help="cores on each of several machines (default: %(default)s)"
    )
    parser.add_argument("program", nargs="+", help="-- PROGRAM and its arguments")
    arguments = parser.parse_args(argv)
    words = command(arguments.program, arguments.gpus, arguments.nodes, arguments.threads, os.environ)
    threads = max(1, len(os.sched_getaffinity(0)) * arguments.nodes // arguments.gpus)
    environment = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(GRACE_SECONDS), "OMP_NUM_THREADS": str(threads), **os.environ}
    if arguments.gpus == 1:
        os.execv(words[0], words)
    log.info("%s", shlex.join(words))
    running = subprocess.Popen(words, env=environment)
    asked: list[int] = []

    def pass_on(number: int, _: object) -> None:
        asked.append(number)
        running.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))  # Ctrl-C reaches the processes by itself
    status = running.wait()
    if status and asked:
        raise Interrupted("asked to stop; run again to go on")
    sys.exit(status)


if __name__ == "__main__":
    cli.run(main)
