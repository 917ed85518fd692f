"""The numbers of the paper's tables: one long frame, from which the CSV, the LaTeX and the HTML are written."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from calgrid.cell import Arm, Cell
from calgrid.errors import UserError
from calgrid.languages import in_order
from calgrid.measure.metrics import MEANS, METRICS
from calgrid.measure.significance import BOOTSTRAP, LANGUAGES, QUESTIONS
from calgrid.store.selection import of_arms
from calgrid.vocabulary import ALL, BASE, LANGUAGE, MEAN, NO_SMOOTHING, NONE, POOLED

DIGITS = 3

_ARM = ["model", "sft", "smoothing"]
_TEST = ["test", "difference", "low", "high", "effect", "effect_low", "effect_high", "statistic", "p", "p_holm"]
_CLUSTERED = ["clustered_low", "clustered_high", "clustered_p", "clustered_p_holm"]
COLUMNS = [
    *("benchmark", "language", "aggregation", *_ARM, "lr", "n_seeds", "confidence_method", "n_bins"),
    *("metric", "value", "n_questions", "n_languages"),
    *(*_TEST, "test_n", *_CLUSTERED, "significant", "bold", "italic"),
]


def arms_by_model(models: Iterable[str], sft: Iterable[str], smoothings: Iterable[str]) -> list[Arm]:
    """Rows of an overall table: each model as it is, then tuned on each SFT set with each smoothing."""
    sft, smoothings = list(sft), list(smoothings)
    return [arm for model in models for arm in [(model, BASE, NONE), *((model, s, b) for s in sft for b in smoothings)]]


def arms_by_sft(models: Iterable[str], sft: Iterable[str], smoothings: Iterable[str]) -> list[Arm]:
    """Rows of a language's table: the base models, then each SFT set with each model and smoothing."""
    models, smoothings = list(models), list(smoothings)
    tuned = [(model, s, b) for s in sft for model in models for b in smoothings]
    return [*((model, BASE, NONE) for model in models), *tuned]


def numbers(
    arms: Sequence[Arm],
    selected: Mapping[Arm, Sequence[Cell]],
    metrics: pl.DataFrame,
    tests: pl.DataFrame,
    *,
    benchmark: str,
    language: str,
    method: str,
    n_bins: int,
    alpha: float,
    correction: str = NONE,
) -> pl.DataFrame:
    """The numbers of one benchmark in a table, and how they are set.

    Args:
        arms: the table's rows.
        selected: the selected cells (`selection.read_selection`).
        metrics: of all benchmarks or this one (`reading.read_metrics`).
        tests: of this benchmark (`significance.compare`).
        benchmark: its name.
        language: a code; or `all`, for the pooled questions and, beside them, the mean over the languages.
        method: the confidence method.
        n_bins: of the calibration errors.
        alpha: level of significance.
        correction: `none`, or `holm` for tests corrected over their family.

    Raises UserError for a row without metrics, and where the tests are of another confidence method.

    Returns: a row an arm, aggregation and metric, with the columns COLUMNS. Values are means over the seeds.
        The test is that of the arm against no smoothing, and of the same aggregation as the value: over languages of
        means over languages; of pooled questions and one language's over questions (clustered, where a question stands
        in several languages) for the metrics that are means, and by the bootstrap for the calibration errors;
        `clustered_*` are of the bootstrap over questions throughout. `bold` marks the best of an SFT set's smoothings
        as printed (with DIGITS), where they differ; `italic` a value significantly better than with no smoothing, or,
        in the row without, than with some smoothing. A metric without a better side has no bold, and there `italic`
        marks a smoothed value that differs.
    """
    wanted = metrics.filter(benchmark=benchmark, confidence_method=method, n_bins=n_bins)
    values = _values(arms, selected, wanted)
    if language == ALL:
        pooled = values.filter(grouping=POOLED).with_columns(aggregation=pl.lit(POOLED))
        table = pl.concat([pooled, _mean_over_languages(values)], how="diagonal")
    else:
        table = values.filter(grouping=LANGUAGE, language=language).with_columns(aggregation=pl.lit(LANGUAGE))
    if missing := sorted(set(range(len(arms))) - set(table["order"])):
        raise UserError(
            "no metrics of model {}, SFT set {}, smoothing {}".format(*arms[missing[0]])
            + f" for benchmark {benchmark}, language {language}, confidence method {method}, {n_bins} bins; "
            "give them with --metrics"
        )
    table = table.with_columns(benchmark=pl.lit(benchmark), confidence_method=pl.lit(method))
    for wanted_tests in (_tests(tests, benchmark, language, method), _clustered(tests, language, method)):
        table = table.join(wanted_tests, on=[*_ARM, "metric", "aggregation"], how="left")
    marked = _marked(table, alpha, "p" if correction == NONE else "p_holm")
    return marked.sort(pl.col("aggregation") == MEAN, "order", in_order("metric", list(METRICS))).select(COLUMNS)


def read_csv(path: Path) -> pl.DataFrame:
    """What `numbers` returned, from the CSV file of a table. Raises UserError where it can't be read or is cut off."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        return pl.read_csv(text.encode(), schema_overrides=dict.fromkeys(("smoothing", "lr"), pl.String))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: not readable as CSV ({error}); delete it and run again") from None


def _tests(tests: pl.DataFrame, benchmark: str, language: str, method: str) -> pl.DataFrame:
    """The test that decides about a value's marks: of the same aggregation as the value."""
    of_questions = pl.when(pl.col("metric").is_in(MEANS)).then(pl.lit(QUESTIONS)).otherwise(pl.lit(BOOTSTRAP))
    deciding = pl.when(pl.col("aggregation") == MEAN).then(pl.lit(LANGUAGES)).otherwise(of_questions)
    found = tests.filter(
        pl.col("test") == deciding, against=NO_SMOOTHING, language=language, confidence_method=method
    ).select(*_ARM, "metric", "aggregation", *_TEST, test_n="n")
    if found.is_empty() and not tests.is_empty():
        raise UserError(
            f"no tests of benchmark {benchmark}, language {language}, confidence method {method}; "
            f"make them again with --confidence-method {method}"
        )
    return found


def _clustered(tests: pl.DataFrame, language: str, method: str) -> pl.DataFrame:
    """The tests by the bootstrap, which hold though one question stands in every language."""
    return tests.filter(test=BOOTSTRAP, against=NO_SMOOTHING, language=language, confidence_method=method).select(
        *_ARM, "metric", "aggregation", *(pl.col(name.removeprefix("clustered_")).alias(name) for name in _CLUSTERED)
    )


def _values(arms: Sequence[Arm], selected: Mapping[Arm, Sequence[Cell]], metrics: pl.DataFrame) -> pl.DataFrame:
    """A row an arm, language (and the pooled `all`) and metric, averaged over the seeds; `order` is the arm's place."""
    keys = ["order", *_ARM, "lr", "n_bins", "grouping", "language"]
    sizes = ["n_questions", "n_languages"]
    return (
        of_arms(metrics.filter(pl.col("grouping").is_in([POOLED, LANGUAGE])), arms, selected)
        .group_by(keys)
        .agg(pl.col(list(METRICS)).mean(), pl.col(sizes).first(), n_seeds=pl.len())
        .sort("order", "language")  # means below are to add in the same order every time
        .unpivot(list(METRICS), index=[*keys, *sizes, "n_seeds"], variable_name="metric")
    )


def _mean_over_languages(values: pl.DataFrame) -> pl.DataFrame:
    return (
        values.filter(grouping=LANGUAGE)
        .group_by("order", *_ARM, "lr", "n_bins", "n_seeds", "metric")
        .agg(pl.col("value").mean(), pl.col("n_questions", "n_languages").sum())
        .with_columns(aggregation=pl.lit(MEAN), language=pl.lit(ALL))
    )


def printed(value: float) -> str:
    """As tables print it; what two orders of addition leave at a half is rounded away before."""
    return f"{round(value, 9):.{DIGITS}f}"


def _marked(table: pl.DataFrame, alpha: float, p: str) -> pl.DataFrame:
    """Add significant, bold and italic (see `numbers`)."""
    group = ["aggregation", "model", "sft", "metric"]
    sign = pl.col("metric").replace_strict({name: metric.sign for name, metric in METRICS.items()})
    merit = sign * pl.col("value").map_elements(lambda v: float(printed(v)), return_dtype=pl.Float64)
    gain = sign * pl.col("difference")
    significant = pl.col(p) < alpha
    plain = (pl.col("sft") != BASE) & (pl.col("smoothing").cast(pl.Float64, strict=False) == 0)
    return table.with_columns(merit=merit, significant=significant).with_columns(
        bold=(pl.col("merit") == pl.col("merit").max().over(group))
        & (pl.col("merit") > pl.col("merit").min().over(group)),
        italic=pl.when(plain)
        .then((significant & (gain < 0)).fill_null(False).any().over(group))
        .otherwise((significant & ((gain > 0) | (sign == 0))).fill_null(False)),
    )
