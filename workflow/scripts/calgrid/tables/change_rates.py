"""Change rates of calibration errors by tuning: (tuned - base) / base, by category of questions and confidence method.

The figures of "Does Alignment Tuning Really Break LLMs' Internal Confidence?" (Oh and Hwang, 2024), whose dimensions
are the model, the metric (ECE and SCE), the task and how confidence is extracted.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import polars as pl

from calgrid.cell import Arm, Cell
from calgrid.errors import UserError
from calgrid.languages import in_order
from calgrid.measure.metrics import METRICS
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.store.selection import of_arms
from calgrid.tables.latex import environment, escape
from calgrid.vocabulary import BASE, CATEGORY, CATEGORY_BY_LANGUAGE, NO_SMOOTHING, NONE, POOLED

COMPARED = ("ece", "sce")  # metrics
GROUPINGS = (POOLED, CATEGORY, CATEGORY_BY_LANGUAGE)


def change_rates(
    models: Sequence[str],
    sft: Sequence[str],
    smoothings: Sequence[str],
    selected: Mapping[Arm, Sequence[Cell]],
    metrics: pl.DataFrame,
    n_bins: int,
) -> pl.DataFrame:
    """The change rates of tuned models.

    Args:
        models: in this order.
        sft: SFT sets, in this order.
        smoothings: of the tuned models.
        selected: the selected cells (`selection.read_selection`).
        metrics: of these cells and of the base models, on any benchmarks (`reading.read_metrics`).
        n_bins: of the calibration errors.

    Returns: a row a benchmark, model, SFT set, smoothing, group, confidence method and metric: base and tuned (the
        metric's values, means over the seeds), change_rate (null where base is 0), n_questions. Groups: all questions,
        each category, and each category of each language.

    Raises UserError for an arm without metrics.
    """
    arms = list(product(models, sft, smoothings))
    group = ["benchmark", "grouping", "language", "member", "confidence_method"]
    wanted = metrics.filter(pl.col("grouping").is_in(GROUPINGS), pl.col("n_bins") == n_bins)
    tuned = (
        of_arms(wanted, arms, selected)
        .sort("seed")
        .group_by("order", "model", "sft", "smoothing", *group, maintain_order=True)
        .agg(pl.col(COMPARED).mean(), pl.col("n_questions").first())
    )
    if missing := sorted(set(range(len(arms))) - set(tuned["order"])):
        raise UserError(
            "no metrics of model {}, SFT set {}, smoothing {}".format(*arms[missing[0]])
            + f" with {n_bins} bins; give them with --metrics"
        )
    base = of_arms(wanted, [(model, BASE, NONE) for model in models], selected)
    if lacking := [model for model in models if model not in base["model"]]:
        raise UserError(f"no metrics of the base model {lacking[0]} with {n_bins} bins; give them with --metrics")
    keys = ["model", *group]
    then = tuned.unpivot(COMPARED, index=["order", "sft", "smoothing", "n_questions", *keys], variable_name="metric")
    before = base.unpivot(COMPARED, index=keys, variable_name="metric")
    ranks = {"grouping": GROUPINGS, "confidence_method": list(CONFIDENCE_METHODS), "metric": COMPARED}
    ranked = [in_order(name, order) for name, order in ranks.items()]
    rate = pl.when(pl.col("base") > 0).then((pl.col("tuned") - pl.col("base")) / pl.col("base"))
    return (
        then.rename({"value": "tuned"})
        .join(before.rename({"value": "base"}), on=[*keys, "metric"])
        .with_columns(change_rate=rate)
        .sort("benchmark", "order", *ranked, "language", "member")
        .select(
            "benchmark",
            "model",
            "sft",
            "smoothing",
            *group[1:],
            "metric",
            "n_questions",
            "base",
            "tuned",
            "change_rate",
        )
    )


def shown(rates: pl.DataFrame, benchmark: str, language: str | None = None) -> pl.DataFrame:
    """What table and figure show of one benchmark: no smoothing; all questions and their categories.

    Args:
        rates: of `change_rates`.
        benchmark: its name.
        language: of the categories; default: all languages.
    """
    mine = rates.filter(benchmark=benchmark, smoothing=NO_SMOOTHING)
    if language is None:
        rows = mine.filter(pl.col("grouping").is_in([POOLED, CATEGORY]))
    else:
        rows = mine.filter(grouping=CATEGORY_BY_LANGUAGE, language=language)
    return rows.with_columns(
        name=pl.when(pl.col("grouping") == POOLED).then(pl.lit("all questions")).otherwise("member")
    )


def printed(rate: float | None) -> str:
    """In per cent, with its sign."""
    if rate is None:
        return "–"
    percent = round(100 * rate)
    return f"{percent:+d}".replace("-", "−") if percent else "0"


def latex(rates: pl.DataFrame, benchmark: str, caption: str, label: str, language: str | None = None) -> str:
    """A table environment: a row a model, SFT set and category, a column a metric and confidence method.

    Args:
        rates: of `change_rates`.
        benchmark: to show.
        caption: plain text.
        label: LaTeX label.
        language: of the categories (`shown`).
    """
    table = shown(rates, benchmark, language)
    methods = table["confidence_method"].unique(maintain_order=True).to_list()
    return environment(
        list(_rows(table, methods)),
        labels=["Model", "SFT set", "Questions"],
        align="lll",
        blocks=[(METRICS[metric].head, [escape(method) for method in methods]) for metric in COMPARED],
        caption=escape(caption),
        label=label,
    )


def _rows(table: pl.DataFrame, methods: Sequence[str]) -> Iterator[str]:
    above: tuple[str, ...] = ("", "")
    for (model, sft, name), rows in table.group_by("model", "sft", "name", maintain_order=True):
        arm = (str(model), str(sft))
        if arm != above:
            yield r"\midrule" if arm[0] != above[0] else r"\addlinespace[2pt]"
        labels = [escape(arm[0]) if arm[0] != above[0] else "", escape(arm[1]) if arm != above else ""]
        rates = {(row["metric"], row["confidence_method"]): row["change_rate"] for row in rows.iter_rows(named=True)}
        cells = [printed(rates[metric, method]) for metric in COMPARED for method in methods]
        texts = [cell.replace("−", "$-$").replace("–", "--") for cell in cells]
        yield " & ".join([*labels, escape(str(name)), *texts]) + r" \\"
        above = arm
