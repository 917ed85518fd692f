"""Running the workflow in a folder of its own, and reading what it plans."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import yaml

from calgrid.cell import Cell
from support.snakemake_server import server

ROOT = Path(__file__).parents[2]
SNAKEMAKE = (sys.executable, "-m", "snakemake")
TABLE = "results/tables/table1.csv"  # what needs most of a grid, without the tables that take longer
TINY = (ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml")


def cells(outputs: Iterable[str]) -> set[Cell]:
    """The cells that files are of."""
    return {Cell.parse(Path(output).with_suffix("")) for output in outputs}


def checkout(folder: Path) -> Path:
    """A copy of the project, as far as a run needs it."""
    for part in ("Snakefile", "workflow", "config", "data", "envs"):
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    return folder


class Workflow:
    """The workflow in `folder`, configured by files that are merged in order, and by settings on top."""

    def __init__(self, folder: Path, *configfiles: Path, root: Path = ROOT):
        self.folder, self.configfiles, self.root = folder, configfiles, root
        self.flags: list[str] = []  # of every command
        self.environment: dict[str, str] = {}  # beside that of the tests
        self.anew = False  # whether Python starts anew for each run, and is not one that has imported Snakemake

    def command(self, *arguments: str, settings: dict | None = None) -> list[str]:
        files = [str(file) for file in self.configfiles]
        if settings is not None:
            extra = self.folder / "extra.yaml"
            extra.write_text(yaml.safe_dump(settings), encoding="utf-8")
            files.append(str(extra))
        return [
            *(*SNAKEMAKE, *arguments, "--cores", "2"),
            *("--snakefile", str(self.root / "Snakefile"), "--directory", str(self.folder)),
            *(["--configfile", *files] if files else []),
            *self.flags,
        ]

    def run(self, *arguments: str, settings: dict | None = None, check: bool = True) -> subprocess.CompletedProcess:
        command = self.command(*arguments, settings=settings)
        environment = {**os.environ, "COLUMNS": "99", **self.environment}
        if self.anew:
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
        else:
            done = server().run(command[len(SNAKEMAKE) :], environment)
        if check and done.returncode:
            raise AssertionError(f"{arguments} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done

    def plan(self, *targets: str, settings: dict | None = None) -> dict[str, list[str]]:
        """What a dry run would do: the outputs of each rule's jobs."""
        text = self.run(*targets, "--dry-run", settings=settings).stdout
        planned: dict[str, list[str]] = defaultdict(list)
        for rule, outputs in re.findall(
            r"^(?:local)?(?:rule|checkpoint) (\w+):\n(?:    input: .*\n)?    output: (.*)$", text, re.MULTILINE
        ):
            planned[rule] += outputs.split(", ")
        return {rule: sorted(outputs) for rule, outputs in planned.items()}
