"""All tables as one HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import polars as pl

from calgrid.pages import frame
from calgrid.tables.layout import ARM_HEADS, PANEL_TITLES, fields, head, rows

# Other tables of the folder.
BESIDE = [
    ("reproduction.html", "against the paper"),
    *((f"posthoc.{suffix}", f"post-hoc calibration ({name})") for suffix, name in (("csv", "CSV"), ("tex", "LaTeX"))),
    *((f"change_rates.{suffix}", f"change rates ({name})") for suffix, name in (("csv", "CSV"), ("tex", "LaTeX"))),
]
STYLE = """
nav a { margin-right: .7em; white-space: nowrap }
table { border-top: 2px solid; border-bottom: 2px solid }
figcaption { margin: .5rem 0 .6rem }
th, td { padding: .12em var(--gap); font-weight: normal }
th[scope=row], thead tr:last-child th:nth-child(-n+3) { text-align: left }
thead tr:last-child th, tr.panel td { border-bottom: 1px solid }
thead th[colspan] { text-align: center; border-bottom: 1px solid #aaa }
tr.ruled > *, tbody tr.panel td { border-top: 1px solid }
tr.panel td { text-align: left; font-style: italic }
"""


def page(title: str, sections: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """A page of tables.

    Args:
        title: plain text.
        sections: by heading, the tables of a section: name, anchor, and HTML of `table`.
    """
    links = "\n".join(
        f"<p>{escape(heading)}: "
        + " ".join(f'<a href="#{anchor}">{escape(name)}</a>' for name, anchor, _ in tables)
        + "</p>"
        for heading, tables in sections.items()
    )
    links += "\n<p>Beside these: " + " ".join(f'<a href="{file}">{escape(name)}</a>' for file, name in BESIDE) + "</p>"
    bodies = "\n".join(
        f'<h2 id="{anchor}">{escape(name if name == heading else f"{heading}: {name}")}</h2>\n{html}'
        for heading, tables in sections.items()
        for name, anchor, html in tables
    )
    return frame.page(title, STYLE, f"<nav>\n{links}\n</nav>\n{bodies}")


def table(numbers: pl.DataFrame, metrics: Sequence[str], first: str, caption: str) -> str:
    """One table as HTML; arguments as for `latex.table`."""
    benchmarks = numbers["benchmark"].unique(maintain_order=True).to_list()
    heads = [*(ARM_HEADS[field] for field in fields(first)), *[head(metric) for metric in metrics] * len(benchmarks)]
    above = "".join(f'<th colspan="{len(metrics)}" scope="colgroup">{escape(name)}</th>' for name in benchmarks)
    lines = [
        f"<figure><figcaption>{escape(caption)}</figcaption>",  # a caption element is no wider than its table
        '<div class="wide"><table>',
        f'<thead><tr><td colspan="3"></td>{above}</tr>',
        "<tr>" + "".join(f'<th scope="col">{escape(head)}</th>' for head in heads) + "</tr></thead>",
    ]
    for (aggregation,), panel in numbers.group_by("aggregation", maintain_order=True):
        lines.append("<tbody>")
        if title := PANEL_TITLES[str(aggregation)]:
            lines.append(f'<tr class="panel"><td colspan="{len(heads)}">{escape(title)}</td></tr>')
        lines += _rows(panel, first, metrics)
        lines.append("</tbody>")
    return "\n".join([*lines, "</table></div></figure>"])


def _rows(panel: pl.DataFrame, first: str, metrics: Sequence[str]) -> Iterator[str]:
    for row in rows(panel, first, metrics):
        labels = "".join(f'<th scope="row">{escape(label)}</th>' for label in row.labels)
        numbers = "".join(f"<td>{_number(*cell)}</td>" for cell in row.cells)
        yield f"<tr{' class=ruled' * row.ruled}>{labels}{numbers}</tr>"


def _number(text: str, bold: bool, italic: bool) -> str:
    text = f"<em>{text}</em>" if italic else text
    return f"<strong>{text}</strong>" if bold else text
