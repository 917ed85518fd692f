"""A finished grid: what it has written, and that it is the same each time."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import polars as pl

from calgrid.cell import Cell
from calgrid.store.files import read_provenance
from calgrid.store.selection import read_selection
from calgrid.store.versions import TRAIN_VERSION
from support.workflow import ROOT, TINY, Workflow, cells


def test_every_question_is_scored_once(finished):
    for cell in ("sft=base/smoothing=none/lr=none/seed=none", "sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0"):
        folder = finished.folder / f"results/scores/benchmark=cldr4/model=tiny-llama/{cell}"
        scores = pl.read_parquet(sorted(folder.glob("*.parquet")), hive_partitioning=False)
        for language in scores["language"].unique():
            source = pl.read_parquet(finished.folder / f"results/data/benchmarks/cldr4/{language}.parquet")
            assert sorted(scores.filter(language=language)["question_id"]) == sorted(source["question_id"])


def test_the_store_opens_as_the_readme_says(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    block = re.search(r"```python\n(import calgrid\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(block[1], names)
    found = names["results"].scores.collect()
    assert set(found["sft"].unique()) == {"base", "cldr-alpaca"}
    assert set(found["smoothing"].unique()) == {"none", "0.0", "0.1"}
    assert set(found["lr"].unique()) == {"none", "1e-3"}


def test_parquet_files_carry_their_provenance(finished):
    for path in (finished.folder / "results").rglob("*.parquet"):
        if path.name == "corpus.parquet" or "demo" in path.parts:
            continue
        record = read_provenance(path)
        assert record["commit"]
        assert record["command"]
        assert record["versions"]["polars"]


def test_train_json_says_what_was_trained(finished):
    record = json.loads(next((finished.folder / "results/models").rglob("train.json")).read_text())
    assert record["curve"]
    assert record["validation_loss"] > 0
    assert record["supervised_tokens"] < record["tokens"]
    assert record["versions"]["torch"]
    assert record["base"]["model_type"] == "llama"
    assert len(record["data"]["sha256"]) == 64


def test_scores_say_which_model_and_data_they_are_of(finished):
    path = next((finished.folder / "results/scores").glob("*/*/sft=cldr-alpaca/smoothing=0.1/**/low.parquet"))
    record = read_provenance(path)
    assert record["cell"]["smoothing"] == "0.1"
    assert record["benchmark"] == "cldr4"
    assert record["model"]["train_version"] == TRAIN_VERSION
    assert "curve" not in record["model"]
    manifest = json.loads((finished.folder / "results/data/benchmarks/cldr4/yo.json").read_text())
    assert record["data"]["yo"]["sha256"] == manifest["sha256"]


def test_the_same_seed_gives_the_same_scores(finished, tmp_path):
    again = Workflow(tmp_path, *TINY)
    shutil.copytree(
        finished.folder / "results", tmp_path / "results", ignore=shutil.ignore_patterns("train.json", "scores")
    )
    shutil.copytree(finished.folder / ".snakemake", tmp_path / ".snakemake")
    score = "results/scores/benchmark=cldr4/model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0/low.parquet"
    plan = again.plan(score)
    assert len(plan["train"]) == 2
    again.run(score)
    assert pl.read_parquet(tmp_path / score).equals(pl.read_parquet(finished.folder / score))


def test_a_training_figure_shows_what_the_grid_trains(finished):
    assert "Smoothing 0.1" in (finished.folder / "results/figs/training_tiny-llama_cldr-alpaca.svg").read_text()
    done = finished.run("results/figs/training_tiny-gemma2_cldr-alpaca.svg", "--dry-run", check=False)
    assert done.returncode
    assert "does not train 'tiny-gemma2' on 'cldr-alpaca'; it trains tiny-llama on cldr-alpaca" in done.stdout


def test_the_report_is_made_of_all_tables_and_figures(copied):
    assert set(copied.plan("report")) - {"report"} <= {"reliability_bins", "report_page"}
    copied.run("report")
    assert copied.plan("report") == {}
    page = copied.folder / "results/report.html"
    links = set(re.findall(r'href="((?:tables|figs)/[^"]+)"', page.read_text()))
    assert links == {str(path.relative_to(page.parent)) for path in shown(copied) if path.suffix != ".png"}
    words = " ".join(re.sub("<[^>]+>", " ", page.read_text()).split())
    assert re.search(r"tiny-llama cldr-alpaca 0\.1 ★ \d\.\d{3}", words)
    [data] = read_provenance(copied.folder / "results/reliability/cldr4.parquet")["data"]
    assert list(data["languages"]) == ["ha", "so", "sw", "yo"]  # of the shard


def test_snakemakes_own_report_has_every_table_and_figure_without_network(finished, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    finished.run("all", "--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = archive.namelist()
        page = archive.read("report/report.html").decode()
    held = sorted(Path(name).name for name in names if "/data/raw/" in name)
    assert held == sorted(path.name for path in shown(finished))
    results = json.loads(re.search(r"^    var results = (.*);$", page, re.MULTILINE)[1])
    assert all(result["caption"] and result["labels"] for result in results.values())
    categories = json.loads(re.search(r"^    var categories = (.*);$", page, re.MULTILINE)[1])
    assert set(categories) == {"Tables", "Figures"}


def shown(workflow):
    """The tables and figures that a grid has."""
    folders = [workflow.folder / "results" / name for name in ("tables", "figs")]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]


def test_post_hoc_calibration_is_of_the_base_models_and_selected_cells(finished):
    cells_there = cells([str(path) for path in (finished.folder / "results/posthoc").rglob("posthoc.parquet")])
    chosen = read_selection(finished.folder / "results/selection.parquet")
    assert cells_there == {Cell("tiny-llama"), *(cell for arm in chosen.values() for cell in arm)}
    plain = finished.plan("results/tables/posthoc.csv", settings={"evaluation": {"smoothing": [0.0], "n_bins": 12}})
    assert {cell.smoothing for cell in cells(plain["posthoc"])} == {"none", "0.0"}  # of those that tables compare
