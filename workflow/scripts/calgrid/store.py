"""Reading the results store: what a path says, the scores of a cell, the metrics of many.

The folders are a Hive partitioning (benchmark=.../model=.../...), but its values are taken from the path here,
as strings. Left to polars, a store that happens to hold tuned cells alone would turn a learning rate of `1e-5`
into a number, and `results/metrics/.../seed=0.parquet` would lose its seed, since a file's name is no partition.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calgrid import files
from calgrid.errors import UserError
from calgrid.grid import Cell
from calgrid.sections import CONFIDENCE_METHODS

# What each confidence method reads of a question's options; natural-log probabilities.
METHOD_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "perplexity": ("logprob_sum", "n_tokens"),
    "sum": ("logprob_sum",),
    "min": ("logprob_min",),
    "choice": ("letter_logprob",),
    "bytes": ("logprob_sum", "n_bytes"),
}
COUNTS = ("n_tokens", "n_bytes")
QUESTION_COLUMNS = ("language", "question_id", "answer", "n_options")
QUESTION_ATTRIBUTES = ("category", "subject", "cultural_sensitivity", "n_options")  # what groups are made of


def cell_of(path: str | Path) -> Cell:
    """The cell that a file belongs to. Raises UserError if its path names none."""
    return Cell.parse(Path(path).with_suffix(""))


def benchmark_of(path: str | Path) -> str:
    """The benchmark that a file belongs to. Raises UserError if its path names none."""
    for part in Path(path).parts:
        if part.startswith("benchmark="):
            return part.removeprefix("benchmark=")
    raise UserError(f"{path}: no benchmark=... in this path; scores and metrics lie in benchmark=<benchmark>/<cell>")


def read_table(path: str | Path, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> pl.DataFrame:
    """Columns and rows of one Parquet file, without what its path says. Raises UserError where it can't be read."""
    with files.reading_parquet(path) as sealed:
        if sealed:
            rows = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        else:  # of another program, and perhaps damaged: polars then may panic, with a backtrace of its own
            import pyarrow.parquet

            rows = pl.DataFrame(pyarrow.parquet.read_table(path, partitioning=None)).lazy()
        return rows.filter(True if where is None else where).select(columns or pl.all()).collect()


def check_place(path: str | Path) -> None:
    """Refuse a file whose provenance names another cell or benchmark than its path: it was put in another's place."""
    made_by = files.read_metadata(path)
    said = {**(made_by.get("cell") or {}), "benchmark": made_by.get("benchmark")}
    for name, equals, here in (part.partition("=") for part in Path(path).with_suffix("").parts):
        if equals and said.get(name, here) not in (here, None):
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


def read_scores(
    paths: Sequence[str | Path],
    languages: Sequence[str],
    methods: Iterable[str] = CONFIDENCE_METHODS,
    attributes: Iterable[str] = (),
) -> pl.DataFrame:
    """The checked scores of one cell: the given languages, and the columns that `methods` need, and `attributes`.

    Returns: a row a question, sorted by language and question_id.

    Raises UserError naming the file, the language and the question for a value that is not finite, for lists of the
    wrong length, for an answer outside the options and for a question that occurs twice; and naming the language
    for one without questions.
    """
    values = list(dict.fromkeys(column for method in methods for column in METHOD_COLUMNS[method]))
    columns = list(dict.fromkeys([*QUESTION_COLUMNS, *attributes]))
    scores = pl.concat([_read_shard(Path(path), columns, values, languages) for path in paths])
    scores = scores.sort("language", "question_id")
    where = ", ".join(map(str, paths))
    if missing := sorted(set(languages) - set(scores["language"].unique())):
        raise UserError(f"language {missing[0]!r} has no questions in {where}; score it, or leave it out of the grid")
    twice = scores.filter(pl.struct("language", "question_id").is_duplicated())
    if len(twice):
        raise UserError(f"{where}: {_question(twice)} occurs more than once; score these shards again")
    return scores


def option_values(scores: pl.DataFrame, method: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a confidence method's softmax is taken of, as `calibration.distribution` wants it.

    perplexity: mean log-probability of an option's tokens; sum: their sum; min: their least; choice: the letter's;
    bytes: the sum over the length of the option's text in bytes.

    Returns: values (N, K), padded with 0, and n_options (N,).
    """
    n_options = scores["n_options"].to_numpy().astype(np.int64)
    flat, *tokens = [scores[c].list.explode().to_numpy().astype(np.float64) for c in METHOD_COLUMNS[method]]
    values = np.zeros((len(scores), int(n_options.max())))
    values[np.arange(values.shape[1]) < n_options[:, None]] = flat / tokens[0] if tokens else flat
    return values, n_options


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


def _read_shard(path: Path, columns: Sequence[str], lists: Sequence[str], languages: Sequence[str]) -> pl.DataFrame:
    check_place(path)
    scores = read_table(path, [*columns, *lists], pl.col("language").is_in(languages))
    _refuse(scores.filter(pl.col("n_options") < 2), path, "n_options", "at least 2 options")
    _refuse(scores.filter(pl.col("answer") >= pl.col("n_options")), path, "answer", "the index of an option")
    for column in lists:
        lengths = scores[column].list.len().fill_null(0)
        _refuse(scores.filter(lengths != scores["n_options"]), path, column, "one value an option")
        values = scores[column].list.explode()
        bad = values.fill_null(0) < 1 if column in COUNTS else ~values.is_finite().fill_null(False)
        if bad.any():
            rows = np.repeat(np.arange(len(scores)), lengths.to_numpy())[bad.to_numpy()]
            _refuse(scores[rows[:1]], path, column, "a positive count" if column in COUNTS else "finite values")
    return scores


def _refuse(wrong: pl.DataFrame, path: Path, column: str, expected: str) -> None:
    """Raise UserError about the first row of `wrong`, if there is one."""
    if len(wrong):
        value = wrong[column].to_list()[0]
        raise UserError(f"{path}: {_question(wrong)}: {column} is {value}, expected {expected}; score this shard again")


def _question(rows: pl.DataFrame) -> str:
    return f"language {rows['language'][0]!r}, question {rows['question_id'][0]!r}"
