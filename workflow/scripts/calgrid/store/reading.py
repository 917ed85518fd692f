"""Reading the results store: what a path says, the scores of a cell, the metrics of many.

The folders are a Hive partitioning (benchmark=.../model=.../...), but its values are taken from the path here,
as strings. Left to polars, a store that happens to hold tuned cells alone would turn a learning rate of `1e-5`
into a number, and `results/metrics/.../seed=0.parquet` would lose its seed, since a file's name is no partition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from calgrid.cell import Cell, named_in
from calgrid.errors import UserError
from calgrid.store import files


def cell_of(path: str | Path) -> Cell:
    """The cell that a file belongs to. Raises UserError if its path names none."""
    return Cell.parse(Path(path).with_suffix(""))


def benchmark_of(path: str | Path) -> str:
    """The benchmark that a file belongs to. Raises UserError if its path names none."""
    found = named_in(path)
    if "benchmark" not in found:
        raise UserError(
            f"{path}: no benchmark=... in this path; scores and metrics lie in benchmark=<benchmark>/<cell>"
        )
    return found["benchmark"]


def scan(path: str | Path) -> pl.LazyFrame:
    """One Parquet file, without what its path says: neither `*` nor `key=value` in it mean anything."""
    return pl.scan_parquet(path, hive_partitioning=False, glob=False)


def read_table(path: str | Path, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> pl.DataFrame:
    """Columns and rows of one Parquet file, without what its path says. Raises UserError where it can't be read."""
    with files.reading_parquet(path) as sealed:
        if sealed:
            rows = scan(path)
        else:  # of another program, and perhaps damaged: polars then may panic, with a backtrace of its own
            import pyarrow.parquet

            rows = pl.DataFrame(pyarrow.parquet.read_table(path, partitioning=None)).lazy()
        return rows.filter(True if where is None else where).select(columns or pl.all()).collect()


def check_place(path: str | Path) -> None:
    """Refuse a file whose provenance names another cell or benchmark than its path: it was put in another's place."""
    made_by = files.read_metadata(path)
    said = {**(made_by.get("cell") or {}), "benchmark": made_by.get("benchmark")}
    for name, here in named_in(Path(path).with_suffix("")).items():
        if said.get(name, here) not in (here, None):
            raise UserError(
                f"{path}: its provenance says {name} {said[name]!r}: a file of another place; delete it and run again"
            )


def by_cell(paths: Iterable[str | Path], benchmark: str) -> dict[Cell, list[Path]]:
    """The files of each cell, which must all be of one benchmark."""
    found: dict[Cell, list[Path]] = {}
    for path in paths:
        if benchmark_of(path) != benchmark:
            raise UserError(f"{path}: a file of benchmark {benchmark_of(path)!r}, expected {benchmark!r} alone")
        found.setdefault(cell_of(path), []).append(Path(path))
    return found


def read_metrics(paths: Iterable[str | Path], where: pl.Expr | None = None) -> pl.DataFrame:
    """The metrics of many cells, with the columns benchmark, model, sft, smoothing, lr and seed from their paths.

    Args:
        paths: their files.
        where: which rows; all by default.
    """
    frames = []
    for path in paths:
        check_place(path)
        place = {"benchmark": benchmark_of(path), **asdict(cell_of(path))}
        rows = read_table(path, where=where)
        frames.append(rows.with_columns(pl.lit(value).alias(name) for name, value in place.items()))
    if not frames:
        raise UserError("no metrics files were given")
    return pl.concat(frames)
