"""Change rates of calibration errors by tuning: (tuned - base) / base, by category of questions and confidence method.

The figures of "Does Alignment Tuning Really Break LLMs' Internal Confidence?" (Oh and Hwang, 2024), whose dimensions
are the model, the metric (ECE and SCE), the task and how confidence is extracted.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid import theme
from calgrid.errors import UserError
from calgrid.grid import Cell
from calgrid.languages import in_order
from calgrid.latex import environment, escape
from calgrid.metrics import CATEGORY, CATEGORY_BY_LANGUAGE, POOLED
from calgrid.sections import ALL, BASE, CONFIDENCE_METHODS, NO_SMOOTHING, NONE
from calgrid.selection import Arm, of_arms
from calgrid.table_layout import HEADS

if TYPE_CHECKING:
    import altair as alt

METRICS = ("ece", "sce")
GROUPINGS = (POOLED, CATEGORY, CATEGORY_BY_LANGUAGE)
CELL = {"width": 38, "height": 15}  # pixels, of one number
FULL_COLOR = 1.0  # the change rate, of either sign, from which the colour no longer changes
SCALE = ("#0072B2", "#f4f4f4", "#D55E00")  # better, unchanged, worse


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
        metrics: of these cells and of the base models, on any benchmarks (`store.read_metrics`).
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
        .agg(pl.col(METRICS).mean(), pl.col("n_questions").first())
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
    then = tuned.unpivot(METRICS, index=["order", "sft", "smoothing", "n_questions", *keys], variable_name="metric")
    before = base.unpivot(METRICS, index=keys, variable_name="metric")
    ranks = {"grouping": GROUPINGS, "confidence_method": CONFIDENCE_METHODS, "metric": METRICS}
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
        blocks=[(HEADS[metric], [escape(method) for method in methods]) for metric in METRICS],
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
        cells = [printed(rates[metric, method]) for metric in METRICS for method in methods]
        texts = [cell.replace("−", "$-$").replace("–", "--") for cell in cells]
        yield " & ".join([*labels, escape(str(name)), *texts]) + r" \\"
        above = arm


def chart(rates: pl.DataFrame, benchmark: str, language: str | None = None) -> "alt.VConcatChart":
    """Draw what `shown` returns: a panel a model, SFT set and metric; categories down, confidence methods across.

    A colour says how far the metric rose (worse) or fell; the number in it, in per cent, says it without colour.
    """
    import altair as alt

    table = shown(rates, benchmark, language)
    if table.is_empty():
        raise UserError(f"no change rates of benchmark {benchmark}, language {language or ALL}")
    names = table["name"].unique(maintain_order=True).to_list()
    groups = table.partition_by("sft", maintain_order=True)
    rows = [
        alt.hconcat(
            *(
                _panel(panel, names, first=place == 0, heads=group is groups[0], last=group is groups[-1])
                for place, panel in enumerate(group.partition_by("model", "metric", maintain_order=True))
            ),
            spacing=10,
            title=alt.Title(f"Tuned on {group['sft'][0]}", anchor="start", fontSize=11, offset=6),
        )
        for group in groups
    ]
    where = "all languages" if language is None else language
    subtitle = [
        f"(tuned − base) / base in per cent, without label smoothing; questions of {where}. Above 0 (orange): worse;"
        f" colours are full at {100 * FULL_COLOR:.0f} %",
        "Rows of a panel: categories of questions; columns: how confidence is extracted",
    ]
    title = f"Change of calibration errors by tuning, {benchmark}"
    return alt.vconcat(*rows, title=theme.title(title, subtitle), spacing=12).configure(**theme.config())


def _panel(rows: pl.DataFrame, names: Sequence[str], *, first: bool, heads: bool, last: bool) -> "alt.LayerChart":
    import altair as alt

    methods = rows["confidence_method"].unique(maintain_order=True).to_list()
    label: dict[str, Any] = {"ticks": False, "domain": False, "grid": False, "labelFontSize": 9, "labelLimit": 130}
    x = alt.X("confidence_method:N", sort=methods, axis=alt.Axis(title=None, labels=last, labelAngle=-90, **label))
    y = alt.Y(
        "name:N",
        sort=list(names),
        axis=alt.Axis(title=None, labels=first, **label),
    )
    values = rows.with_columns(
        text=pl.col("change_rate").map_elements(printed, return_dtype=pl.String, skip_nulls=False),
        strong=pl.col("change_rate").abs() > 0.6 * FULL_COLOR,
    ).with_columns(pl.col("strong").fill_null(False))
    data = alt.Chart(alt.InlineData(values=values.to_dicts()))
    color = alt.Color(
        "change_rate:Q",
        scale=alt.Scale(domain=[-FULL_COLOR, 0, FULL_COLOR], range=list(SCALE), clamp=True, interpolate="lab"),
        legend=None,
    )
    ink = alt.Color("strong:N", scale=alt.Scale(domain=[False, True], range=[theme.INK, "white"]), legend=None)
    text = data.mark_text(fontSize=8.5).encode(x=x, y=y, text="text:N", color=ink)
    name = f"{rows['model'][0]}, {HEADS[rows['metric'][0]]}" if heads else ""
    return (
        alt.layer(data.mark_rect(stroke="white").encode(x=x, y=y, color=color), text)
        .resolve_scale(color="independent")
        .properties(
            width=CELL["width"] * len(methods),
            height=CELL["height"] * len(names),
            title=alt.Title(name, anchor="middle", fontSize=10, offset=4),
        )
    )
