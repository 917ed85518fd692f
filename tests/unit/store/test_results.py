"""`calgrid.open_results`, and every query of docs/queries.md."""

import re
import shutil
from itertools import product

import polars as pl
import pytest

import calgrid
import calibrate_posthoc
from calgrid.errors import UserError
from calgrid.store import paths
from support.synthetic_store import TIERS
from support.workflow import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/queries.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def grid(built_store):
    store = built_store()
    for (name, _, _), cell in product(store.benchmarks, store.cells):
        calibrate_posthoc.main(
            [
                *("--scores", str(store.path(paths.scores(name, cell.path, "all")))),
                *("--languages", *store.languages, "--tiers", *TIERS, "--benchmark", name, "--cell", cell.path),
                *("--output", str(store.path(paths.posthoc(name, cell.path)))),
            ]
        )
    content_free = store.path(paths.scores(paths.content_free("four"), store.cells[0].path, "all"))
    content_free.parent.mkdir(parents=True)
    shutil.copyfile(store.path(paths.scores("four", store.cells[0].path, "all")), content_free)
    return store


def test_every_query_of_the_documentation_runs(grid, monkeypatch):
    monkeypatch.chdir(grid.root)
    names: dict = {}
    exec(BLOCKS[0], names)
    before = set(names)
    for block in BLOCKS[1:]:
        exec(block, names)
    frames = {name: value for name, value in names.items() if name not in before and isinstance(value, pl.DataFrame)}
    assert len(frames) == len(BLOCKS) - 1
    assert all(len(frame) for name, frame in frames.items() if name not in ("hard", "lower"))
    assert set(frames["ece"]["lr"]) == {"1e-5"}
    assert frames["margins"]["margin"].is_between(0, 1).all()
    (by_hand,) = frames["ece"].filter(benchmark="four", model="tiny-a", sft="alpaca", smoothing="0.1", language="yo")[
        "ece"
    ]
    metrics = results_of(grid).metrics.filter(
        benchmark="four", model="tiny-a", sft="alpaca", smoothing="0.1", lr="1e-5", language="yo", grouping="language"
    )
    assert by_hand == metrics.filter(confidence_method="perplexity", n_bins=30).collect()["ece"].item()


def results_of(grid):
    return calgrid.open_results(grid.root / "results")


def test_frames_are_lazy_and_keep_spellings(grid):
    results = results_of(grid)
    for frame in (
        results.scores,
        results.metrics,
        results.posthoc,
        results.selection,
        results.tests,
        results.intervals,
    ):
        assert isinstance(frame, pl.LazyFrame)
    assert results.metrics.select("smoothing", "lr").unique().collect().sort(pl.all()).rows() == [
        *((smoothing, lr) for smoothing in ("0.0", "0.1", "0.2") for lr in ("1e-5", "5e-5")),
        ("none", "none"),
    ]
    assert set(results.tests.collect()["benchmark"]) == set(results.intervals.collect()["benchmark"]) == {"four", "ten"}
    assert results.scores.select(pl.len()).collect().item() == len(grid.cells) * 2 * 4 * 60
    assert results.content_free.select(pl.len()).collect().item() == 4 * 60  # never among the scores
    assert results.content_free.collect()["benchmark"].unique().to_list() == ["four+content_free"]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder; give the `results` folder of a run"):
        calgrid.open_results(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"metrics/\*\*/\*.parquet: no such file; run the workflow up to that stage"):
        calgrid.open_results(tmp_path).metrics.collect()
    with pytest.raises(UserError, match=r"significance/\*.parquet: no such file"):
        calgrid.open_results(tmp_path).tests.collect()
