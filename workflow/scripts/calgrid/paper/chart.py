"""The figure of a reproduction: what the paper prints against what a run measures, a panel a metric."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid.figures import theme
from calgrid.paper import reproduction
from calgrid.vocabulary import ALL, MEAN

if TYPE_CHECKING:
    import altair as alt

PANEL = 250  # pixels
NAMES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "entropy": "Entropy (bits)",
    "ece": "ECE",
    "rms_gce": "RMS (the printed variant, rms_gce)",
}
COLUMNS = 2
MANY = 300  # points in a panel from which on they are small and faint


def chart(cells: pl.DataFrame) -> "alt.TopLevelMixin":
    """Draw what `reproduction.compare` returns; a sentence instead where the run covers none of it."""
    import altair as alt

    shown = cells.filter("covered", pl.col("aggregation") != MEAN)
    printed = cells.filter(pl.col("aggregation") != MEAN).height
    title = "A run against the paper's printed numbers"
    if shown.is_empty():
        words = [
            f"Nothing to draw: of the {printed:,} numbers that the paper prints, this run's grid covers none.",
            *(f"{count:,} of them: {reason}." for reason, count in reproduction.reasons(cells)),
        ]
        return (
            alt.Chart(alt.InlineData(values=[{}]))
            .mark_text(text=words, fontSize=11, color=theme.INK, lineHeight=17, align="left", baseline="top")
            .encode(x=alt.value(14), y=alt.value(14))
            .properties(
                width=2 * PANEL,
                height=20 + 17 * len(words),
                title=alt.Title(title, anchor="start", fontSize=13, offset=8),
            )
            .configure(**theme.config())
        )
    benchmarks = cells["benchmark"].unique().sort().to_list()
    styles = dict(zip(benchmarks, theme.STYLES[1:], strict=False))
    styles = {name: style for name, style in styles.items() if name in set(shown["benchmark"])}
    panels = [_panel(shown.filter(metric=metric), name, styles) for metric, name in NAMES.items()]
    subtitle = [
        f"{len(shown):,} of the {printed:,} printed numbers are covered. Small: tables of one language; "
        "large: the overall table (pooled)",
        "Vertical lines: 95 % intervals of this run. Grey: where both are equal",
    ]
    return alt.concat(
        *panels,
        columns=COLUMNS,
        title=theme.title(title, subtitle),
        spacing={"row": 18, "column": 18},
    ).configure(**theme.config())


def _panel(cells: pl.DataFrame, name: str, styles: Mapping[str, theme.Style]) -> "alt.LayerChart":
    """One metric; both axes have the same scale."""
    import altair as alt

    heading = theme.heading(name, PANEL)
    if cells.is_empty():
        none = theme.words("not covered by this run", PANEL / 2, PANEL / 2, fontSize=11, color=theme.FAINT)
        return alt.LayerChart(layer=[none, heading]).properties(width=PANEL, height=PANEL)
    values = pl.concat([cells[column] for column in ("printed", "ours", "low", "high")]).drop_nulls()
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    room = 0.05 * (high - low) or 0.01
    scale = alt.Scale(domain=[max(0.0, low - room), high + room], nice=False, zero=False)
    x = alt.X("printed:Q", scale=scale, axis=alt.Axis(title="Printed in the paper", format="~f", tickCount=5))
    y = alt.Y("ours:Q", scale=scale, axis=alt.Axis(title="This run", format="~f", tickCount=5))
    names, looks = list(styles), list(styles.values())
    legend = alt.Legend(title=None, orient="top", symbolSize=50, symbolOpacity=1, labelFontSize=10)
    color = alt.Color("benchmark:N", scale=alt.Scale(domain=names, range=[s.color for s in looks]), legend=legend)
    shape = alt.Shape("benchmark:N", scale=alt.Scale(domain=names, range=[s.shape for s in looks]), legend=legend)

    diagonal = (
        alt.Chart(alt.InlineData(values=[{"from": scale.domain[0], "to": scale.domain[1]}]))
        .mark_rule(color=theme.FAINT, strokeWidth=1)
        .encode(x=alt.X("from:Q", scale=scale), y=alt.Y("from:Q", scale=scale), x2="to:Q", y2="to:Q")
    )
    layers: list[alt.Chart] = [diagonal]
    faint = len(cells) > MANY
    looks_of: dict[bool, dict[str, Any]] = {
        False: {"size": 8, "opacity": 0.4} if faint else {"size": 20, "opacity": 0.8},
        True: {"size": 38, "opacity": 1, "stroke": "white", "strokeWidth": 0.7},
    }
    whiskers = {False: (0.5, 0.3) if faint else (1.0, 0.6), True: (1.2, 1.0)}  # width and opacity
    for overall, look in looks_of.items():
        part = cells.filter((pl.col("language") == ALL) == overall)
        if part.is_empty():
            continue
        columns = part.select("benchmark", *(pl.col(c).round(5) for c in ("printed", "ours", "low", "high")))
        bounded = columns.drop_nulls(["low", "high"])
        if len(bounded):
            layers.append(
                alt.Chart(alt.InlineData(values=bounded.to_dicts()))
                .mark_rule(strokeWidth=whiskers[overall][0], opacity=whiskers[overall][1], aria=False)
                .encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color)
            )
        layers.append(
            alt.Chart(alt.InlineData(values=columns.select("benchmark", "printed", "ours").to_dicts()))
            .mark_point(filled=True, aria=False, **look)
            .encode(x=x, y=y, color=color, shape=shape)
        )
    words: dict[str, Any] = {
        "align": "right",
        "baseline": "bottom",
        "fontSize": 9,
        "color": theme.INK,
        "lineHeight": 12,
    }
    note = (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_text(text=_note(cells), **words)
        .encode(x=alt.value(PANEL - 5), y=alt.value(PANEL - 18))
    )
    return alt.LayerChart(layer=[*layers, note, heading]).properties(width=PANEL, height=PANEL)


def _note(cells: pl.DataFrame) -> list[str]:
    """How near the run is, in two lines."""
    row = reproduction.summary(cells).row(0, named=True)
    interval = f"inside our interval: {row['inside']:,} of {row['with_interval']:,}"
    return [
        f"ours - printed: {row['difference']:+.4f} on average",
        interval if row["with_interval"] else "no interval of this metric",
    ]
