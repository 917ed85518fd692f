"""A report of a synthetic grid, and what stands in it."""

import json
import re
from html import unescape
from pathlib import Path

import polars as pl

import bin_reliability as bins_program
import draw_arrows as arrows_program
import draw_heatmap as heatmap_program
import write_overall_tables as tables_program
import write_report as program
import write_reproduction as reproduction_program
from calgrid.paper import reproduction
from support.synthetic_store import TIERS, Store

LANGUAGES = {"four": ["en", "de", "sw", "yo"], "ten": ["yo", "en", "sw"]}


HOSTILE = (
    "</script><script>document.title='bad'</script><img src=x onerror=\"document.title='bad'\">{{ 7 * 7 }}{% if %}"
)


CHOICES = ("benchmark", "language", "model", "sft")


class Report:
    """A synthetic grid, and all that its report is made of."""

    def __init__(self, store: Store):
        self.store = store
        self.output = store.root / "results/report.html"
        self.arms = ["--models", *self.store.models, "--sft", *self.store.sft]
        self.all_arms = [*self.arms, "--smoothings", *self.store.smoothing]
        self.shown = [*self.arms, "--smoothings", "0.0", "0.1"]
        self.selection = ["--selection", str(self.store.selection)]
        self.metrics = [path for name in LANGUAGES for path in self.store.metrics(name)]
        for name, languages in LANGUAGES.items():
            self.make_figures(name)
            bins_program.main(
                [
                    *("--benchmark", name, "--languages", *languages, *self.shown, *self.selection),
                    *("--scores", *map(str, self.store.scores(name)), "--output", str(self.bins(name))),
                ]
            )
        tables_program.main(
            [
                *("--benchmarks", *LANGUAGES, "--table1-sft-datasets", "tulu3", *self.shown, *self.selection),
                *("--metrics", *map(str, self.metrics), "--output-dir", str(self.tables)),
                *("--significance", *(str(self.store.significance(name)) for name in LANGUAGES)),
            ]
        )
        reproduction_program.main(
            [
                *self.selection,
                *("--metrics", *map(str, self.metrics)),
                *("--intervals", *(str(self.store.intervals(name)) for name in LANGUAGES)),
                *("--csv", str(self.tables / "reproduction.csv"), "--claims", str(self.tables / "claims.csv")),
                *("--html", str(self.tables / "reproduction.html"), "--figures", str(self.figure("reproduction"))),
            ]
        )
        self.write()

    @property
    def tables(self) -> Path:
        return self.store.path("results/tables")

    def figure(self, name: str) -> Path:
        return self.store.path(f"results/figs/{name}.svg")

    def bins(self, benchmark: str) -> Path:
        return self.store.path(f"results/reliability/{benchmark}.parquet")

    @property
    def files(self) -> list[Path]:
        return sorted(path for part in ("tables", "figs") for path in self.store.path(f"results/{part}").rglob("*.*"))

    def make_figures(self, name: str) -> None:
        for drawn in (heatmap_program, arrows_program):
            drawn.main(
                [
                    *("--benchmark", name, *self.shown, *self.selection, "--tiers", *TIERS),
                    *("--metrics", *map(str, self.store.metrics(name))),
                    *("--output", str(self.figure(f"{name}/{drawn.__name__.removeprefix('draw_')}"))),
                ]
            )
        self.figure(f"{name}/tulu3/reliability_yo").parent.mkdir()
        self.figure(f"{name}/tulu3/reliability_yo").write_text("<svg/>")

    def write(self, *flags: str) -> str:
        program.main(
            [
                *(*self.all_arms, *self.selection, "--lr", *self.store.lr, "--seeds", *self.store.seeds),
                *("--benchmarks", *LANGUAGES, "--diagram-smoothings", "0.0", "0.1"),
                *("--records", *(str(path) for path in self.store.path("results").rglob("train.json"))),
                *("--metrics", *map(str, self.metrics), "--bins", *(str(self.bins(name)) for name in LANGUAGES)),
                *("--table1", str(self.tables / "table1.csv"), "--table-metrics", "accuracy", "ece"),
                *("--heatmaps", *(str(self.figure(f"{name}/heatmap")) for name in LANGUAGES)),
                *("--arrows", *(str(self.figure(f"{name}/arrows")) for name in LANGUAGES)),
                *("--reproduction", str(self.tables / "reproduction.csv")),
                *("--reproduction-figure", str(self.figure("reproduction"))),
                *("--files", *map(str, self.files), "--configuration", '{"grid": {"lr": ["1e-5"]}}'),
                *("--output", str(self.output), *flags),
            ]
        )
        return self.output.read_text()


def covered(made):
    """A reproduction that covers one number of the paper."""
    cells = reproduction.read_cells(made.tables / "reproduction.csv").with_row_index()
    first = pl.col("index") == 0
    return cells.with_columns(
        covered=first,
        ours=pl.when(first).then("printed").otherwise("ours"),
        difference=pl.when(first).then(0.0).otherwise("difference"),
    ).drop("index")


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def words_of(html):
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


def part_of(html, name):
    return re.search(f'<section id="{name}">(.*?)</section>', html, re.DOTALL)[1]
