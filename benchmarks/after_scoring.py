"""The workflow's stages after scoring, on scores that are there: a grid with synthetic ones, or a finished grid's.

Snakemake gets the rules of these stages alone, so that neither the data nor the models that the scores would come from
are needed, and nothing is scored again.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

import processes
from calgrid.cell import Cell
from calgrid.config import check, grid
from calgrid.store import files, paths
from synthetic_scores import Benchmark

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
BEFORE = ("data", "train", "tokenize", "score")  # .smk files of the stages up to the scores
MADE_BEFORE = ("audits", "checkpoints", "data", "demo", "models", "packed", "pretrained", "scores", "tokens")
RULE = re.compile(r"^(?:rule|checkpoint|use rule \w+ as) (\w+)", re.MULTILINE)
PLANNED = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$", re.MULTILINE)  # in a dry run
QUESTION_BYTES = 60  # of scores on disk; 50 of those with four options


@dataclass(frozen=True)
class Workflow:
    """The workflow in a folder, whose results it holds."""

    folder: Path
    configfiles: Sequence[Path] = ()
    cores: int = 2

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        """As Snakemake gives it to a job of one thread."""
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, **threads, "SCRIPTS": str(SCRIPTS), "PATH": path}

    def command(self, *arguments: str) -> list[str]:
        files = ["--configfile", *map(str, self.configfiles)] if self.configfiles else []
        return [
            *(sys.executable, "-m", "snakemake", *arguments, *files, "--cores", str(self.cores)),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)),
        ]

    @cached_property
    def allowed(self) -> list[str]:
        """The rules of the stages after scoring."""
        listed = subprocess.run(self.command("--list-rules"), capture_output=True, text=True, check=True).stdout
        before = {name for stage in BEFORE for name in RULE.findall(_text(f"workflow/rules/{stage}.smk"))}
        return [name for name in listed.split() if name not in before]

    def after_scoring(self, *targets: str) -> list[str]:
        return self.command(*targets, "--allowed-rules", *self.allowed)

    def planned(self, *targets: str) -> list[str]:
        """The shell commands that make `targets`, in their order.

        Raises: LookupError where something of the stages up to the scores is missing; since the workflow has a
        checkpoint, Snakemake plans to make it, whatever rules are allowed.
        """
        plan = self.after_scoring(*targets, "--dry-run", "--printshellcmds")
        done = subprocess.run(plan, capture_output=True, text=True)
        others = set(PLANNED.findall(done.stdout)) - set(self.allowed)
        if done.returncode or others:
            why = f"{', '.join(sorted(others))} would run" if others else (done.stdout + done.stderr)[-3000:]
            raise LookupError(f"{' '.join(targets)} can't be made of what {self.results} holds: {why}")
        return re.findall(r"^Shell command: (.*)$", done.stdout, re.MULTILINE)

    def program(self, target: str, times: int) -> list[processes.Cost]:
        """Cost of the program that makes `target`, as the workflow starts it, a few times; what it needs is made."""
        self.clear()
        *needed, own = self.planned(target)
        for command in needed:
            self._run(command)
        return [self._run(own) for _ in range(times)]

    def programs(self, target: str, names: Sequence[str]) -> dict[str, list[processes.Cost]]:
        """Cost of the programs of these names, in this order, among those that make `target` from what is there."""
        selection = self.after_scoring("results/selection.parquet", "--quiet", "all")  # which the plan depends on
        subprocess.run(selection, check=True, env=self.environment)
        commands = self.planned(target)
        return {name: [self._run(line) for line in commands if f"/{name}.py " in line] for name in names}

    def _run(self, command: str) -> processes.Cost:
        for path in re.findall(r"(?:--output|>) (\S+)", command):
            (self.folder / shlex.split(path)[0]).parent.mkdir(parents=True, exist_ok=True)
        return processes.alone(["bash", "-c", command], self.folder, self.environment)

    def clear(self) -> None:
        """Remove what comes after the scores."""
        for path in self.results.iterdir() if self.results.exists() else ():
            if path.name not in MADE_BEFORE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self.folder / ".snakemake", ignore_errors=True)

    def make(self, *targets: str) -> processes.Cost:
        """Make all of `targets` that comes after the scores, anew: what is there of it is removed.

        Raises: LookupError, as `planned`.
        """
        self.clear()
        self.planned(*targets)
        command = self.after_scoring(*targets, "--quiet", "rules", "--show-failed-logs")
        return processes.together(command, self.folder, self.environment, self.folder / "snakemake.log")


def copied(results: Path, workflow: Workflow) -> Workflow:
    """`workflow`, with what `results` holds of the stages up to the scores."""
    for name in MADE_BEFORE:
        if (results / name).exists():
            shutil.copytree(results / name, workflow.results / name, dirs_exist_ok=True)
    return workflow


@dataclass(frozen=True)
class SyntheticGrid:
    """Synthetic scores and records of training for cells of the paper's configuration."""

    folder: Path
    benchmarks: Mapping[str, Benchmark]
    settings: Mapping[str, Any] = field(default_factory=dict)  # over the section `grid` of config/config.yaml

    @cached_property
    def config(self) -> check.Config:
        whole = yaml.safe_load(_text("config/config.yaml"))
        return check.load({**whole, "grid": {**whole["grid"], **self.settings}})

    @property
    def n_questions(self) -> int:
        """Of all cells and benchmarks."""
        sizes = [len(grid.languages(self.config, b.name)) * b.n_questions for b in self.benchmarks.values()]
        return len(grid.cells(self.config)) * sum(sizes)

    def check_disk(self) -> None:
        """Exit with a message where the disk can't hold the scores and what is made of them."""
        needed = QUESTION_BYTES * self.n_questions * 1.2
        self.folder.mkdir(parents=True, exist_ok=True)
        here = sum(path.stat().st_size for path in self.folder.rglob("*.parquet"))
        free = shutil.disk_usage(self.folder).free
        if free + here < needed:
            sys.exit(
                f"{self.folder}: {free / 1e9:.1f} GB are free, and the scores of {self.n_questions:,} questions take "
                f"{needed / 1e9:.1f} GB; name another folder: --work FOLDER"
            )

    def workflow(self, cores: int) -> Workflow:
        settings = self.folder / "grid.yaml"
        self.folder.mkdir(parents=True, exist_ok=True)
        settings.write_text(yaml.safe_dump({"grid": dict(self.settings)}), encoding="utf-8")
        return Workflow(self.folder, [settings], cores)

    def write(
        self,
        cores: int,
        cells: Sequence[Cell] | None = None,
        benchmarks: Collection[str] | None = None,
        shards: Collection[str] | None = None,
    ) -> None:
        """Write the scores that are not there, by default of all cells, benchmarks and shards, audits and records."""
        for model in self.config.grid.models:
            files.write_json(self.folder / paths.audit(model), {})
        for number, cell in enumerate(grid.tuned_cells(self.config)):
            files.write_json(self.folder / paths.train_record(cell.path), {"validation_loss": 2 + number % 7 / 10})
        for model in self.config.grid.models:
            files.write_json(self.folder / paths.audit(model), {})  # has to be there, and is not read
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:  # polars does not survive a fork
            waiting = [
                pool.submit(benchmark.write, path, zlib.crc32(relative.encode()), members)
                for name, benchmark in self.benchmarks.items()
                if benchmarks is None or name in benchmarks
                for shard, members in grid.shards(self.config, name).items()
                if shards is None or shard in shards
                for cell in cells or grid.cells(self.config)
                for relative in [paths.scores(name, cell.path, shard)]
                for path in [self.folder / relative]
                if not path.exists()
            ]
            for done in waiting:
                done.result()


def _text(relative: str) -> str:
    return (ROOT / relative).read_text(encoding="utf-8")
