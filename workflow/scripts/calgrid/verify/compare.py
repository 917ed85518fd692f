"""Comparing an artifact with its provenance, its neighbours and the configuration, for `verify.expectations`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from calgrid.cell import Cell
from calgrid.config.sections import Benchmark, SftDataset
from calgrid.errors import UserError
from calgrid.store import files, paths
from calgrid.store.reading import scan

Reasons = Iterator[str]  # why an artifact is stale
Value = TypeVar("Value")

SHOWN = 120  # characters of a value in a message


def if_readable(read: Callable[[], Value]) -> Value | None:
    """What `read` returns; None where it can't be read, which is the fault of what is read."""
    try:
        return read()
    except (UserError, pl.exceptions.PolarsError):
        return None


def agreed(path: str) -> dict[str, Any]:
    """The provenance of a file. Raises UserError where the manifest beside it says something else."""
    record, manifest = files.read_provenance(path), files.read_record(paths.manifest(path))
    for name, value in manifest.items():
        if record.get(name) != value:
            raise UserError(
                f"{path}: its {name} is not the one in {paths.manifest(path)}: one of them is another file's"
            )
    return record


def in_its_place(path: str, benchmark: str, cell: Cell) -> dict[str, Any]:
    """The provenance of a file. Raises UserError where it names another cell or benchmark than the path."""
    record = files.read_provenance(path)
    if record["benchmark"] != benchmark or record["cell"] != asdict(cell):
        raise UserError(f"{path}: its provenance says {record['benchmark']}, {Cell(**record['cell']).path}")
    return record


def schema(path: str) -> Iterable[str]:
    """The columns of a file."""
    with files.reading_parquet(path):
        return scan(path).collect_schema()


def count_rows(path: str, *expected: int, at_least: int = 0) -> None:
    """Raise UserError where a file has not the rows that are expected."""
    with files.reading_parquet(path):
        rows = scan(path).select(pl.len()).collect().item()
    if rows < at_least or any(rows != number for number in expected):
        raise UserError(
            f"{path}: it has {rows} rows instead of {', '.join(map(str, expected)) or f'{at_least} or more'}"
        )


def twice(questions: pl.DataFrame) -> pl.DataFrame:
    """The rows that occur more than once."""
    return questions.filter(questions.is_duplicated())


def source(record: Mapping[str, Any], entry: Benchmark | SftDataset, **facts: str | None) -> Reasons:
    """Whether prepared data are of the source that the configuration names, and read as it says."""
    wanted = {"source": entry.hub or entry.path, "revision": entry.revision, **facts}
    for name, value in wanted.items():
        yield from differ(name, record.get(name), value)


def differ(name: str, made_with: Any, now: Any) -> Reasons:
    """A line about a setting that is another one now."""
    if isinstance(made_with, dict) and isinstance(now, dict):
        for key in sorted({*made_with, *now}):
            yield from differ(f"{name}.{key}", made_with.get(key), now.get(key))
    elif made_with != now:
        yield f"{name}: made with {_shown(made_with)}, now {_shown(now)}"


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def made_of_data(used: Mapping[str, Any], path: str) -> Reasons:
    """Whether prepared data (by language or name, as the file is called) are those that something was made of."""
    now = if_readable(lambda: files.data_origin(path))
    if now is not None and used.get(Path(path).stem) != now:
        yield f"made of other data than {path}"


def made_of(record: Mapping[str, Any], sources: Iterable[str]) -> Reasons:
    """Whether the files that something was made of are those, and as they were."""
    used, sources = record.get("made_of"), list(sources)
    if used is None:  # files of the first version don't say
        return
    if others := sorted({*used} ^ {*sources}):
        yield f"made of other files ({others[0]}{', ...' if len(others) > 1 else ''})"
    for path in sources:
        now = if_readable(partial(files.seals_of, [path]))
        if path in used and now is not None and now[path] != used[path]:
            yield f"{path} has changed since"
            return
