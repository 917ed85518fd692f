"""Reliability figures: confidence against accuracy by bins, of one language or (Figure 1 of the paper) of several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from calgrid import calibration
from calgrid.cell import Arm, Cell
from calgrid.errors import UserError
from calgrid.figures import panels, theme
from calgrid.languages import language_name
from calgrid.measure.questions import judge
from calgrid.scoring.stored import read_scores
from calgrid.store.selection import cells_of
from calgrid.vocabulary import ALL, BASE, NONE

DRAWS = 1000  # of the bootstrap
BAND = (0.025, 0.975)  # quantiles of its accuracies: a 95 % interval
Z = 1.959964  # of the normal distribution, for the same level
SMALL = 130  # pixels, a panel of Figure 1


def reliability(
    models: Sequence[str],
    sft: Sequence[str],
    smoothings: Sequence[str],
    selected: Mapping[Arm, Sequence[Cell]],
    scores: Mapping[Cell, Sequence[Path]],
    *,
    language: str,
    method: str,
    n_bins: int,
) -> pl.DataFrame:
    """The numbers of a reliability figure, as in Figure 2 of the paper.

    Args:
        models: columns of panels.
        sft: rows of panels; `base` is a row of base models alone.
        smoothings: series beside the base model's.
        selected: the selected cells (`selection.read_selection`).
        scores: score files by cell, on one benchmark.
        language: the language.
        method: the confidence method.
        n_bins: equal-width bins.

    Returns: a row a panel, series and bin: sft, model, language, smoothing, lower, upper, count (questions), confidence
        and accuracy (means over the bin's questions, null in an empty bin), low and high (a 95 % bootstrap interval of
        that accuracy, resampling questions; null where the bin has fewer than `panels.FEW`), ece (of the series, with
        these bins) and n_questions. The questions of several seeds are taken together, and count and n_questions
        divided by the seeds; the bootstrap draws a question with all its seeds.
    """
    read: dict[Arm, pl.DataFrame] = {}

    def of(arm: Arm) -> pl.DataFrame:
        if arm not in read:
            read[arm] = series(cells_of(arm, selected), scores, [language], method, n_bins)
        return read[arm]

    parts = []
    for row in sft:
        for model in models:
            arms = [(model, BASE, NONE), *((model, row, smoothing) for smoothing in smoothings if row != BASE)]
            parts += [
                of(arm).select(
                    pl.lit(row).alias("sft"),
                    pl.lit(model).alias("model"),
                    "language",
                    pl.lit(arm[2]).alias("smoothing"),
                    pl.exclude("language"),
                )
                for arm in arms
            ]
    return pl.concat(parts)


def of_benchmark(
    arms: Sequence[Arm],
    selected: Mapping[Arm, Sequence[Cell]],
    scores: Mapping[Cell, Sequence[Path]],
    *,
    languages: Sequence[str],
    method: str,
    n_bins: int,
) -> pl.DataFrame:
    """The numbers of every reliability figure of one benchmark, each cell's scores read once.

    Args:
        arms: base models and tuned ones.
        selected: the selected cells (`selection.read_selection`).
        scores: score files by cell, on one benchmark.
        languages: all that are wanted.
        method: the confidence method.
        n_bins: equal-width bins.

    Returns: a row an arm, language and bin, in the order given: model, sft, smoothing and the columns of `series`.
    """
    return pl.concat(
        series(cells_of(arm, selected), scores, languages, method, n_bins).select(
            *(pl.lit(value).alias(name) for name, value in zip(("model", "sft", "smoothing"), arm, strict=True)),
            pl.all(),
        )
        for arm in arms
    )


def series(
    cells: Sequence[Cell],
    scores: Mapping[Cell, Sequence[Path]],
    languages: Sequence[str],
    method: str,
    n_bins: int,
) -> pl.DataFrame:
    """Bins of one series, whose cells differ in their seed alone, in each language.

    Returns: a row a language and bin: language, and lower to n_questions as `reliability` says.
    """
    for cell in cells:
        if cell not in scores:
            raise UserError(f"no scores of the selected cell {cell.path}; give its files among --scores")
    frames = [read_scores(scores[cell], languages, [method]) for cell in cells]
    questions = ["language", "question_id"]
    for cell, frame in zip(cells, frames, strict=True):
        if not frame.select(questions).equals(frames[0].select(questions)):
            raise UserError(f"{cell.path}: has other questions than {cells[0].path}; score both on the same ones")
    judged = [judge(frame, method) for frame in frames]
    confidence = np.stack([seed.confidence for seed in judged], axis=1)  # (N, seeds)
    correct = np.stack([seed.correct for seed in judged], axis=1)
    sizes = frames[0].group_by("language", maintain_order=True).len()  # sorted by language: a slice each
    ends = np.cumsum(sizes["len"].to_numpy())
    part = {name: slice(end - n, end) for name, n, end in zip(sizes["language"], sizes["len"], ends, strict=True)}
    return pl.concat(
        _bins(confidence[part[language]], correct[part[language]], n_bins).select(
            pl.lit(language).alias("language"), pl.all()
        )
        for language in languages
    )


def _bins(confidence: calibration.Floats, correct: calibration.Booleans, n_bins: int) -> pl.DataFrame:
    """Bins of one language, from arrays of shape (N, seeds)."""
    n, seeds = confidence.shape
    bins = calibration.bins(confidence.ravel(), correct.ravel(), n_bins)
    low, high = accuracy_band(confidence, correct, n_bins)
    return pl.DataFrame(
        {
            "lower": bins.lower,
            "upper": bins.upper,
            "count": bins.count / seeds,
            "confidence": bins.confidence,
            "accuracy": bins.accuracy,
            "low": low,
            "high": high,
        }
    ).with_columns(
        pl.col("confidence", "accuracy", "low", "high").fill_nan(None),
        ece=pl.lit(calibration.ece(confidence.ravel(), correct.ravel(), n_bins)),
        n_questions=pl.lit(float(n)),
    )


def pooled(numbers: pl.DataFrame) -> pl.DataFrame:
    """The same of the questions of all languages together, from the bins of each (`of_benchmark`).

    Returns: a row an arm and bin, with the columns of `numbers`; language is `all`, low and high are null: a band would
        have to draw a question with all its translations, which the bins no longer know.
    """
    keys = ["model", "sft", "smoothing"]
    means = ["confidence", "accuracy"]
    bins = (
        numbers.with_columns((pl.col(means) * pl.col("count")).fill_null(0))
        .group_by(*keys, "lower", "upper", maintain_order=True)
        .agg(pl.col("count", *means, "n_questions").sum())
    )
    gap = (pl.col("accuracy") - pl.col("confidence")).abs().sum().over(keys) / pl.col("n_questions")
    return bins.select(
        *keys,
        pl.lit(ALL).alias("language"),
        *("lower", "upper", "count"),
        *(pl.when(pl.col("count") > 0).then(pl.col(name) / pl.col("count")).alias(name) for name in means),
        *(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("low", "high")),
        ece=gap,
        n_questions="n_questions",
    )


def accuracy_band(
    confidence: calibration.Floats, correct: calibration.Booleans, n_bins: int
) -> tuple[calibration.Floats, calibration.Floats]:
    """A 95 % percentile bootstrap interval of each bin's accuracy, resampling questions.

    Where all questions of a bin are right, or none is, every resample says the same; there the interval is Wilson's
    (https://doi.org/10.1080/01621459.1927.10502953).

    Args:
        confidence: (N, seeds).
        correct: (N, seeds).
        n_bins: M, equal-width bins.

    Returns: low and high, (M,) each; NaN in a bin with fewer than `panels.FEW` questions a seed.

    Questions that lie in the same bins with the same outcomes are alike, so the draws are multinomial over the kinds of
    questions that there are: as drawing question by question, without the time.
    """
    n, seeds = confidence.shape
    outcome = 2 * calibration.bin_index(confidence.ravel(), n_bins).reshape(n, seeds) + correct  # (N, seeds)
    kinds, counts = np.unique(outcome, axis=0, return_counts=True)  # (kinds, seeds)
    in_bin = (kinds[:, :, None] // 2 == np.arange(n_bins)).sum(1)  # (kinds, M)
    right = (kinds[:, :, None] == 2 * np.arange(n_bins) + 1).sum(1)
    draws = np.random.default_rng(0).multinomial(n, counts / n, size=DRAWS)  # (draws, kinds)
    with np.errstate(invalid="ignore"):
        accuracy = (draws @ right) / (draws @ in_bin)  # (draws, M), NaN where no question was drawn
    accuracy[:, counts @ in_bin < panels.FEW * seeds] = np.nan
    filled = ~np.isnan(accuracy).all(axis=0)
    band = np.full((2, n_bins), np.nan)
    band[:, filled] = np.nanquantile(accuracy[:, filled], BAND, axis=0)
    total, hits = counts @ in_bin / seeds, counts @ right / seeds
    width = Z**2 / (np.maximum(total, 1) + Z**2)
    band[1, filled & (hits == 0)] = width[filled & (hits == 0)]
    band[0, filled & (hits == total)] = 1 - width[filled & (hits == total)]
    return band[0], band[1]


def reliability_chart(numbers: pl.DataFrame, title: str, subtitle: Sequence[str]) -> dict[str, Any]:
    """Draw what `reliability` returns: a row an SFT set, a column a model."""
    smoothings = numbers["smoothing"].unique(maintain_order=True).to_list()
    styles = theme.styled(smoothings, too_many="series", remedy="give fewer to --smoothings")
    layout = panels.Layout("sft", "model", styles, panels.PANEL)
    names = {row: "Base models" if row == BASE else f"Tuned on {row}" for row in numbers["sft"].unique().to_list()}
    return panels.grid(numbers, layout, names, theme.title(title, subtitle))


def languages_chart(numbers: pl.DataFrame, title: str, subtitle: Sequence[str]) -> dict[str, Any]:
    """Figure 1 of the paper: base against tuned without smoothing; a row a model, a column a language."""
    smoothings = numbers["smoothing"].unique(maintain_order=True).to_list()
    styles = theme.styled(smoothings, too_many="series", remedy="give fewer")
    layout = panels.Layout("model", "language", styles, SMALL)
    codes = numbers["language"].unique().to_list()
    named = numbers.with_columns(pl.col("language").replace({code: language_name(code) for code in codes}))
    return panels.grid(named, layout, {}, theme.title(title, subtitle))


def subtitle(numbers: pl.DataFrame, method: str) -> list[str]:
    """What was measured how, in two lines."""
    n_bins = numbers["lower"].n_unique()
    sizes = numbers["n_questions"].unique().sort().to_list()
    sizes = list(dict.fromkeys(f"{n:,.0f}" for n in (sizes[0], sizes[-1])))
    each = " a language" if numbers["language"].n_unique() > 1 else ""
    return [
        f"{' to '.join(sizes)} questions{each}; confidence: {method}; {n_bins} equal-width bins",
        f"Faint: fewer than {panels.FEW} questions. Bands: 95 % bootstrap intervals of the accuracy",
    ]
