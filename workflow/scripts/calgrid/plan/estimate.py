"""The plan of a grid: what it costs, what of it is done, what would run again, and how far predictions were off."""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from calgrid.config.check import Config
from calgrid.plan.costs import MODEL_STAGES, OTHER, STAGES, Cost, Costs, stage_of
from calgrid.plan.jobs import Job
from calgrid.plan.schedule import wall_seconds
from calgrid.plan.sizes import Sizes

# Rules whose jobs are not to run again unnoticed, and how these are called.
EXPENSIVE = {
    "train": "trainings",
    "train_on_nodes": "trainings",
    "score": "scorings",
    "pretrain": "pretrainings",
    "tokenize": "tokenized shards",
}
TIMES = (1, 2, 4)  # the GPUs that the configuration names, for wall times with more


@dataclass(frozen=True)
class Line:
    """The jobs of a stage, of one model where that matters."""

    stage: str
    model: str
    jobs: int
    done: int
    gpus: int  # of one job
    gpu_hours: float
    gpu_hours_left: float
    core_hours: float
    core_hours_left: float
    bytes: float
    bytes_left: float


@dataclass(frozen=True)
class Cause:
    """Expensive jobs that ran before and would run again."""

    what: str
    jobs: int
    gpu_hours: float
    why: str


@dataclass(frozen=True)
class Error:
    """Seconds of a stage's jobs that have a benchmark file, as predicted and as measured there."""

    stage: str
    model: str
    jobs: int
    predicted: float
    measured: float

    @property
    def share(self) -> float:
        """Too much or too little, as a share of what was measured."""
        return self.predicted / self.measured - 1 if self.measured else 0.0


@dataclass(frozen=True)
class Plan:
    """All that the plan shows."""

    targets: tuple[str, ...]
    config: Config
    lines: list[Line]
    total: Line
    assumed: int  # jobs to do that Snakemake finds once learning rates are selected
    wall: dict[int, float]  # seconds until all is done, by GPUs at a time; the configuration's first
    passing: float  # bytes of checkpoints at a time, at most
    causes: list[Cause]
    cheap_again: dict[str, int]  # jobs of other rules that would run again
    errors: list[Error]
    unreadable: list[str]  # benchmark files
    gpu_hours_left_at_pace: float | None  # as predicted, by the pace of the jobs that were measured
    sources: dict[str, str]
    unknown: list[str]


def make(targets: Sequence[str], config: Config, jobs: Sequence[Job]) -> Plan:
    """The plan of these targets, whose jobs these are (`calgrid.plan.jobs.jobs`).

    Raises:
        UserError: a job takes more GPUs than `plan.gpus`, or a manifest is not readable.
    """
    prompts = {
        (job.wildcards["benchmark"], job.wildcards["shard"]): job.wildcards["prompt"]
        for job in jobs
        if job.rule == "tokenize"
    }
    sizes = Sizes(config, prompts)
    costs = list(map(Costs(config, sizes).of, jobs))
    rows = list(zip(jobs, costs, strict=True))
    measured, unreadable = _measured(jobs)
    errors = _errors(rows, measured)
    return Plan(
        targets=tuple(targets),
        config=config,
        lines=_lines(rows),
        total=_line("all", "", rows),
        assumed=sum(job.to_do and job.assumed for job in jobs),
        wall=_wall(config, jobs, costs),
        passing=_passing(config, rows),
        causes=_causes(rows),
        cheap_again=_cheap_again(jobs),
        errors=errors,
        unreadable=unreadable,
        gpu_hours_left_at_pace=_at_pace(rows, errors),
        sources=dict(sorted(sizes.sources.items())),
        unknown=sorted(sizes.unknown.values()),
    )


def _lines(rows: Sequence[tuple[Job, Cost]]) -> list[Line]:
    groups = _grouped(rows, _shown_as)
    return [_line(*name, groups[name]) for name in sorted(groups, key=_place)]


def _place(name: tuple[str, str]) -> tuple[int, str]:
    """Where a stage and model stand in a table."""
    return [*STAGES, OTHER].index(name[0]), name[1]


def _shown_as(job: Job) -> tuple[str, str]:
    """Stage and model of the line that counts a job."""
    stage = stage_of(job)
    return stage, job.wildcards.get("model", "") if stage in MODEL_STAGES else ""


def _grouped(
    rows: Iterable[tuple[Job, Cost]], key: Callable[[Job], tuple[str, str]]
) -> dict[tuple[str, str], list[tuple[Job, Cost]]]:
    groups = defaultdict(list)
    for job, cost in rows:
        groups[key(job)].append((job, cost))
    return groups


def _line(stage: str, model: str, rows: Sequence[tuple[Job, Cost]]) -> Line:
    left = [(job, cost) for job, cost in rows if job.to_do]
    return Line(
        stage,
        model,
        jobs=len(rows),
        done=len(rows) - len(left),
        gpus=max((cost.gpus for _, cost in rows), default=0),
        gpu_hours=_gpu_hours(rows),
        gpu_hours_left=_gpu_hours(left),
        core_hours=_core_hours(rows),
        core_hours_left=_core_hours(left),
        bytes=sum(cost.stays for _, cost in rows),
        bytes_left=sum(cost.stays for _, cost in left),
    )


def _gpu_hours(rows: Iterable[tuple[Job, Cost]]) -> float:
    return sum(cost.gpus * cost.seconds for _, cost in rows) / 3600


def _core_hours(rows: Iterable[tuple[Job, Cost]]) -> float:
    return sum(cost.cores * cost.seconds for _, cost in rows) / 3600


def _wall(config: Config, jobs: Sequence[Job], costs: Sequence[Cost]) -> dict[int, float]:
    left = [number for number, job in enumerate(jobs) if job.to_do]
    places = {number: place for place, number in enumerate(left)}
    after = [[places[other] for other in jobs[number].after if other in places] for number in left]
    wanted = [costs[number] for number in left]
    return {
        times * config.plan.gpus: wall_seconds(wanted, after, times * config.plan.gpus, config.plan.cores)
        for times in TIMES
    }


def _passing(config: Config, rows: Sequence[tuple[Job, Cost]]) -> float:
    """Checkpoints of the trainings that fit on the GPUs together, of those that have most for a GPU."""
    free, found = config.plan.gpus, 0.0
    heaviest = sorted((cost for job, cost in rows if job.to_do and cost.passes), key=lambda c: -c.passes / c.gpus)
    for cost in heaviest:
        if cost.gpus <= free:
            free, found = free - cost.gpus, found + cost.passes
    return found


def _causes(rows: Sequence[tuple[Job, Cost]]) -> list[Cause]:
    again = [(job, cost) for job, cost in rows if job.again and job.rule in EXPENSIVE]
    groups = _grouped(again, lambda job: (EXPENSIVE[job.rule], " and ".join(job.causes) or "Snakemake gives no reason"))
    found = [Cause(what, len(group), _gpu_hours(group), why) for (what, why), group in groups.items()]
    return sorted(found, key=lambda cause: (-cause.gpu_hours, -cause.jobs))


def _cheap_again(jobs: Iterable[Job]) -> dict[str, int]:
    counts = Counter(stage_of(job) for job in jobs if job.again and job.rule not in EXPENSIVE)
    return {stage: counts[stage] for stage in [*STAGES, OTHER] if counts[stage]}


def _measured(jobs: Iterable[Job]) -> tuple[dict[str, float], list[str]]:
    """Seconds of done jobs by their benchmark file, and the files that can't be read."""
    found, unreadable = {}, []
    for job in jobs:
        if job.benchmark and not job.to_do and Path(job.benchmark).is_file():
            try:
                with Path(job.benchmark).open(encoding="utf-8", newline="") as file:
                    found[job.benchmark] = float(next(csv.DictReader(file, delimiter="\t"))["s"])
            except (StopIteration, KeyError, ValueError, TypeError):
                unreadable.append(job.benchmark)
    return found, unreadable


def _errors(rows: Sequence[tuple[Job, Cost]], measured: dict[str, float]) -> list[Error]:
    groups = _grouped([(job, cost) for job, cost in rows if job.benchmark in measured], _shown_as)
    return [
        Error(
            *name,
            jobs=len(groups[name]),
            predicted=sum(cost.seconds for _, cost in groups[name]),
            measured=sum(measured[job.benchmark] for job, _ in groups[name] if job.benchmark),
        )
        for name in sorted(groups, key=_place)
    ]


def _at_pace(rows: Sequence[tuple[Job, Cost]], errors: Sequence[Error]) -> float | None:
    """GPU hours left, each stage and model at the pace of its jobs that were measured; None where none were."""
    paces = {(error.stage, error.model): error.measured / error.predicted for error in errors if error.predicted}
    left = [(job, cost) for job, cost in rows if job.to_do and cost.gpus]
    if not any(_shown_as(job) in paces for job, _ in left):
        return None
    return sum(cost.gpus * cost.seconds * paces.get(_shown_as(job), 1.0) for job, cost in left) / 3600
