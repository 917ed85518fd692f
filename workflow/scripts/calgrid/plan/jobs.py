"""The jobs of a command, which of them are done, and why others would run again: as Snakemake itself sees it.

Snakemake builds its graph of jobs here as for a dry run: without a lock, beside a running workflow, running nothing.
Its objects and not its printed text are read: a printed reason names no parameter. They are internal to Snakemake,
whose version is pinned; tests/workflow/test_plan.py holds this module against dry runs.
"""

import ast
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.cli import parse_args, parse_config
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings, StorageSettings
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

from calgrid.cell import CELL
from calgrid.config.check import Config
from calgrid.config.grid import cells
from calgrid.errors import UserError

LONGEST = 90  # characters of a value in a cause
SELECTION = "select"  # the checkpoint behind which jobs are unknown until it has run


@dataclass(frozen=True)
class Job:
    """A job of the workflow."""

    rule: str
    wildcards: Mapping[str, str]
    threads: int
    to_do: bool
    again: bool  # it was made before, as a whole or in part
    causes: tuple[str, ...]  # of one that would run again
    after: tuple[int, ...]  # numbers of the jobs that it waits for
    benchmark: str | None  # where its seconds are recorded
    assumed: bool  # Snakemake finds it once learning rates are selected


def jobs(arguments: Sequence[str], targets: Sequence[str]) -> tuple[Config, list[Job]]:
    """The checked configuration, and every job that the targets need, done or not, without the targets themselves.

    Args:
        arguments: of Snakemake, without targets.
        targets: rules or files.

    What is scored, measured or shown for selected learning rates alone is unknown to Snakemake before these are
    selected. The plan then takes the first learning rate of the grid for each, which costs the same.

    Raises:
        UserError: with Snakemake's own message.
    """
    _, args = parse_args([*arguments, "--dry-run"])
    logging.getLogger("snakemake.logging").setLevel(logging.ERROR)
    with SnakemakeApi(OutputSettings(log_level_override=logging.ERROR, enable_file_logging=False)) as api:
        try:
            registry = StoragePluginRegistry()
            workflow_api = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(
                    config=parse_config(args.config), configfiles=args.configfile or (), config_args=args.config
                ),
                storage_settings=StorageSettings(
                    default_storage_provider=args.default_storage_provider,
                    default_storage_prefix=args.default_storage_prefix,
                    local_storage_prefix=args.local_storage_prefix,
                ),
                storage_provider_settings={
                    name: registry.get_plugin(name).get_settings(args) for name in registry.get_registered_plugins()
                },
                snakefile=args.snakefile,
                workdir=args.directory,
            )
            workflow_api.dag(
                DAGSettings(
                    targets=set(targets),
                    force_incomplete=True,
                    rerun_triggers=args.rerun_triggers,
                    max_checksum_file_size=args.max_checksum_file_size,
                )
            )
            workflow = workflow_api._workflow
            config: Config = workflow.globals["CONFIG"]
            known = _build(workflow)
            if not any(job.to_do and job.rule == SELECTION for job in known):
                return config, known
            first = config.grid.lr[0]
            # The functions of the rules find this one in the Snakefile's globals, in place of what reads the selection.
            workflow.globals["selected_cells"] = lambda: [
                cell for cell in cells(config) if cell.is_base or cell.lr == first
            ]
            return config, _build(workflow, known)
        except UserError:
            raise
        except Exception as error:  # Snakemake raises its own kinds, and others from inside rules
            raise UserError(f"the jobs of {', '.join(targets)} can't be listed: {_words(error)}") from error


def _words(error: BaseException) -> str:
    """What an error says: the innermost message of Snakemake or of the rules' functions."""
    found: BaseException | None = error
    said = str(error) or type(error).__name__
    while found is not None:
        if isinstance(found, (WorkflowError, UserError)) and str(found):
            said = str(found)
        found = found.__cause__ or found.__context__
    return said


def _build(workflow: Any, known: Sequence[Job] = ()) -> list[Job]:
    workflow._prepare_dag(forceall=False, ignore_incomplete=False, lock_warn_only=True, nolock=True)
    workflow._build_dag()
    return workflow.async_run(_read(workflow.dag, known))


async def _read(dag: Any, known: Sequence[Job]) -> list[Job]:
    found = [job for job in dag.jobs if not job.rule.norun]
    numbers = {job: number for number, job in enumerate(found)}
    before = Counter((job.rule, tuple(job.wildcards.items())) for job in known)
    history = _History(dag)
    return [
        Job(
            rule=job.rule.name,
            wildcards=dict(job.wildcards.items()),
            threads=job.threads,
            to_do=dag.needrun(job),
            again=(again := dag.needrun(job) and await history.made(job)),
            causes=tuple(sorted(await history.causes(job))) if again else (),
            after=tuple(numbers[other] for other in dag.job_dependencies(job) if other in numbers),
            benchmark=str(job.benchmark) if job.benchmark else None,
            assumed=bool(known) and not before[job.rule.name, tuple(job.wildcards.items())],
        )
        for job in found
    ]


class _History:
    """What Snakemake has recorded of jobs, and what it finds changed."""

    def __init__(self, dag: Any) -> None:
        self.dag, self.records = dag, dag.workflow.persistence
        self._found: dict[Any, frozenset[str]] = {}

    async def made(self, job: Any) -> bool:
        """Whether a job was made before, as a whole or in part."""
        for path in job.output:
            if self.records.metadata(path) is not None or await path.exists():
                return True
        return False

    async def causes(self, job: Any) -> frozenset[str]:
        """Why a job that was made before would run again: in words that are the same for like jobs."""
        if job not in self._found:
            self._found[job] = frozenset()  # the graph has no circles; this is for safety alone
            self._found[job] = frozenset([cause async for cause in self._causes(job)])
        return self._found[job]

    async def _causes(self, job: Any) -> Any:
        reason = self.dag.reason(job)
        if await self.records.incomplete(job):
            yield "interrupted before, or under way in another Snakemake"
        elif reason.forced:
            yield "forced"
        if reason.missing_output:
            missing = {_pattern(path, job) for path in map(str, reason.missing_output)}
            yield f"deleted: {', '.join(sorted(missing))}"
        if reason.params_changed:
            for text in _changed(_named(job), reason.params_changed.only_old, reason.params_changed.only_new):
                yield text
        if reason.code_changed:
            yield f"the command of rule `{job.rule.name}` changed"
        if reason.software_stack_changed:
            yield "the software environment changed"
        if reason.input_changed:
            yield f"other inputs than before: {self._inputs(job)}"
        if reason.updated_input:
            makers = {self._maker(job, path) or _pattern(path, job) for path in map(str, reason.updated_input)}
            yield f"an input is newer: {', '.join(sorted(makers))}"
        for other, paths in self.dag.dependencies[job].items():
            if reason.updated_input_run.isdisjoint(paths):
                continue
            if not await self.made(other):
                yield f"`{other.rule.name}` is to be made first"
            for cause in await self.causes(other):
                yield cause if cause.startswith("`") else f"`{other.rule.name}` runs again: {cause}"

    def _maker(self, job: Any, path: str) -> str | None:
        for other, paths in self.dag.dependencies[job].items():
            if path in map(str, paths):
                return f"what `{other.rule.name}` made"
        return None

    def _inputs(self, job: Any) -> str:
        old = {path for output in job.output for path in self.records.input(output) or ()}
        new = set(self.records._input(job))
        gone = {_pattern(path, job) for path in old - new}
        added = {_pattern(path, job) for path in new - old}
        words = [*(f"- {path}" for path in sorted(gone)), *(f"+ {path}" for path in sorted(added))]
        return _shortened(", ".join(words[:2]) + (f" and {len(words) - 2} more" if len(words) > 2 else ""))


def _pattern(path: str, job: Any) -> str:
    """A path with the job's own wildcards taken out, so that it is the same for like jobs."""
    for name, value in sorted(job.wildcards.items(), key=lambda item: -len(item[1])):
        path = re.sub(rf"(^|[/=]){re.escape(value)}(?=/|$|\.\w+$)", rf"\g<1>{{{name}}}", path)
    return path.replace(CELL, "<cell>")


def _named(job: Any) -> dict[str, str]:
    """Names of a job's parameters by their values, as Snakemake writes them down."""
    return {repr(value): name for name, value in job.params.items()}


def _changed(names: Mapping[str, str], old: set[str], new: set[str]) -> Iterator[str]:
    """One text a parameter that changed. Snakemake keeps old values without names: the most alike one belongs."""
    left = set(old)
    for value in sorted(new):
        before = max(sorted(left), key=lambda other: _alike(other, value), default=None)
        left.discard(before or "")
        name = f"parameter `{names[value]}`" if value in names else "a parameter"
        yield f"{name} changed" if before is None else f"{name} changed: {_difference(before, value)}"
    if left:
        yield f"{len(left)} parameter{'s' * (len(left) > 1)} less than before"


def _alike(one: str, other: str) -> float:
    words, others = set(one.replace("/", " ").split()), set(other.replace("/", " ").split())
    same_kind = one[:1] == other[:1]
    return same_kind + len(words & others) / max(1, len(words | others))


def _difference(before: str, after: str) -> str:
    """What changed of a value: of flags those that differ, of a path its parts."""
    old, new = (ast.literal_eval(value) for value in (before, after))
    if isinstance(old, str) and isinstance(new, str) and ("/" in old or "/" in new):
        old, new = old.split("/"), new.split("/")
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        old, new = _flags(old), _flags(new)
    else:
        return _shortened(f"{old} -> {new}")
    if len(old) == len(new):
        return _shortened(", ".join(f"{a} -> {b}" for a, b in zip_longest(old, new) if a != b))
    gone, added = ([word for word in these if word not in those] for these, those in ((old, new), (new, old)))
    return _shortened(", ".join([*(f"- {word}" for word in gone), *(f"+ {word}" for word in added)]) or "order")


def _flags(words: Sequence[Any]) -> list[str]:
    """Words of a command with each flag's values joined to it."""
    found: list[str] = []
    for word in map(str, words):
        if word.startswith("--") or not found or not found[-1].startswith("--"):
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
