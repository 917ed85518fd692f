"""The look of every figure: fonts, sizes, and marks that the colour-blind and a grey print can tell apart."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from calgrid.errors import UserError
from calgrid.store import files
from calgrid.vocabulary import NONE

if TYPE_CHECKING:  # altair takes most of a second to import
    import altair as alt

INK = "#222222"
GREY = "#555555"
FAINT = "#8a8a8a"
PALE = "#d6d6d6"

# Languages are drawn by English names and codes; names of models, data sets and categories as the user wrote them. The
# families after the first ones have the letters of those: an SVG keeps text as text, so its viewer needs a font with
# the letters; a PNG is drawn here, with the fonts of this machine.
_SCRIPTS = ("Ethiopic", "Bengali", "Sinhala", "Telugu", "Thai", "CJK SC", "SC", "Arabic", "Devanagari", "Hebrew")
FONTS = ", ".join(
    [
        *("Liberation Sans", "Arial", "Helvetica", "DejaVu Sans", "Noto Sans"),
        *(f"Noto Sans {script}" for script in _SCRIPTS),
        *("Abyssinica SIL", "Nirmala UI", "Leelawadee UI", "Microsoft YaHei", "PingFang SC", "WenQuanYi Zen Hei"),
        "sans-serif",
    ]
)


class Style(NamedTuple):
    """How one series is drawn; colour, shape and dashes each tell the series apart."""

    color: str
    shape: str
    dash: tuple[int, int]


# Colours of Okabe & Ito (https://jfly.uni-koeln.de/color/), from dark to light in grey.
STYLES = (
    Style("#000000", "circle", (1, 0)),
    Style("#D55E00", "square", (5, 2)),
    Style("#0072B2", "triangle-up", (2, 1)),
    Style("#009E73", "diamond", (8, 2)),
    Style("#CC79A7", "cross", (1, 2)),
    Style("#E69F00", "triangle-down", (4, 4)),
)
DIAGONAL = Style(FAINT, "", (1, 0))
SEQUENTIAL = "blues"  # one hue, from light to dark: the same order in grey
DIVERGING = ("#0072B2", "#f4f4f4", "#D55E00")  # better, unchanged, worse
FORMATS = (".svg", ".png")


def config() -> dict[str, Any]:
    """Vega-Lite's `config` for every figure."""
    return {
        "font": FONTS,
        "background": "white",
        "view": {"stroke": "#bbbbbb"},
        "title": {
            "font": FONTS, "fontSize": 11, "fontWeight": "bold", "color": INK,
            "subtitleFontSize": 10, "subtitleColor": GREY, "subtitlePadding": 4,
        },
        "axis": {
            "labelFontSize": 9, "titleFontSize": 10, "titleFontWeight": "normal", "labelColor": INK, "titleColor": INK,
            "gridColor": "#ececec", "domainColor": "#bbbbbb", "tickColor": "#bbbbbb", "titlePadding": 5,
            "labelFlush": False,
        },
        "legend": {"labelFontSize": 9, "titleFontSize": 10, "titleFontWeight": "normal", "labelColor": INK},
        "concat": {"spacing": 8},
    }  # fmt: skip


def series_name(smoothing: str) -> str:
    """What legends call a series; smoothing `none` is the base model."""
    if smoothing == NONE:
        return "base"
    return "tuned, no smoothing" if float(smoothing) == 0 else f"tuned, smoothing {smoothing}"


def styled(names: Sequence[str], *, too_many: str, remedy: str) -> dict[str, Style]:
    """A style for each name, in order. Raises UserError where there are more names than styles.

    Args:
        names: of the series.
        too_many: a plural for the message: `smoothings`.
        remedy: what to do about too many: `give fewer to --smoothings`.
    """
    if len(names) > len(STYLES):
        raise UserError(f"a figure shows at most {len(STYLES)} {too_many}, not {len(names)}; {remedy}")
    return dict(zip(names, STYLES, strict=False))


def title(text: str, subtitle: str | Sequence[str], offset: int = 8) -> "alt.Title":
    """The title of a whole figure, `offset` pixels above it."""
    import altair as alt

    return alt.Title(text, subtitle=subtitle, anchor="start", fontSize=13, offset=offset)


def axis(title: str, labelled: bool, **options: Any) -> "alt.Axis":
    """An axis; without title, labels and ticks where the panel beside it has them."""
    import altair as alt

    return alt.Axis(title=title, **options) if labelled else alt.Axis(title=None, labels=False, ticks=False, **options)


def words(text: str, x: float, y: float, **options: Any) -> "alt.Chart":
    """A text at a place of a panel, in pixels from its upper left corner."""
    import altair as alt

    return (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_text(text=text, **{"fontSize": 10, "color": INK, **options})
        .encode(x=alt.XValue(x), y=alt.YValue(y))
    )


def heading(text: str, width: float) -> "alt.Chart":
    """The name of a panel, above it.

    A text and no title: a title stands higher where an axis label reaches over the frame, in the first panel alone.
    """
    return words(text, width / 2, -9, fontSize=11, fontWeight="bold")


def line_of(style: Style) -> dict[str, Any]:
    """A line mark's properties."""
    return {"color": style.color, "strokeDash": list(style.dash), "strokeWidth": 1.4 if style.shape else 1}


def legend(entries: Mapping[str, Style], width: int) -> "alt.LayerChart":
    """Named samples of line and point above all panels, in as many lines as the figure's width asks for."""
    import altair as alt

    layers: list[alt.Chart] = []
    left, y = 0, 8
    for name, style in entries.items():
        taken = 50 + round(4.8 * len(name))
        if left and left + taken > width:
            left, y = 0, y + 15
        base = alt.Chart(alt.InlineData(values=[{}])).encode(y=alt.YValue(y))
        layers.append(base.mark_rule(**line_of(style)).encode(x=alt.XValue(left), x2=alt.X2Value(left + 26)))
        if style.shape:
            point: dict[str, Any] = {"color": style.color, "shape": style.shape, "size": 34}
            layers.append(base.mark_point(filled=True, opacity=1, **point).encode(x=alt.XValue(left + 13)))
        layers.append(words(name, left + 32, y, align="left"))
        left += taken
    return alt.LayerChart(layer=layers).properties(width=width, height=y + 8, view=alt.ViewConfig(stroke=None))


def save(chart: "alt.TopLevelMixin | dict[str, Any]", paths: Iterable[Path]) -> None:
    """Write a chart, or a Vega-Lite specification, to each path, as SVG or PNG (three pixels a point) by its suffix.

    Offline, by vl-convert; not by the chart's own `save`, which checks the whole against Vega-Lite's schema once more:
    the tests do that.
    """
    import altair as alt
    import vl_convert

    spec = chart if isinstance(chart, dict) else chart.to_dict(validate=False)
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    for path in paths:
        if path.suffix not in FORMATS:
            raise UserError(f"{path}: figures are written as {' or '.join(FORMATS)}; name the output so")
        with files.atomic(path) as temporary:
            if path.suffix == ".svg":
                temporary.write_text(vl_convert.vegalite_to_svg(spec, vl_version=version), encoding="utf-8")
            else:
                temporary.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=version, scale=3))
