"""What tuning and smoothing do to each language: confidence against accuracy, arrows from base to tuned to smoothed.

A panel a model and SFT set. An arrow to the right of the diagonal's way is confidence without accuracy; the second one,
from no smoothing to smoothing, shows what of it is taken back. Panels share their axes, whose units are equally long,
so that the diagonal lies at 45 degrees.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calgrid.cell import Arm, Cell, arms_to_show
from calgrid.errors import UserError
from calgrid.figures import benchmark_values, theme
from calgrid.vocabulary import BASE

if TYPE_CHECKING:
    import altair as alt

WIDTH, WIDEST = 720, 330  # pixels of a row of panels, and of a panel at most
SHAPES = (0.5, 1.1)  # height over width of a panel, least and most
GAP = 14  # pixels between panels
MARGIN = 0.05  # of the range of the values, on each side
LEAST = 0.02  # and no less, where they are all about the same
HEAD = "M0,0L0.75,2L-0.75,2Z"  # its tip is the arrow's end
HEAD_LENGTH = 6.0  # pixels
DOT = 5.0  # pixels that a base model's mark is wide
LETTER, LINE, APART = 4.3, 8.0, 2.5  # pixels of a letter and a line of a language's code, and from what it names
BESIDE = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))  # where a code may stand
# Of a tier: colours that are far apart in grey too, and shapes unlike an arrow's head.
TIER_COLORS = tuple(theme.STYLES[place].color for place in (2, 5, 0, 1, 3, 4))
TIER_SHAPES = ("circle", "square", "diamond", "cross", "triangle-down", "triangle-left")
# Of an arrow: to no smoothing, to the first smoothing, ...
OPACITIES = (0.4, 1.0, 0.7, 0.7)
DASHES = ((1, 0), (1, 0), (3, 1.5), (1, 1))

Point = tuple[float, float]


def arrows(
    models: Sequence[str],
    sft: Sequence[str],
    smoothings: Sequence[str],
    selected: Mapping[Arm, Sequence[Cell]],
    metrics: pl.DataFrame,
    *,
    benchmark: str,
    method: str,
    n_bins: int,
    tiers: Mapping[str, Sequence[str]],
) -> pl.DataFrame:
    """The numbers of the figure.

    Args: as of `benchmark_values.by_language`; `smoothings` need `0.0`, where the second arrows begin.

    Returns: a row an arrow: model, sft, smoothing (that it leads to), tier, language, from_confidence,
        from_accuracy, confidence, accuracy and n_seeds. The arrow to smoothing 0.0 begins at the base model, those to
        the others at smoothing 0.0.
    """
    plain = [smoothing for smoothing in smoothings if float(smoothing) == 0]
    if not plain:
        raise UserError(f"--smoothings {' '.join(smoothings)}: has no 0.0, from which arrows go to the others; add it")
    ordered = [plain[0], *(smoothing for smoothing in smoothings if smoothing not in plain)]
    values = benchmark_values.by_language(
        arms_to_show(models, sft, ordered),
        selected,
        metrics,
        benchmark=benchmark,
        method=method,
        n_bins=n_bins,
        tiers=tiers,
        columns=["confidence", "accuracy"],
    )
    begins = pl.concat(
        [
            values.filter(sft=BASE).select("model", "language", "confidence", "accuracy", of=pl.lit(BASE)),
            values.filter(smoothing=plain[0]).select("model", "language", "confidence", "accuracy", of="sft"),
        ]
    ).rename({"confidence": "from_confidence", "accuracy": "from_accuracy"})
    return (
        values.filter(pl.col("sft") != BASE)
        .with_columns(of=pl.when(smoothing=plain[0]).then(pl.lit(BASE)).otherwise("sft"))
        .join(begins, on=["model", "language", "of"], how="left", maintain_order="left")
        .select(
            *("model", "sft", "smoothing", "tier", "language"),
            *("from_confidence", "from_accuracy", "confidence", "accuracy", "n_seeds"),
        )
    )


@dataclass(frozen=True)
class Frame:
    """What all panels share: the range of both axes, and pixels of a unit."""

    x: Point
    y: Point
    scale: float

    @classmethod
    def around(cls, numbers: pl.DataFrame, width: float) -> "Frame":
        """Room for every arrow of `numbers`, in panels of `width` pixels and no odd height."""
        (x, y) = (_range([*numbers[f"from_{name}"], *numbers[name]]) for name in ("confidence", "accuracy"))
        spans = x[1] - x[0], y[1] - y[0]
        least, most = SHAPES
        x = _widened(x, max(spans[0], spans[1] / most))
        y = _widened(y, max(spans[1], (x[1] - x[0]) * least))
        return cls(x, y, width / (x[1] - x[0]))

    @property
    def width(self) -> float:
        return self.scale * (self.x[1] - self.x[0])

    @property
    def height(self) -> float:
        return self.scale * (self.y[1] - self.y[0])

    @property
    def diagonal(self) -> Point:
        """Where perfect calibration enters and leaves the panel; not in this order where it doesn't cross it."""
        return max(self.x[0], self.y[0]), min(self.x[1], self.y[1])

    def pixels(self, confidence: float, accuracy: float) -> Point:
        """From the panel's upper left corner."""
        return (confidence - self.x[0]) * self.scale, (self.y[1] - accuracy) * self.scale

    def values(self, right: float, down: float) -> dict[str, float]:
        return {"confidence": self.x[0] + right / self.scale, "accuracy": self.y[1] - down / self.scale}


def _range(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    margin = max(MARGIN * (high - low), LEAST)
    return low - margin, high + margin


def _widened(between: Point, span: float) -> Point:
    extra = (span - between[1] + between[0]) / 2
    return between[0] - extra, between[1] + extra


def arrows_chart(numbers: pl.DataFrame, *, benchmark: str, method: str) -> "alt.ConcatChart":
    """Draw what `arrows` returns.

    Raises UserError for more tiers or smoothings than can be told apart.
    """
    import altair as alt

    tiers = numbers["tier"].unique(maintain_order=True).to_list()
    stages = {name: _stage(name) for name in numbers["smoothing"].unique(maintain_order=True)}
    for what, there, most in (("tiers", tiers, len(TIER_COLORS)), ("smoothings", stages, len(OPACITIES))):
        if len(there) > most:
            raise UserError(f"a figure shows at most {most} {what}, not {len(there)}; give fewer with --{what}")
    panels = numbers.partition_by("model", "sft", maintain_order=True)
    columns = numbers["sft"].n_unique()
    frame = Frame.around(numbers, min(WIDEST, WIDTH / columns - GAP))
    charts = [
        _panel(
            panel.with_columns(stage=pl.col("smoothing").replace_strict(stages)),
            frame,
            tiers,
            list(stages.values()),
            first=place % columns == 0,
            last=place >= len(panels) - columns,
        )
        for place, panel in enumerate(panels)
    ]
    subtitle = [
        "An arrow leads from the base model (open mark) to the tuned one, the next from there to the smoothed one.",
        "Dashed: perfect calibration; right of it: over-confident. Codes where there is room. "
        + benchmark_values.settings(numbers, method),
    ]
    return alt.concat(
        *charts,
        columns=columns,
        title=theme.title(f"Confidence against accuracy: {benchmark}", subtitle),
        spacing={"row": 8, "column": GAP},
    ).configure(**theme.config())


def _stage(smoothing: str) -> str:
    return "tuned, no smoothing" if float(smoothing) == 0 else f"smoothing {smoothing}"


def _panel(
    rows: pl.DataFrame, frame: Frame, tiers: Sequence[str], stages: Sequence[str], *, first: bool, last: bool
) -> "alt.LayerChart":
    """One model and SFT set; `first`: with the axis of accuracy; `last`: with that of confidence."""
    import altair as alt

    x = alt.X(
        "confidence:Q",
        scale=alt.Scale(domain=list(frame.x), nice=False, zero=False),
        axis=alt.Axis(title="Mean confidence" if last else None, labels=last, ticks=last, tickCount=6),
    )
    y = alt.Y(
        "accuracy:Q",
        scale=alt.Scale(domain=list(frame.y), nice=False, zero=False),
        axis=alt.Axis(title="Accuracy" if first else None, labels=first, ticks=first, tickCount=5),
    )
    legend: dict[str, Any] = {
        "orient": "top", "titleOrient": "left", "padding": 6, "labelFontSize": 10, "titleFontSize": 10,
        "titleFontWeight": "normal",
    }  # fmt: skip
    of_tiers = alt.Legend(title="Resource tier", symbolSize=40, **legend)
    of_stages = alt.Legend(title="Arrow to", symbolType="stroke", symbolStrokeWidth=1.4, symbolSize=300, **legend)
    colors = alt.Scale(domain=list(tiers), range=list(TIER_COLORS[: len(tiers)]))
    shapes = alt.Scale(domain=list(tiers), range=list(TIER_SHAPES[: len(tiers)]))
    color = alt.Color("tier:N", scale=colors, legend=of_tiers)
    opacities = alt.Scale(type="ordinal", domain=list(stages), range=list(OPACITIES[: len(stages)]))
    opacity = alt.Opacity("stage:N", scale=opacities, legend=of_stages)
    dashes = alt.Scale(domain=list(stages), range=[list(dash) for dash in DASHES[: len(stages)]])
    dash = alt.StrokeDash("stage:N", scale=dashes, legend=of_stages)
    shafts, heads = _arrows(rows, frame)
    codes = _codes(rows, frame)
    low, high = frame.diagonal
    data = {
        "diagonal": [{"confidence": low, "accuracy": low, "to": high}] if low < high else [],
        "base": rows.unique("language", maintain_order=True)
        .select("tier", confidence="from_confidence", accuracy="from_accuracy")
        .to_dicts(),
        "shafts": shafts,
        "codes": codes,
    }
    of = {name: alt.Chart(alt.InlineData(values=values)) for name, values in data.items()}
    layers: list[Any] = [
        of["diagonal"].mark_rule(color=theme.FAINT, strokeDash=[4, 3]).encode(x=x, y=y, x2="to:Q", y2="to:Q"),
        of["shafts"]
        .mark_line(strokeWidth=1)
        .encode(x=x, y=y, detail="arrow:N", color=color, opacity=opacity, strokeDash=dash),
        of["base"]
        .mark_point(size=DOT**2, filled=False, fill="white", strokeWidth=0.9, opacity=1)
        .encode(x=x, y=y, color=color, shape=alt.Shape("tier:N", scale=shapes, legend=of_tiers)),
        *(
            alt.Chart(alt.InlineData(values=[head for head in heads if head["stage"] == stage]))
            .mark_point(shape=HEAD, filled=True, opacity=at)  # as a channel it would hide the legend's lines
            .encode(x=x, y=y, color=color, angle=alt.Angle("angle:Q", scale=None), size=alt.Size("size:Q", scale=None))
            for stage, at in zip(stages, OPACITIES, strict=False)
        ),
        of["codes"].mark_text(fontSize=7.5, color=theme.INK).encode(x=x, y=y, text="language:N"),
    ]
    name = alt.Title(f"{rows['model'][0]}, {rows['sft'][0]}", anchor="start", fontSize=10, offset=4)
    return alt.LayerChart(layer=layers).properties(width=frame.width, height=frame.height, title=name)


def _ends(row: Mapping[str, Any], frame: Frame) -> tuple[Point, Point]:
    begin = frame.pixels(row["from_confidence"], row["from_accuracy"])
    return begin, frame.pixels(row["confidence"], row["accuracy"])


def _arrows(rows: pl.DataFrame, frame: Frame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shafts that end where the heads begin, and heads turned along them; a short arrow has a smaller head."""
    shafts, heads = [], []
    for number, row in enumerate(rows.to_dicts()):
        (x, y), (to_x, to_y) = _ends(row, frame)
        length = math.hypot(to_x - x, to_y - y)
        head = min(HEAD_LENGTH, length)
        share = 1 - head / length if length else 0.0
        for right, down in ((x, y), (x + share * (to_x - x), y + share * (to_y - y))):
            line = {"arrow": number, "tier": row["tier"], "stage": row["stage"]}
            shafts.append({**line, **frame.values(right, down)})
        angle = math.degrees(math.atan2(to_x - x, y - to_y))  # clockwise from upwards
        looks = {"tier": row["tier"], "stage": row["stage"], "angle": angle, "size": head**2}
        heads.append({**looks, **frame.values(to_x, to_y)})
    return shafts, heads


def _codes(rows: pl.DataFrame, frame: Frame) -> list[dict[str, Any]]:
    """The languages whose codes have a free place at an end of one of their arrows, and that place."""
    arrows = [(row["language"], *_ends(row, frame)) for row in rows.to_dicts()]
    low, high = frame.diagonal
    diagonal = [("", frame.pixels(low, low), frame.pixels(high, high))] if low < high else []
    taken = np.concatenate([_along(begin, end) for _, begin, end in arrows + diagonal])
    anchors: dict[str, list[Point]] = {}  # a language's, the last arrow's first
    for language, begin, end in reversed(arrows):
        anchors.setdefault(language, []).append(end)
        if begin not in (points := anchors[language]):
            points.append(begin)
    lonely = {language: _distance(language, anchors) for language in anchors}
    found = []
    for language in sorted(anchors, key=lambda name: (-lonely[name], name)):
        half = np.array([len(language) * LETTER / 2, LINE / 2])
        for anchor, direction in product(anchors[language], BESIDE):
            middle = np.array(anchor) + np.array(direction) * (half + APART)
            inside = (middle >= half).all() and (middle <= (frame.width, frame.height) - half).all()
            if inside and not (np.abs(taken - middle) < half + 0.5).all(axis=1).any():
                found.append({"language": language, **frame.values(*middle)})
                corners = np.mgrid[-1:1:5j, -1:1:5j].reshape(2, -1).T
                taken = np.concatenate([taken, middle + corners * half])
                break
    return found


def _along(begin: Point, end: Point) -> NDArray[np.float64]:
    """Points of an arrow, at most a pixel apart, and around its ends' marks."""
    steps = np.linspace(0, 1, 2 + int(math.dist(begin, end)))[:, None]
    marks = DOT / 2 * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    return np.concatenate([np.array(begin) + steps * np.subtract(end, begin), begin + marks, end + marks / 2])


def _distance(language: str, anchors: Mapping[str, Sequence[Point]]) -> float:
    """From a language's last end to the nearest of another."""
    here = anchors[language][0]
    return min((math.dist(here, points[0]) for name, points in anchors.items() if name != language), default=0.0)
