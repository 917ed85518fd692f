"""What the report shows, as data: the state of the grid, and the numbers of its reliability diagram."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from calgrid.cell import CELL_FIELDS, Cell, arms_to_show
from calgrid.errors import UserError
from calgrid.figures import panels, reliability, theme
from calgrid.languages import language_name
from calgrid.vocabulary import ALL, BASE, NONE

DIGITS = 5  # of a number in the page: a tenth of a pixel is 0.0003 of the diagram
POOLED_NAME = "All languages, pooled"


@dataclass(frozen=True)
class Point:
    """One model, SFT set, smoothing and learning rate: how far its cells, one a seed, have come."""

    model: str
    sft: str
    smoothing: str
    lr: str
    seeds: int  # that the grid asks for
    trained: int  # seeds
    loss: float | None  # mean validation loss, nats a token; None: none trained, NaN: one diverged
    measured: Mapping[str, int]  # seeds, by benchmark
    selected: bool

    @property
    def is_base(self) -> bool:
        return self.sft == BASE


def state(
    arms: Sequence[tuple[str, str, str]],
    lrs: Sequence[str],
    seeds: Sequence[str],
    benchmarks: Sequence[str],
    selection: pl.DataFrame,
    measured: Collection[tuple[str, Cell]],
) -> list[Point]:
    """The state of the grid.

    Args:
        arms: base models, and each model, SFT set and smoothing (`cell.arms_to_show`).
        lrs: learning rates of the grid, in order.
        seeds: of the grid.
        benchmarks: of the grid, in order.
        selection: a row a trained cell (`selection.select`).
        measured: benchmark and cell of the metrics that there are; what is measured has been scored.
    """
    rows = selection.select(*CELL_FIELDS, "validation_loss", "selected").iter_rows()
    trained = {Cell(*cell): (loss, selected) for *cell, loss, selected in rows}
    points = []
    for model, sft, smoothing in arms:
        base = sft == BASE
        for lr in [NONE] if base else lrs:
            cells = [Cell(model, sft, smoothing, lr, seed) for seed in ([NONE] if base else seeds)]
            found = [trained[cell] for cell in cells if cell in trained]
            points.append(
                Point(
                    *(model, sft, smoothing, lr),
                    seeds=len(cells),
                    trained=len(cells) if base else len(found),
                    loss=math.fsum(loss for loss, _ in found) / len(found) if found else None,
                    measured={name: sum((name, cell) in measured for cell in cells) for name in benchmarks},
                    selected=any(selected for _, selected in found),
                )
            )
    return points


def diagrams(
    bins: Mapping[str, pl.DataFrame], models: Sequence[str], sft: Sequence[str], smoothings: Sequence[str]
) -> dict[str, Any]:
    """The numbers that the page draws reliability diagrams from, as JSON values.

    Args:
        bins: of each benchmark (`reliability.of_benchmark`).
        models: as they are listed.
        sft: SFT sets, likewise.
        smoothings: series beside the base model's, in order.

    Returns: models, sft; bins (their number); few (questions in a bin, below which it is faint); styles, a series each:
        name, color, shape, dash; benchmarks, each with name, languages (code and name, all pooled first) and arms:
        model, sft (null: the base model) and style as indices, languages, for each: n, accuracy, confidence, ece, and
        the bins that are not empty: index, count, confidence, accuracy, low, high (null where there is no interval).
    """
    styles = theme.styled([NONE, *smoothings], too_many="smoothings", remedy="give fewer to --smoothings")
    return {
        "models": list(models),
        "sft": list(sft),
        "bins": max(frame["lower"].n_unique() for frame in bins.values()),
        "few": panels.FEW,
        "styles": [{"name": theme.series_name(name), **style._asdict()} for name, style in styles.items()],
        "benchmarks": [
            {
                "name": benchmark,
                "languages": _languages(frame),
                "arms": list(_arms(frame, benchmark, models, sft, smoothings)),
            }
            for benchmark, frame in bins.items()
        ],
    }


def _languages(frame: pl.DataFrame) -> list[dict[str, str]]:
    codes = frame["language"].unique(maintain_order=True).to_list()
    named = sorted(({"code": code, "name": language_name(code)} for code in codes), key=lambda one: one["name"])
    return [{"code": ALL, "name": POOLED_NAME}, *named]


def _arms(
    frame: pl.DataFrame, benchmark: str, models: Sequence[str], sft: Sequence[str], smoothings: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """Arms in the order of the grid, whatever the file's."""
    whole = pl.concat([reliability.pooled(frame), frame])
    parts = whole.partition_by("model", "sft", "smoothing", "language", as_dict=True)
    codes = [language["code"] for language in _languages(frame)]
    for arm in arms_to_show(models, sft, smoothings):
        model, name, smoothing = arm
        if (*arm, codes[0]) not in parts:
            raise UserError(
                f"no bins of model {model}, SFT set {name}, smoothing {smoothing} for benchmark {benchmark}; "
                "make them again (bin_reliability.py)"
            )
        yield {
            "model": models.index(model),
            "sft": None if name == BASE else sft.index(name),
            "style": 0 if name == BASE else 1 + smoothings.index(smoothing),
            "languages": [_curve(parts[*arm, code]) for code in codes],
        }


def _curve(part: pl.DataFrame) -> list[Any]:
    """One series in one language: n, accuracy, confidence, ece, bins."""
    n = part["n_questions"][0]
    values = part.select("count", "confidence", "accuracy", "low", "high").rows()
    bins = [[index, *map(_rounded, row)] for index, row in enumerate(values) if row[0]]
    accuracy, confidence = (math.fsum(row[0] * row[place] for row in values if row[0]) / n for place in (2, 1))
    return [*map(_rounded, (n, accuracy, confidence, part["ece"][0])), bins]


def _rounded(value: float | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if value == int(value) else round(value, DIGITS)
