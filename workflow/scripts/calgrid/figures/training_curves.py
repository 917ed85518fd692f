"""The training curves of one model on one SFT set: an arm of smoothing a column, a line a learning rate.

Losses under smoothing are not comparable as they stand: even a perfect model pays the entropy of the smoothed target.
So the upper row shows the loss as it is trained, with that floor, and the lower one the loss without smoothing, of
training and of validation, which is comparable between arms.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid.errors import UserError
from calgrid.figures import theme
from calgrid.store import files
from calgrid.store.reading import cell_of

if TYPE_CHECKING:
    import altair as alt

POINTS = 150  # of a line at most; each is the mean of as many steps
PANEL = {"width": 190, "height": 120}  # pixels
GAP = 14  # pixels between columns
ROWS = {"loss": "Loss as trained (nats)", "nll": "Without smoothing (nats)"}


def training_curves(paths: Sequence[Path]) -> pl.DataFrame:
    """The numbers of the figure.

    Args:
        paths: train.json of the cells of one model and SFT set.

    Returns: a row an arm, learning rate and stretch of steps: smoothing, lr, step (the stretch's mean), loss and nll
        (nats a supervised token, means over the stretch and the seeds), validation (after this step, where there is
        one), floor (of the smoothed loss), stretch (steps of one), and seeds.
    """
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for path in paths:
        cell, record = cell_of(path), files.read_record(path)
        if missing := [name for name in ("curve", "validation", "smoothed_loss_floor") if name not in record]:
            raise UserError(f"{path}: has no {missing[0]!r}; it was written by another version, train this cell again")
        cells.setdefault((cell.smoothing, cell.lr), []).append(record)
    frames = []
    for (smoothing, lr), seeds in cells.items():
        curve = pl.concat(pl.DataFrame(seed["curve"]).with_row_index("step", offset=1) for seed in seeds)
        validation = (
            pl.concat(pl.DataFrame(seed["validation"]) for seed in seeds)
            .group_by("step")
            .agg(validation=pl.col("loss").mean())
        )
        last = int(curve["step"].max())  # type: ignore[arg-type]
        stretch = -(-last // POINTS)
        means = curve.group_by((pl.col("step") - 1) // stretch).agg(
            pl.col("loss", "nll").mean(), at=pl.col("step").cast(pl.Float64).mean()
        )
        frames.append(
            pl.concat(
                [
                    means.select(step="at", loss="loss", nll="nll"),
                    validation.select(pl.col("step").cast(pl.Float64), "validation"),
                ],
                how="diagonal",
            )
            .sort("step")
            .select(
                smoothing=pl.lit(smoothing),
                lr=pl.lit(lr),
                step="step",
                loss="loss",
                nll="nll",
                validation="validation",
                floor=pl.lit(seeds[0]["smoothed_loss_floor"]),
                stretch=pl.lit(stretch),
                seeds=pl.lit(len(seeds)),
            )
        )
    return pl.concat(frames).sort("smoothing", pl.col("lr").cast(pl.Float64), "step")


def curves_chart(numbers: pl.DataFrame, title: str) -> "alt.VConcatChart":
    """Draw what `training_curves` returns."""
    import altair as alt

    rates = numbers["lr"].unique(maintain_order=True).to_list()
    styles = theme.styled(rates, too_many="learning rates", remedy="give fewer")
    arms = numbers["smoothing"].unique(maintain_order=True).to_list()
    panels: list[alt.LayerChart] = []
    for column, name in ROWS.items():
        values = pl.concat([numbers[column], numbers["validation" if column == "nll" else "floor"]]).drop_nulls()
        low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
        domain = (max(0.0, low - 0.06 * (high - low)), high + 0.06 * (high - low))
        panels += [
            _panel(numbers.filter(smoothing=arm), column, domain, styles, y_title=name if arm == arms[0] else None)
            for arm in arms
        ]
    stretch, seeds = (max(numbers[name].to_list()) for name in ("stretch", "seeds"))
    means = [f"{stretch} steps"] * (stretch != 1) + [f"{seeds} seeds"] * (seeds != 1)
    subtitle = [
        "Nats a supervised token" + (f", means of {' and '.join(means)}" if means else ""),
        "Dashed: the least that a smoothed loss can be. Points: validation, after each epoch",
    ]
    entries = {f"learning rate {rate}": style for rate, style in styles.items()}
    return alt.vconcat(
        theme.legend(entries, len(arms) * (PANEL["width"] + GAP)),
        alt.concat(*panels, columns=len(arms), spacing={"row": 8, "column": GAP}),
        title=theme.title(title, subtitle),
        spacing=10,
    ).configure(**theme.config())


def _panel(
    numbers: pl.DataFrame,
    column: str,
    domain: tuple[float, float],
    styles: Mapping[str, theme.Style],
    y_title: str | None,
) -> "alt.LayerChart":
    """One arm's lines; with its heading in the upper row, and the axis of steps in the lower one."""
    import altair as alt

    above = column == "loss"
    rates, looks = list(styles), list(styles.values())
    axis = alt.Axis(title=None if above else "Step", labels=not above, ticks=not above, format=",d", tickCount=4)
    x = alt.X("step:Q", scale=alt.Scale(domain=[0, 1.02 * max(numbers["step"].to_list())], nice=False), axis=axis)
    labelled = y_title is not None
    y_axis = alt.Axis(title=y_title, labels=labelled, ticks=labelled, format="~f", tickCount=5)
    y_scale = alt.Scale(domain=list(domain), zero=False, nice=False)
    color = alt.Color("lr:N", scale=alt.Scale(domain=rates, range=[s.color for s in looks]), legend=None)
    dash = alt.StrokeDash("lr:N", scale=alt.Scale(domain=rates, range=[list(s.dash) for s in looks]), legend=None)
    data = alt.Chart(alt.InlineData(values=numbers.drop_nulls(column).to_dicts()))
    layers: list[alt.Chart] = [
        data.mark_line(strokeWidth=1.4).encode(
            x=x, y=alt.Y(f"{column}:Q", scale=y_scale, axis=y_axis), color=color, strokeDash=dash
        )
    ]
    if above:
        floor = numbers["floor"][0]
        at_floor = alt.Chart(alt.InlineData(values=[{"floor": floor}])).encode(
            y=alt.Y("floor:Q", scale=y_scale, axis=y_axis)
        )
        arm = numbers["smoothing"][0]
        heading = "No smoothing" if float(arm) == 0 else f"Smoothing {arm}"
        words: dict[str, Any] = {
            "fontSize": 9,
            "color": theme.FAINT,
            "align": "right",
            "baseline": "top",
            "dx": -3,
            "dy": 4,
        }
        layers += [
            at_floor.mark_rule(color=theme.FAINT, strokeDash=[4, 3]),
            *(
                [at_floor.mark_text(text=f"floor {floor:.2f}", **words).encode(x=alt.XValue(PANEL["width"]))]
                if floor
                else []
            ),  # none at the axis
            theme.heading(heading, PANEL["width"]),
        ]
    else:
        shape = alt.Shape("lr:N", scale=alt.Scale(domain=rates, range=[s.shape for s in looks]), legend=None)
        validation = alt.Chart(alt.InlineData(values=numbers.drop_nulls("validation").to_dicts()))
        layers.append(
            validation.mark_point(filled=True, size=34, opacity=1).encode(
                x=x, y=alt.Y("validation:Q", scale=y_scale, axis=y_axis), color=color, shape=shape
            )
        )
    return alt.LayerChart(layer=layers).properties(**PANEL)
