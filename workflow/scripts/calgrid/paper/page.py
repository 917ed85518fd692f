"""The page of a reproduction."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from calgrid.languages import language_name
from calgrid.pages import frame
from calgrid.paper import claims, reproduction
from calgrid.paper.consistency import Finding, describe
from calgrid.paper.published import ARM, CONFIDENCE_METHOD, N_BINS, PRINTED_METRICS
from calgrid.tables.contents import DIGITS
from calgrid.vocabulary import ALL, BASE, MEAN, POOLED

HEADS: Mapping[str, str] = {"accuracy": "Accuracy", "entropy": "Entropy", "ece": "ECE", "rms_gce": "RMS"}
AGGREGATIONS: Mapping[str, str] = {POOLED: "ours: all questions pooled", MEAN: "ours: mean over languages"}
NOT_COVERED = "not covered"
STYLE = """
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
table { font-size: .85rem; }
th, td { padding: .15rem var(--gap); white-space: nowrap; }
th { border-bottom: 1px solid #888; } td { border-bottom: 1px solid #ececec; }
.name, .words { text-align: left; } .words { white-space: normal; } .first { border-left: 1px solid #bbb; }
.outside { font-weight: bold; } .none { color: #6b6b6b; }
.yes::before { content: "\\2713 "; } .no::before { content: "\\2717 "; }
details details { margin-left: 1rem; }
"""


def page(cells: pl.DataFrame, found: Iterable[Finding]) -> str:
    """The whole page.

    Args:
        cells: `reproduction.compare`.
        found: what is known of the printed numbers by themselves (`consistency.findings`).
    """
    parts = [
        *coverage(cells),
        "<h2>The paper's claims</h2>",
        *claims_weighed(cells),
        "<h2>Known of the printed tables</h2>",
        "<p>Computed from the printed numbers alone by <code>workflow/scripts/check_paper.py</code>; explained in "
        "<code>docs/paper.md</code>.</p>",
        *(
            f"<details><summary>{escape(finding.title)}</summary>"
            f"<pre>{escape(chr(10).join(finding.lines))}</pre></details>"
            for finding in found
        ),
        "<h2>Cell by cell</h2>",
        "<p>p: printed; d: ours - printed, with our interval, <strong>bold</strong> where the printed number lies "
        "outside it. The overall numbers of MMLU-ProX follow from no average of its languages, so two of ours stand "
        "beside each.</p>",
        *_tables(cells),
    ]
    return frame.page("A run against the paper's printed numbers", STYLE, "\n".join(part for part in parts if part))


def covers(count: str, cells: pl.DataFrame, more: str = "") -> str:
    """A sentence of how many of the printed numbers a run covers; `more`: plain text at its end."""
    printed = reproduction.summary(cells)["printed"][0]
    return (
        f"<p>This run covers <strong>{count} of the {printed:,} numbers</strong> that the tables of <em>Investigating "
        f"the Multilingual Calibration Effects of Language Model Instruction-Tuning</em> print{escape(more)}.</p>"
    )


def coverage(cells: pl.DataFrame) -> list[str]:
    """How much of the paper a run covers, and how near it is; `cells` as for `page`."""
    total = reproduction.summary(cells).row(0, named=True)
    words = (
        f"<p>Confidence: {escape(CONFIDENCE_METHOD)}; ECE over {N_BINS} equal-width bins; RMS: the variant that fits "
        "the printed column (<code>rms_gce</code>). Interval: 95 %, bootstrap, of this run's value.</p>"
    )
    return [covers(f"{total['covered']:,}", cells), words, _reasons(cells), _summary(cells)]


def claims_weighed(cells: pl.DataFrame) -> list[str]:
    """The paper's claims on the printed numbers and on the run's; `cells` as for `page`."""
    words = (
        "<p>Each counted over languages: on all printed rows, on the printed rows that this run covers, and on this "
        "run's own. They agree where the claim holds on the last two alike, or on neither.</p>"
    )
    return [words, *_claims(reproduction.compare_claims(cells))]


def _reasons(cells: pl.DataFrame) -> str:
    missing = reproduction.reasons(cells)
    if not missing:
        return ""
    items = "".join(f"<li>{count:,}: {escape(reason)}</li>" for reason, count in missing)
    return f"<p>Not covered:</p><ul>{items}</ul>"


def _summary(cells: pl.DataFrame) -> str:
    heads = ["Metric", "Printed", "Covered", "With interval", "Inside it", "Mean of ours - printed", "Mean of its size"]
    rows = []
    for row in reproduction.summary(cells).iter_rows(named=True):
        if row["metric"] == ALL:
            continue
        counts = [f"{row[name]:,}" for name in ("printed", "covered", "with_interval", "inside")]
        means = [_signed(row["difference"]), _number(row["absolute_difference"])]
        rows.append([_cell(HEADS[row["metric"]], "name"), *map(_cell, [*counts, *means])])
    sizes = cells.filter("covered", pl.col("aggregation") != MEAN, metric=PRINTED_METRICS["rms"])
    other = sizes.filter((pl.col("n_questions") / pl.col("printed_n_questions") - 1).abs() > 0.05)
    note = (
        f"<p>RMS and, less so, ECE depend on the number of questions: in {len(other):,} of the {len(sizes):,} covered "
        "rows this run has another number than the paper (by more than 5 %).</p>"
        if len(other)
        else ""
    )
    return _table([_head(heads[0], "name"), *map(_head, heads[1:])], rows) + note


def _claims(compared: pl.DataFrame) -> Iterable[str]:
    heads = [_head(name, "name") for name in ("Claim", "Benchmark", "All printed rows", "Those covered", "This run")]
    heads.append(_head("Agree", "name"))
    together = compared.filter(model=ALL)
    yield _table(heads, [_claim_row(row, claims.CLAIMS[row["claim"]].text) for row in together.iter_rows(named=True)])
    arms = [*heads[:2], _head("Model", "name"), _head("SFT set", "name"), *heads[2:]]
    rows = []
    for row in compared.filter(pl.col("model") != ALL).iter_rows(named=True):
        claim, benchmark, *rest = _claim_row(row, claims.CLAIMS[row["claim"]].text)
        rows.append([claim, benchmark, _cell(row["model"], "name"), _cell(row["sft"], "name"), *rest])
    yield f"<details><summary>By model and SFT set</summary>{_table(arms, rows)}</details>"


def _claim_row(row: Mapping[str, Any], text: str) -> list[str]:
    sides = [_claim_side(row, side) for side in ("printed", "same", "ours")]
    if row["agree"] is None:
        agree = _cell(NOT_COVERED if row["ours_n"] is None else "no test possible", "name none")
    else:
        agree = _cell("yes" if row["agree"] else "no", "name " + ("yes" if row["agree"] else "no outside"))
    return [_cell(text, "words"), _cell(row["benchmark"], "name"), *sides, agree]


def _claim_side(row: Mapping[str, Any], side: str) -> str:
    if row[f"{side}_n"] is None:
        return _cell(NOT_COVERED, "name none")
    values = {name: row[f"{side}_{name}"] for name in ("n", "result", "mean_change", "holds")}
    words = describe({**values, "model": row["model"]}, claims.CLAIMS[row["claim"]])
    holds = {True: "holds: ", False: "does not hold: ", None: ""}[values["holds"]]
    return _cell(holds + words, "words")


def _tables(cells: pl.DataFrame) -> Iterable[str]:
    """A part a benchmark's language tables, and one for the overall table."""
    overall = cells.filter(language=ALL)
    yield _details(f"Table {overall['table'][0]}: overall", [_printed_table(overall, with_benchmark=True)], overall)
    languages = cells.filter(pl.col("language") != ALL)
    for (benchmark,), part in languages.group_by("benchmark", maintain_order=True):
        tables = [
            _details(f"Table {table}: {language_name(language)}", [_printed_table(rows, with_benchmark=False)], rows)
            for (table, language), rows in part.group_by("table", "language", maintain_order=True)
        ]
        yield _details(f"{benchmark}: a table a language", tables, part)


def _details(title: str, parts: Sequence[str], cells: pl.DataFrame) -> str:
    once = cells.filter(pl.col("aggregation") != MEAN)
    count = f"{once['covered'].sum():,} of {len(once):,} covered"
    return (
        f"<details><summary>{escape(title)} <span class=none>({count})</span></summary>\n"
        + "\n".join(parts)
        + "</details>"
    )


def _printed_table(cells: pl.DataFrame, *, with_benchmark: bool) -> str:
    """A row a printed row (and a second one where two of ours stand beside it)."""
    names = (["benchmark"] if with_benchmark else []) + ARM
    heads = [_head(name, "name") for name in names]
    for head in HEADS.values():
        heads += [_head(f"{head} p", "first"), _head("ours"), _head("d [interval]")]
    rows = []
    for _, part in cells.group_by("aggregation", "benchmark", *ARM, maintain_order=True):
        row = part.row(0, named=True)
        shown = [_cell("" if row["sft"] == BASE and name == "smoothing" else row[name], "name") for name in names]
        for cell in part.iter_rows(named=True):
            shown += _three(cell)
        notes = [AGGREGATIONS[row["aggregation"]]] if row["benchmark"] in _twice(cells) else []
        notes += [f"printed as {row['printed_as']}"] if row["printed_as"] else []
        notes += [f"{NOT_COVERED}: {reason}" for reason in part["why_not"].unique(maintain_order=True) if reason]
        rows.append([*shown, _cell("; ".join(notes), "name none")])
    return _table([*heads, _head("", "name")], rows)


def _twice(cells: pl.DataFrame) -> set[str]:
    """The benchmarks whose printed numbers have two of ours beside them."""
    return set(cells.filter(aggregation=MEAN)["benchmark"])


def _three(cell: Mapping[str, Any]) -> list[str]:
    printed = _cell(_number(cell["printed"]), "first")
    if not cell["covered"]:
        return [printed, f'<td class="none" colspan=2>{NOT_COVERED}</td>']
    interval = "" if cell["low"] is None else f" [{_number(cell['low'])}, {_number(cell['high'])}]"
    return [
        printed,
        _cell(_number(cell["ours"])),
        _cell(_signed(cell["difference"]) + interval, "outside" if cell["inside"] is False else ""),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.{DIGITS}f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.{DIGITS}f}"


def _cell(text: str, kind: str = "") -> str:
    return f"<td{_kind(kind)}>{escape(text)}</td>"


def _head(text: str, kind: str = "") -> str:
    return f"<th{_kind(kind)}>{escape(text)}</th>"


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "\n".join("<tr>" + "".join(row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{"".join(heads)}</tr>\n{body}\n</table></div>'
