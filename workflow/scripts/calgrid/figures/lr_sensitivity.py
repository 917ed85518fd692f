"""How much hangs on the learning rate: pooled ECE and accuracy, and the validation loss, of every rate that was tried.

A column a model and SFT set, a row a quantity, a line a smoothing; the selected rates are ringed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from calgrid.errors import UserError
from calgrid.figures import benchmark_values, theme
from calgrid.vocabulary import BASE, NONE, POOLED

if TYPE_CHECKING:
    import altair as alt

ROWS = {"ece": "ECE", "accuracy": "Accuracy", "validation_loss": "Validation loss"}
WIDTH, NARROWEST, WIDEST = 720, 64, 170  # pixels of a row of panels, and of a panel at least and most
HEIGHT = 84  # of a panel
GAP = 12  # pixels between columns
LETTER = 5.4  # pixels of a letter of a heading
ROOM = 1.6  # a factor, before the least rate and after the largest
BESIDE = 4  # pixels between the smoothings at one rate, so that equal values don't hide each other
MARGIN = 0.1  # of the range of a row's values


def lr_sensitivity(
    models: Sequence[str],
    sft: Sequence[str],
    smoothings: Sequence[str],
    selection: pl.DataFrame,
    metrics: pl.DataFrame,
    *,
    benchmark: str,
    method: str,
    n_bins: int,
) -> pl.DataFrame:
    """The numbers of the figure.

    Args:
        models: in the figure's order.
        sft: SFT sets, in the figure's order.
        smoothings: in the figure's order.
        selection: of every tuned cell (`selection.select`).
        metrics: of the cells that were scored (`reading.read_metrics`); base models among them.
        benchmark: its name.
        method: the confidence method.
        n_bins: of the calibration errors.

    Returns: a row a model, SFT set, smoothing and learning rate, and one a base model (sft `base`): model, sft,
        smoothing, lr, ece and accuracy (pooled; null where the cell was not scored), validation_loss (nats a token;
        null where training diverged, and for base models), selected and n_seeds; values are means over the seeds.
        Rates from small to large.

    Raises UserError for a model, SFT set and smoothing without training, and where nothing of it was scored.
    """
    arm = ["model", "sft", "smoothing"]
    wanted = metrics.filter(grouping=POOLED, benchmark=benchmark, confidence_method=method, n_bins=n_bins).select(
        *arm, "lr", "seed", "ece", "accuracy"
    )
    loss = pl.col("validation_loss").mean()  # NaN where a seed diverged
    means = [pl.col("ece", "accuracy").mean(), loss, pl.col("selected").any(), pl.len().alias("n_seeds")]
    tuned = selection.join(wanted, on=[*arm, "lr", "seed"], how="left").sort("seed")
    base = wanted.filter(sft=BASE).with_columns(validation_loss=pl.lit(math.nan), selected=pl.lit(False))
    found = (
        pl.concat([tuned, base], how="diagonal")
        .group_by(*arm, "lr", maintain_order=True)
        .agg(means)
        .with_columns(pl.col("validation_loss").replace([math.nan, math.inf], None))
    )
    frames = []
    for model in models:
        frames.append(found.filter(model=model, sft=BASE))
        if frames[-1].is_empty():
            raise UserError(_missing(f"base model {model}", benchmark, method, n_bins))
        for name in sft:
            for smoothing in smoothings:
                rates = found.filter(model=model, sft=name, smoothing=smoothing).sort(pl.col("lr").cast(pl.Float64))
                words = f"model {model}, SFT set {name}, smoothing {smoothing}"
                if rates.is_empty():
                    raise UserError(f"{words}: no cell in the selection; train it, then select")
                if rates["ece"].null_count() == len(rates):
                    raise UserError(_missing(words, benchmark, method, n_bins))
                frames.append(rates)
    return pl.concat(frames).select(*arm, "lr", *ROWS, "selected", "n_seeds")


def _missing(words: str, benchmark: str, method: str, n_bins: int) -> str:
    return (
        f"no metrics of {words} for benchmark {benchmark}, confidence method {method}, {n_bins} bins; "
        "give them with --metrics"
    )


def lr_sensitivity_chart(numbers: pl.DataFrame, *, benchmark: str, method: str, n_bins: int) -> "alt.ConcatChart":
    """Draw what `lr_sensitivity` returns. Raises UserError for more smoothings than can be told apart."""
    import altair as alt

    base, tuned = numbers.filter(sft=BASE), numbers.filter(pl.col("sft") != BASE)
    smoothings = tuned["smoothing"].unique(maintain_order=True).to_list()
    styles = theme.styled(
        [NONE, *smoothings], too_many="arms (the base model is one)", remedy="give fewer with --smoothings"
    )
    del styles[NONE]  # the base model's, as in other figures; here it is a line
    columns = tuned.partition_by("model", "sft", maintain_order=True)
    headings = [[column["model"][0], column["sft"][0]] for column in columns]
    width = min(WIDEST, max(NARROWEST, WIDTH / len(columns) - GAP, LETTER * max(len(w) for h in headings for w in h)))
    rates = sorted({float(lr) for lr in tuned["lr"]})
    panels = [
        _panel(
            _beside(column, smoothings, rates, width),
            base.filter(model=column["model"][0])[quantity][0],
            quantity,
            _domain(numbers[quantity]),
            rates,
            styles,
            width,
            first=place == 0,
            heading=headings[place],
        )
        for quantity in ROWS
        for place, column in enumerate(columns)
    ]
    subtitle = [
        "ECE and accuracy of all languages pooled; validation loss without smoothing, nats a token.",
        "Ringed: the selected learning rate. Dotted: the base model. Smoothings stand side by side at each rate.",
        benchmark_values.settings(numbers, method, n_bins),
    ]
    return alt.concat(
        *panels,
        columns=len(columns),
        title=theme.title(f"Sensitivity to the learning rate: {benchmark}", subtitle),
        spacing={"row": 8, "column": GAP},
    ).configure(**theme.config())


def _beside(rows: pl.DataFrame, smoothings: Sequence[str], rates: Sequence[float], width: float) -> pl.DataFrame:
    """Add `rate`, where a point is drawn: the learning rate, some pixels to the left or right by the smoothing."""
    pixel = math.log(max(rates) * ROOM**2 / min(rates)) / width
    middle = (len(smoothings) - 1) / 2
    factors = {name: math.exp((k - middle) * BESIDE * pixel) for k, name in enumerate(smoothings)}
    return rows.with_columns(rate=pl.col("lr").cast(pl.Float64) * pl.col("smoothing").replace_strict(factors))


def _domain(values: pl.Series) -> tuple[float, float]:
    there = values.drop_nulls().to_list() or [0.0]  # no loss at all, where a fixed rate was taken and all diverged
    margin = MARGIN * max(max(there) - min(there), 0.01)
    return max(0.0, min(there) - margin), max(there) + margin


def _panel(
    rows: pl.DataFrame,
    base: float | None,
    quantity: str,
    domain: tuple[float, float],
    rates: Sequence[float],
    styles: Mapping[str, theme.Style],
    width: float,
    *,
    first: bool,
    heading: Sequence[str],
) -> "alt.LayerChart":
    """One quantity of one model and SFT set; `first`: with the vertical axis; `heading`: over the uppermost row."""
    import altair as alt

    top, *_, bottom = ROWS
    last = quantity == bottom
    names, looks = list(styles), list(styles.values())
    x_axis = alt.Axis(
        title="Learning rate" if last else None, labels=last, ticks=last, values=list(rates), format="~e",
        labelAngle=-90 if len(rates) > 1 else 0, labelAlign="right" if len(rates) > 1 else "center",
        labelBaseline="middle" if len(rates) > 1 else "top", labelOverlap=False,
    )  # fmt: skip
    x_scale = alt.Scale(type="log", domain=[min(rates) / ROOM, max(rates) * ROOM], nice=False)
    y_scale = alt.Scale(domain=list(domain), zero=False, nice=False)
    y_axis = alt.Axis(title=ROWS[quantity] if first else None, labels=first, ticks=first, tickCount=4, format="~f")
    x, y = alt.X("rate:Q", scale=x_scale, axis=x_axis), alt.Y(f"{quantity}:Q", scale=y_scale, axis=y_axis)
    legend = alt.Legend(
        title="Smoothing", orient="top", titleOrient="left", symbolSize=60, labelFontSize=10, titleFontSize=10,
        titleFontWeight="normal",
    )  # fmt: skip

    def scale(values: Sequence[Any]) -> alt.Scale:
        return alt.Scale(domain=names, range=list(values))

    color = alt.Color("smoothing:N", sort=names, scale=scale([look.color for look in looks]), legend=legend)
    shape = alt.Shape("smoothing:N", sort=names, scale=scale([look.shape for look in looks]), legend=legend)
    data = alt.Chart(alt.InlineData(values=rows.drop_nulls(quantity).to_dicts()))
    layers: list[Any] = []
    if base is not None:
        at_base = alt.Chart(alt.InlineData(values=[{quantity: base}]))
        layers.append(at_base.mark_rule(color=theme.FAINT, strokeDash=[1, 2]).encode(y=y))
    layers += [
        *(  # dashes as a channel would be drawn around the legend's marks
            data.transform_filter(f"datum.smoothing === '{name}'")
            .mark_line(strokeWidth=1.2, color=look.color, strokeDash=list(look.dash))
            .encode(x=x, y=y)
            for name, look in styles.items()
        ),
        data.mark_point(filled=True, size=26, opacity=1).encode(x=x, y=y, color=color, shape=shape),
        data.transform_filter("datum.selected")
        .mark_point(shape="circle", size=75, filled=False, strokeWidth=1.1, opacity=1)
        .encode(x=x, y=y, color=color),
    ]
    if quantity == top:
        one = alt.Chart(alt.InlineData(values=[{}])).encode(x=alt.value(width / 2))
        model, sft = heading
        layers.append(one.mark_text(text=model, fontSize=10, fontWeight="bold").encode(y=alt.value(-20)))
        layers.append(one.mark_text(text=sft, fontSize=10).encode(y=alt.value(-8)))
    return alt.LayerChart(layer=layers).properties(width=width, height=HEIGHT)
