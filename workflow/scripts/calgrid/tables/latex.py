"""Tables as LaTeX, for `\\\\input` into a document that loads booktabs; nothing else is needed."""

from collections.abc import Sequence

import polars as pl

from calgrid.tables.layout import ARM_HEADS, PANEL_TITLES, fields, head, rows

_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)
_UNICODE: dict[str, str | int | None] = {"β": r"$\beta$", "↑": r"\,$\uparrow$", "↓": r"\,$\downarrow$", "–": "--"}


def escape(text: str) -> str:
    """Plain text for LaTeX: special characters are printed as they are, line breaks become spaces."""
    return " ".join(text.split()).translate(_SPECIAL)


def _ours(text: str) -> str:
    """Text of our own, with the letters and signs that LaTeX's fonts lack."""
    return escape(text).translate(str.maketrans(_UNICODE))


def environment(
    body: Sequence[str],
    *,
    labels: Sequence[str],
    align: str,
    blocks: Sequence[tuple[str, Sequence[str]]],
    caption: str,
    label: str,
    size: str = "footnotesize",
) -> str:
    """A table environment: columns of labels, then blocks of numbers, each with a head over its columns.

    Args:
        body: its rows and rules.
        labels: heads of the columns of labels.
        align: of these columns, such as `llr`.
        blocks: head of each block, and heads of its columns.
        caption: stands above the table.
        label: LaTeX label.
        size: of the letters.

    All texts are LaTeX.
    """
    spans, first = [], len(labels) + 1
    for _, columns in blocks:
        spans.append((first, first + len(columns) - 1))
        first += len(columns)
    over = [rf"\multicolumn{{{len(columns)}}}{{c}}{{{name}}}" for name, columns in blocks]
    heads = [*labels, *(column for _, columns in blocks for column in columns)]
    return "\n".join(
        [
            r"\begin{table}[tp]",
            r"\centering",
            rf"\{size}",
            r"\setlength{\tabcolsep}{3pt}",
            r"\setlength{\abovecaptionskip}{0pt}",  # the caption stands above the table
            r"\setlength{\belowcaptionskip}{6pt}",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{@{{}}{align}{'r' * (len(heads) - len(labels))}@{{}}}}",
            r"\toprule",
            " " + "& " * len(labels) + " & ".join(over) + r" \\",
            " ".join(rf"\cmidrule(lr){{{a}-{b}}}" for a, b in spans),
            " & ".join(heads) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def table(numbers: pl.DataFrame, metrics: Sequence[str], first: str, caption: str, label: str) -> str:
    """A table environment.

    Args:
        numbers: as `contents.numbers` returns them, of one benchmark or of several one below the other.
        metrics: to show.
        first: the field of the first column, `model` or `sft`; a rule is drawn wherever it changes.
        caption: plain text (`layout.caption`).
        label: LaTeX label.

    Returns: LaTeX. One block of columns a benchmark, one block of rows an aggregation.
    """
    benchmarks = numbers["benchmark"].unique(maintain_order=True).to_list()
    labels = [_ours(ARM_HEADS[field]) for field in fields(first)]
    heads = [_ours(head(metric)) for metric in metrics]
    lines = []
    for (aggregation,), panel in numbers.group_by("aggregation", maintain_order=True):
        lines.append(r"\midrule")
        if title := PANEL_TITLES[str(aggregation)]:
            width = len(labels) + len(heads) * len(benchmarks)
            lines += [rf"\multicolumn{{{width}}}{{@{{}}l}}{{\emph{{{title}}}}} \\", r"\midrule"]
        for row in rows(panel, first, metrics):
            lines += [r"\midrule"] * row.ruled
            lines.append(" & ".join([*map(_ours, row.labels), *(_number(*cell) for cell in row.cells)]) + r" \\")
    blocks = [(escape(name), heads) for name in benchmarks]
    return environment(lines, labels=labels, align="llr", blocks=blocks, caption=_ours(caption), label=label)


def _number(text: str, bold: bool, italic: bool) -> str:
    if italic:
        text = rf"\textit{{{text}}}"
    return rf"\textbf{{{text}}}" if bold else text
