"""docs/artifacts.md: every file of a finished grid has a heading there, and the columns are those that are written."""

import json
import re
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest

from calgrid.cell import CELL_FIELDS
from support.workflow import ROOT

TEXT = (ROOT / "docs/artifacts.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^### `(results/[^`]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
DOCUMENTED = dict(HEADING.findall(TEXT))
OF_THE_REPORT = "results/reliability/<benchmark>.parquet"  # which `all` does not make
WITHOUT_A_TABLE = {  # described elsewhere, or without fixed fields
    "results/scores/benchmark=<benchmark>/<cell>/<shard>.parquet",
    "results/models/<cell>/train.json",
    "results/audits/<model>.json",
}
LIKE = {  # the same form as another heading's
    "results/tables/table2.csv": "results/tables/table1.csv",
    "results/tables/<benchmark>/<language>.csv": "results/tables/table1.csv",
}
NAMES = {"String": "string", "Boolean": "bool"}


def pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(<\w+>)", path)
    cell = "/".join(f"{name}=[^/]+" for name in CELL_FIELDS)
    groups = {"<cell>": cell, "<path>": ".+", "<rule>": "[^/]+"}
    return re.compile("".join(groups.get(part, "[^/]+") if part[:1] == "<" else re.escape(part) for part in parts))


def rows(body: str) -> list[tuple[str, str]]:
    """Name and type of each column or field of a table; one row may have several."""
    found = []
    for line in body.splitlines():
        if line.startswith("| `"):
            cells = re.split(r" ?(?<!\\)\| ?", line)
            found += [(name, cells[2]) for name in re.findall(r"`([^`]+)`", cells[1])]
    return found


def type_name(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return f"list of {type_name(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return "{" + ", ".join(f"{field.name}: {type_name(field.dtype)}" for field in dtype.fields) + "}"
    return NAMES.get(str(dtype), str(dtype).lower())


def documented(path: str) -> str | None:
    """The heading that a file belongs to."""
    found = [heading for heading in [*DOCUMENTED, *LIKE] if pattern(heading).fullmatch(path)]
    assert len(found) < 2, f"{path}: under {found}"
    return found[0] if found else None


@pytest.fixture(scope="module")
def files(finished) -> dict[str, list[Path]]:
    """The files of rows and records by heading; the demo's own data and the inside of Hugging Face folders left out."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((finished.folder / "results").rglob("*")):
        name = str(path.relative_to(finished.folder))
        model = re.search(r"^results/pretrained/[^/]+/|/model/", name) and path.name != "pretrain.json"
        other = name.startswith(("results/demo/", "results/logs/", "results/checkpoints/"))
        if path.suffix in (".parquet", ".json", ".csv", ".tsv") and not model and not other:
            if name.startswith("results/benchmarks/"):
                name = re.sub(r"^(results/benchmarks/)([^/]+\.tsv)$", r"\1all/\2", name)  # of a rule with one job
            heading = documented(name)
            assert heading, f"docs/artifacts.md has no heading for {name}"
            found[heading].append(path)
    return found


def test_every_heading_has_files(files):
    assert set(DOCUMENTED) - set(files) == {OF_THE_REPORT}


def test_columns_are_those_that_are_written(files):
    checked = 0
    for heading, paths in files.items():
        described = rows(DOCUMENTED[LIKE.get(heading, heading)])
        if heading in WITHOUT_A_TABLE:
            assert not described
            continue
        for path in paths:
            if path.suffix == ".parquet":
                schema = pl.read_parquet_schema(path)
                assert described == [(name, type_name(dtype)) for name, dtype in schema.items()], heading
            elif path.suffix == ".json":
                record = json.loads(path.read_text(encoding="utf-8"))
                assert sorted(name for name, _ in described) == sorted(record), heading
            else:
                header = path.read_text(encoding="utf-8").splitlines()[0]
                assert [name for name, _ in described] == re.split(r"[,\t]", header), heading
            checked += 1
    assert checked > 50


def test_the_fields_of_a_training_are_those_that_are_written(files):
    fields = {name for name, _ in rows((ROOT / "docs/training.md").read_text(encoding="utf-8"))}
    for path in files["results/models/<cell>/train.json"]:
        assert set(json.loads(path.read_text(encoding="utf-8"))) <= fields


def test_the_files_of_a_model_are_named(finished):
    for folder in (finished.folder / "results/models").rglob("model"):
        for path in folder.iterdir():
            assert path.name == ".snakemake_timestamp" or f"`{path.name}`" in TEXT, path
