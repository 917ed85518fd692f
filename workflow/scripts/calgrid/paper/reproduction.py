"""A run beside the paper's printed numbers: cell by cell, and claim by claim.

A cell here is one printed number: a metric of a row of a printed table. The overall tables are held against the pooled
questions; that of MMLU-ProX, which follows from no average of its languages (docs/paper.md), against the mean over the
languages as well. Where a run has no such number, the cell says why.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from calgrid.cell import CELL_FIELDS, Arm, Cell
from calgrid.errors import UserError
from calgrid.languages import in_order
from calgrid.paper import claims, published
from calgrid.paper.consistency import POOLED_BENCHMARK
from calgrid.paper.published import ARM, PRINTED_METRICS, ROUNDING, Printed
from calgrid.store.reading import cell_of, read_metrics
from calgrid.vocabulary import ALL, BASE, LANGUAGE, MEAN, NONE, POOLED

KEYS = ["benchmark", "aggregation", "language", *ARM, "metric"]
COLUMNS = [
    *("table", *KEYS, "printed", "printed_as", "covered", "why_not", "ours", "difference", "low", "high", "inside"),
    *("n_questions", "printed_n_questions", "n_seeds"),
]
CSV_SCHEMA = {
    **dict.fromkeys(["table", "n_questions", "printed_n_questions", "n_seeds"], pl.Int64),
    **dict.fromkeys([*KEYS, "printed_as", "why_not"], pl.String),
    **dict.fromkeys(["printed", "ours", "difference", "low", "high"], pl.Float64),
    **dict.fromkeys(["covered", "inside"], pl.Boolean),
}
SAME_VALUE = 1e-6  # an interval is of our value where its own value is this near
OURS = {
    **dict.fromkeys(KEYS, pl.String),
    **{"ours": pl.Float64, "n_questions": pl.Int64, "n_languages": pl.Int64, "n_seeds": pl.Int64},
}


def read_run(paths: Iterable[Path], selected: Mapping[Arm, Sequence[Cell]]) -> pl.DataFrame:
    """The run's numbers that may stand beside printed ones.

    Args:
        paths: metrics of the run's cells; only those of base models and selected cells are read.
        selected: the selected cells (`selection.read_selection`).

    Returns: a row a number, with the columns OURS: of the paper's confidence method and numbers of bins, the mean over
        the seeds. `aggregation` is language, pooled or mean_over_languages, the latter two with the language `all`.
    """
    wanted = {cell for cells in selected.values() for cell in cells}
    paths = [path for path in paths if (cell := cell_of(path)).is_base or cell in wanted]
    if not paths:
        return pl.DataFrame(schema=OURS)
    metrics = list(PRINTED_METRICS.values())
    sizes = ["n_bins", "n_questions", "n_languages"]
    names = ["benchmark", "aggregation", "language", *CELL_FIELDS]
    values = (
        read_metrics(paths)
        .rename({"grouping": "aggregation"})
        .filter(pl.col("aggregation").is_in([POOLED, LANGUAGE]), confidence_method=published.PRINTED_METHOD)
        .unpivot(metrics, index=[*names, *sizes], variable_name="metric", value_name="ours")
        .filter((pl.col("metric") != "ece") | (pl.col("n_bins") == published.PRINTED_BINS))
        .unique([*names, "metric"], keep="any")  # what does not depend on the number of bins stands there for each
        .sort(*names, "metric")
        .group_by(KEYS, maintain_order=True)
        .agg(
            pl.col("ours").mean(),
            pl.col("n_questions", "n_languages").first().cast(pl.Int64),
            n_seeds=pl.len().cast(pl.Int64),
        )
    )
    over = (
        values.filter(aggregation=LANGUAGE)
        .group_by("benchmark", *ARM, "metric", maintain_order=True)
        .agg(
            pl.col("ours").mean(),
            pl.col("n_questions").sum(),
            n_languages=pl.len().cast(pl.Int64),
            n_seeds=pl.col("n_seeds").first(),
        )
        .with_columns(aggregation=pl.lit(MEAN), language=pl.lit(ALL))
    )
    return pl.concat([values.select(list(OURS)), over.select(list(OURS))])


def compare(printed: Printed, ours: pl.DataFrame, intervals: pl.DataFrame) -> pl.DataFrame:
    """Every printed number beside the run's.

    Args:
        printed: the paper's tables.
        ours: the run's numbers (`read_run`).
        intervals: bootstrap intervals of the run's values: the columns KEYS, value, low, high (`read_intervals`).

    Returns: the columns COLUMNS, in the printed order; a row a printed number, and a second one, against the mean over
        languages, for the overall numbers that do not follow from the language tables. `inside`: whether the printed
        number, or one that rounds to it, lies in the interval of ours; null without an interval.
    """
    sides = pl.concat(
        [
            printed.overall.with_columns(printed_as=pl.lit("")),
            printed.languages.select([*printed.overall.columns, "printed_as"]),
        ]
    )
    overall = pl.col("language") == ALL
    rows = published.long(sides).rename({"value": "printed"}).with_row_index("order")
    rows = rows.with_columns(aggregation=pl.when(overall).then(pl.lit(POOLED)).otherwise(pl.lit(LANGUAGE)))
    again = rows.filter(overall & (pl.col("benchmark") != POOLED_BENCHMARK)).with_columns(aggregation=pl.lit(MEAN))
    rows = pl.concat([rows, again]).join(ours, on=KEYS, how="left", maintain_order="left", validate="m:1")
    rows = rows.join(printed.benchmarks, on="benchmark", how="left", maintain_order="left")
    partly = overall & (pl.col("n_languages") != pl.col("languages"))
    rows = rows.with_columns(covered=pl.col("ours").is_not_null() & ~partly.fill_null(False)).with_columns(
        why_not=pl.when("covered").then(pl.lit("")).otherwise(_why_not(ours, partly)),
        ours=pl.when("covered").then("ours"),
        printed_n_questions=pl.col("questions") * pl.when(overall).then("languages").otherwise(1),
    )
    rows = rows.join(
        intervals.select(*KEYS, "value", "low", "high"), on=KEYS, how="left", maintain_order="left", validate="m:1"
    )
    of_ours = (pl.col("value") - pl.col("ours")).abs() <= SAME_VALUE
    rows = rows.with_columns(pl.when(of_ours).then(name).alias(name) for name in ("low", "high")).with_columns(
        difference=pl.col("ours") - pl.col("printed"),
        inside=(pl.col("low") <= pl.col("printed") + ROUNDING) & (pl.col("printed") - ROUNDING <= pl.col("high")),
    )
    return rows.sort(
        "table",
        pl.col("order") % len(sides),
        in_order("metric", list(PRINTED_METRICS.values())),
        pl.col("aggregation") == MEAN,
    ).select(COLUMNS)


def _why_not(ours: pl.DataFrame, partly: pl.Expr) -> pl.Expr:
    """Why a printed number has none of the run's beside it, for a reader: the first name that the run lacks."""

    def lacks(columns: list[str]) -> pl.Expr:
        found = ours.select(pl.struct(columns)).unique().to_series().to_list()
        return ~pl.struct(columns).is_in(found) if found else pl.lit(True)

    no_smoothing = pl.col("smoothing") != NONE
    return (
        pl.when(lacks(["benchmark"]))
        .then(pl.format("the grid has no benchmark {}", "benchmark"))
        .when(lacks(["benchmark", "model"]))
        .then(pl.format("the grid has no model {}", "model"))
        .when((pl.col("sft") != BASE) & lacks(["benchmark", "model", "sft"]))
        .then(pl.format("the grid has no SFT set {}", "sft"))
        .when(no_smoothing & lacks(["benchmark", *ARM]))
        .then(pl.format("the grid has no smoothing {}", "smoothing"))
        .when(lacks(["benchmark", "language"]))
        .then(pl.format("the grid has no language {}", "language"))
        .when(partly)
        .then(pl.format("the grid has {} languages, the paper {}", "n_languages", "languages"))
        .when(pl.col("metric") == "ece")
        .then(pl.lit(f"not measured with {published.PRINTED_BINS} bins"))
        .otherwise(pl.lit("not measured"))
    )


def read_cells(path: Path) -> pl.DataFrame:
    """What `compare` returned, from the CSV file of it; a run may cover nothing, so that columns are empty."""
    try:
        return pl.read_csv(path, schema_overrides=CSV_SCHEMA, glob=False).select(COLUMNS)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the stage that writes it has not run") from None
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not readable as a reproduction ({error}); delete it and run again") from None


def read_intervals(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Intervals of each benchmark (`results/intervals/<benchmark>.parquet`) as `compare` takes them."""
    return pl.concat(
        frame.filter(confidence_method=published.PRINTED_METHOD).select(
            pl.lit(benchmark).alias("benchmark"),
            *(pl.col(name).cast(pl.String) for name in KEYS[1:]),
            *(pl.col(name).cast(pl.Float64) for name in ("value", "low", "high")),
        )
        for benchmark, frame in frames.items()
    )


def compare_claims(cells: pl.DataFrame) -> pl.DataFrame:
    """The paper's claims, weighed on the printed numbers and on the run's.

    Args:
        cells: as `compare` returns them.

    Returns: a row a claim, benchmark, and model and SFT set (`all` for all together), with the columns of
        `claims.weigh` thrice: `printed_` over all printed rows, `same_` over the printed rows that the run covers,
        `ours_` over the run's; and agree: whether the claim holds on the run's as on the printed ones that it covers,
        null where it covers none or no test is possible.
    """
    rows = cells.filter(aggregation=LANGUAGE)
    covered = rows.filter("covered")
    sides = {
        "printed": rows.with_columns(value="printed"),
        "same": covered.with_columns(value="printed"),
        "ours": covered.with_columns(value="ours"),
    }
    joined = None
    for name, side in sides.items():
        weighed = claims.weigh(side)
        weighed = weighed.rename(
            {column: f"{name}_{column}" for column in weighed.columns if column not in claims.KEYS}
        )
        joined = weighed if joined is None else joined.join(weighed, on=claims.KEYS, how="left", maintain_order="left")
    assert joined is not None
    return joined.with_columns(agree=pl.col("ours_holds") == pl.col("same_holds"))


def summary(cells: pl.DataFrame) -> pl.DataFrame:
    """How much is covered, and how near it is.

    Returns: a row a metric, and `all`: counts of the printed numbers, of those covered, with_interval and inside it,
        and difference (ours - printed, mean) and absolute_difference (mean).

    A printed number that stands beside two of the run's counts as one; its difference is that to the pooled questions.
    """
    once = cells.filter(pl.col("aggregation") != MEAN)
    counts = [
        pl.len().alias("printed"),
        pl.col("covered").sum(),
        pl.col("inside").is_not_null().sum().alias("with_interval"),
        pl.col("inside").sum(),
        pl.col("difference").mean(),
        pl.col("difference").abs().mean().alias("absolute_difference"),
    ]
    by_metric = once.group_by("metric", maintain_order=True).agg(counts)
    return pl.concat([once.select(pl.lit(ALL).alias("metric"), *counts), by_metric])


def reasons(cells: pl.DataFrame) -> list[tuple[str, int]]:
    """Why printed numbers are not covered, and how many for each reason, the most frequent first."""
    missing = cells.filter(~pl.col("covered"), pl.col("aggregation") != MEAN)
    return list(missing.group_by("why_not").len().sort(["len", "why_not"], descending=[True, False]).iter_rows())
