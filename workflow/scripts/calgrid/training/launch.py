"""The command that starts a training on its GPUs: one process a GPU, on one machine or several."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from calgrid.errors import UserError

PORTS = 20_000, 40_000  # of the processes' meeting place; one for each job of a cluster


def command(program: Sequence[str], gpus: int, nodes: int, threads: int, environment: Mapping[str, str]) -> list[str]:
    """The command that runs a Python program with its arguments.

    Args:
        program: the program and its arguments.
        gpus: processes in all.
        nodes: machines, each with as many of them. Several need a Slurm job.
        threads: cores on each machine, where there are several.
        environment: of this process.

    Raises:
        UserError: numbers that don't go together, or several machines outside a Slurm job.
    """
    if gpus < 1 or nodes < 1 or gpus % nodes:
        raise UserError(f"--gpus {gpus} --nodes {nodes}: give at least one of each, and as many GPUs on each node")
    if gpus == 1:
        return [sys.executable, *program]
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    flags = [
        *("--multi_gpu", "--num_processes", str(gpus), "--num_machines", str(nodes)),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),  # the program sees to both itself
    ]
    if nodes == 1:
        return [*launcher, *flags, "--main_process_port", "0", *program]
    if "SLURM_JOB_ID" not in environment:
        raise UserError(f"--nodes {nodes}: several machines need a job of Slurm; set models.<name>.nodes: 1")
    job = environment["SLURM_JOB_ID"]
    first, last = PORTS
    meeting_place = [
        *("--main_process_ip", first_host(job)),
        *("--main_process_port", str(first + int(job) % (last - first))),
    ]
    each_node = [
        *("srun", "--overlap", "--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"),
        *("--cpus-per-task", str(threads)),
    ]
    numbered = ["sh", "-c", f'exec {shlex.join(launcher)} --machine_rank "$SLURM_NODEID" "$@"', "launch"]
    return [*each_node, *numbered, *flags, *meeting_place, *program]


def first_host(job: str) -> str:
    """The first node of a Slurm job. Asked for: Snakemake's plugin leaves the job's id alone in the environment."""

    def answer(*words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]

    return answer("scontrol", "show", "hostnames", answer("squeue", "--noheader", "--format", "%N", "--jobs", job))
