"""How the numbers of a table are set, in LaTeX and in HTML: heads, rows and captions, in plain text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from calgrid.languages import language_name
from calgrid.measure.metrics import METRICS
from calgrid.tables.contents import printed
from calgrid.vocabulary import ALL, BASE, LANGUAGE, MEAN, NONE, POOLED, VALIDATION_LOSS

ARM_HEADS = {"model": "Model", "sft": "SFT set", "smoothing": "β"}
_ARROWS = {1: "↑", -1: "↓", 0: ""}
PANEL_TITLES = {POOLED: "Questions of all languages pooled", MEAN: "Mean over languages", LANGUAGE: None}


@dataclass(frozen=True)
class Row:
    """One row as it is set: labels in the order of the table's fields, and (value, bold, italic) of each column."""

    labels: tuple[str, ...]  # "" where it repeats the label above
    cells: tuple[tuple[str, bool, bool], ...]
    ruled: bool  # a rule above: the first field changes


def fields(first: str) -> list[str]:
    """The columns of labels, `model` or `sft` first."""
    return [first, *(field for field in ARM_HEADS if field != first)]


def head(metric: str) -> str:
    """What stands over a metric's column, with an arrow to its better side."""
    return METRICS[metric].head + _ARROWS[METRICS[metric].sign]


def rows(panel: pl.DataFrame, first: str, metrics: Sequence[str]) -> Iterator[Row]:
    """The rows of one aggregation of `contents.numbers`, with a block of `metrics` for each benchmark."""
    names = fields(first)
    benchmarks = panel["benchmark"].unique(maintain_order=True).to_list()
    cells = {
        (*(row[name] for name in ARM_HEADS), row["benchmark"], row["metric"]): (
            printed(row["value"]), bool(row["bold"]), bool(row["italic"])
        )
        for row in panel.filter(pl.col("metric").is_in(metrics)).iter_rows(named=True)
    }  # fmt: skip
    above: list[str] = []
    for arm in panel.select(list(ARM_HEADS)).unique(maintain_order=True).iter_rows():
        named = dict(zip(ARM_HEADS, arm, strict=True))
        labels = ["–" if field == "smoothing" and named["sft"] == BASE else named[field] for field in names]
        ruled = bool(above) and labels[0] != above[0]
        new = [ruled or not above or labels[: i + 1] != above[: i + 1] for i in range(len(names) - 1)]
        shown = [label if i == len(names) - 1 or new[i] else "" for i, label in enumerate(labels)]
        yield Row(tuple(shown), tuple(cells[*arm, name, metric] for name in benchmarks for metric in metrics), ruled)
        above = labels


def how_selected(rule: str) -> str:
    """How learning rates were chosen; `rule` is that of the selection file (`selection.read_rule`)."""
    return "by the least validation loss" if rule == VALIDATION_LOSS else f"fixed at {rule}"


def caption(numbers: pl.DataFrame, metrics: Sequence[str], rule: str, alpha: float, correction: str = NONE) -> str:
    """What was measured how, in plain text; `rule` is that of the selection file (`selection.read_rule`)."""
    overall = numbers["language"][0] == ALL
    sizes = [
        f"{benchmark}: {n_questions:,} questions" + (f" in {n_languages} languages" if overall else "")
        for benchmark, n_questions, n_languages in numbers.select("benchmark", "n_questions", "n_languages")
        .unique("benchmark", maintain_order=True)
        .iter_rows()
    ]
    what = "all languages" if overall else language_name(numbers["language"][0])
    seeds = max(numbers["n_seeds"].to_list())
    of_questions = "paired t-test of means, bootstrap of calibration errors"
    test = (
        f"mean over languages: Student's t-test over the languages; pooled: over questions, {of_questions}"
        if overall
        else f"over the questions: Student's {of_questions}"
    )
    corrected = "" if correction == NONE else ", corrected by Holm's method"
    *others, last = (METRICS[metric].named for metric in metrics)
    named = f"{', '.join(others)} and {last}" if others else last
    sideless = [METRICS[metric].named for metric in metrics if METRICS[metric].sign == 0]
    return " ".join(
        [
            f"{named[0].upper()}{named[1:]} for {what} ({'; '.join(sizes)}).",
            f"Confidence: {numbers['confidence_method'][0]}; {numbers['n_bins'][0]} bins;",
            f"learning rate {how_selected(rule)}{f'; means over {seeds} seeds' if seeds > 1 else ''}.",
            "β: label smoothing.",
            "Bold: the best smoothing of a model and SFT set. Italic: significantly better than without smoothing",
            f"(where β = 0: than with some smoothing), p < {alpha:g} ({test}{corrected}).",
            f"Of {' and '.join(sideless)} neither side is better: italic marks any significant change."
            if sideless
            else "",
        ]
    ).rstrip()
