"""The report: a grid's results on one self-contained page, with a reliability diagram that its reader chooses."""

import base64
import gzip
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import polars as pl

from calgrid.figures import panels
from calgrid.languages import language_name
from calgrid.pages import frame
from calgrid.paper import page as reproduction_page
from calgrid.paper import reproduction
from calgrid.report import provenance as report_provenance
from calgrid.report.content import Point
from calgrid.tables import page as tables_page
from calgrid.tables.layout import ARM_HEADS
from calgrid.vocabulary import NONE

TITLE = "Calibration report"
SCRIPT = Path(__file__).with_name("page.js")
SELECTED = "★"
SHORT = 12  # letters of a commit that are shown
MANY = 8  # files of a folder that are listed without a click
PARTS: Mapping[str, str] = {
    "state": "The grid",
    "table1": "Table 1",
    "reliability": "Reliability",
    "heatmap": "Heatmap",
    "arrows": "Arrows",
    "reproduction": "Against the paper",
    "files": "All tables and figures",
    "provenance": "Provenance",
}
TITLES: Mapping[str, str] = {  # by a file's stem; other stems are readable, but for their underscores
    "index": "Page of tables",
    "lr_sensitivity": "Sensitivity to the learning rate",
    "posthoc": "Post-hoc calibration",
    "reproduction": "Against the paper",
    "reproduction_claims": "The paper's claims",
    "temperature_transfer": "Transfer of temperatures between languages",
}
CHOICES: Mapping[str, str] = {"benchmark": "Benchmark", "language": "Language", "model": "Model", "sft": "SFT set"}
# Rules of the other pages hold within the part that shows what those pages show.
STYLE = f"""
nav a {{ margin-right: .9em; white-space: nowrap }}
h3 {{ font-size: 1rem; margin: 1.2rem 0 .3rem }}
li {{ overflow-wrap: anywhere }}
.numbers {{ font-size: .9rem }}
.numbers caption {{ text-align: left; color: #555; padding-bottom: .3rem }}
.numbers th, .numbers td {{ padding: .15rem var(--gap); border-bottom: 1px solid #ececec; vertical-align: top }}
.numbers thead th {{ border-bottom: 1px solid #888 }}
.numbers th, .numbers .text {{ text-align: left; font-weight: normal }}
.numbers thead th.right {{ text-align: right }}
.numbers tr.ruled > * {{ border-top: 2px solid #bbb }}
.numbers code {{ font-size: .95em }}
.numbers .words {{ min-width: 18rem }}
.selected {{ font-weight: bold }}
.missing {{ color: #a3262a; font-style: italic }}
#choice {{ display: flex; flex-wrap: wrap; gap: .5rem 1rem; margin: .8rem 0 }}
#choice[hidden] {{ display: none }}
#choice label {{ flex: 1 1 9rem; max-width: 18rem; font-size: .85rem; color: #555 }}
#choice select {{ display: block; width: 100%; font: inherit; font-size: 1rem; padding: .25rem; color: #222 }}
#diagram {{ display: flex; flex-wrap: wrap; gap: 0 2.5rem }}
#diagram figure {{ flex: 1 1 18rem; max-width: 31rem; min-width: 0 }}
#shown {{ font-weight: bold; margin: .8rem 0 .3rem }}
#diagram figure svg {{ display: block; width: 100%; height: auto }}
#diagram figure text {{ font-size: 12px; fill: #222 }}
#diagram .beside {{ flex: 1 1 18rem; min-width: 0 }}
.sample {{ width: 34px; height: 14px; vertical-align: -2px; margin-right: .5em }}
#diagram th {{ white-space: nowrap }}
#state tbody th:not(:only-of-type) {{ white-space: nowrap }}
@media (max-width: 30rem) {{
  #diagram figure text {{ font-size: 15px }} #diagram th {{ white-space: normal }}
  .numbers .words {{ min-width: 12rem }}
}}
@media print {{ #choice {{ display: none }} #diagram {{ display: block }} h2, h3 {{ break-after: avoid }} }}
ul.names {{ columns: 15rem; padding-left: 1.2rem; margin: .3rem 0 .8rem }}
pre {{ background: #f6f6f6; padding: .6rem; font-size: .8rem; overflow-wrap: anywhere }}
#table1 {{ {tables_page.STYLE} }}
#reproduction {{ {reproduction_page.STYLE} }}
#reproduction td.name {{ white-space: normal; min-width: 6rem }}
"""


class Figure(NamedTuple):
    """A figure that the page holds."""

    benchmark: str  # "" for one of all
    path: Path
    link: str  # relative to the page


@dataclass(frozen=True)
class Provenance:
    """What the page says of where its numbers come from."""

    sources: Sequence[tuple[str, str, str, str]]  # `provenance.sources`
    stages: Sequence[tuple[str, Mapping[str, Any]]]  # `provenance.stages`
    configuration: str  # as text


def page(
    points: Sequence[Point],
    sizes: Mapping[str, tuple[int, int]],
    how_selected: str,
    table1: str,
    diagrams: Mapping[str, Any],
    confidence: str,
    figures: Mapping[str, Sequence[Figure]],
    reproduced: pl.DataFrame,
    files: Sequence[str],
    provenance: Provenance,
) -> str:
    """The whole page.

    Args:
        points: the state of the grid (`content.state`).
        sizes: languages and questions of each benchmark that has been measured.
        how_selected: how learning rates were chosen (`layout.how_selected`).
        table1: HTML of Table 1 (`page.table`).
        diagrams: numbers of the reliability diagrams (`content.diagrams`).
        confidence: the confidence method of these.
        figures: of the parts heatmap, arrows and reproduction.
        reproduced: `reproduction.compare`.
        files: every table and figure, relative to the page.
        provenance: where the numbers come from.
    """
    parts = {
        "state": _state(points, sizes, how_selected),
        "table1": [table1],
        "reliability": _reliability(diagrams["bins"], confidence),
        "heatmap": _figures(figures["heatmap"], "ECE of each model and language as a heatmap"),
        "arrows": _figures(
            figures["arrows"], "Mean confidence against accuracy of each language, arrows from base to tuned"
        ),
        "reproduction": _reproduction(reproduced, figures["reproduction"]),
        "files": _files(files),
        "provenance": _provenance(provenance),
    }
    links = "\n".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in PARTS.items())
    sections = "\n".join(
        f'<section id="{name}">\n<h2>{escape(PARTS[name])}</h2>\n{_lines(lines)}\n</section>'
        for name, lines in parts.items()
    )
    script = SCRIPT.read_text(encoding="utf-8")
    body = f"<p>{escape(_grid(points, diagrams, provenance))}</p>\n<nav>\n{links}\n</nav>\n{sections}"
    return frame.page(TITLE, STYLE, body, script, diagrams)


def _grid(points: Sequence[Point], diagrams: Mapping[str, Any], provenance: Provenance) -> str:
    """What the page is of, in a line."""
    tuned = [point for point in points if not point.is_base]
    smoothings, lrs = ({getattr(point, name) for point in tuned} for name in ("smoothing", "lr"))
    seeds = max((point.seeds for point in tuned), default=0)
    counts = [
        f"{n} {what}{'s' * (n != 1)}"
        for n, what in ((len(smoothings), "label smoothing"), (len(lrs), "learning rate"), (seeds, "seed"))
    ]
    benchmarks = [  # the first of a benchmark's languages are all pooled
        f"{one['name']} ({n} language{'s' * (n != 1)})"
        for one in diagrams["benchmarks"]
        if (n := len(one["languages"]) - 1)
    ]
    codes = [
        _commit(made)
        for stage, made in provenance.stages
        if stage == report_provenance.PAGE and made["commit"] not in (None, "unknown")
    ]
    parts = [
        f"Models: {', '.join(dict.fromkeys(point.model for point in points))}.",
        f"SFT sets: {', '.join(dict.fromkeys(point.sft for point in tuned))}; {', '.join(counts)}.",
        f"Benchmarks: {', '.join(benchmarks)}.",
        *(f"Code: commit {code}." for code in codes),
    ]
    return " ".join(parts)


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _state(points: Sequence[Point], sizes: Mapping[str, tuple[int, int]], how_selected: str) -> list[str]:
    tuned = [point for point in points if not point.is_base]
    seeds = sum(point.seeds for point in tuned)
    rows = [["trainings", f"{sum(point.trained for point in tuned):,}", f"{seeds:,}", ""]]
    for benchmark in points[0].measured:
        languages, questions = sizes.get(benchmark, (0, 0))
        size = f"{questions:,} questions a cell, in {languages} languages" if questions else ""
        done, wanted = sum(point.measured[benchmark] for point in points), sum(point.seeds for point in points)
        rows.append([f"cells scored and measured on {benchmark}", f"{done:,}", f"{wanted:,}", size])
    arms = {(point.model, point.sft, point.smoothing) for point in tuned}
    rows.append(
        ["learning rates selected", f"{sum(point.selected for point in tuned):,}", f"{len(arms):,}", how_selected]
    )
    summary = [
        f"<tr>{_head(name)}<td>{done}</td><td>{wanted}</td>{_text(note)}</tr>" for name, done, wanted, note in rows
    ]
    return [
        _table(["", ">done", ">of", ""], summary),
        f"<p>Validation loss (nats a token, without smoothing) of each learning rate; {SELECTED} the selected one. "
        "Cells that are not finished say what they lack.</p>",
        _points(points),
    ]


def _points(points: Sequence[Point]) -> str:
    """A row a model, SFT set and smoothing, a column a learning rate."""
    lrs = list(dict.fromkeys(point.lr for point in points if not point.is_base))
    rows, above = [], ""
    for (model, sft, smoothing), group in groupby(_by_model(points), lambda p: (p.model, p.sft, p.smoothing)):
        labels = "".join(map(_head, (model, sft, "–" if smoothing == NONE else smoothing)))
        cells = list(group)
        shown = (
            f'<td class="text" colspan="{len(lrs)}">{_base_words(cells[0])}</td>'
            if cells[0].is_base
            else "".join(map(_point, cells))
        )
        rows.append(f"<tr{' class=ruled' * (above not in ('', model))}>{labels}{shown}</tr>")
        above = model
    return _table([*ARM_HEADS.values(), *(f">lr {lr}" for lr in lrs)], rows)


def _by_model(points: Sequence[Point]) -> list[Point]:
    models = list(dict.fromkeys(point.model for point in points))
    return sorted(points, key=lambda point: models.index(point.model))  # stable: the base model stays first


def _base_words(point: Point) -> str:
    return _missing(point) or "scored and measured"


def _point(point: Point) -> str:
    if not point.trained:
        return '<td><span class="missing">not trained</span></td>'
    assert point.loss is not None
    loss = "diverged" if math.isnan(point.loss) else f"{point.loss:.3f}"
    text = f'<span class="selected">{SELECTED} {loss}</span>' if point.selected else loss
    return f"<td>{text}{'<br>' if _missing(point) else ''}{_missing(point)}</td>"


def _missing(point: Point) -> str:
    """What is not done yet of a point that has been trained."""
    words = [] if point.trained == point.seeds else [f"{point.trained} of {point.seeds} seeds trained"]
    lacking = {name: n for name, n in point.measured.items() if n < point.trained}
    if len(lacking) == len(point.measured) and not any(lacking.values()):
        words.append("not scored")
    else:
        words += [f"{name}: {n} of {point.trained} scored" for name, n in lacking.items()]
    return f'<span class="missing">{escape("; ".join(words))}</span>' if words else ""


def _reliability(n_bins: int, confidence: str) -> list[str]:
    labels = "\n".join(
        f'<label>{escape(name)} <select id="choose-{field}"></select></label>' for field, name in CHOICES.items()
    )
    return [
        f"<p>Confidence ({escape(confidence)}) against accuracy in {n_bins} equal-width bins, for the base model and "
        "each label smoothing at its selected learning rate. On the diagonal a model is as often right as it is "
        f"confident; below it, over-confident. Faint: fewer than {panels.FEW} questions. Bands: 95 % bootstrap "
        "intervals of the accuracy, of single languages.</p>",
        f'<form id="choice" autocomplete="off" hidden>\n{labels}\n</form>',
        '<p id="shown" aria-live="polite"></p>\n<div id="diagram"></div>',
        "<noscript><p>The diagram is drawn by a script in this page. Without one, see the figures in the list of all "
        "tables and figures.</p></noscript>",
    ]


def _figures(figures: Sequence[Figure], what: str) -> list[str]:
    parts = []
    for figure in figures:
        heading = f"<h3>{escape(figure.benchmark)}</h3>\n" if figure.benchmark else ""
        words = f"{what}{f': {figure.benchmark}' if figure.benchmark else ''}. The numbers are in the tables."
        parts.append(
            f'{heading}<div class="wide">{_image(figure.path, words)}</div>\n'
            f'<p><a href="{_href(figure.link)}">The figure by itself</a></p>'
        )
    return parts


def _reproduction(cells: pl.DataFrame, figures: Sequence[Figure]) -> list[str]:
    """The run against the paper: a sentence where it has none of the paper's numbers."""
    if not cells["covered"].any():
        reasons = "; ".join(reason for reason, _ in reproduction.reasons(cells))
        return [reproduction_page.covers("none", cells, f": {reasons}")]
    return [
        *reproduction_page.coverage(cells),
        *_figures(figures, "This run's numbers against the printed ones"),
        "<h3>The paper's claims</h3>",
        *reproduction_page.claims_weighed(cells),
    ]


def _image(path: Path, words: str) -> str:
    """An SVG file, compressed, for the script to show as an image: in one, nothing runs and nothing is loaded."""
    svg = path.read_bytes()
    packed = base64.b64encode(gzip.compress(svg, mtime=0)).decode()
    size = re.match(rb'<svg[^>]*? width="([\d.]+)" height="([\d.]+)"', svg)
    place = f' width="{float(size[1]):.0f}" height="{float(size[2]):.0f}"' if size else ""
    return f'<img alt="{escape(words)}"{place} data-svg="{packed}">'


def _files(files: Sequence[str]) -> list[str]:
    """Links, folder by folder; the formats of one table or figure stand together."""
    parts = ["<p>The links lead to files beside this page: they need the whole results folder.</p>"]
    folders: dict[str, dict[str, list[str]]] = {}
    for file in files:
        path = Path(file)
        folders.setdefault(path.parent.as_posix(), {}).setdefault(path.stem, []).append(file)
    for folder, names in folders.items():
        items = "\n".join(f"<li>{_links(name, paths)}</li>" for name, paths in names.items())
        title = f"{escape(folder)}: {len(names):,}"
        parts.append(
            f"<details{' open' * (len(names) <= MANY)}><summary>{title}</summary>"
            f'<ul class="names">\n{items}\n</ul></details>'
        )
    return parts


def _links(name: str, paths: Sequence[str]) -> str:
    links = " ".join(f'<a href="{_href(path)}">{escape(Path(path).suffix[1:])}</a>' for path in paths)
    return f"{escape(_title_of(name))}: {links}"


def _title_of(name: str) -> str:
    """A readable title of a table or figure, from the stem of its file."""
    if name in TITLES:
        return TITLES[name]
    kind, _, code = name.partition("reliability_")
    if not kind and code:
        return f"Reliability, {language_name(code)}"
    if (named := language_name(name)) != name:
        return named
    words = re.sub(r"(?<=[a-z])(?=\d+$)", " ", name.replace("_", " "))
    return words[:1].upper() + words[1:]


def _href(path: str) -> str:
    return escape(quote(path))


def _provenance(provenance: Provenance) -> list[str]:
    sources = [
        "<tr>"
        + _head(kind)
        + _text(name)
        + _text(source, code=True)
        + _text(revision or "not recorded", code=True)
        + "</tr>"
        for kind, name, source, revision in provenance.sources
    ]
    stages = [
        f"<tr>{_head(stage)}<td>{made['count']:,}</td>{_text(_commit(made), code=True)}"
        f'<td class="text words">{escape(_with(made))}</td></tr>'
        for stage, made in provenance.stages
    ]
    return [
        "<h3>Models and data</h3>",
        _table(["", "Name", "Source", "Revision"], sources) if sources else "<p>Not recorded.</p>",
        "<h3>Code, versions, hardware</h3>",
        _table(["", ">Files", "Commit", "With"], stages),
        "<p>Each table and figure has a log in <code>results/logs/</code> that begins with its command.</p>",
        f"<details><summary>The configuration</summary><pre>{escape(provenance.configuration)}</pre></details>",
    ]


def _commit(made: Mapping[str, Any]) -> str:
    commit, plus, changes = (made["commit"] or "not recorded").partition("+")
    return (commit[:SHORT] if made["commit"] else commit) + plus + changes


def _with(made: Mapping[str, Any]) -> str:
    """Versions, and whatever else a stage records."""
    versions = [f"{name} {version}" for name, version in (made["versions"] or {}).items()]
    other = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in made.items()
        if name not in ("commit", "versions", "count") and value is not None
    ]
    return ", ".join([*other, *versions]) or "not recorded"


def _head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _text(text: str, *, code: bool = False) -> str:
    inner = f"<code>{escape(text)}</code>" if code and text else escape(text)
    return f'<td class="text">{inner}</td>'


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table; a head that begins with > stands at the right, over numbers."""
    head = "".join(
        f'<th scope="col"{" class=right" if name.startswith(">") else ""}>{escape(name.removeprefix(">"))}</th>'
        for name in heads
    )
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table class="numbers">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>'
        "</table></div>"
    )
