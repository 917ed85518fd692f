"""The stored scores of a cell, read and checked."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from calgrid.errors import UserError
from calgrid.scoring.confidence import CONFIDENCE_METHODS, columns_of
from calgrid.store.reading import check_place, read_table

COUNTS = ("n_tokens", "n_bytes")
QUESTION_COLUMNS = ("language", "question_id", "answer", "n_options")
QUESTION_ATTRIBUTES = ("category", "subject", "cultural_sensitivity", "n_options")  # what groups are made of


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
    values = columns_of(methods)
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
