"""The workflow with its jobs on Slurm, as tests start it, look at it and kill it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from support.slurm_cluster import wait
from support.workflow import ROOT


class SlurmRun:
    """The workflow in a folder of its own, whose jobs go to Slurm by the profile (or one that differs from it)."""

    def __init__(self, folder: Path, *configs: Path) -> None:
        self.folder, self.configs = folder, configs
        self.profile(lambda profile: None)
        self.running: subprocess.Popen | None = None

    def profile(self, change: Callable[[dict], None]) -> "SlurmRun":
        """The project's profile with a change; what a user would edit in it."""
        settings = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
        settings["slurm-init-seconds-before-status-checks"] = 1
        change(settings)
        path = self.folder / "profile/config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(settings, width=1000))
        return self

    def start(self, *targets: str) -> "SlurmRun":
        command = [
            *(sys.executable, "-m", "snakemake", *targets, "--profile", str(self.folder / "profile")),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)),
            *("--configfile", *map(str, self.configs)),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CALGRID_LEASE_SECONDS": "20"}
        with (self.folder / "log").open("w") as log:
            self.running = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=self.folder
            )
        return self

    def end(self, seconds: float) -> int:
        assert self.running
        try:
            return self.running.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not over after {seconds:.0f} s:\n{self.log[-4000:]}") from None

    def kill(self) -> None:
        assert self.running
        os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()

    def finish(self, seconds: float) -> None:
        assert self.end(seconds) == 0, self.log[-4000:]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def job(self, smoothing: str) -> str:
        """The Slurm job that trains the cell of a smoothing now, once it has made a few steps."""
        log = self.train_log(smoothing)
        wait(lambda: log.exists() and "checkpoint after step 3\n" in log.read_text(), f"smoothing {smoothing}", 300)
        command = ["squeue", "--noheader", "--states=running", "--format=%A|%Z|%k"]
        jobs = [line.split("|") for line in subprocess.check_output(command, text=True).splitlines()]
        mine = [job for job, where, what in jobs if where == str(self.folder) and f"_{smoothing}_" in what]
        assert len(mine) == 1, jobs
        return mine[0]

    def train_log(self, smoothing: str) -> Path:
        return self.folder / "results/logs/train" / f"{cell(smoothing)}.log"


def cell(smoothing: str) -> str:
    return f"model=tiny-llama/sft=cldr-alpaca/smoothing={smoothing}/lr=1e-3/seed=0"


def record(smoothing: str) -> str:
    return f"results/models/{cell(smoothing)}/train.json"
