"""Start a program on one or several GPUs, by `accelerate launch` where there are several.

    python workflow/scripts/launch_training.py --gpus 4 --nodes 1 --result results/models/<cell>/train.json -- \\
        workflow/scripts/train_cell.py --base ...

A second copy of it waits until the first has ended, and finds the result there, or goes on from its last checkpoint.

SIGTERM is passed on, and the processes have ten minutes to end: a training writes a checkpoint and ends with status 75,
which is also this program's then.
"""

import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from calgrid import cli
from calgrid.errors import Interrupted
from calgrid.store import lease
from calgrid.training.launch import command

log = logging.getLogger("launch")

GRACE_SECONDS = 600  # that the launcher gives its processes to end; as long as the profile's signal comes early


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--gpus", type=int, default=1, help="processes in all, one a GPU (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=1, help="machines that they are on (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=1, help="cores on each of several machines (default: %(default)s)"
    )
    parser.add_argument("--result", required=True, help="file that the program writes last; one process computes it")
    parser.add_argument("program", nargs="+", help="-- PROGRAM and its arguments")
    arguments = parser.parse_args(argv)
    words = command(arguments.program, arguments.gpus, arguments.nodes, arguments.threads, os.environ)
    environment = dict(os.environ)
    if arguments.gpus > 1:
        threads = max(1, len(os.sched_getaffinity(0)) * arguments.nodes // arguments.gpus)
        environment = {
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(GRACE_SECONDS),
            "OMP_NUM_THREADS": str(threads),
            **environment,
        }
        log.info("%s", shlex.join(words))
    with lease.held(arguments.result, arguments.program) as done:
        if done:
            log.info("%s: computed by that process; nothing left to do", arguments.result)
            return
        status, asked = run(words, environment)
    if status and asked:
        raise Interrupted("asked to stop; run again to go on")
    sys.exit(status)


def run(words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bool]:
    """Run a command to its end, passing SIGTERM on; its status, and whether it was asked to stop."""
    asked: list[int] = []
    running = subprocess.Popen(words, env=environment)

    def pass_on(number: int, _: object) -> None:
        asked.append(number)
        running.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))  # Ctrl-C reaches the processes by itself
    return running.wait(), bool(asked)


if __name__ == "__main__":
    cli.run(main)
