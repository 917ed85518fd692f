"""The report: a grid's results on one self-contained page, with a reliability diagram that its reader chooses."""

import base64
import gzip
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup

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

PAGE = "page.html"
SCRIPT = "page.js"
STATE = "state.html"
RELIABILITY = "reliability.html"
FIGURES = "figures.html"
REPRODUCTION = "reproduction.html"
FILES = "files.html"
PROVENANCE = "provenance.html"
TITLE = "Calibration report"
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
    table1: Markup,
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
        table1: Table 1 (`page.table` of the tables).
        diagrams: numbers of the reliability diagrams (`content.diagrams`).
        confidence: the confidence method of these.
        figures: of the parts heatmap, arrows and reproduction.
        reproduced: `reproduction.compare`.
        files: every table and figure, relative to the page.
        provenance: where the numbers come from.
    """
    return frame.page(
        __file__,
        PAGE,
        TITLE,
        SCRIPT,
        diagrams,
        tables_style=tables_page.style(),
        reproduction_style=reproduction_page.style(),
        summary=_summary(points, diagrams, provenance),
        titles=PARTS,
        parts={
            "state": _state(points, sizes, how_selected),
            "table1": table1,
            "reliability": _reliability(diagrams["bins"], confidence),
            "heatmap": _figures("ECE of each model and language as a heatmap", figures["heatmap"]),
            "arrows": _figures(
                "Mean confidence against accuracy of each language, arrows from base to tuned", figures["arrows"]
            ),
            "reproduction": _reproduction(reproduced, figures["reproduction"]),
            "files": _files(files),
            "provenance": _provenance(provenance),
        },
    )


def _summary(points: Sequence[Point], diagrams: Mapping[str, Any], provenance: Provenance) -> str:
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


def _state(points: Sequence[Point], sizes: Mapping[str, tuple[int, int]], how_selected: str) -> Markup:
    tuned = [point for point in points if not point.is_base]
    counts = [("trainings", sum(point.trained for point in tuned), sum(point.seeds for point in tuned), "")]
    for benchmark in points[0].measured:
        languages, questions = sizes.get(benchmark, (0, 0))
        size = f"{questions:,} questions a cell, in {languages} languages" if questions else ""
        done, wanted = sum(point.measured[benchmark] for point in points), sum(point.seeds for point in points)
        counts.append((f"cells scored and measured on {benchmark}", done, wanted, size))
    arms = {(point.model, point.sft, point.smoothing) for point in tuned}
    counts.append(("learning rates selected", sum(point.selected for point in tuned), len(arms), how_selected))
    return frame.fragment(
        __file__,
        STATE,
        counts=[(what, f"{done:,}", f"{wanted:,}", note) for what, done, wanted, note in counts],
        arm_heads=list(ARM_HEADS.values()),
        lrs=list(dict.fromkeys(point.lr for point in tuned)),
        arms=list(_arms(points)),
    )


def _arms(points: Sequence[Point]) -> Iterable[dict[str, Any]]:
    """One row for each model, SFT set and smoothing, with one column for each learning rate."""
    above = ""
    for (model, sft, smoothing), group in groupby(_by_model(points), lambda p: (p.model, p.sft, p.smoothing)):
        cells = list(group)
        yield {
            "labels": (model, sft, "–" if smoothing == NONE else smoothing),
            "ruled": above not in ("", model),
            "base": _shown(cells[0]) if cells[0].is_base else None,
            "points": list(map(_shown, cells)),
        }
        above = model


def _by_model(points: Sequence[Point]) -> list[Point]:
    models = list(dict.fromkeys(point.model for point in points))
    return sorted(points, key=lambda point: models.index(point.model))  # stable: the base model stays first


def _shown(point: Point) -> dict[str, Any]:
    loss = "" if point.loss is None else "diverged" if math.isnan(point.loss) else f"{point.loss:.3f}"
    return {"trained": point.trained, "selected": point.selected, "loss": loss, "missing": _missing(point)}


def _missing(point: Point) -> str:
    """What is not done yet of a point that has been trained."""
    words = [] if point.trained == point.seeds else [f"{point.trained} of {point.seeds} seeds trained"]
    lacking = {name: n for name, n in point.measured.items() if n < point.trained}
    if len(lacking) == len(point.measured) and not any(lacking.values()):
        words.append("not scored")
    else:
        words += [f"{name}: {n} of {point.trained} scored" for name, n in lacking.items()]
    return "; ".join(words)


def _reliability(n_bins: int, confidence: str) -> Markup:
    return frame.fragment(__file__, RELIABILITY, confidence=confidence, n_bins=n_bins, few=panels.FEW, choices=CHOICES)


def _figures(what: str, figures: Sequence[Figure]) -> Markup:
    """Figures with their links; `what`: what is seen on them, in words."""
    return frame.fragment(__file__, FIGURES, what=what, figures=list(map(_image, figures)))


def _reproduction(cells: pl.DataFrame, figures: Sequence[Figure]) -> Markup:
    """The run against the paper: a sentence where it has none of the paper's numbers."""
    if not cells["covered"].any():
        reasons = "; ".join(reason for reason, _ in reproduction.reasons(cells))
        return reproduction_page.covers(cells, "none", f": {reasons}")
    return frame.fragment(
        __file__,
        REPRODUCTION,
        coverage=reproduction_page.coverage(cells),
        what="This run's numbers against the printed ones",
        figures=list(map(_image, figures)),
        claims=reproduction_page.claims_weighed(cells),
    )


def _image(figure: Figure) -> dict[str, Any]:
    """A figure with its SVG file, compressed, and the size that this says."""
    svg = figure.path.read_bytes()
    size = re.match(rb'<svg[^>]*? width="([\d.]+)" height="([\d.]+)"', svg)
    width, height = (f"{float(number):.0f}" for number in size.groups()) if size else ("", "")
    packed = base64.b64encode(gzip.compress(svg, mtime=0)).decode()
    return {**figure._asdict(), "packed": packed, "width": width, "height": height}


def _files(files: Sequence[str]) -> Markup:
    """Links, folder by folder; the formats of one table or figure stand together."""
    folders: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for file in files:
        path = Path(file)
        links = folders.setdefault(path.parent.as_posix(), {}).setdefault(path.stem, [])
        links.append((file, path.suffix[1:]))
    return frame.fragment(
        __file__,
        FILES,
        folders=[
            {
                "name": folder,
                "number": f"{len(stems):,}",
                "is_open": len(stems) <= MANY,
                "entries": [(_title_of(stem), links) for stem, links in stems.items()],
            }
            for folder, stems in folders.items()
        ],
    )


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


def _provenance(provenance: Provenance) -> Markup:
    return frame.fragment(
        __file__,
        PROVENANCE,
        sources=provenance.sources,
        stages=[
            {"name": stage, "files": f"{made['count']:,}", "commit": _commit(made), "made_with": _with(made)}
            for stage, made in provenance.stages
        ],
        configuration=provenance.configuration,
    )


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
