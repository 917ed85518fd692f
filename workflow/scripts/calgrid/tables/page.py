"""All tables as one HTML page."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
from markupsafe import Markup

from calgrid.pages import frame
from calgrid.tables.layout import ARM_HEADS, PANEL_TITLES, fields, head, rows

# One statement each: of a program's files those alone count that it reaches (`store.program_hash`).
PAGE = "page.html"
TABLE = "table.html"
STYLE = "page.css"
# Other tables of the folder.
BESIDE = [
    ("reproduction.html", "against the paper"),
    *((f"posthoc.{suffix}", f"post-hoc calibration ({name})") for suffix, name in (("csv", "CSV"), ("tex", "LaTeX"))),
    *((f"change_rates.{suffix}", f"change rates ({name})") for suffix, name in (("csv", "CSV"), ("tex", "LaTeX"))),
]


class Table(NamedTuple):
    """A table of the page."""

    name: str
    anchor: str
    html: Markup  # what `table` made


def page(title: str, sections: Mapping[str, Sequence[Table]]) -> str:
    """A page of tables.

    Args:
        title: plain text.
        sections: by heading, the tables of a section.
    """
    return frame.page(__file__, PAGE, title, sections=sections, beside=BESIDE)


def table(numbers: pl.DataFrame, metrics: Sequence[str], first: str, caption: str) -> Markup:
    """One table as HTML; arguments as for `latex.table`."""
    benchmarks = numbers["benchmark"].unique(maintain_order=True).to_list()
    return frame.fragment(
        __file__,
        TABLE,
        caption=caption,
        benchmarks=benchmarks,
        n_metrics=len(metrics),
        heads=[*(ARM_HEADS[field] for field in fields(first)), *[head(metric) for metric in metrics] * len(benchmarks)],
        panels=[
            {"title": PANEL_TITLES[str(aggregation)], "rows": list(rows(panel, first, metrics))}
            for (aggregation,), panel in numbers.group_by("aggregation", maintain_order=True)
        ],
    )


def style() -> Markup:
    """The style of `table`, and of the page."""
    return frame.style(__file__, STYLE)
