"""Reliability diagrams: how a panel, and a grid of panels, is drawn. Altair is imported where a chart is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid.figures import theme

if TYPE_CHECKING:
    import altair as alt

FEW = 10  # questions in a bin; below it the standard error of the bin's accuracy can exceed 0.16: drawn faint
PANEL = 170  # pixels, width and height of a reliability diagram
HISTOGRAM = 0.25  # height of the histogram, of the diagram's
GAP = 18  # pixels between panels
LONE = 0.012  # half the width of a band between bins too few to have one
TICKS: dict[str, Any] = {
    "values": [0, 0.2, 0.4, 0.6, 0.8, 1],
    "tickCount": 6,
    "format": "~g",
}  # a lower count thins them


@dataclass
class Layout:
    """What all panels of a figure share."""

    row: str  # the column of the numbers that rows of panels have in common
    column: str  # likewise columns of panels
    styles: Mapping[str, theme.Style]  # by smoothing, in the order of the legend
    size: int  # pixels, width and height of a diagram
    most: float = 0  # questions in the fullest bin
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def data(self, frame: pl.DataFrame) -> "alt.NamedData":
        """Keep `frame` for the whole figure: Altair copies what a part of it holds, at every step of its making."""
        import altair as alt

        name = f"data-{len(self.datasets)}"
        self.datasets[name] = frame.to_dicts()
        return alt.NamedData(name)

    def spec(self, part: "alt.Chart | alt.LayerChart") -> dict[str, Any]:
        """The specification of a part of the figure, whose own data are kept for the whole of it too."""
        return part.to_dict(validate=False, context={"datasets": self.datasets, "top_level": False})


def grid(numbers: pl.DataFrame, layout: Layout, names: Mapping[str, str], title: "alt.Title") -> dict[str, Any]:
    """Draw what `reliability.reliability` returns as rows and columns of panels.

    Each panel has confidence against accuracy with its band, the diagonal of perfect calibration, the ECE of each
    series, and below it how many questions lie in each bin. Points and segments at bins with fewer than FEW questions
    are faint, and have no band.

    Args:
        numbers: the numbers.
        layout: which panels there are, and how series look.
        names: titles of rows, where other than their values.
        title: of the figure.

    Returns: a Vega-Lite specification. The parts of it are put together here: Altair's own concatenation copies each of
        them a dozen times, which takes a third of the time that a figure takes.
    """
    import altair as alt

    layout.most = max(numbers["count"].to_list())
    columns = numbers[layout.column].unique(maintain_order=True).to_list()
    rows = []
    for row in numbers[layout.row].unique(maintain_order=True).to_list():
        diagrams, histograms = [], []
        for column in columns:
            panel = numbers.filter(pl.col(layout.row) == row, pl.col(layout.column) == column)
            first = column == columns[0]
            diagrams.append(layout.spec(_diagram(panel, layout, labelled=first)))
            histograms.append(layout.spec(_histogram(panel, layout, labelled=first)))
        rows.append(
            {
                "concat": [*diagrams, *histograms],
                "columns": len(columns),
                "spacing": {"row": 6, "column": GAP},
                "title": alt.Title(names.get(row, row), orient="left", anchor="middle", offset=8).to_dict(),
            }
        )
    entries = {theme.series_name(smoothing): style for smoothing, style in layout.styles.items()}
    legend = theme.legend({**entries, "perfect calibration": theme.DIAGONAL}, len(columns) * (layout.size + GAP))
    return {
        "$schema": alt.SCHEMA_URL,
        "title": title.to_dict(),
        "vconcat": [layout.spec(legend), *rows],
        "spacing": 10,
        "datasets": layout.datasets,
        "config": theme.config(),
    }


def _diagram(numbers: pl.DataFrame, layout: Layout, *, labelled: bool) -> "alt.LayerChart":
    """Confidence against accuracy; `labelled` where the y axis is to have its title and labels."""
    import altair as alt

    x = alt.X("confidence:Q", scale=alt.Scale(domain=[0, 1]), axis=theme.axis("", False, **TICKS))
    y = alt.Y("accuracy:Q", scale=alt.Scale(domain=[0, 1]), axis=theme.axis("Accuracy", labelled, **TICKS))
    color, shape, dash = _encodings(layout)
    opacity = alt.Opacity("faint:N", scale=alt.Scale(domain=[False, True], range=[1, 0.3]), legend=None)
    size = alt.Size("faint:N", scale=alt.Scale(domain=[False, True], range=[34, 16]), legend=None)

    diagonal = (
        alt.Chart(alt.InlineData(values=[{"confidence": 0, "accuracy": 0, "to": 1}]))
        .mark_rule(color=theme.FAINT, strokeWidth=1)
        .encode(x=x, y=y, x2=alt.X2("to:Q"), y2=alt.Y2("to:Q"))
    )
    filled = numbers.drop_nulls("accuracy").with_columns(faint=pl.col("count") < FEW)
    band = (
        alt.Chart(layout.data(_bands(filled)))
        .mark_area(opacity=0.16)
        .encode(
            x=x,
            y=alt.Y("low:Q", axis=theme.axis("Accuracy", labelled, **TICKS)),
            y2=alt.Y2("high:Q"),
            color=color,
            detail=alt.Detail("run:N"),
        )
    )
    after = pl.col("confidence", "accuracy", "faint").shift(-1).over("smoothing").name.suffix("_after")
    segments = filled.with_columns(after).drop_nulls("accuracy_after")
    lines = (
        alt.Chart(layout.data(segments.with_columns(pl.col("faint") | pl.col("faint_after"))))
        .mark_rule(strokeWidth=1.4)
        .encode(
            x=x,
            y=y,
            x2=alt.X2("confidence_after:Q"),
            y2=alt.Y2("accuracy_after:Q"),
            color=color,
            strokeDash=dash,
            opacity=opacity,
        )
    )
    points = (
        alt.Chart(layout.data(filled))
        .mark_point(filled=True)
        .encode(x=x, y=y, color=color, shape=shape, opacity=opacity, size=size)
    )
    heading = theme.heading(numbers[layout.column][0], layout.size)
    layers = [diagonal, band, lines, points, heading, *_ece_labels(numbers, layout)]
    return alt.LayerChart(layer=layers, width=layout.size, height=layout.size)


def _bands(filled: pl.DataFrame) -> pl.DataFrame:
    """The corners of the bands: a run of bins with an interval is one area, a lone bin a narrow one about its point."""
    run = pl.col("low").is_null().cast(pl.Int32).cum_sum().over("smoothing")
    bands = filled.select("smoothing", "confidence", "low", "high", run=run).drop_nulls("low")
    lone = pl.len().over("smoothing", "run") == 1
    return pl.concat(
        [
            bands.filter(~lone),
            *(bands.filter(lone).with_columns(pl.col("confidence") + side) for side in (-LONE, LONE)),
        ]
    )


def _histogram(numbers: pl.DataFrame, layout: Layout, *, labelled: bool) -> "alt.Chart":
    """How many questions lie in each bin: the series side by side, in the order of the legend."""
    import altair as alt

    place = pl.col("smoothing").replace_strict({s: i for i, s in enumerate(layout.styles)}, return_dtype=pl.Float64)
    present = numbers["smoothing"].n_unique()
    width = pl.col("upper") - pl.col("lower")
    left = pl.col("lower") + width * (0.08 + 0.84 * place / present)
    bars = numbers.select("smoothing", "count", left=left, right=left + width * 0.84 / present)
    return (
        alt.Chart(layout.data(bars), width=layout.size, height=round(HISTOGRAM * layout.size))
        .mark_bar()
        .encode(
            x=alt.X("left:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title="Confidence", **TICKS)),
            x2=alt.X2("right:Q"),
            y=alt.Y(
                "count:Q",
                scale=alt.Scale(domain=[0, 1.04 * layout.most]),
                axis=theme.axis("Questions", labelled, tickCount=2, format="~s"),
            ),
            y2=alt.Y2Datum(0),
            color=_encodings(layout)[0],
        )
    )


def _encodings(layout: Layout) -> tuple["alt.Color", "alt.Shape", "alt.StrokeDash"]:
    """Colour, shape and dashes of the series. Without Vega's legends: there is one for the whole figure."""
    import altair as alt

    domain, styles = list(layout.styles), list(layout.styles.values())
    return (
        alt.Color("smoothing:N", scale=alt.Scale(domain=domain, range=[s.color for s in styles]), legend=None),
        alt.Shape("smoothing:N", scale=alt.Scale(domain=domain, range=[s.shape for s in styles]), legend=None),
        alt.StrokeDash(
            "smoothing:N", scale=alt.Scale(domain=domain, range=[list(s.dash) for s in styles]), legend=None
        ),
    )


def _ece_labels(numbers: pl.DataFrame, layout: Layout) -> list["alt.Chart"]:
    """The ECE of each series in the upper left corner, which confidences below 1/K leave empty."""
    import altair as alt

    step = 14.5 / layout.size
    eces = numbers.unique("smoothing", maintain_order=True)
    values = [
        {"x": 9 / layout.size, "y": 1 - (1.7 + i) * step, "smoothing": row["smoothing"], "text": f"{row['ece']:.3f}"}
        for i, row in enumerate(eces.iter_rows(named=True))
    ]
    color, shape, _ = _encodings(layout)
    base = alt.Chart(alt.InlineData(values=values)).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    return [
        theme.words("ECE", 5, 10, align="left", fontSize=9),
        base.mark_point(size=26, filled=True, opacity=1).encode(color=color, shape=shape),
        base.mark_text(align="left", dx=7, fontSize=9, color=theme.INK).encode(text=alt.Text("text:N")),
    ]
