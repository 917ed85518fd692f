"""Label smoothing beside post-hoc calibration: calibration error by resource tier, and pooled."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from calgrid.cell import Arm, Cell
from calgrid.errors import UserError
from calgrid.languages import in_order, tier_of
from calgrid.measure.posthoc import (
    CALIBRATIONS,
    CONTEXTUAL,
    LANGUAGE,
    MEASURED,
    OWN,
    POOLED,
    POOLED_FIT,
    TRANSFER,
    UNCALIBRATED,
)
from calgrid.store.selection import of_arms
from calgrid.tables.contents import printed
from calgrid.tables.latex import environment, escape
from calgrid.vocabulary import ALL, BASE, MEAN

MEAN_OF_TIER = "mean_over_tier"  # aggregations, beside `pooled`
LONG = 45  # lines that a page has room for in footnotesize
NAMES = {
    UNCALIBRATED: "--",
    OWN: "$T$ of the language",
    TRANSFER: "$T$ of {language}",
    POOLED_FIT: "$T$ pooled",
    CONTEXTUAL: "contextual",
}
_ARM = ["model", "sft", "smoothing"]
_VALUE = ["benchmark", "confidence_method", "aggregation", "member"]
COLUMNS = [
    *("benchmark", "confidence_method", "n_bins", *_ARM, "lr", "n_seeds", "calibration", "aggregation", "member"),
    *(*MEASURED, "n_questions", "n_languages", "shown", "bold"),
]


def numbers(
    arms: Sequence[Arm],
    selected: Mapping[Arm, Sequence[Cell]],
    measured: pl.DataFrame,
    *,
    benchmarks: Sequence[str],
    methods: Sequence[str],
    tiers: Mapping[str, Sequence[str]],
) -> pl.DataFrame:
    """The numbers of the table, and how they are set.

    Args:
        arms: base models, and each SFT set with each smoothing (`contents.arms_by_model`).
        selected: the selected cells (`selection.read_selection`).
        measured: of all their cells (`posthoc.measure`, read by `reading.read_metrics`).
        benchmarks: in the table's order.
        methods: confidence methods, in the table's order.
        tiers: languages of each resource tier.

    Returns: a row a benchmark, confidence method, arm, calibration and aggregation, with the columns COLUMNS; means
        over the seeds. Aggregations: `mean_over_tier` (the tier is `member`), `mean_over_languages`, `pooled`. `shown`:
        in the printed table, which has every calibration of the arm without smoothing, and of the others none and the
        language's own temperature. `bold`: the least ECE, as printed, of what is shown of a model and SFT set.

    Raises UserError for an arm without measurements.
    """
    wanted = measured.filter(pl.col("benchmark").is_in(benchmarks), pl.col("confidence_method").is_in(methods))
    rows = of_arms(wanted, arms, selected)
    for benchmark in benchmarks:
        for order, arm in enumerate(arms):
            if rows.filter(benchmark=benchmark, order=order).is_empty():
                raise UserError(
                    "no post-hoc calibration of model {}, SFT set {}, smoothing {}".format(*arm)
                    + f" on benchmark {benchmark}; give it with --posthoc"
                )
    by_language = rows.filter(grouping=LANGUAGE).with_columns(n_languages=pl.lit(1, pl.UInt32))
    of_tier = by_language.with_columns(aggregation=pl.lit(MEAN_OF_TIER), member=tier_of(tiers)).drop_nulls("member")
    of_all = by_language.with_columns(aggregation=pl.lit(MEAN), member=pl.lit(ALL))
    pooled = rows.filter(grouping=POOLED).with_columns(aggregation=pl.lit(POOLED))
    keys = [*_VALUE, "order", *_ARM, "lr", "calibration", "n_bins"]
    ranks = {
        "benchmark": benchmarks,
        "confidence_method": methods,
        "calibration": CALIBRATIONS,
        "aggregation": (MEAN_OF_TIER, MEAN, POOLED),
        "member": (*tiers, ALL),
    }
    by = [in_order(name, order) for name, order in ranks.items()]
    table = (
        pl.concat([of_tier, of_all, pooled])
        .sort("language", "seed")  # means add in the same order every time
        .group_by(keys, maintain_order=True)
        .agg(pl.col(MEASURED).mean(), pl.col("n_questions", "n_languages").sum(), n_seeds=pl.col("seed").n_unique())
        .with_columns(pl.col("n_questions", "n_languages") // pl.col("n_seeds"))
        .sort(*by[:2], "order", *by[2:])
    )
    return _marked(table).select(COLUMNS)


def _marked(table: pl.DataFrame) -> pl.DataFrame:
    plain = pl.col("smoothing").cast(pl.Float64, strict=False) == 0
    tuned = pl.col("sft") != BASE
    few = pl.col("calibration").is_in([UNCALIBRATED, OWN])
    shown = (tuned & (plain | few)) | (~tuned & few)
    group = [*_VALUE, "model", "sft", "shown"]
    ece = pl.col("ece").map_elements(lambda value: float(printed(value)), return_dtype=pl.Float64)
    least, most = ece.min().over(group), ece.max().over(group)
    return table.with_columns(shown=shown).with_columns(bold=pl.col("shown") & tuned & (ece == least) & (least < most))


def table(numbers: pl.DataFrame, method: str, caption: str, transfer_language: str) -> str:
    """A LaTeX table environment of one confidence method: a block of columns a benchmark, of rows a model.

    Args:
        numbers: as `numbers` returns them.
        method: the confidence method.
        caption: LaTeX.
        transfer_language: code of the language whose temperature is tried in the others.
    """
    shown = numbers.filter(pl.col("shown") & (pl.col("aggregation") != MEAN), confidence_method=method)
    columns = shown.select("benchmark", "aggregation", "member").unique(maintain_order=True).rows()
    benchmarks = shown["benchmark"].unique(maintain_order=True).to_list()
    columns.sort(key=lambda column: benchmarks.index(column[0]))
    blocks = [
        (
            escape(benchmark),
            [escape(POOLED if at == POOLED else member) for name, at, member in columns if name == benchmark],
        )
        for benchmark in benchmarks
    ]
    rows = list(_rows(shown, columns, transfer_language))
    return environment(
        rows,
        labels=["Model", "SFT set", r"$\beta$", "Post hoc"],
        align="llll",
        blocks=blocks,
        caption=caption,
        label=f"tab:posthoc:{method}",
        size="scriptsize" if len(rows) > LONG else "footnotesize",
    )


def _rows(shown: pl.DataFrame, columns: Sequence[tuple[str, str, str]], transfer_language: str) -> Iterator[str]:
    texts = {
        (*(row[name] for name in (*_ARM, "calibration")), row["benchmark"], row["aggregation"], row["member"]): (
            rf"\textbf{{{printed(row['ece'])}}}" if row["bold"] else printed(row["ece"])
        )
        for row in shown.iter_rows(named=True)
    }
    above: tuple[str, ...] = ("", "", "")
    arms = shown.select(*_ARM, "calibration").unique(maintain_order=True)
    place = {arm: i for i, arm in enumerate(arms.select(_ARM).unique(maintain_order=True).rows())}
    calibration = list(CALIBRATIONS)
    for model, sft, smoothing, name in sorted(arms.rows(), key=lambda r: (place[r[:3]], calibration.index(r[3]))):
        labels = (model, sft, "--" if sft == BASE else smoothing)
        if model != above[0]:
            yield r"\midrule"
        elif sft != above[1]:
            yield r"\addlinespace[2pt]"
        cells = [escape(label) if labels[: i + 1] != above[: i + 1] else "" for i, label in enumerate(labels)]
        how = NAMES[name].format(language=escape(transfer_language))
        values = [texts.get((model, sft, smoothing, name, *column), "--") for column in columns]
        yield " & ".join([*cells, how, *values]) + r" \\"
        above = labels


def caption(numbers: pl.DataFrame, method: str, transfer_name: str, selected: str) -> str:
    """What was measured how, in LaTeX; `selected` says how learning rates were chosen."""
    shown = numbers.filter(confidence_method=method, aggregation=MEAN)
    sizes = [
        f"{escape(benchmark)}: {n_questions:,} questions measured in {n_languages} languages"
        for benchmark, n_questions, n_languages in shown.select("benchmark", "n_questions", "n_languages")
        .unique("benchmark", maintain_order=True)
        .iter_rows()
    ]
    seeds = max(shown["n_seeds"].to_list())
    without = [] if CONTEXTUAL in shown["calibration"] else [CONTEXTUAL]
    return " ".join(
        [
            f"Label smoothing beside post-hoc calibration: ECE ({'; '.join(sizes)}), of each resource tier the mean",
            f"over its languages, and pooled over all. Confidence: {escape(method)};",
            f"{', '.join(str(n) for n in shown['n_bins'].unique().sort())} equal-width bins;",
            f"learning rate {selected}{f'; means over {seeds} seeds' if seeds > 1 else ''}.",
            r"$\beta$: label smoothing. $T$: temperature with the least negative log-likelihood, fitted on one part of",
            "the questions, of the language itself, of " + escape(transfer_name) + ", or of all languages together;",
            *([] if without else ["contextual: divided by the mean distribution over content-free prompts;"]),
            "everything is measured on the other part, and a question is on the same side in every language.",
            "Bold: the least of a model and SFT set.",
        ]
    )
