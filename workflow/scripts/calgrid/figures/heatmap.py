"""ECE at a glance: a row an arm, a column a language, languages by resource tier.

The darker the worse, on a scale whose lightness falls steadily, so that it survives a grey print and colour blindness.
Places are pixels, not scales, so that blocks of rows and tiers of columns can stand apart.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from calgrid.cell import Arm, Cell, arms_to_show
from calgrid.figures import benchmark_values, theme
from calgrid.vocabulary import BASE

if TYPE_CHECKING:
    import altair as alt

SCHEME: Final = "yellowgreenblue"
ROW = 13  # pixels a row
WIDTH = 690  # of all columns, about
NARROWEST, WIDEST = 16, 34  # pixels a column
THREE_DIGITS = 24  # pixels of a column that has room for them
GAPS = (7, 3)  # pixels between tiers and between models, and between SFT sets of one model
LETTER = 5.2  # pixels of a letter of a row's name
PIXELS: dict[str, Any] = {"scale": None, "axis": None}  # of a channel whose values are pixels already
PALEST = 0.02  # of a scale that would else be empty, as all ECEs are 0


def heatmap(
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
    """The numbers of the figure: `benchmark_values.by_language` with ece; base models, then tuned, model by model."""
    return benchmark_values.by_language(
        arms_to_show(models, sft, smoothings),
        selected,
        metrics,
        benchmark=benchmark,
        method=method,
        n_bins=n_bins,
        tiers=tiers,
        columns=["ece"],
    )


def heatmap_chart(numbers: pl.DataFrame, *, benchmark: str, method: str, n_bins: int) -> "alt.LayerChart":
    """Draw what `heatmap` returns."""
    import altair as alt

    arms = numbers.unique("order", maintain_order=True)
    languages = numbers.unique("language", maintain_order=True)
    step = max(NARROWEST, min(WIDEST, WIDTH / len(languages)))
    lefts = _places([(tier,) for tier in languages["tier"]], step)
    tops = _places([("", "") if row["sft"] == BASE else (row["model"], row["sft"]) for row in arms.to_dicts()], ROW)
    left_of = dict(zip(languages["language"], lefts, strict=True))
    top_of = dict(zip(arms["order"], tops, strict=True))
    width, height = lefts[-1] + step, tops[-1] + ROW

    digits = 3 if step >= THREE_DIGITS else 2
    values = [
        {
            **row,
            "left": left_of[row["language"]],
            "right": left_of[row["language"]] + step,
            "top": top_of[row["order"]],
            "bottom": top_of[row["order"]] + ROW,
            "text": f"{row['ece']:.{digits}f}".removeprefix("0"),
        }
        for row in numbers.select("order", "language", "ece").to_dicts()
    ]
    data = alt.Chart(alt.InlineData(values=values))
    legend = alt.Legend(
        title="ECE", orient="bottom", direction="horizontal", gradientLength=160, gradientThickness=9, offset=22,
        titleOrient="left", titleFontSize=10, titleFontWeight="normal", labelFontSize=9, format=".2~f", tickCount=4,
    )  # fmt: skip
    scale = alt.Scale(scheme=SCHEME, domain=[0, max(PALEST, *numbers["ece"])])
    cells = data.mark_rect(stroke="white", strokeWidth=0.5).encode(
        x=alt.X("left:Q", **PIXELS),
        x2="right",
        y=alt.Y("top:Q", **PIXELS),
        y2="bottom",
        color=alt.Color("ece:Q", scale=scale, legend=legend),
    )
    background = "scale('color', datum.ece)"
    printed = data.mark_text(fontSize=8 if digits == 3 else 7.5, dx=step / 2, dy=ROW / 2 + 0.5).encode(
        x=alt.X("left:Q", **PIXELS),
        y=alt.Y("top:Q", **PIXELS),
        text="text:N",
        color=alt.condition(
            f"contrast('white', {background}) > contrast('black', {background})",
            alt.value("white"),
            alt.value("black"),
        ),
    )
    subtitle = f"ECE of each model and language, darker: worse. {benchmark_values.settings(numbers, method, n_bins)}"
    title = theme.title(f"Calibration error by language: {benchmark}", subtitle, offset=12)
    layers = [cells, printed, *_column_names(languages, lefts, step, height), *_row_names(arms, tops)]
    return (
        alt.LayerChart(layer=layers)
        .properties(width=width, height=height, title=title)
        .configure(**{**theme.config(), "view": {"stroke": None}})
    )


def _places(keys: Sequence[tuple[str, ...]], step: float) -> list[float]:
    """Where each column or row begins, in pixels: the first part of its key that changes says how large the gap is."""
    places = [0.0]
    for before, key in pairwise(keys):
        gap = next((gap for a, b, gap in zip(before, key, GAPS, strict=False) if a != b), 0)
        places.append(places[-1] + step + gap)
    return places


def _column_names(languages: pl.DataFrame, lefts: Sequence[float], step: float, height: float) -> "list[alt.Chart]":
    """The codes above and below, and over them the tiers, each with a rule as long as it is wide."""
    import altair as alt

    codes = [{"code": code, "x": left + step / 2} for code, left in zip(languages["language"], lefts, strict=True)]
    tiers: dict[str, dict[str, Any]] = {}
    for tier, left in zip(languages["tier"], lefts, strict=True):
        tiers.setdefault(tier, {"tier": tier, "left": left})["right"] = left + step
    for tier in tiers.values():  # the word where it has room
        wide = tier["right"] - tier["left"] > (len(tier["tier"]) + len(" resource")) * LETTER
        tier["tier"] += " resource" * wide
    code = alt.Chart(alt.InlineData(values=codes)).mark_text(fontSize=8.5, color=theme.INK)
    code = code.encode(x=alt.X("x:Q", **PIXELS), text="code:N")
    tier_data = alt.Chart(alt.InlineData(values=list(tiers.values())))
    begin = alt.X("left:Q", **PIXELS)
    return [
        code.encode(y=alt.value(-7)),
        code.encode(y=alt.value(height + 7)),
        tier_data.mark_rule(color=theme.FAINT).encode(x=begin, x2="right", y=alt.value(-16)),
        tier_data.mark_text(fontSize=9, color=theme.GREY, align="left").encode(
            x=begin, y=alt.value(-23), text="tier:N"
        ),
    ]


def _row_names(arms: pl.DataFrame, tops: Sequence[float]) -> "list[alt.Chart]":
    """Model, SFT set and smoothing; the first two where they change."""
    import altair as alt

    rows = [
        {"y": top + ROW / 2 + 0.5, "model": row["model"], "sft": row["sft"], "smoothing": row["smoothing"]}
        for row, top in zip(arms.to_dicts(), tops, strict=True)
    ]
    for row in rows:
        if row["sft"] == BASE:
            row["smoothing"] = ""
    for before, row in reversed(list(pairwise(rows))):
        if row["model"] == before["model"]:
            row["sft"] = "" if row["sft"] == before["sft"] else row["sft"]
            row["model"] = "" if before["sft"] != BASE else row["model"]
    heads = {"model": "Model", "sft": "SFT set", "smoothing": "Smoothing"}
    right, texts = -8.0, []
    for name, head in reversed(heads.items()):
        width = LETTER * max(map(len, [head, *(str(row[name]) for row in rows)]))
        align, x = ("right", right) if name == "smoothing" else ("left", right - width)
        marks: dict[str, Any] = {"fontSize": 9, "align": align, "color": theme.INK}
        body = alt.Chart(alt.InlineData(values=rows)).mark_text(**marks)
        texts.append(body.encode(x=alt.value(x), y=alt.Y("y:Q", **PIXELS), text=f"{name}:N"))
        top = alt.Chart(alt.InlineData(values=[{}])).mark_text(text=head, **{**marks, "color": theme.GREY})
        texts.append(top.encode(x=alt.value(x), y=alt.value(-7)))
        right -= width + 2 * LETTER
    return texts
