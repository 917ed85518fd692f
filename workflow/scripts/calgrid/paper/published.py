"""The numbers printed in the paper, read from `data/paper` and checked.

"The paper" is "Investigating the Multilingual Calibration Effects of Language Model Instruction-Tuning" (2026): its
tables are kept as CSV files, as printed (`data/paper/README.md` has the columns). Here their rows take the workflow's
names, so that a printed number and a run's meet by benchmark, language, model, sft, smoothing and metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from calgrid.errors import UserError
from calgrid.tables.contents import DIGITS
from calgrid.vocabulary import ALL, BASE, NONE

FOLDER = Path(__file__).parents[4] / "data/paper"
LANGUAGE_TABLES, OVERALL_TABLE, BENCHMARKS = "tables_3_to_73_per_language.csv", "table_2_overall.csv", "benchmarks.csv"

# What a printed column is held against. The RMS column is not equation 5 (`rms`): see docs/paper.md.
PRINTED_METRICS: Mapping[str, str] = {"accuracy": "accuracy", "entropy": "entropy", "ece": "ece", "rms": "rms_gce"}
PRINTED_BINS = 30  # equal-width bins of the printed ECE, as in the calibration file that its RMS is of
PRINTED_METHOD = "perplexity"
ROUNDING = 0.5 * 10**-DIGITS  # a printed number stands for all that lie this near

ARM = ["model", "sft", "smoothing"]
ROW = ["benchmark", "language", *ARM]  # what names a printed row
_LABELS = ["benchmark", "model", "sft_dataset", "smoothing"]
COLUMNS: Mapping[str, list[str]] = {
    LANGUAGE_TABLES: ["table", *_LABELS, "language", *PRINTED_METRICS, "printed_as"],
    OVERALL_TABLE: ["table", *_LABELS, *PRINTED_METRICS],
    BENCHMARKS: ["benchmark", "languages", "questions", "options"],
}
_INTEGERS = ["table", "languages", "questions", "options"]


@dataclass(frozen=True)
class Printed:
    """The printed tables; rows have table, benchmark, language, model, sft, smoothing, PRINTED_METRICS."""

    languages: pl.DataFrame  # a row a printed row, in the printed order; and printed_as
    overall: pl.DataFrame  # language `all`
    benchmarks: pl.DataFrame  # benchmark, languages, questions (of a language), options (at most)


def read(folder: Path = FOLDER) -> Printed:
    """The printed tables. Raises UserError naming file, line, column and value of what can't be one of their rows."""
    benchmarks = _read(folder / BENCHMARKS)
    _refuse_repeated(benchmarks, ["benchmark"], folder / BENCHMARKS)
    overall = _rows(folder / OVERALL_TABLE, benchmarks)
    languages = _rows(folder / LANGUAGE_TABLES, benchmarks)
    _check_language_tables(languages, benchmarks, folder / LANGUAGE_TABLES)
    _refuse(
        overall.join(languages, on=["benchmark", *ARM], how="anti"),
        folder / OVERALL_TABLE,
        *("model", "a row that the tables of the languages have too"),
    )
    return Printed(languages.drop("line"), overall.drop("line"), benchmarks.drop("line"))


def long(rows: pl.DataFrame) -> pl.DataFrame:
    """A row a printed number: the rows' other columns, metric (a run's name for it) and value."""
    return rows.unpivot(
        list(PRINTED_METRICS), index=[c for c in rows.columns if c not in PRINTED_METRICS], variable_name="metric"
    ).with_columns(pl.col("metric").replace_strict(PRINTED_METRICS))


def _read(path: Path) -> pl.DataFrame:
    """A CSV file with checked columns and numbers, and the column `line`."""
    try:
        text = pl.read_csv(path, infer_schema=False, glob=False).fill_null("")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; restore data/paper from the project's repository") from None
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not readable as CSV ({error}); restore it from the project's repository") from None
    columns = COLUMNS[path.name]
    if sorted(text.columns) != sorted(columns):
        odd = sorted(set(text.columns) ^ set(columns))
        raise UserError(f"{path}: column {odd[0]!r} is missing or unknown; expected {', '.join(columns)}")
    rows = text.select(columns).with_row_index("line", offset=2)
    for column in columns:
        if column in (*_INTEGERS, *PRINTED_METRICS):
            number = pl.col(column).cast(pl.Int64 if column in _INTEGERS else pl.Float64, strict=False)
            _refuse(
                rows.filter(number.is_null() | ~(number.cast(pl.Float64).is_finite() & (number >= 0))),
                path,
                column,
                "a number that is not negative",
            )
            rows = rows.with_columns(number)
        elif column not in ("smoothing", "printed_as"):
            _refuse(rows.filter(pl.col(column) == ""), path, column, "a name")
    return rows


def _rows(path: Path, benchmarks: pl.DataFrame) -> pl.DataFrame:
    """The rows of printed tables, under the workflow's names."""
    rows = _read(path)
    names = benchmarks["benchmark"].to_list()
    _refuse(rows.filter(~pl.col("benchmark").is_in(names)), path, "benchmark", f"one of {', '.join(names)}")
    base = pl.col("sft_dataset") == BASE
    smoothing = pl.col("smoothing").cast(pl.Float64, strict=False)
    known = pl.when(base).then(pl.col("smoothing") == "").otherwise(smoothing.is_between(0, 1, closed="left"))
    _refuse(rows.filter(~known.fill_null(False)), path, "smoothing", f"a number in [0, 1), or nothing for {BASE}")
    options = pl.col("benchmark").replace_strict(dict(benchmarks.select("benchmark", "options").iter_rows()))
    for column in PRINTED_METRICS:
        most = options.log(2) if column == "entropy" else 1.0
        top = "log2 of the options, in bits" if column == "entropy" else "1"
        _refuse(rows.filter(pl.col(column) > most), path, column, f"at most {top}")
    rows = rows.with_columns(
        smoothing=pl.when(base).then(pl.lit(NONE)).otherwise("smoothing"),
        language=pl.col("language") if "language" in rows.columns else pl.lit(ALL),
    ).rename({"sft_dataset": "sft"})
    _refuse_repeated(rows, ROW, path)
    return rows


def _check_language_tables(rows: pl.DataFrame, benchmarks: pl.DataFrame, path: Path) -> None:
    """A table a language, with the rows of every other one, and all languages of each benchmark."""
    found = rows.group_by("table", maintain_order=True).agg(
        pl.struct("benchmark", "language").n_unique().alias("languages"), pl.struct(ARM).n_unique().alias("arms")
    )
    arms = rows.select(ARM).unique().height
    for table, languages, size in found.iter_rows():
        if languages != 1 or size != arms:
            raise UserError(
                f"{path}: table {table} has {size} rows of {languages} languages, expected {arms} of one; "
                "restore it from the project's repository"
            )
    counts = dict(rows.group_by("benchmark").agg(pl.col("language").n_unique()).iter_rows())
    for name, expected in benchmarks.select("benchmark", "languages").iter_rows():
        if counts.get(name, 0) != expected:
            raise UserError(
                f"{path}: benchmark {name} has {counts.get(name, 0)} languages, {BENCHMARKS} says {expected}; "
                "restore both from the project's repository"
            )


def _refuse_repeated(rows: pl.DataFrame, names: list[str], path: Path) -> None:
    twice = rows.filter(~pl.struct(names).is_first_distinct())
    _refuse(twice, path, names[0], f"each combination of {', '.join(names)} once")


def _refuse(wrong: pl.DataFrame, path: Path, column: str, expected: str) -> None:
    """Raise UserError about the first row of `wrong`, if there is one."""
    if len(wrong):
        line, value = wrong.select("line", column).row(0)
        shown = repr(value) if isinstance(value, str) else value
        raise UserError(
            f"{path}: line {line}: {column} is {shown}, expected {expected}; restore it from the project's repository"
        )
