"""The results store against its provenance and the configuration: what is damaged, stale, missing or orphaned.

    damaged    not the bytes that were written, not whole, or not of one piece with what lies beside it
    stale      whole, and made otherwise than the configuration says now, or of other inputs than lie there now
    missing    of the grid, or named by a record, and not there
    orphaned   there, and nothing in the configuration asks for it; what killed processes left behind

Every seal is checked, and so every byte of Parquet files and records. The bytes of weights and the values of each row
are for `deep`. Neither network nor GPU is needed, and no model is loaded.
"""

import os
import re
import shlex
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from calgrid.cell import CELL_FIELDS, Cell
from calgrid.config import grid
from calgrid.config.check import Config
from calgrid.errors import Absent, UserError
from calgrid.store import files, lease, paths, seals
from calgrid.tables.contents import read_csv
from calgrid.verify.expectations import Artifact, Expectations
from calgrid.vocabulary import BASE

Kind = Literal["damaged", "stale", "missing", "orphaned"]

STAGES = (  # folders of results/ where everything is asked for by the configuration
    *("data", "pretrained", "models", "tokens", "audits", "packed", "scores", "metrics", "posthoc", "significance"),
    *("intervals", "checkpoints"),
)
SETTLED = ("pretrained", "tokens", "checkpoints")  # those that settings decide on, not the names of the grid
ORDER = (  # stages in the order in which they are made
    *("data", "pretrained", "models/**/base.json", "tokens", "audits", "packed", "models/**/train.json"),
    *("selection.parquet", "scores", "metrics", "posthoc", "significance", "intervals"),
)
SHARED: tuple[tuple[str, ...], ...] = (  # by which names artifacts of later stages are found
    *((), ("model",), ("benchmark",), ("sft",), ("model", "sft"), ("benchmark", "model")),
    *(CELL_FIELDS, ("benchmark", *CELL_FIELDS)),
)
SHOWN = ("tables", "figs")
ENDS = {".html": b"</html>", ".svg": b"</svg>", ".tex": rb"\end{table}", ".png": b"IEND\xaeB`\x82", ".json": b"}"}


@dataclass(frozen=True)
class Finding:
    """What is wrong with one artifact, and the command that mends it, if there is one."""

    kind: Kind
    path: str
    reason: str
    repair: str
    partly: bool = False  # missing, but not all that the job writes
    count: int = 1  # of artifacts

    @property
    def is_fault(self) -> bool:
        """Whether it is more than a part of the grid that has not been made, or that nobody needs."""
        return self.partly or self.kind in ("damaged", "stale")


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
    findings += _orphans(expectations, artifacts)
    return len(artifacts), sorted(findings, key=lambda finding: bool(finding.repair))


def _finding(artifact: Artifact, snakemake: Sequence[str]) -> Finding | None:
    there = [path for path in artifact.paths if os.path.lexists(path)]
    again = _again(there, artifact.path, snakemake)
    if not there:
        return Finding("missing", artifact.path, "not made yet", again)
    trains = "; mending it trains a model again" if _trains(artifact.path) else ""
    if absent := [path for path in artifact.paths if path not in there]:
        reason = f"{absent[0]}, of the same job, is not there{trains}"
        return Finding("missing", artifact.path, reason, again, partly=True)
    try:
        reasons = list(artifact.reasons())
    except UserError as error:
        reason, absent_too = _one_line(str(error).removeprefix(f"{artifact.path}: ")), isinstance(error, Absent)
        kind: Kind = "missing" if absent_too else "damaged"
        return Finding(kind, artifact.path, f"{reason}{trains}", again, partly=absent_too)
    except Exception as error:  # of any kind: whatever happened to this file, the others are looked at
        reason = f"not what this workflow writes ({type(error).__name__}: {_one_line(str(error))}){trains}"
        return Finding("damaged", artifact.path, reason, again)
    if reasons:
        forced = shlex.join([*snakemake, "--forcerun", artifact.path, "--", artifact.path])
        return Finding("stale", artifact.path, f"{'; '.join(reasons)}{trains}", forced)
    return None


def _trains(path: str) -> bool:
    return path.endswith("/train.json") or path.startswith("results/pretrained/")


def _again(there: Sequence[str], target: str, snakemake: Sequence[str]) -> str:
    make = shlex.join([*snakemake, "--", target])
    return f"{shlex.join(['rm', '-r', '--', *there])} && {make}" if there else make


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _gathered(found: Iterable[Finding], artifacts: Sequence[Artifact], snakemake: Sequence[str]) -> Iterator[Finding]:
    """The findings in the order in which things are made; a single one of all that the next run makes by itself."""
    is_needed, due = _needed(artifacts), []
    for finding in sorted(found, key=lambda finding: _place(finding.path)):
        if finding.kind != "missing" or finding.partly:
            yield finding
        elif is_needed(finding.path):  # no run makes it again while what was made of it is there, unless it is named
            trains = "; mending it trains a model again" if _trains(finding.path) else ""
            yield replace(finding, reason=f"not there, while later stages are{trains}")
        else:
            due.append(finding)
    if len(due) == 1:
        yield due[0]
    elif due:
        stages = ", ".join(dict.fromkeys(_stage(finding.path) for finding in due))
        all_of_it = len(due) == len(artifacts)
        reason = f"not made yet: {'all' if all_of_it else len(due)} of {len(artifacts)}"
        repair = shlex.join([*snakemake, "--", "all_tables"])
        yield Finding("missing", "results" if all_of_it else stages, reason, repair, count=len(due))


def _needed(artifacts: Iterable[Artifact]) -> Callable[[str], bool]:
    """Whether something that may be made of an artifact is there: of a later stage, and of its cell, model or data."""
    last: dict[Hashable, int] = {}  # place of the latest stage

    def note(of: Mapping[str, str], place: int) -> None:
        shared: list[Hashable] = [frozenset((n, of[n]) for n in names) for names in SHARED if of.keys() >= {*names}]
        for key in shared if "seed" in of else [*shared, of.get("benchmark")]:
            last[key] = max(last.get(key, 0), place)

    for artifact in artifacts:
        if any(map(os.path.lexists, artifact.paths)):
            note(_names(artifact.path), _place(artifact.path))
    for path in Path("results/tables").rglob("*.csv"):
        note({"benchmark": path.parent.name} if path.parent.name != "tables" else {}, len(ORDER))

    def is_needed(path: str) -> bool:
        of = _names(path)
        users = [last.get(frozenset(of.items()), 0)]
        if {"seed", "benchmark"} <= of.keys() and (
            of["sft"] == BASE or _is_there(paths.train_record(Cell.parse(path).path))
        ):
            users.append(last.get(of["benchmark"], 0))  # what is made of all cells
        return max(users) > _place(path)

    return is_needed


def _names(path: str) -> dict[str, str]:
    """The benchmark, model, SFT set or cell that an artifact is of."""
    stage, *inner = re.sub(r"\.(parquet|json)$", "", path).split("/")[1:]
    if stage == "data":
        of = {"sft": inner[1]} if inner[0] == "sft" else {"benchmark": inner[1]}
    elif stage in ("pretrained", "audits"):
        of = {"model": inner[0]}
    elif stage in ("significance", "intervals"):
        of = {"benchmark": inner[0]}
    else:
        of = dict(part.split("=", 1) for part in Path(path).parts if "=" in part and not part.startswith("prompt="))
        of = of if not path.endswith("/base.json") else {"model": of["model"]}
        of |= {"sft": inner[-1]} if stage == "packed" else {}
    return of | ({"benchmark": paths.configured(of["benchmark"])} if "benchmark" in of else {})


def _stage(path: str) -> str:
    """The folder below results/; base models and trained ones lie in the same, and are two."""
    parts = Path(path).parts
    return "/".join([*parts[:2], *(["**", parts[-1]] if parts[1:2] == ("models",) else [])])


def _place(path: str) -> int:
    return ORDER.index(_stage(path).removeprefix("results/"))


def grouped(findings: Iterable[Finding], snakemake: Sequence[str]) -> list[Finding]:
    """One finding, with one command, for all of a stage that are stale or missing for the same reason."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        alone = finding.partly or finding.count > 1 or finding.kind not in ("stale", "missing")
        cause = finding.path if alone else re.sub(r"results/\S+", "", finding.reason)
        groups.setdefault((finding.kind, _stage(finding.path), cause), []).append(finding)
    return [_one_of(group, snakemake) for group in groups.values()]


def _one_of(group: Sequence[Finding], snakemake: Sequence[str]) -> Finding:
    first, members = group[0], [finding.path for finding in group]
    if len(group) == 1:
        return first
    forced = ["--forcerun", *members] if first.kind == "stale" else []
    reason = f"{first.reason}; and {len(group) - 1} more of {_stage(first.path)} likewise"
    return replace(first, reason=reason, repair=shlex.join([*snakemake, *forced, "--", *members]), count=len(group))


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
    unasked = [path for stage in STAGES for path in _unasked(Path("results", stage), asked) or []]
    if _of_another(expectations.config, unasked):
        names = ", ".join(dict.fromkeys(path.parts[1] for path in unasked))
        reason = f"of another configuration{_lost(unasked)}: in {names}; was CONFIG= (--configfile) forgotten?"
        yield Finding("orphaned", "results", reason, "")
    else:
        for path in unasked:
            reason = f"nothing in the configuration asks for it{_lost([path])}"
            yield Finding("orphaned", str(path), reason, shlex.join(["rm", "-r", "--", str(path)]))
    temporary = (path for path in Path("results").rglob(".tmp-*.part") if files.abandoned(path))
    leases = (path for path in Path("results").rglob(".running-*.lease") if lease.abandoned(path))
    for path in sorted([*temporary, *leases]):
        remedy = shlex.join(["rm", "-r", "--", str(path)])
        yield Finding("orphaned", str(path), "left behind by a process that is no more", remedy)


def _of_another(config: Config, unasked: Iterable[Path]) -> bool:
    """Whether whole stages, or all trained models, are none of the configuration's."""
    trained = {Cell.parse(path) for path in Path("results/models").glob("*/*/*/*/*/train.json")}
    whole = any(len(path.parts) == 2 and path.name not in SETTLED for path in unasked)
    return whole or (bool(trained) and trained.isdisjoint(grid.tuned_cells(config)))


def _lost(found: Iterable[Path]) -> str:
    """What deleting these would cost."""
    records = ("train.json", "pretrain.json")
    among = [path for path in found if path.parts[1] in ("models", "pretrained")]
    count = sum(found.name in records for path in among for found in (path, *path.rglob("*.json")))
    return f" ({'a trained model' if count == 1 else f'{count} trained models'} with it)" if count else ""


def _asked_besides(expectations: Expectations) -> set[str]:
    """What belongs to the grid, though the configuration does not ask for it at this moment."""
    config = expectations.config
    scored = [name for benchmark in config.grid.benchmarks for name in (benchmark, paths.content_free(benchmark))]
    every = grid.cells(config)
    found = {paths.scores(name, c.path, shard) for name in scored for c in every for shard in grid.shards(config, name)}
    found |= {paths.metrics(benchmark, cell.path) for benchmark in config.grid.benchmarks for cell in every}
    found |= {paths.posthoc(benchmark, cell.path) for benchmark in config.grid.benchmarks for cell in every}
    for benchmark in config.grid.benchmarks:
        for name, languages in grid.shards(config, benchmark).items():
            found |= {expectations.tokens(benchmark, model, name) for model in config.grid.models}
            found |= {paths.benchmark_data(benchmark, language) for language in languages}
    found |= {paths.manifest(path) for path in found}
    found |= {
        f"results/checkpoints/models/{cell.path}" for cell in every if not _is_there(paths.train_record(cell.path))
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
