"""Does a temperature transfer? ECE of each language before, with its own temperature, with another's, and pooled.

A panel a model and SFT set, tuned without smoothing; languages side by side, by resource tier, so that what happens to
the low tier is seen at a glance. Panels share their axes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid.cell import Arm, Cell
from calgrid.errors import UserError
from calgrid.figures import theme
from calgrid.languages import NO_TIER, in_order, tier_of
from calgrid.measure.posthoc import LANGUAGE, OWN, POOLED_FIT, TRANSFER, UNCALIBRATED
from calgrid.store.selection import of_arms
from calgrid.vocabulary import NO_SMOOTHING

if TYPE_CHECKING:
    import altair as alt

STEP = 14  # pixels a language at least
WIDEST = 30  # and at most
WIDTH = 600  # of the figure, about; a panel of many languages fills it alone
GAP = 20  # between panels
HEIGHT = 84  # of a panel
HEADROOM = 1.25  # above the highest point, for the tiers' names
WORDY = 80  # pixels of a tier that has room for "resource" beside its name
SERIES = (UNCALIBRATED, OWN, TRANSFER, POOLED_FIT)


def transfer(
    models: Sequence[str],
    sft: Sequence[str],
    selected: Mapping[Arm, Sequence[Cell]],
    measured: pl.DataFrame,
    *,
    benchmark: str,
    method: str,
    tiers: Mapping[str, Sequence[str]],
) -> pl.DataFrame:
    """The numbers of the figure.

    Args:
        models: in the figure's order.
        sft: SFT sets, in the figure's order.
        selected: the selected cells (`selection.read_selection`).
        measured: `posthoc.measure` of these cells (`reading.read_metrics`); of others too.
        benchmark: its name.
        method: the confidence method.
        tiers: languages of each resource tier, in the figure's order.

    Returns: a row a model, SFT set, language and calibration: model, sft, tier, language, calibration, ece,
        temperature, n_questions (measured), n_bins and n_seeds; values are means over the seeds. Languages by tier,
        then by code.

    Raises UserError for a model and SFT set without measurements.
    """
    wanted = measured.filter(
        pl.col("calibration").is_in(SERIES), grouping=LANGUAGE, benchmark=benchmark, confidence_method=method
    )
    numbers = (
        of_arms(wanted, [(model, name, NO_SMOOTHING) for model in models for name in sft], selected)
        .sort("seed")
        .group_by("order", "model", "sft", "language", "calibration", "n_questions", "n_bins", maintain_order=True)
        .agg(pl.col("ece", "temperature").mean(), n_seeds=pl.len())
        .with_columns(tier=tier_of(tiers, NO_TIER))
        .sort("order", in_order("tier", (*tiers, NO_TIER)), "language", in_order("calibration", SERIES))
    )
    for model in models:
        for name in sft:
            if numbers.filter(model=model, sft=name).is_empty():
                raise UserError(
                    f"no post-hoc calibration of model {model}, SFT set {name} on benchmark {benchmark}; "
                    "give it with --posthoc"
                )
    columns = ["model", "sft", "tier", "language", "calibration", "ece", "temperature"]
    return numbers.select(*columns, "n_questions", "n_bins", "n_seeds")


def transfer_chart(
    numbers: pl.DataFrame, *, benchmark: str, method: str, transfer_language: str, transfer_name: str
) -> "alt.ConcatChart":
    """Draw what `transfer` returns.

    Args:
        numbers: its rows.
        benchmark: its name, for the title.
        method: the confidence method.
        transfer_language: code of the language whose temperature is tried in the others.
        transfer_name: the same in words.
    """
    import altair as alt

    languages = numbers["language"].unique(maintain_order=True).to_list()
    names = {
        UNCALIBRATED: "before",
        OWN: "its own temperature",
        TRANSFER: f"that of {transfer_name}",
        POOLED_FIT: "that of all, pooled",
    }
    there = [name for name in SERIES if name in numbers["calibration"]]
    looks = {names[name]: theme.STYLES[place] for place, name in enumerate(SERIES) if name in there}
    rows = numbers.with_columns(series=pl.col("calibration").replace_strict(names))
    across = rows["sft"].n_unique()
    columns = across if across * (STEP * len(languages) + GAP) <= WIDTH else 1
    step = max(STEP, min(WIDEST, (WIDTH / columns - GAP) / len(languages)))
    top = HEADROOM * max(rows["ece"].to_list())
    panels = rows.partition_by("model", "sft", maintain_order=True)
    charts = [
        _panel(
            panel,
            languages,
            looks,
            top,
            step,
            first=place % columns == 0,
            heads=place < columns,
            last=place >= len(panels) - columns,
            transfer_language=transfer_language,
        )
        for place, panel in enumerate(panels)
    ]
    sizes = sorted(rows["n_questions"].unique().to_list())
    questions = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    seeds = max(rows["n_seeds"].to_list())
    subtitle = [
        "ECE of each language, tuned without smoothing; temperatures fitted on one part of the questions,",
        f"measured on the other ({questions} a language). Confidence: {method}; {rows['n_bins'][0]} bins"
        + (f"; means of {seeds} seeds" if seeds > 1 else ""),
    ]
    return alt.concat(
        *charts,
        columns=columns,
        title=theme.title(f"Transfer of temperatures between languages: {benchmark}", subtitle),
        spacing={"row": 8, "column": GAP},
    ).configure(**theme.config())


def _panel(
    rows: pl.DataFrame,
    languages: Sequence[str],
    looks: Mapping[str, theme.Style],
    top: float,
    step: float,
    *,
    first: bool,
    heads: bool,
    last: bool,
    transfer_language: str,
) -> "alt.LayerChart":
    """One model and SFT set; `heads`: with the tiers' names above it; `last`: with the languages below it."""
    import altair as alt

    names, styles = list(looks), list(looks.values())
    x_axis = alt.Axis(
        title=None,
        labels=last,
        ticks=False,
        labelAngle=0,
        grid=False,
        labelPadding=4,
        labelOverlap=False,
        labelFontSize=8,
        labelFontWeight=alt.condition(f"datum.value == '{transfer_language}'", alt.value("bold"), alt.value("normal")),
    )
    x = alt.X("language:N", sort=list(languages), scale=alt.Scale(domain=list(languages), padding=0), axis=x_axis)
    beside = alt.XOffset(
        "series:N", sort=names, scale=alt.Scale(type="point", domain=names, range=[0.22 * step, 0.78 * step])
    )
    y_axis = alt.Axis(title="ECE" if first else None, labels=first, ticks=first, tickCount=4)
    y_scale = alt.Scale(domain=[0, top], nice=False)
    y = alt.Y("ece:Q", scale=y_scale, axis=y_axis)
    legend = alt.Legend(title=None, orient="top", symbolSize=70, labelFontSize=10, columns=4)
    colors = alt.Scale(domain=names, range=[style.color for style in styles])
    shapes = alt.Scale(domain=names, range=[style.shape for style in styles])
    color = alt.Color("series:N", sort=names, scale=colors, legend=legend)
    shape = alt.Shape("series:N", sort=names, scale=shapes, legend=legend)
    data = alt.Chart(alt.InlineData(values=rows.to_dicts()))
    layers: list[Any] = []
    tiers = rows.unique("language", maintain_order=True)["tier"].to_list()
    for place, tier in enumerate(tiers):
        if place and tiers[place - 1] == tier:
            continue
        one = alt.Chart(alt.InlineData(values=[{}]))
        if place:
            layers.append(one.mark_rule(color=theme.FAINT, strokeDash=[3, 3]).encode(x=alt.value(place * step)))
        if heads:
            text = f"{tier} resource" if tiers.count(tier) * step > WORDY else tier
            head = one.mark_text(text=text, fontSize=9, color=theme.GREY, align="left", baseline="top", dx=4, dy=4)
            layers.append(head.encode(x=alt.value(place * step), y=alt.value(0)))
    spread = data.mark_rule(color=theme.PALE).encode(
        x=x, y=alt.Y("min(ece):Q", scale=y_scale, axis=y_axis), y2=alt.Y2("max(ece):Q")
    )
    layers.append(spread)  # holds the points of one language together
    layers.append(
        data.mark_point(filled=True, size=22, opacity=1).encode(x=x, xOffset=beside, y=y, color=color, shape=shape)
    )
    name = alt.Title(f"{rows['model'][0]}, {rows['sft'][0]}", anchor="start", fontSize=10, offset=4)
    return alt.LayerChart(layer=layers).properties(width=step * len(languages), height=HEIGHT, title=name)
