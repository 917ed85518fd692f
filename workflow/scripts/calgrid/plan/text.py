"""The plan in words: what the terminal shows, and what its page shows too."""

import itertools
import shlex
from collections.abc import Iterable, Iterator, Sequence

from calgrid.models.shape import duration, human
from calgrid.plan.estimate import Cause, Error, Line, Plan

HEADS = (
    *("stage", "model", "jobs", "done", "GPUs", "GPU time", "GPU time left", "core time", "core time left"),
    *("on disk", "to write"),
)
ERROR_HEADS = ("stage", "model", "jobs", "predicted", "measured", "error")
N_LABELS = 2  # columns of text; the others are numbers
MOST_CAUSES = 8  # lines in the terminal


def terminal(plan: Plan, page: str) -> str:
    """What the terminal shows.

    Args:
        plan: see `estimate.make`.
        page: where the HTML page is.
    """
    return "\n".join(
        [
            title(plan),
            "",
            *_aligned([HEADS, *rows(plan)]),
            "",
            *summary(plan),
            *_section(again_title(plan), [f"  {cause(each)}" for each in plan.causes[:MOST_CAUSES]]),
            *([f"  and {more} more causes: {page}"] if (more := len(plan.causes) - MOST_CAUSES) > 0 else []),
            *([f"  {cheap_again(plan)}"] if plan.cheap_again else []),
            *(
                _section(
                    "Predicted and measured seconds of what has run:",
                    _aligned([ERROR_HEADS, *map(error_cells, plan.errors)]),
                )
                if plan.errors
                else []
            ),
            *(f"Not readable, and not counted: {path}" for path in plan.unreadable),
            *(_section("Not known:", [f"  {line}" for line in plan.unknown]) if plan.unknown else []),
            "",
            f"Assumptions, and all of this as a page: {page}",
        ]
    )


def title(plan: Plan) -> str:
    given = plan.config.plan
    return (
        f"Plan of {' '.join(plan.targets)}: {given.gpus} GPUs of {given.gpu_tflops:g} TFLOP/s and {given.cores} cores "
        "at a time"
    )


def command(plan: Plan, arguments: Sequence[str]) -> Iterator[str]:
    """What is planned, in sentences; `arguments`: of Snakemake, without targets."""
    named = itertools.dropwhile(lambda word: word not in ("--configfile", "--configfiles"), arguments)
    configs = list(itertools.takewhile(lambda word: not word.startswith("-"), itertools.islice(named, 1, None)))
    yield f"Configuration: config/config.yaml{', and over it ' * bool(configs)}{', '.join(configs)}."
    yield f"Planned: {shlex.join(['snakemake', *plan.targets, *arguments])}"


def summary(plan: Plan) -> Iterator[str]:
    """What is left, in sentences."""
    total = plan.total
    left = total.jobs - total.done
    if not left:
        yield f"All {total.jobs:,} jobs are done."
        return
    later = (
        f" ({plan.assumed:,} of them are known to Snakemake once learning rates are selected)" if plan.assumed else ""
    )
    yield (
        f"Left: {left:,} of {total.jobs:,} jobs{later}, {hours(total.gpu_hours_left, 'GPU')}, "
        f"{hours(total.core_hours_left, 'core')}, {human(total.bytes_left)} to write."
    )
    (gpus, seconds), *others = plan.wall.items()
    more = ", ".join(f"{duration(other)} with {n}" for n, other in others)
    yield f"Wall time: {duration(seconds)} with {gpus} GPUs; {more}. Waiting in queues and downloads are not in it."
    if plan.passing:
        yield f"Checkpoints need up to {human(plan.passing)} beside that while trainings run."
    if plan.gpu_hours_left_at_pace is not None:
        yield f"At the pace measured so far: {hours(plan.gpu_hours_left_at_pace, 'GPU')} left."


def again_title(plan: Plan) -> str:
    return "Ran before, and would run again:" if plan.causes or plan.cheap_again else "Nothing would run again."


def cause(each: Cause) -> str:
    cost = f", {hours(each.gpu_hours, 'GPU')}" if each.gpu_hours else ""
    return f"{each.jobs:,} {each.what}{cost}: {each.why}"


def cheap_again(plan: Plan) -> str:
    counts = ", ".join(f"{stage} {n}" for stage, n in plan.cheap_again.items())
    return f"{sum(plan.cheap_again.values()):,} jobs that cost little: {counts}"


def rows(plan: Plan) -> list[tuple[str, ...]]:
    """Cells of the table below `HEADS`; the last row is the total."""
    lines = [*plan.lines, plan.total]
    before = ["", *(line.stage for line in lines)]
    return [_cells(line, "" if line.stage == above else line.stage) for line, above in zip(lines, before, strict=False)]


def _cells(line: Line, stage: str) -> tuple[str, ...]:
    return (
        stage,
        line.model,
        f"{line.jobs:,}",
        f"{line.done:,}",
        str(line.gpus or ""),
        *(_time(value) if line.gpus else "" for value in (line.gpu_hours, line.gpu_hours_left)),
        *(_time(value) if line.core_hours else "" for value in (line.core_hours, line.core_hours_left)),
        human(line.bytes),
        human(line.bytes_left) if line.done < line.jobs else "",
    )


def error_cells(error: Error) -> tuple[str, ...]:
    return (
        error.stage,
        error.model,
        f"{error.jobs:,}",
        f"{error.predicted:,.0f} s",
        f"{error.measured:,.0f} s",
        f"{error.share:+.0%}",
    )


def hours(value: float, of: str) -> str:
    """Hours in words, in the unit that fits: `3,875 GPU hours`, `5 GPU minutes`."""
    number, unit = _in_unit(value)
    return f"{number} {of} {unit}{'s' * (number != '1')}"


def _time(value: float) -> str:
    """Hours in a table's cell, likewise: `3,875 h`, `5 min`."""
    number, unit = _in_unit(value)
    return f"{number} {({'hour': 'h', 'minute': 'min', 'second': 's'})[unit]}" if value else "0"


def _in_unit(value: float) -> tuple[str, str]:
    if not value or value >= 99.5 / 60:
        return f"{value:,.0f}" if not value or value >= 99.95 else f"{value:.1f}", "hour"
    minutes = value * 60
    return (f"{minutes:.0f}", "minute") if minutes >= 99.5 / 60 else (f"{max(minutes * 60, 1):.0f}", "second")


def assumptions(plan: Plan) -> Iterator[str]:
    """What the plan takes for granted."""
    given = plan.config.plan
    yield (
        f"A GPU does {given.gpu_tflops:g} TFLOP/s at best (plan.gpu_tflops). Training reaches "
        f"{given.training_share:.0%} of it (plan.training_share), scoring {given.scoring_share:.0%} "
        f"(plan.scoring_share), counting needed operations alone: recomputed activations and padding are in these "
        "shares."
    )
    yield f"A job on GPUs takes {given.start_seconds:g} s beside computing (plan.start_seconds)."
    yield (
        "A forward pass takes two operations for each multiplication of the model's matrices and of attention, by the "
        "model's config.json; where that is not there, two for each parameter and token. Training takes three times as "
        "many, and a forward pass over the validation part after each epoch."
    )
    yield (
        "Options share their question's prompt; examples before it (scoring.shots) are computed once and not counted. "
        "Lengths are taken to spread about their mean as those of real rows do."
    )
    yield (
        "A tuned model stays as 2 bytes a parameter, scores as 14 bytes a question and option. A training has up to 24 "
        "bytes a parameter of checkpoints while it runs. Base models go to the cache of the Hub, and are not counted."
    )
    yield (
        "Jobs without a GPU take a start, and a time for each question, conversation or token: measured on one machine "
        "(docs/plan.md). Downloads and waiting in a queue are not counted."
    )
    yield "Of jobs that could begin, the one goes first behind which most time waits; nothing fails."


def _section(heading: str, lines: Iterable[str]) -> list[str]:
    return ["", heading, *lines]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if place < N_LABELS else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
