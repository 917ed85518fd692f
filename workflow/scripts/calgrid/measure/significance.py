"""Do two arms differ? Label smoothing against none, and tuned models against their base; with intervals of every value.

Both arms are of the same model, each at its selected learning rate. Four tests, by what they take for a unit:

- `languages`: Student's t-test over the languages' values, the paper's. The same questions stand in every language, so
  that the languages' values are not independent.
- `questions`: of metrics that are means over questions; a question, with all its translations, is one cluster.
- `bootstrap`: of the calibration errors and the means; the same clusters, resampled (`measure.bootstrap`).
- `seeds`: over the seeds' values, where an arm has several.

With several seeds the value of an arm, in the first three, is the mean over its seeds; these tests and the intervals
speak of the models that were trained, not of others that other seeds would make.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from calgrid.calibration import Floats
from calgrid.cell import CELL_FIELDS, Arm, Cell
from calgrid.errors import UserError
from calgrid.measure import bootstrap
from calgrid.measure.bootstrap import Part, Values, Weights
from calgrid.measure.metrics import MEANS, METRICS
from calgrid.measure.questions import judge
from calgrid.measure.tests import Test, TTest, clustered_t_test, from_resamples, holm, normal_interval, t_test
from calgrid.scoring.stored import read_scores
from calgrid.vocabulary import ALL, BASE, LANGUAGE, MEAN, NO_SMOOTHING, NONE, POOLED

log = logging.getLogger(__name__)

LANGUAGES, QUESTIONS, BOOTSTRAP, SEEDS = "languages", "questions", "bootstrap", "seeds"

_ARM = dict.fromkeys(("model", "sft", "smoothing"), pl.String)
_PLACE = dict.fromkeys(("aggregation", "language", "metric"), pl.String)
FAMILY = ["against", "confidence_method", "metric", "test", "aggregation"]  # of tests that are corrected together
TESTS = {
    **_ARM,
    "against": pl.String,
    "confidence_method": pl.String,
    "test": pl.String,
    **_PLACE,
    "n": pl.UInt32,
    **dict.fromkeys(Test._fields[1:], pl.Float64),
    "p_holm": pl.Float64,
}
INTERVALS = {
    **_ARM,
    "confidence_method": pl.String,
    **_PLACE,
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_questions", "n_languages"), pl.UInt32),
}


@dataclass(frozen=True)
class Measured:
    """An arm on one benchmark, by the languages in their order; means over its seeds."""

    cells: Sequence[Cell]
    by_language: Sequence[Values]
    pooled: Values
    per_question: Floats  # (languages, Q, MEANS), NaN where a language lacks a question

    def places(self, languages: Sequence[str]) -> Iterator[tuple[str, str, Values]]:
        """Each aggregation with its language and values."""
        yield POOLED, ALL, self.pooled
        yield MEAN, ALL, bootstrap.mean(self.by_language)
        for language, values in zip(languages, self.by_language, strict=True):
            yield LANGUAGE, language, values


@dataclass(frozen=True)
class Benchmark:
    """The scores of one benchmark, and how they are measured."""

    scores: Mapping[Cell, Sequence[Path]]
    languages: Sequence[str]
    method: str
    n_bins: int

    def questions(self, cell: Cell) -> pl.DataFrame:
        """The questions of a model, numbered as clusters."""
        ids = self._read(cell, methods=[])["question_id"].unique().sort()
        return ids.to_frame().with_row_index("cluster")

    def measure(self, cells: Sequence[Cell], questions: pl.DataFrame, weights: Weights) -> Measured:
        """The metrics of an arm; `questions` are those of its model (`questions`), `weights` their resamples."""
        by_seed = [self._parts(cell, questions) for cell in cells]
        found = [bootstrap.bootstrap(parts, weights, self.n_bins) for parts in by_seed]
        per_question = np.full((len(self.languages), len(questions), len(MEANS)), np.nan)
        for place, seeds in enumerate(zip(*by_seed, strict=True)):
            per_question[place, seeds[0].cluster] = np.mean([seed.per_question for seed in seeds], axis=0)
        by_language = [bootstrap.mean(seeds) for seeds in zip(*(languages for languages, _ in found), strict=True)]
        return Measured(cells, by_language, bootstrap.mean([pooled for _, pooled in found]), per_question)

    def _parts(self, cell: Cell, questions: pl.DataFrame) -> list[Part]:
        parts = []
        for (language,), of_language in self._read(cell, [self.method]).group_by("language", maintain_order=True):
            placed = of_language.join(questions, on="question_id", how="left", maintain_order="left")
            if lone := placed.filter(pl.col("cluster").is_null())["question_id"].to_list():
                raise UserError(
                    f"{cell.path}: language {language!r}, question {lone[0]!r} is not among the scores of the base "
                    f"model {cell.model}; score both on the same questions"
                )
            parts.append(Part(judge(of_language, self.method), placed["cluster"].to_numpy().astype(np.int64)))
        return parts

    def _read(self, cell: Cell, methods: Sequence[str]) -> pl.DataFrame:
        if cell not in self.scores:
            raise UserError(f"no scores of the selected cell {cell.path}; give its files among --scores")
        return read_scores(self.scores[cell], self.languages, methods)


def compare(
    selected: Mapping[Arm, Sequence[Cell]],
    metrics: pl.DataFrame,
    scores: Mapping[Cell, Sequence[Path]],
    *,
    method: str,
    n_bins: int,
    n_resamples: int,
    kind: TTest = "paired",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Test, on one benchmark, each smoothing above 0 against 0, and each tuned arm against its base model.

    Args:
        selected: the selected cells (`selection.read_selection`).
        metrics: of all selected cells and their base models on the benchmark (`reading.read_metrics`).
        scores: the score files of all selected cells and their base models on the benchmark.
        method: the confidence method of intervals and of tests over questions; tests over languages and seeds are made
            for every one.
        n_bins: bins of the calibration errors.
        n_resamples: of the bootstrap.
        kind: of the t-test over languages.

    Returns: the tests, with the columns TESTS (`tests.Test`; differences are arm - what it is against; p_holm is
        corrected over the models, SFT sets, smoothings and languages of a FAMILY), and the intervals, with INTERVALS:
        the value of each arm and base model, with its 95 % bootstrap interval. That of a calibration error is around
        what this many questions show on average, sampling's bias included (see `calibration.expected_ece`).

    One arm is in memory at a time, beside those that it is compared with.
    """
    tabled = metrics.filter(pl.col("grouping").is_in([POOLED, LANGUAGE]), pl.col("n_bins") == n_bins)
    _check_languages(tabled)
    languages = tabled.filter(grouping=LANGUAGE)["language"].unique().sort().to_list()
    if not languages:
        raise UserError(f"--metrics: none has {n_bins} bins; measure them with --measured-bins {n_bins}")
    benchmark = Benchmark(scores, languages, method, n_bins)
    tests: list[dict[str, object]] = []
    intervals: list[dict[str, object]] = []
    weights = None
    for model in sorted({model for model, _, _ in selected}):
        questions = benchmark.questions(Cell(model))
        if weights is None or weights.shape[1] != len(questions):
            weights = bootstrap.resample(len(questions), n_resamples)
        base = benchmark.measure([Cell(model)], questions, weights)
        intervals += _intervals(base, languages, (model, BASE, NONE), method)
        plain: dict[str, Measured] = {}  # by SFT set
        for arm in sorted((arm for arm in selected if arm[0] == model), key=lambda arm: (arm[1], float(arm[2]))):
            log.info("model %s, SFT set %s, smoothing %s", *arm)
            found = benchmark.measure(selected[arm], questions, weights)
            intervals += _intervals(found, languages, arm, method)
            against = {BASE: base, **({NO_SMOOTHING: plain[arm[1]]} if arm[1] in plain else {})}
            for name, reference in against.items():
                keys = {**dict(zip(_ARM, arm, strict=True)), "against": name}
                tests += _of_values(tabled, found.cells, reference.cells, kind, keys)
                tests += _of_questions(found, reference, languages, {**keys, "confidence_method": method})
            if float(arm[2]) == 0:
                plain[arm[1]] = found
    return _corrected(pl.DataFrame(tests, schema=TESTS)), pl.DataFrame(intervals, schema=INTERVALS)


def _intervals(found: Measured, languages: Sequence[str], arm: Arm, method: str) -> Iterator[dict[str, object]]:
    of_language = (~np.isnan(found.per_question[:, :, 0])).sum(axis=1)
    sizes = {ALL: (int(of_language.sum()), len(languages))}
    sizes |= {language: (int(n), 1) for language, n in zip(languages, of_language, strict=True)}
    for aggregation, language, values in found.places(languages):
        n_questions, n_languages = sizes[language]
        with np.errstate(invalid="ignore"):  # an infinite nll has no interval
            errors = values.resampled.std(axis=0, ddof=1)
        for metric, value, error in zip(bootstrap.BOOTSTRAPPED, values.observed, errors, strict=True):
            low, high = normal_interval(float(value), float(error)) if np.isfinite(error) else (None, None)
            yield {
                **dict(zip(_ARM, arm, strict=True)),
                **{"confidence_method": method, "aggregation": aggregation, "language": language, "metric": metric},
                **{"value": value, "low": low, "high": high, "n_questions": n_questions, "n_languages": n_languages},
            }


def _of_values(
    metrics: pl.DataFrame, cells: Sequence[Cell], against: Sequence[Cell], kind: TTest, keys: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """Tests over languages, and over seeds where both arms have several, of every metric and confidence method."""
    first, second = (_values(metrics, of) for of in (cells, against))
    seeded = len(set(first["seed"]) & set(second["seed"])) > 1
    group = ["confidence_method", "grouping", "language"]
    means = [frame.group_by(group).agg(pl.col(list(METRICS)).mean()).sort(group) for frame in (first, second)]
    for method in means[0]["confidence_method"].unique().sort():
        common = {**keys, "confidence_method": method}
        a, b = (frame.filter(confidence_method=method, grouping=LANGUAGE) for frame in means)
        for metric in METRICS:
            place = {"test": LANGUAGES, "aggregation": MEAN, "language": ALL, "metric": metric}
            yield {**common, **place, **t_test(a[metric], b[metric], kind)._asdict()}
        for grouping, aggregation in ((POOLED, POOLED), (LANGUAGE, MEAN)) if seeded else ():
            a, b = (
                frame.filter(confidence_method=method, grouping=grouping)
                .group_by("seed")
                .agg(pl.col(list(METRICS)).mean())
                for frame in (first, second)
            )
            both = a.join(b, on="seed", suffix="_against").sort("seed")
            for metric in METRICS:
                place = {"test": SEEDS, "aggregation": aggregation, "language": ALL, "metric": metric}
                yield {**common, **place, **t_test(both[metric], both[f"{metric}_against"])._asdict()}


def _check_languages(metrics: pl.DataFrame) -> None:
    """Raise UserError unless every cell has the same languages: values are paired by them."""
    of_cell = metrics.filter(grouping=LANGUAGE).group_by(CELL_FIELDS).agg(pl.col("language").unique())
    everywhere = set(metrics.filter(grouping=LANGUAGE)["language"])
    for *cell, languages in of_cell.sort(CELL_FIELDS).iter_rows():
        if lacking := everywhere - set(languages):
            raise UserError(
                f"{Cell(*cell).path}: no metrics of language {min(lacking)!r}, which other cells have; measure it again"
            )


def _values(metrics: pl.DataFrame, cells: Sequence[Cell]) -> pl.DataFrame:
    """The pooled and the languages' metrics of an arm's cells."""
    wanted = pl.DataFrame([vars(cell) for cell in cells])
    found = metrics.join(wanted, on=CELL_FIELDS, how="semi")
    if lacking := set(cells) - {Cell(*row) for row in found.select(CELL_FIELDS).unique().iter_rows()}:
        raise UserError(f"no metrics of the selected cell {min(lacking).path}; give its file among --metrics")
    return found


def _of_questions(
    found: Measured, against: Measured, languages: Sequence[str], keys: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """Tests with questions as clusters: of the means by Student's t, of all metrics by the bootstrap."""
    asked, also = (~np.isnan(values.per_question[:, :, 0]) for values in (found, against))
    if lone := np.argwhere(asked != also).tolist():
        raise UserError(
            f"model {keys['model']}, SFT set {keys['sft']}, smoothing {keys['smoothing']}: other questions in language "
            f"{languages[lone[0][0]]!r} than {against.cells[0].path}; score both on the same questions"
        )
    with np.errstate(invalid="ignore"):  # inf - inf, of an nll: NaN, and no test
        differences = np.where(asked[:, :, None], found.per_question - against.per_question, 0.0)
    parts = [(POOLED, ALL, list(range(len(languages)))), *((LANGUAGE, name, [i]) for i, name in enumerate(languages))]
    for aggregation, language, rows in parts:
        counts = asked[rows].sum(axis=0)
        for column, metric in enumerate(MEANS):
            sums = differences[rows, :, column].sum(axis=0)
            size = np.nanmax(np.abs(against.per_question[rows, :, column]))
            place = {"test": QUESTIONS, "aggregation": aggregation, "language": language, "metric": metric}
            yield {**keys, **place, **clustered_t_test(sums[counts > 0], counts[counts > 0], size)._asdict()}
    for (aggregation, language, a), (_, _, b) in zip(found.places(languages), against.places(languages), strict=True):
        clusters = asked.any(axis=0) if language == ALL else asked[languages.index(language)]
        with np.errstate(invalid="ignore"):
            observed, resampled = a.observed - b.observed, a.resampled - b.resampled
        for column, metric in enumerate(bootstrap.BOOTSTRAPPED):
            test = from_resamples(float(observed[column]), resampled[:, column], int(clusters.sum()))
            place = {"test": BOOTSTRAP, "aggregation": aggregation, "language": language, "metric": metric}
            yield {**keys, **place, **test._asdict()}


def _corrected(tests: pl.DataFrame) -> pl.DataFrame:
    """Fill p_holm, over each FAMILY."""
    adjusted = pl.col("p").fill_null(float("nan")).map_batches(lambda p: pl.Series(holm(p)), return_dtype=pl.Float64)
    return tests.with_columns(p_holm=adjusted.over(FAMILY).fill_nan(None))
