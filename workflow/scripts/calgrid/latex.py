"""Tables as LaTeX, for `\\\\input` into a document that loads booktabs; nothing else is needed."""

from collections.abc import Sequence

import polars as pl

from calgrid.table_layout import ARM_HEADS, PANEL_TITLES, fields, head, rows

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


def table(numbers: pl.DataFrame, metrics: Sequence[str], first: str, caption: str, label: str) -> str:
    """A table environment.

    Args:
        numbers: as `tables.numbers` returns them, of one benchmark or of several one below the other.
        metrics: to show.
        first: the field of the first column, `model` or `sft`; a rule is drawn wherever it changes.
        caption: plain text (`tables.caption`).
        label: LaTeX label.

    Returns: LaTeX. One block of columns a benchmark, one block of rows an aggregation.
    """
    benchmarks = numbers["benchmark"].unique(maintain_order=True).to_list()
    width = len(metrics)
    heads = [*(ARM_HEADS[field] for field in fields(first)), *[head(metric) for metric in metrics] * len(benchmarks)]
    spans = [(3 + width * i + 1, 3 + width * (i + 1)) for i in range(len(benchmarks))]
    lines = [
        r"\begin{table}[tp]",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        r"\setlength{\abovecaptionskip}{0pt}",  # the caption stands above the table
        r"\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{_ours(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{@{{}}ll{'r' * (1 + width * len(benchmarks))}@{{}}}}",
        r"\toprule",
        " & & & " + " & ".join(rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" for name in benchmarks) + r" \\",
        " ".join(rf"\cmidrule(lr){{{a}-{b}}}" for a, b in spans),
        " & ".join(map(_ours, heads)) + r" \\",
    ]
    for (aggregation,), panel in numbers.group_by("aggregation", maintain_order=True):
        lines.append(r"\midrule")
        if title := PANEL_TITLES[str(aggregation)]:
            lines += [rf"\multicolumn{{{3 + width * len(benchmarks)}}}{{@{{}}l}}{{\emph{{{title}}}}} \\", r"\midrule"]
        for row in rows(panel, first, metrics):
            lines += [r"\midrule"] * row.ruled
            lines.append(" & ".join([*map(_ours, row.labels), *(_number(*cell) for cell in row.cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _number(text: str, bold: bool, italic: bool) -> str:
    if italic:
        text = rf"\textit{{{text}}}"
    return rf"\textbf{{{text}}}" if bold else text
