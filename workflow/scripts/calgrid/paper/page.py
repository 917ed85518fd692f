"""The page of a reproduction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup

from calgrid.languages import language_name
from calgrid.pages import frame
from calgrid.paper import claims, reproduction
from calgrid.paper.consistency import Finding, describe
from calgrid.paper.published import ARM, PRINTED_BINS, PRINTED_METHOD, PRINTED_METRICS
from calgrid.tables.contents import DIGITS
from calgrid.vocabulary import ALL, BASE, MEAN, POOLED

# One statement each: of a program's files those alone count that it reaches (`store.program_hash`).
PAGE = "page.html"
STYLE = "page.css"
COVERS = "covers.html"
COVERAGE = "coverage.html"
CLAIMS = "claims.html"
HEADS: Mapping[str, str] = {"accuracy": "Accuracy", "entropy": "Entropy", "ece": "ECE", "rms_gce": "RMS"}
AGGREGATIONS: Mapping[str, str] = {POOLED: "ours: all questions pooled", MEAN: "ours: mean over languages"}
NOT_COVERED = "not covered"

Head = tuple[str, str]  # text and kind, as of a cell


class TableCell(NamedTuple):
    """One cell of a table."""

    text: str
    kind: str = ""  # classes that page.css gives a look
    columns: int = 1  # that it spans


Table = tuple[Sequence[Head], Sequence[Sequence[TableCell]]]  # heads and rows


@dataclass(frozen=True)
class Part:
    """A part of the printed tables, that opens by a click: one table, or parts of its own."""

    title: str
    covered: str  # how many of its printed numbers
    printed: str
    table: Table | None = None
    parts: Sequence["Part"] = ()


def page(cells: pl.DataFrame, found: Iterable[Finding]) -> str:
    """The whole page.

    Args:
        cells: `reproduction.compare`.
        found: what is known of the printed numbers by themselves (`consistency.findings`).
    """
    return frame.page(
        __file__,
        PAGE,
        "A run against the paper's printed numbers",
        coverage=coverage(cells),
        claims=claims_weighed(cells),
        found=list(found),
        parts=list(_parts(cells)),
    )


def style() -> Markup:
    """The style of the page and its parts."""
    return frame.style(__file__, STYLE)


def covers(cells: pl.DataFrame, covered: str, more: str = "") -> Markup:
    """A sentence of how many of the printed numbers a run covers; `more`: plain text at its end."""
    printed = reproduction.summary(cells)["printed"][0]
    return frame.fragment(__file__, COVERS, covered=covered, printed=f"{printed:,}", more=more)


def coverage(cells: pl.DataFrame) -> Markup:
    """How much of the paper a run covers, and how near it is; `cells` as for `page`."""
    total = reproduction.summary(cells).row(0, named=True)
    sizes = cells.filter("covered", pl.col("aggregation") != MEAN, metric=PRINTED_METRICS["rms"])
    other = sizes.filter((pl.col("n_questions") / pl.col("printed_n_questions") - 1).abs() > 0.05)
    heads, rows = _summary(cells)
    return frame.fragment(
        __file__,
        COVERAGE,
        covered=f"{total['covered']:,}",
        printed=f"{total['printed']:,}",
        more="",
        confidence=PRINTED_METHOD,
        n_bins=PRINTED_BINS,
        reasons=[(reason, f"{n:,}") for reason, n in reproduction.reasons(cells)],
        heads=heads,
        rows=rows,
        n_other=f"{len(other):,}" if len(other) else "",
        n_sizes=f"{len(sizes):,}",
    )


def claims_weighed(cells: pl.DataFrame) -> Markup:
    """The paper's claims on the printed numbers and on the run's; `cells` as for `page`."""
    compared = reproduction.compare_claims(cells)
    names = _heads("Claim", "Benchmark", "All printed rows", "Those covered", "This run", "Agree")
    by_arm = []
    for row in compared.filter(pl.col("model") != ALL).iter_rows(named=True):
        claim, benchmark, *rest = _claim_row(row)
        by_arm.append([claim, benchmark, TableCell(row["model"], "name"), TableCell(row["sft"], "name"), *rest])
    return frame.fragment(
        __file__,
        CLAIMS,
        heads=names,
        together=[_claim_row(row) for row in compared.filter(model=ALL).iter_rows(named=True)],
        arm_heads=[*names[:2], *_heads("Model", "SFT set"), *names[2:]],
        by_arm=by_arm,
    )


def _heads(*texts: str) -> list[Head]:
    return [(text, "name") for text in texts]


def _summary(cells: pl.DataFrame) -> Table:
    heads = ["Printed", "Covered", "With interval", "Inside it", "Mean of ours - printed", "Mean of its size"]
    rows = []
    for row in reproduction.summary(cells).iter_rows(named=True):
        if row["metric"] == ALL:
            continue
        counts = [f"{row[name]:,}" for name in ("printed", "covered", "with_interval", "inside")]
        means = [_signed(row["difference"]), _number(row["absolute_difference"])]
        rows.append([TableCell(HEADS[row["metric"]], "name"), *map(TableCell, [*counts, *means])])
    return [*_heads("Metric"), *((text, "") for text in heads)], rows


def _claim_row(row: Mapping[str, Any]) -> list[TableCell]:
    sides = [_claim_side(row, side) for side in ("printed", "same", "ours")]
    if row["agree"] is None:
        agree = TableCell(NOT_COVERED if row["ours_n"] is None else "no test possible", "name none")
    else:
        agree = TableCell("yes" if row["agree"] else "no", "name yes" if row["agree"] else "name no outside")
    return [TableCell(claims.CLAIMS[row["claim"]].text, "words"), TableCell(row["benchmark"], "name"), *sides, agree]


def _claim_side(row: Mapping[str, Any], side: str) -> TableCell:
    if row[f"{side}_n"] is None:
        return TableCell(NOT_COVERED, "name none")
    values = {name: row[f"{side}_{name}"] for name in ("n", "result", "mean_change", "holds")}
    words = describe({**values, "model": row["model"]}, claims.CLAIMS[row["claim"]])
    holds = {True: "holds: ", False: "does not hold: ", None: ""}[values["holds"]]
    return TableCell(holds + words, "words")


def _parts(cells: pl.DataFrame) -> Iterable[Part]:
    """One part for the overall table, and one for each benchmark's language tables."""
    overall = cells.filter(language=ALL)
    yield _part(f"Table {overall['table'][0]}: overall", overall, table=_printed_table(overall, with_benchmark=True))
    languages = cells.filter(pl.col("language") != ALL)
    for (benchmark,), part in languages.group_by("benchmark", maintain_order=True):
        tables = [
            _part(f"Table {table}: {language_name(language)}", rows, table=_printed_table(rows, with_benchmark=False))
            for (table, language), rows in part.group_by("table", "language", maintain_order=True)
        ]
        yield _part(f"{benchmark}: a table a language", part, parts=tables)


def _part(title: str, cells: pl.DataFrame, table: Table | None = None, parts: Sequence[Part] = ()) -> Part:
    once = cells.filter(pl.col("aggregation") != MEAN)
    return Part(title, f"{once['covered'].sum():,}", f"{len(once):,}", table, parts)


def _printed_table(cells: pl.DataFrame, *, with_benchmark: bool) -> Table:
    """One row for each printed row (and a second one where two of ours stand beside it)."""
    names = (["benchmark"] if with_benchmark else []) + ARM
    heads = _heads(*names)
    for head in HEADS.values():
        heads += [(f"{head} p", "first"), ("ours", ""), ("d [interval]", "")]
    rows = []
    for _, part in cells.group_by("aggregation", "benchmark", *ARM, maintain_order=True):
        row = part.row(0, named=True)
        shown = [TableCell("" if row["sft"] == BASE and name == "smoothing" else row[name], "name") for name in names]
        for cell in part.iter_rows(named=True):
            shown += _three(cell)
        notes = [AGGREGATIONS[row["aggregation"]]] if row["benchmark"] in _twice(cells) else []
        notes += [f"printed as {row['printed_as']}"] if row["printed_as"] else []
        notes += [f"{NOT_COVERED}: {reason}" for reason in part["why_not"].unique(maintain_order=True) if reason]
        rows.append([*shown, TableCell("; ".join(notes), "name none")])
    return [*heads, *_heads("")], rows


def _twice(cells: pl.DataFrame) -> set[str]:
    """The benchmarks whose printed numbers have two of ours beside them."""
    return set(cells.filter(aggregation=MEAN)["benchmark"])


def _three(cell: Mapping[str, Any]) -> list[TableCell]:
    printed = TableCell(_number(cell["printed"]), "first")
    if not cell["covered"]:
        return [printed, TableCell(NOT_COVERED, "none", columns=2)]
    interval = "" if cell["low"] is None else f" [{_number(cell['low'])}, {_number(cell['high'])}]"
    outside = "outside" if cell["inside"] is False else ""
    return [printed, TableCell(_number(cell["ours"])), TableCell(_signed(cell["difference"]) + interval, outside)]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.{DIGITS}f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.{DIGITS}f}"
