"""Speed and memory of all that comes after scoring, on synthetic scores at the size of the paper's grid.

    make bench-metrics                 # about 45 minutes on 2 cores, and 20 minutes more where there is no demo yet
    make bench-metrics QUICK=1         # about two minutes: three cells instead of 111

Calibration errors are compared with uncertainty-calibration's, called on the same arrays; the other lines hold the
programs and the workflow against limits of time and memory. benchmarks/README.md says what each line measures. Exits
with 1 where a figure falls short.
"""

import argparse
import logging
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import calibration as uncertainty_calibration
import numpy as np
from numpy.typing import NDArray

from after_scoring import ROOT, SyntheticGrid, Workflow, copied
from calgrid import calibration
from calgrid.cell import Cell
from calgrid.config import grid
from calgrid.scoring.confidence import option_values
from calgrid.scoring.stored import read_scores
from calgrid.store import paths
from figures import Figure, parser, run
from processes import Cost
from synthetic_scores import GLOBAL_MMLU, MMLU_PROX

log = logging.getLogger("bench")

GIB = 2**30
EQUAL = 1e-12
FULL_CELLS = 111  # of the paper's grid
FULL_SECONDS, FULL_GIB = 30 * 60, 4
START_SECONDS = 30  # of a smaller grid's limit: Snakemake's start, and the tables, which take as long for a few cells
FIGURE_LANGUAGE = "en"
DEMO_SECONDS = 3 * 60
REPORT_PAGE = "results/report.html"
REPORT_FILES = (REPORT_PAGE, *(f"results/reliability/{name}.parquet" for name in (GLOBAL_MMLU.name, MMLU_PROX.name)))
REPORT_MB, REPORT_READY, REPORT_SECONDS = 15, 2, 5 * 60
# Settings of the section `grid` over config/config.yaml.
GRIDS: dict[str, dict[str, Any]] = {
    "paper": {},
    "model": {"models": ["gemma2-2b"]},  # a third of it
    "few": {"models": ["gemma2-2b"], "sft_datasets": ["tulu3"], "smoothing": [0.0, 0.1], "lr": [1e-5]},
    "figure": {"sft_datasets": ["tulu3", "openhermes"], "smoothing": [0.0, 0.1], "lr": [1e-5]},
}


@dataclass(frozen=True)
class Size:
    """How much is measured; what `--quick` makes smaller."""

    repeats: int
    grid: str  # of GRIDS
    make_demo: bool  # where there is none


FULL = Size(7, "paper", True)
QUICK = Size(3, "few", False)


class Bench:
    """One run: its settings and its folder."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.size: Size = QUICK if arguments.quick else FULL
        if arguments.grid:
            self.size = replace(self.size, grid=arguments.grid)
        self.cores: int = arguments.cores
        self.demo_results: Path = arguments.demo_results
        self.folder = folder
        self.benchmarks = {
            benchmark.name: replace(benchmark, n_questions=arguments.questions or benchmark.n_questions)
            for benchmark in (GLOBAL_MMLU, MMLU_PROX)
        }
        # The limits are for so many cores; what a process starts stays on them too.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.cores])
        if "grid" in arguments.only:
            self.store(self.size.grid).check_disk()

    def store(self, name: str) -> SyntheticGrid:
        """The grid of this name in GRIDS, in a folder of its own; nothing is written yet."""
        sizes = "-".join(str(benchmark.n_questions) for benchmark in self.benchmarks.values())
        return SyntheticGrid(self.folder / f"{name}-{sizes}", self.benchmarks, GRIDS[name])

    def one_cell(self) -> tuple[SyntheticGrid, Cell]:
        """Global-MMLU's scores of one cell."""
        made = self.store("few")
        cell = grid.cells(made.config)[0]
        made.write(self.cores, cells=[cell], benchmarks=[GLOBAL_MMLU.name])
        return made, cell


def wall(costs: Sequence[Cost]) -> tuple[float, str]:
    """Median seconds, and what the table says of them: where other work takes the cores, CPU time tells."""
    seconds = statistics.median(cost.seconds for cost in costs)
    return seconds, f"{seconds:.2f} s, CPU {statistics.median(cost.cpu for cost in costs):.2f} s"


def cell(bench: Bench) -> list[Figure]:
    """One cell of Global-MMLU, from Parquet to Parquet, by a fresh process of the metrics program."""
    made, of = bench.one_cell()
    target = paths.metrics(GLOBAL_MMLU.name, of.path)
    costs = made.workflow(bench.cores).program(target, bench.size.repeats)
    seconds, shown = wall(costs)
    peak = max(cost.bytes for cost in costs)
    benchmark = bench.benchmarks[GLOBAL_MMLU.name]
    what = f"one cell, {len(benchmark.languages)} languages x {benchmark.n_questions} questions"
    return [
        Figure(f"{what}: seconds", seconds, 8, ours=shown),
        Figure(f"{what}: peak memory, GiB", peak / GIB, 1, ours=f"{peak / 2**20:,.0f} MiB"),
    ]


Call = Callable[[NDArray[np.float64], NDArray[np.int64], int], float]

PAIRS: dict[str, tuple[Call, Call]] = {
    "ECE": (
        lambda p, y, m: calibration.ece(calibration.confidence(p), calibration.correct(p, y), m),
        lambda p, y, m: uncertainty_calibration.get_ece(p, y, num_bins=m),
    ),
    "SCE": (
        lambda p, y, m: calibration.sce(p, y, n_bins=m),
        lambda p, y, m: uncertainty_calibration.get_ece(p, y, num_bins=m, mode="marginal"),
    ),
    "ACE": (
        lambda p, y, m: calibration.ace(p, y, n_bins=m),
        lambda p, y, m: uncertainty_calibration.get_ece_em(p, y, num_bins=m, mode="marginal"),
    ),
    "RMS": (
        lambda p, y, m: calibration.rms(calibration.confidence(p), calibration.correct(p, y), m),
        lambda p, y, m: uncertainty_calibration.lower_bound_scaling_ce(
            p,
            y,
            p=2,
            debias=False,
            num_bins=m,
            binning_scheme=uncertainty_calibration.get_equal_prob_bins,
            mode="top-label",
        ),
    ),
}


def library(bench: Bench) -> list[Figure]:
    """Each calibration error of every language, from probabilities and answers to the number, side by side."""
    made, of = bench.one_cell()
    n_bins = calibration.N_BINS
    languages = []
    for language in bench.benchmarks[GLOBAL_MMLU.name].languages:
        shard = grid.shard_of(made.config, GLOBAL_MMLU.name, language)
        scores = read_scores([made.folder / paths.scores(GLOBAL_MMLU.name, of.path, shard)], [language])
        scores = scores[: len(scores) // n_bins * n_bins]  # bins of equal mass agree where all hold as many questions
        p = calibration.distribution(*option_values(scores, "perplexity"))
        languages.append((p, scores["answer"].to_numpy().astype(np.int64)))
    figures = []
    for name, sides in PAIRS.items():
        times: tuple[list[float], list[float]] = ([], [])
        values: list[list[float]] = [[], []]
        for _ in range(bench.size.repeats):
            for number, side in enumerate(sides):
                started = time.perf_counter()
                values[number] = [side(p, answers, n_bins) for p, answers in languages]
                times[number].append(time.perf_counter() - started)
        ours, theirs = map(statistics.median, times)
        log.info("%s of %d languages: ours %.4f s, uncertainty-calibration %.4f s", name, len(languages), ours, theirs)
        what = f"{name}, {len(languages)} languages x {len(languages[0][0])} questions"
        difference = max(abs(a - b) for a, b in zip(*values, strict=True))
        figures += [
            Figure(
                f"{what}: times faster",
                theirs / ours,
                10,
                at_least=True,
                ours=f"{1000 * ours:.1f} ms",
                peer=f"{1000 * theirs:,.1f} ms",
            ),
            Figure(f"{what}: greatest difference", difference, EQUAL),
        ]
    return figures


def full_grid(bench: Bench) -> list[Figure]:
    """All tables of the grid from the scores on disk, by Snakemake."""
    made = bench.store(bench.size.grid)
    log.info("writing the scores of %s questions", f"{made.n_questions:,}")
    made.write(bench.cores)
    log.info("making all tables")
    cost = made.workflow(bench.cores).make("all_tables")
    seconds, shown = wall([cost])
    n_cells = len(grid.cells(made.config))
    what = f"all tables of {n_cells} cells x {len(made.benchmarks)} benchmarks, {made.n_questions:,} questions"
    limit = time_limit(n_cells)
    scaled = f" (needed: {START_SECONDS} s and {n_cells}/{FULL_CELLS} of 30 minutes)" if n_cells < FULL_CELLS else ""
    return [
        Figure(f"{what}: seconds{scaled}", seconds, limit, ours=shown),
        Figure(f"{what}: summed memory, GiB", cost.bytes / GIB, FULL_GIB, ours=f"{cost.bytes / 2**20:,.0f} MiB"),
    ]


def time_limit(n_cells: int) -> float:
    """Seconds for all tables of so many cells: the paper's grid has 30 minutes, fewer cells their share and a start."""
    if n_cells >= FULL_CELLS:
        return FULL_SECONDS
    return round(FULL_SECONDS * n_cells / FULL_CELLS) + START_SECONDS


def figure(bench: Bench) -> list[Figure]:
    """One reliability figure of three models, two SFT sets and two smoothings, by a fresh process."""
    made = bench.store("figure")
    shard = grid.shard_of(made.config, GLOBAL_MMLU.name, FIGURE_LANGUAGE)
    made.write(bench.cores, benchmarks=[GLOBAL_MMLU.name], shards=[shard])
    target = f"results/figs/reliability_{FIGURE_LANGUAGE}.svg"
    seconds, shown = wall(made.workflow(bench.cores).program(target, bench.size.repeats))
    return [Figure("one reliability figure, 3 models x 2 SFT sets: seconds", seconds, 3, ours=shown)]


def demo(bench: Bench) -> list[Figure]:
    """All tables and figures of the demo from its scores: of a finished one, or of one that is made for this."""
    what = "all tables and figures of the demo, after scoring: seconds"
    with tempfile.TemporaryDirectory(prefix="demo-", dir=bench.folder) as folder:
        workflow = Workflow(Path(folder), [ROOT / "config" / "demo.yaml"], bench.cores)
        try:
            copied(bench.demo_results, workflow).planned("all")
        except LookupError as error:
            if not bench.size.make_demo:
                return [Figure(what, math.nan, ours=f"not measured: no finished demo in {bench.demo_results}")]
            log.info("making a demo, for %s", error)
            shutil.rmtree(workflow.results, ignore_errors=True)
            subprocess.run(workflow.command("all", "--until", "score", "train", "--quiet", "all"), check=True)
        seconds, shown = wall([workflow.make("all")])
    return [Figure(what, seconds, DEMO_SECONDS, ours=shown)]


def report(bench: Bench) -> list[Figure]:
    """The report of the grid whose tables the line `grid` has made, by its programs, and in a browser."""
    made = bench.store(bench.size.grid)
    workflow = made.workflow(bench.cores)
    n_cells = len(grid.cells(made.config))
    what = f"report of {n_cells} cells x {len(made.benchmarks)} benchmarks"
    if not (workflow.results / "tables" / "reproduction.csv").exists():
        return [Figure(what, math.nan, ours="not measured: no tables; measure with --only grid report, --work FOLDER")]
    for made_before in REPORT_FILES:
        (workflow.folder / made_before).unlink(missing_ok=True)
    costs = workflow.programs(REPORT_PAGE, ["heatmap", "arrows", "reliability_bins", "report"])
    bins, [page] = costs["reliability_bins"], costs["report"]
    path = workflow.folder / REPORT_PAGE
    peak = max(cost.bytes for cost in [*bins, page])
    together = Cost(sum(cost.seconds for cost in bins), sum(cost.cpu for cost in bins), peak)
    seconds, shown = wall([together])
    return [
        Figure(f"{what}: MB", path.stat().st_size / 1e6, REPORT_MB),
        Figure(f"{what}: seconds, bins of all diagrams", seconds, REPORT_SECONDS, ours=shown),
        Figure(f"{what}: seconds, page", page.seconds, ours=wall([page])[1]),
        Figure(f"{what}: peak memory, GiB", peak / GIB, FULL_GIB, ours=f"{peak / 2**20:,.0f} MiB"),
        interactive(what, path, bench.size.repeats),
    ]


def interactive(what: str, path: Path, repeats: int) -> Figure:
    """Seconds until the page in Chromium has drawn its diagram and takes choices: a fresh browser each time."""
    what = f"{what}: seconds to interactive in Chromium"
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        return Figure(what, math.nan, ours="not measured: needs Chromium and playwright")
    seconds = []
    with sync_playwright() as playwright:
        for _ in range(repeats):
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(path.as_uri())  # returns when the page is loaded
            ready = page.wait_for_selector("html[data-ready]", state="attached")
            page.select_option("#choose-language", index=1)
            seconds.append(page.evaluate("performance.now()") / 1000)
            log.info("drawn after %s ms, chosen after %.2f s", ready and ready.get_attribute("data-ready"), seconds[-1])
            browser.close()
    return Figure(what, statistics.median(seconds), REPORT_READY, ours=f"{statistics.median(seconds):.2f} s")


LINES: dict[str, Callable[[Bench], list[Figure]]] = {
    "cell": cell,
    "library": library,
    "figure": figure,
    "demo": demo,
    "grid": full_grid,
    "report": report,
}


def main() -> None:
    flags = parser(__doc__, LINES)
    flags.add_argument("--cores", type=int, default=2, help="of Snakemake and every process (default: %(default)s)")
    flags.add_argument(
        "--work", type=Path, help="folder for synthetic scores, kept and used again (default: a temporary one)"
    )
    flags.add_argument(
        "--demo-results",
        type=Path,
        default=ROOT / "results",
        help="results of a finished demo (default: those of this checkout)",
    )
    flags.add_argument("--grid", choices=GRIDS, help="cells of the grid line (default: paper; few with --quick)")
    flags.add_argument("--questions", type=int, metavar="N", help="of each language, instead of the benchmarks' own")
    arguments = flags.parse_args()
    run(arguments, Bench, LINES, "peer", arguments.work)


if __name__ == "__main__":
    main()
