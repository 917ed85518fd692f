"""A results folder is read by its own path, whatever characters and `key=value` lie in the path to it."""

from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

import calgrid
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.store import files, paths, reading
from calgrid.verify import compare

CELLS = (Cell("a"), Cell("b", "alpaca", "0.1", "1e-5", "0"))
PLACES = ("results", "a [b] *?", "[ab]/results", "res*", "lr=5", "benchmark=x/results", "k=3", "[1]/lr=5/res*", "s3:x")


def build(folder: Path, value: int = 1) -> Path:
    """A store of two benchmarks and two cells, all of whose rows have this value."""
    frame = pl.DataFrame({"value": [value]})

    def write(path: str, **facts: object) -> None:
        files.write_parquet(frame, folder / Path(path).relative_to("results"), {"rows": 1, **facts})

    for benchmark in ("four", "ten"):
        for cell in CELLS:
            write(paths.scores(benchmark, cell.path, "low"))
            write(paths.metrics(benchmark, cell.path), benchmark=benchmark, cell=asdict(cell))
            write(paths.posthoc(benchmark, cell.path))
        for stage in ("significance", "intervals", "reliability"):
            write(f"results/{stage}/{benchmark}.parquet")
    write(paths.scores(paths.content_free("four"), CELLS[0].path, "low"))
    write("results/selection.parquet")
    return folder


@pytest.fixture(params=PLACES)
def folder(tmp_path, request):
    build(tmp_path / "res1", 2)  # which `res*` would match, too
    build(tmp_path / "res2", 3)
    return build(tmp_path / request.param)


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_open_results_reads_exactly_the_folder(folder, relative, monkeypatch):
    monkeypatch.chdir(folder.parent)
    results = calgrid.open_results(folder.name if relative else folder)
    for rows in (results.scores, results.metrics, results.posthoc):
        found = rows.collect()
        assert found["value"].to_list() == [1] * 4
        assert set(found.select("benchmark", "model", "sft", "smoothing", "lr", "seed").rows()) == {
            (benchmark, *asdict(cell).values()) for benchmark in ("four", "ten") for cell in CELLS
        }
    assert results.content_free.select("value", "benchmark").collect().rows() == [(1, "four+content_free")]
    assert results.selection.collect().rows() == [(1,)]
    for rows in (results.tests, results.intervals, results.reliability):
        assert rows.collect().rows() == [("four", 1), ("ten", 1)]


def test_a_path_is_read_by_what_it_says_below_the_store(folder):
    for benchmark in ("four", "ten"):
        for cell in CELLS:
            path = folder / Path(paths.metrics(benchmark, cell.path)).relative_to("results")
            assert reading.cell_of(path) == Cell.parse(path) == cell
            assert reading.benchmark_of(path) == benchmark
            reading.check_place(path)
            assert reading.read_table(path).rows() == [(1,)]
            assert reading.by_cell([path], benchmark) == {cell: [path]}
            assert reading.read_metrics([path]).rows() == [(1, benchmark, *asdict(cell).values())]
            assert list(compare.schema(str(path))) == ["value"]
            compare.count_rows(str(path), 1)


def test_a_file_in_anothers_place_is_still_refused(folder):
    path = folder / Path(paths.metrics("four", CELLS[1].path)).relative_to("results")
    other = folder / Path(paths.metrics("ten", CELLS[1].path)).relative_to("results")
    other.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="its provenance says benchmark 'four': a file of another place"):
        reading.check_place(other)


def test_a_filter_on_what_paths_say_opens_no_other_file(folder):
    for path in (folder / "scores").rglob("*.parquet"):
        if "benchmark=ten" in path.parts or "model=b" in path.parts:
            path.write_bytes(b"PAR1 not to be read")
    rows = calgrid.open_results(folder).scores.filter(benchmark="four", model="a").collect()
    assert rows["value"].to_list() == [1]


def test_hidden_files_of_others_are_left_alone_and_a_visible_one_is_named(tmp_path):
    folder = build(tmp_path / "results")
    (folder / "scores/.DS_Store").touch()
    assert calgrid.open_results(folder).scores.collect().height == 4
    (folder / "scores/benchmark=four/notes.txt").write_text("of somebody")
    with pytest.raises(pl.exceptions.PolarsError, match=r"different file extensions: .*notes\.txt"):
        calgrid.open_results(folder).scores.collect()
