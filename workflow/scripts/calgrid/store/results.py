"""The whole results store as lazy polars frames, for notebooks: `calgrid.open_results("results")`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from calgrid.cell import CELL_FIELDS
from calgrid.errors import UserError
from calgrid.store.reading import scan
from calgrid.vocabulary import CONTENT_FREE

# What the folders say, as strings: `1e-5` stays as it is spelt, whatever else the store holds.
PARTS: Mapping[str, type[pl.DataType]] = dict.fromkeys(["benchmark", *CELL_FIELDS], pl.String)
HIDDEN = "."  # begins the names of what is being written, and of leases


@dataclass(frozen=True)
class Results:
    """A results folder. Each property scans the files that are there; nothing is read before `.collect()`.

    Jobs may be writing meanwhile: what is not whole yet is not there.
    """

    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The results in `folder`. Raises UserError where there is no such folder."""
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: no such folder; give the `results` folder of a run")
        return cls(Path(folder))

    @property
    def scores(self) -> pl.LazyFrame:
        """A row a question of each cell and benchmark, as docs/scores.md describes."""
        return self._partitioned("scores").filter(~pl.col("benchmark").str.ends_with(CONTENT_FREE))

    @property
    def content_free(self) -> pl.LazyFrame:
        """The same of content-free prompts, where some were scored; the benchmark's name ends with +content_free."""
        self._find(f"scores/benchmark=*{CONTENT_FREE}/**/*.parquet")
        return self._partitioned("scores").filter(pl.col("benchmark").str.ends_with(CONTENT_FREE))

    @property
    def metrics(self) -> pl.LazyFrame:
        """A row a group of questions, confidence method and number of bins of each cell (`measure.cell.measure`)."""
        return self._partitioned("metrics")

    @property
    def posthoc(self) -> pl.LazyFrame:
        """One row per group of questions, confidence method and calibration, of selected cells (`posthoc.measure`)."""
        return self._partitioned("posthoc")

    @property
    def selection(self) -> pl.LazyFrame:
        """A row a tuned cell, with its validation loss and whether its learning rate is the selected one."""
        self._find("selection.parquet")
        return scan(self.folder / "selection.parquet")

    @property
    def tests(self) -> pl.LazyFrame:
        """A row a test between two arms (`measure.significance.compare`), with the benchmark."""
        return self._by_benchmark("significance")

    @property
    def intervals(self) -> pl.LazyFrame:
        """A row a value of an arm, with its 95 % interval (`measure.significance.compare`), with the benchmark."""
        return self._by_benchmark("intervals")

    @property
    def reliability(self) -> pl.LazyFrame:
        """A row a bin of an arm's diagram in a language (`figures.reliability.of_benchmark`), with the benchmark."""
        return self._by_benchmark("reliability")

    def _partitioned(self, stage: str) -> pl.LazyFrame:
        """All files of a stage, which holds no others, with the parts of their paths below its folder as columns."""
        self._find(f"{stage}/**/*.parquet")
        folder = self.folder / stage
        # A folder, and no pattern: whatever the path to it holds, polars takes keys and values from what is below it.
        return pl.scan_parquet(folder, glob=False, hidden_file_prefix=HIDDEN, hive_partitioning=True, hive_schema=PARTS)

    def _by_benchmark(self, stage: str) -> pl.LazyFrame:
        self._find(f"{stage}/*.parquet")
        paths = sorted(self.folder.glob(f"{stage}/*.parquet"))
        return pl.concat(scan(path).select(pl.lit(path.stem).alias("benchmark"), pl.all()) for path in paths)

    def _find(self, pattern: str) -> None:
        """Raise UserError where nothing below the folder matches."""
        if not any(self.folder.glob(pattern)):
            raise UserError(f"{self.folder / pattern}: no such file; run the workflow up to that stage")
