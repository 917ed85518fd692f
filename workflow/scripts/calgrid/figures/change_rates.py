"""The figure of change rates: a panel per model, SFT set and metric."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid.errors import UserError
from calgrid.figures import theme
from calgrid.measure.metrics import METRICS
from calgrid.tables.change_rates import printed, shown
from calgrid.vocabulary import ALL

if TYPE_CHECKING:
    import altair as alt

NUMBER = {"width": 38, "height": 15}  # pixels, of one number
FULL_COLOR = 1.0  # the change rate, of either sign, from which the colour no longer changes


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
        scale=alt.Scale(
            domain=[-FULL_COLOR, 0, FULL_COLOR], range=list(theme.DIVERGING), clamp=True, interpolate="lab"
        ),
        legend=None,
    )
    ink = alt.Color("strong:N", scale=alt.Scale(domain=[False, True], range=[theme.INK, "white"]), legend=None)
    text = data.mark_text(fontSize=8.5).encode(x=x, y=y, text="text:N", color=ink)
    name = f"{rows['model'][0]}, {METRICS[rows['metric'][0]].head}" if heads else ""
    return (
        alt.layer(data.mark_rect(stroke="white").encode(x=x, y=y, color=color), text)
        .resolve_scale(color="independent")
        .properties(
            width=NUMBER["width"] * len(methods),
            height=NUMBER["height"] * len(names),
            title=alt.Title(name, anchor="middle", fontSize=10, offset=4),
        )
    )
