"""The results store against its provenance and the configuration: what is damaged, stale, missing or orphaned.

    damaged    not the bytes that were written, not whole, or not of one piece with what lies beside it
    stale      whole, and made otherwise than the configuration says now, or of other inputs than lie there now
    missing    of the grid, and not there
    orphaned   there, and nothing in the configuration asks for it; what killed processes left behind

Every seal is checked, and so every byte of Parquet files and records. The bytes of weights and the values of each row
are for `deep`. Neither network nor GPU is needed, and no model is loaded.
"""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calgrid import files, grid, seals
from calgrid.config import Config
from calgrid.errors import UserError
from calgrid.expectations import Artifact, Expectations
from calgrid.tables import read_csv

Kind = Literal["damaged", "stale", "missing", "orphaned"]

STAGES = (  # folders of results/ where everything is asked for by the configuration
    *("data", "pretrained", "models", "tokens", "audits", "packed", "scores", "metrics", "posthoc", "significance"),
    *("intervals", "checkpoints"),
)
SHOWN = ("tables", "figs")
ENDS = {".html": b"</html>", ".svg": b"</svg>", ".tex": rb"\end{table}", ".png": b"IEND\xaeB`\x82", ".json": b"}"}


@dataclass(frozen=True)
class Finding:
    """What is wrong with one artifact, and the command that mends it."""

    kind: Kind
    path: str
    reason: str
    repair: str


def verify(config: Config, snakemake: Sequence[str], *, deep: bool = False) -> tuple[int, list[Finding]]:
    """The number of artifacts that the configuration asks for, and what is wrong in the store.

    Args:
        config: as it stands.
        snakemake: the command that makes things again; targets are put behind it.
        deep: read every row, and hash the weights.
    """
    expectations = Expectations(config, deep)
    artifacts = list(expectations.artifacts())
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing does not hold the interpreter
        found = [finding for finding in pool.map(lambda a: _finding(a, snakemake), artifacts) if finding]
    findings = [*_gathered(found, artifacts, snakemake), *_shown(snakemake), *_unfinished(deep)]
    return len(artifacts), [*findings, *_orphans(expectations, artifacts)]


def _finding(artifact: Artifact, snakemake: Sequence[str]) -> Finding | None:
    there = [path for path in artifact.paths if os.path.lexists(path)]
    again = _again(there, artifact.path, snakemake)
    if not there:
        return Finding("missing", artifact.path, "not made yet", again)
    if absent := [path for path in artifact.paths if path not in there]:
        return Finding("damaged", artifact.path, f"{absent[0]}, of the same job, is not there", again)
    try:
        reasons = list(artifact.reasons())
    except UserError as error:
        return Finding("damaged", artifact.path, _one_line(str(error).removeprefix(f"{artifact.path}: ")), again)
    except Exception as error:  # of any kind: whatever happened to this file, the others are looked at
        reason = f"not what this workflow writes ({type(error).__name__}: {_one_line(str(error))})"
        return Finding("damaged", artifact.path, reason, again)
    if reasons:
        forced = shlex.join([*snakemake, "--forcerun", artifact.path, "--", artifact.path])
        return Finding("stale", artifact.path, "; ".join(reasons), forced)
    return None


def _again(there: Sequence[str], target: str, snakemake: Sequence[str]) -> str:
    make = shlex.join([*snakemake, "--", target])
    return f"{shlex.join(['rm', '-r', '--', *there])} && {make}" if there else make


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _gathered(found: Iterable[Finding], artifacts: Iterable[Artifact], snakemake: Sequence[str]) -> Iterator[Finding]:
    """The findings, but of a stage of which nothing is there yet a single one."""
    begun = {_stage(artifact.path) for artifact in artifacts if any(map(os.path.lexists, artifact.paths))}
    absent: dict[str, int] = {}
    for finding in found:
        if _stage(finding.path) in begun:
            yield finding
        else:
            absent[_stage(finding.path)] = absent.get(_stage(finding.path), 0) + 1
    for stage, count in absent.items():
        yield Finding("missing", stage, f"not made yet: all of {count}", shlex.join([*snakemake, "--", "all_tables"]))


def _stage(path: str) -> str:
    return "/".join(Path(path).parts[:2])


def _shown(snakemake: Sequence[str]) -> Iterator[Finding]:
    """Tables and figures that end before their end; they have no seal, since other programs read them."""
    for path in sorted(path for folder in SHOWN for path in Path("results", folder).rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".csv":
                read_csv(path)
            elif not path.read_bytes().rstrip().endswith(ENDS.get(path.suffix, b"")):
                raise UserError(f"{path}: its end is missing")
        except (UserError, OSError) as error:
            reason = _one_line(str(error).removeprefix(f"{path}: "))
            yield Finding("damaged", str(path), reason, _again([str(path)], str(path), snakemake))


def _unfinished(deep: bool) -> Iterator[Finding]:
    """Damaged checkpoints, of trainings and scorings that are under way."""
    root = Path("results/checkpoints")
    for state in sorted(root.glob("models/**/step-*/state.json")):
        try:
            record = files.read_record(state, "files", "progress")
            seals.check_sums(state.parent, record["files"], bytes_too=deep)
        except (UserError, OSError, TypeError, KeyError, AttributeError) as error:
            remedy = shlex.join(["rm", "-r", "--", str(state.parent)])
            yield Finding("damaged", str(state.parent), _one_line(str(error)), remedy)
    for path in sorted(root.glob("scores/**/*.parquet")):
        try:
            files.read_provenance(path)
        except UserError as error:
            reason = _one_line(str(error).removeprefix(f"{path}: "))
            yield Finding("damaged", str(path), reason, shlex.join(["rm", "--", str(path)]))


def _orphans(expectations: Expectations, artifacts: Iterable[Artifact]) -> Iterator[Finding]:
    """What nothing asks for, a line for each folder that holds nothing else, and what killed processes left behind."""
    asked = {path for artifact in artifacts for path in artifact.paths} | _asked_besides(expectations)
    for stage in STAGES:
        for path in _unasked(Path("results", stage), asked) or []:
            remedy = shlex.join(["rm", "-r", "--", str(path)])
            yield Finding("orphaned", str(path), "nothing in the configuration asks for it", remedy)
    for path in sorted(Path("results").rglob(".tmp-*")):
        if files.abandoned(path):
            remedy = shlex.join(["rm", "-r", "--", str(path)])
            yield Finding("orphaned", str(path), "left behind by a process that is no more", remedy)


def _asked_besides(expectations: Expectations) -> set[str]:
    """What belongs to the grid, though the configuration does not ask for it at this moment."""
    config = expectations.config
    scored = [name for benchmark in config.grid.benchmarks for name in (benchmark, grid.content_free(benchmark))]
    every = grid.cells(config)
    found = {grid.scores(name, c.path, shard) for name in scored for c in every for shard in grid.shards(config, name)}
    found |= {grid.metrics(benchmark, cell.path) for benchmark in config.grid.benchmarks for cell in every}
    found |= {grid.posthoc(benchmark, cell.path) for benchmark in config.grid.benchmarks for cell in every}
    for benchmark in config.grid.benchmarks:
        for name, languages in grid.shards(config, benchmark).items():
            found |= {expectations.tokens(benchmark, model, name) for model in config.grid.models}
            found |= {grid.benchmark_data(benchmark, language) for language in languages}
    found |= {grid.manifest(path) for path in found}
    found |= {
        f"results/checkpoints/models/{cell.path}" for cell in every if not _is_there(grid.train_record(cell.path))
    }
    for path in [path for path in found if path.startswith("results/scores/") and not _is_there(path)]:
        found.add(str(Path("results/checkpoints", Path(path).relative_to("results")).with_suffix("")))
    return found


def _is_there(path: str) -> bool:
    return Path(path).is_file()


def _unasked(folder: Path, asked: set[str]) -> list[Path] | None:
    """What is not asked for below `folder`; the folder itself if there is nothing else in it; None if it is empty."""
    if not folder.is_dir() or folder.is_symlink():
        return None
    found: list[Path] = []
    whole, empty = True, True
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        inside = None if str(path) in asked else _unasked(path, asked) if path.is_dir() else [path]
        if inside is None and path.is_dir() and str(path) not in asked:
            continue
        empty = False
        whole &= inside == [path]
        found += inside or []
    if empty:
        return None
    return [folder] if whole else found
