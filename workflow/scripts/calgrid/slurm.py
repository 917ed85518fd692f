"""What a start of the workflow checks about Slurm before it submits anything."""

import os
import shutil
import subprocess
from pathlib import Path

from calgrid.errors import UserError

COMMANDS = Path(__file__).parents[2] / "slurm"  # squeue and sacct as Snakemake's plugin needs them
SHOWN = 20  # jobs that a message lists


def queued_jobs(folder: Path) -> list[str]:
    """The jobs of this user in Slurm's queue that Snakemake has submitted from `folder`.

    Empty where there is no Slurm, or no answer from it.
    """
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format", "%i|%Z|%k"]  # id, folder, comment
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    jobs = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") > 1]
    here = os.path.realpath(folder)
    return [job for job, where, comment in jobs if os.path.realpath(where) == here and comment.startswith("rule_")]


def check_queue(folder: Path) -> None:
    """Refuse to start beside the jobs of an earlier start, which would compute the same things twice.

    Raises:
        UserError: names the jobs, and what to do.
    """
    if jobs := queued_jobs(folder):
        more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
        raise UserError(
            f"Slurm's queue still has {len(jobs)} jobs that an earlier start in this folder submitted "
            f"({', '.join(jobs[:SHOWN])}{more}). Wait until they have ended (`squeue --me`): their results are then "
            f"taken. Or stop them: scancel {' '.join(jobs)}"
        )


def check_profile(executor: str, rules_with_resources: set[str]) -> str | None:
    """Whether jobs go to Slurm as the profile says; returns a warning, where they stay on a machine of a cluster.

    Args:
        executor: name of Snakemake's executor.
        rules_with_resources: rules whose resources the command line or a profile sets.

    Raises:
        UserError: jobs go to Slurm without the profile's resources.
    """
    if executor == "slurm" and not {"train", "score"} <= rules_with_resources:
        raise UserError(
            "jobs would go to Slurm without the GPUs, memory and time that profiles/slurm/config.yaml asks for: no "
            "profile, or one of another name, took effect (Snakemake ignores a misspelt --workflow-profile); "
            "start with `snakemake --profile profiles/slurm`"
        )
    if executor == "local" and shutil.which("sbatch"):
        return "Jobs run on this machine, not on the cluster; for Slurm: snakemake --profile profiles/slurm ..."
    return None
