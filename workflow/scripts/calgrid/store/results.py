"""The whole results store as lazy polars frames, for notebooks: `calgrid.open_results("results")`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from calgrid.cell import CELL_FIELDS
from calgrid.errors import UserError
from calgrid.vocabulary import CONTENT_FREE

# What the folders say, as strings: `1e-5` stays as it is spelt, whatever else the store holds.
PARTS: Mapping[str, type[pl.DataType]] = dict.fromkeys(["benchmark", *CELL_FIELDS], pl.String)


@dataclass(frozen=True)
class Results:
    """A results folder. Each property scans the files that are there; nothing is read before `.collect()`."""

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
        return self._scan("scores/**/*.parquet").filter(~pl.col("benchmark").str.ends_with(CONTENT_FREE))

    @property
    def content_free(self) -> pl.LazyFrame:
        """The same of content-free prompts, where some were scored; the benchmark's name ends with +content_free."""
        return self._scan(f"scores/benchmark=*{CONTENT_FREE}/**/*.parquet")

    @property
    def metrics(self) -> pl.LazyFrame:
        """A row a group of questions, confidence method and number of bins of each cell (`cell.measure`)."""
        return self._scan("metrics/**/*.parquet")

    @property
    def posthoc(self) -> pl.LazyFrame:
        """A row a group of questions, confidence method and calibration of each selected cell (`posthoc.measure`)."""
        return self._scan("posthoc/**/*.parquet")

    @property
    def selection(self) -> pl.LazyFrame:
        """A row a tuned cell, with its validation loss and whether its learning rate is the selected one."""
        return self._scan("selection.parquet")

    @property
    def tests(self) -> pl.LazyFrame:
        """A row a test between two arms (`significance.compare`), with the benchmark."""
        return self._by_benchmark("significance")

    @property
    def intervals(self) -> pl.LazyFrame:
        """A row a value of an arm, with its 95 % interval (`significance.compare`), with the benchmark."""
        return self._by_benchmark("intervals")

    @property
    def reliability(self) -> pl.LazyFrame:
        """A row a bin of an arm's diagram in a language (`reliability.of_benchmark`), with the benchmark."""
        return self._by_benchmark("reliability")

    def _scan(self, pattern: str) -> pl.LazyFrame:
        if not any(self.folder.glob(pattern)):
            raise UserError(f"{self.folder / pattern}: no such file; run the workflow up to that stage")
        # A file by itself has no folders to take values from, and polars refuses a schema for them.
        parts = {"hive_partitioning": True, "hive_schema": PARTS} if "**" in pattern else {}
        return pl.scan_parquet(self.folder / pattern, **parts)  # type: ignore[arg-type]

    def _by_benchmark(self, stage: str) -> pl.LazyFrame:
        self._scan(f"{stage}/*.parquet")
        paths = sorted(self.folder.glob(f"{stage}/*.parquet"))
        return pl.concat(pl.scan_parquet(path).select(pl.lit(path.stem).alias("benchmark"), pl.all()) for path in paths)
