"""The workflow itself, run small: what it plans, what it does, what it does again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import polars as pl
import pytest

from calgrid.cell import Cell
from calgrid.store.files import read_json, read_provenance, write_json
from calgrid.store.selection import read_selection
from calgrid.store.versions import TRAIN_VERSION
from support.workflow import ROOT, TINY, Workflow

CHEAP_AND_JOINT = {  # read all cells
    *("select", "significance", "overall_tables", "all_tables", "language_tables_cldr4", "tables_page"),
    *("posthoc", "posthoc_table", "change_rates", "reproduction"),
}


def cells(outputs: list[str]) -> set[Cell]:
    return {Cell.parse(Path(output).with_suffix("")) for output in outputs}


# What is planned


def test_the_papers_grid_is_planned_without_network_in_time(tmp_path):
    started = time.monotonic()
    plan = Workflow(tmp_path).plan("all_tables")
    assert time.monotonic() - started < 60  # 15 s on an idle machine; stated by a benchmark, guarded here
    assert len(plan["train"]) == 2 * 108
    assert len(plan["base_model"]) == 3
    assert len(plan["tokenize"]) == 2 * 3 * 2 * 3
    assert len(plan["pack"]) == 2 * 3 * 3
    assert len(plan["score"]) == 111 * 2 * 3
    assert len(plan["metrics"]) == 111 * 2
    assert len(plan["select"]) == 1
    assert len(plan["significance"]) == 2 * 2  # tests and intervals
    assert len(plan["posthoc_table"]) == 2  # its cells are known once learning rates are selected
    assert "content_free" not in plan
    tables = [path for rule in plan if "tables" in rule for path in plan[rule]]
    assert len(tables) == 2 * (2 + 42 + 29) + 1  # and the page of all


def test_all_tables_is_the_default(tmp_path):
    workflow = Workflow(tmp_path, *TINY)
    assert workflow.plan() == workflow.plan("all_tables")


def test_the_slurm_profile_plans_the_same_jobs(tmp_path):
    workflow = Workflow(tmp_path, *TINY)
    assert workflow.plan("--profile", str(ROOT / "profiles/slurm"), "all_tables") == workflow.plan("all_tables")


def test_one_figure_asks_for_its_languages_shard_alone(tmp_path):
    plan = Workflow(tmp_path).plan("results/figs/reliability_yo.svg")
    assert {Path(path).stem for path in plan["score"]} == {"low"}
    assert {path.split("/")[2] for path in plan["score"]} == {"benchmark=global_mmlu"}
    assert {cell.smoothing for cell in cells(plan["score"])} == {"none", "0.0", "0.1"}
    plan = Workflow(tmp_path).plan("results/figs/mmlu_prox/openhermes/reliability_zu.svg")
    assert {cell.sft for cell in cells(plan["score"])} == {"base", "openhermes"}
    assert {path.split("/")[2] for path in plan["score"]} == {"benchmark=mmlu_prox"}


@pytest.mark.parametrize("scored", ["all", "selected"])
def test_a_figure_of_base_models_waits_for_no_training(tmp_path, scored):
    figure = "results/figs/mmlu_prox/base/reliability_zu.svg"
    plan = Workflow(tmp_path).plan(figure, settings={"scoring": {"cells": scored}})
    assert {cell.sft for cell in cells(plan["score"])} == {"base"}
    assert not {"train", "select", "pack"} & set(plan)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "results/figs/reliability_xx.svg",
            "language 'xx' is not in benchmark 'global_mmlu' of the grid; there are: am, ar",
        ),
        (
            "results/figs/mmlu_prox/tulu3/reliability_am.svg",
            "language 'am' is not in benchmark 'mmlu_prox' of the grid",
        ),
        ("results/figs/mmlu/tulu3/reliability_en.svg", "benchmark 'mmlu' is not in the grid; there are: global_mmlu"),
        (
            "results/figs/mmlu_prox/tulu/reliability_en.svg",
            "SFT set 'tulu' is not in the grid; there are: base, alpaca",
        ),
        (
            "results/models/model=gemma2-2b/sft=alpaca/smoothing=0.10/lr=1e-5/seed=0/train.json",
            "smoothing=0.10 in the path of a cell: this number is spelt 0.1",
        ),
        (
            "results/models/model=gemma2-2b/sft=alpaca/smoothing=0.1/lr=fast/seed=0/train.json",
            "lr=fast in the path of a cell: write a number",
        ),
        ("results/data/sft/tulu.parquet", "'tulu' is not in `sft_datasets`; there are: alpaca, tulu3"),
        ("results/data/benchmarks/global_mmlu/../x.parquet", "MissingRuleException"),
    ],
)
def test_what_does_not_exist_is_named(tmp_path, target, message):
    done = Workflow(tmp_path).run(target, "--dry-run", check=False)
    assert done.returncode
    assert message in done.stdout


def test_a_mistake_in_the_configuration_is_one_message(tmp_path):
    started = time.monotonic()
    done = Workflow(tmp_path).run("--dry-run", settings={"grid": {"models": ["gemma"]}}, check=False)
    assert time.monotonic() - started < 10  # 3 s on an idle machine
    assert done.returncode
    assert "grid.models: 'gemma' is not in `models`; did you mean 'gemma2-2b'?" in done.stdout
    assert "Traceback" not in done.stdout


def test_parsing_the_snakefile_imports_nothing_heavy(tmp_path):
    probe = (
        "import sys; from snakemake.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'polars', 'altair', 'datasets', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    command = Workflow(tmp_path).command("results/selection.parquet", "--dry-run")
    done = subprocess.run([sys.executable, "-c", probe, *command[3:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


# What is done


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


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_grid_is_completed(finished, tmp_path, blow):
    """Struck down in the middle of scoring, with jobs in flight: what was finished stays, the rest follows."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    for folder in ("scores", "metrics", "significance", "tables"):
        shutil.rmtree(tmp_path / "results" / folder)
    workflow = Workflow(tmp_path, *TINY)
    scores = tmp_path / "results/scores"
    running = subprocess.Popen(
        workflow.command("all_tables"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(scores.rglob("low.parquet")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, blow)
    running.wait()
    files = (path for path in (tmp_path / "results").rglob("*") if path.is_file())
    before = {path: path.stat().st_mtime_ns for path in files if path.suffix in (".parquet", ".safetensors")}
    for path in scores.rglob("low.parquet"):
        pl.read_parquet(path, hive_partitioning=False)
    if blow == signal.SIGKILL:
        workflow.run("--unlock")
    workflow.run("all_tables", "--rerun-incomplete")
    in_flight = [path for path, time_ns in before.items() if path.exists() and path.stat().st_mtime_ns != time_ns]
    assert (
        len([path for path in in_flight if "scores" in path.parts]) <= 2
    )  # cores: renamed, but not yet known to be whole
    assert not [path for path in in_flight if "models" in path.parts or "data" in path.parts]
    assert not [path for path in (tmp_path / "results").rglob(".tmp-*") if "scores" in path.parts]
    for path in scores.rglob("low.parquet"):
        whole = finished.folder / path.relative_to(tmp_path)
        assert pl.read_parquet(path, hive_partitioning=False).equals(pl.read_parquet(whole, hive_partitioning=False))
    assert len(list(scores.rglob("low.parquet"))) == 3


def test_an_interrupted_training_goes_on_even_on_other_hardware(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    workflow = Workflow(tmp_path, *TINY)
    settings = {"training": {"epochs": 40}, "device": {"checkpoint_minutes": 0}}
    cell = "model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0"
    record = f"results/models/{cell}/train.json"
    running = subprocess.Popen(
        workflow.command(record, settings=settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "results/checkpoints/models" / cell).rglob("step-*/state.json")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    workflow.run("--unlock")
    two = {"models": {"tiny-llama": {"gpus": 2}}}
    workflow.run(record, "--rerun-incomplete", settings={**settings, **two})
    assert "going on after step" in (tmp_path / f"results/logs/train/{cell}.log").read_text()
    done = json.loads((tmp_path / record).read_text())
    assert done["processes"] == 2
    assert done["steps"] == len(done["curve"]) == 40 * 4
    assert not (tmp_path / "results/checkpoints/models" / cell).exists()


def test_nothing_is_done_twice(finished):
    assert finished.plan("all") == {}


def test_the_report_is_made_of_all_tables_and_figures(finished):
    assert set(finished.plan("report")) - {"report"} <= {"reliability_bins", "report_page"}
    finished.run("report")
    assert finished.plan("report") == {}
    page = finished.folder / "results/report.html"
    links = set(re.findall(r'href="((?:tables|figs)/[^"]+)"', page.read_text()))
    assert links == {str(path.relative_to(page.parent)) for path in shown(finished) if path.suffix != ".png"}
    words = " ".join(re.sub("<[^>]+>", " ", page.read_text()).split())
    assert re.search(r"tiny-llama cldr-alpaca 0\.1 ★ \d\.\d{3}", words)
    [data] = read_provenance(finished.folder / "results/reliability/cldr4.parquet")["data"]
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


def test_a_touched_file_plans_nothing(finished, tmp_path):
    """Touched results, and a fresh checkout of the scripts."""
    now = time.time()
    for path in (finished.folder / "results").rglob("*"):
        if path.is_file() and ".snakemake" not in path.name:
            path.touch()
    assert time.time() - now < 60
    assert finished.plan("all") == {}
    checkout = tmp_path / "checkout"
    for part in ("Snakefile", "workflow", "config", "data", "envs"):
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, checkout / part) if checkout.exists() else (checkout.mkdir(), copy(source, checkout / part))
    for path in checkout.rglob("*"):
        path.touch()
    elsewhere = Workflow(finished.folder, *TINY, root=checkout)
    assert elsewhere.plan("all") == {}


@pytest.mark.parametrize(
    ("addition", "new_cells"),
    [
        ({"lr": ["1e-3", "2e-3"]}, {Cell("tiny-llama", "cldr-alpaca", s, "2e-3", "0") for s in ("0.0", "0.1")}),
        (
            {"sft_datasets": ["cldr-alpaca", "cldr-messages"]},
            {Cell("tiny-llama", "cldr-messages", s, "1e-3", "0") for s in ("0.0", "0.1")},
        ),
        ({"smoothing": [0.0, 0.1, 0.2]}, {Cell("tiny-llama", "cldr-alpaca", "0.2", "1e-3", "0")}),
        (
            {"models": ["tiny-llama", "tiny-gemma2"]},
            {Cell("tiny-gemma2", "cldr-alpaca", s, "1e-3", "0") for s in ("0.0", "0.1")},
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_addition_plans_its_own_cells_alone(finished, addition, new_cells):
    plan = finished.plan("all_tables", settings={"grid": addition})
    bases = {Cell(model) for model in addition.get("models", []) if model != "tiny-llama"}
    assert cells(plan.pop("train")) == new_cells
    assert cells(plan.pop("score")) == cells(plan.pop("metrics")) == new_cells | bases
    assert cells(plan.pop("base_model", [])) == bases
    assert plan.pop("prepare_sft", []) == (
        ["results/data/sft/cldr-messages.json", "results/data/sft/cldr-messages.parquet"]
        if "sft_datasets" in addition
        else []
    )
    assert plan.pop("pretrain", []) == (["results/pretrained/tiny-gemma2"] if bases else [])
    assert ("tokenize" in plan) == bool(bases)
    assert ("pack" in plan) == bool(bases or "sft_datasets" in addition)
    assert set(plan) <= CHEAP_AND_JOINT | {"tokenize", "audit_model", "pack"}


def test_a_new_shard_of_languages_is_scored_alone(finished):
    plan = finished.plan("all_tables", settings={"grid": {"languages": "all"}})
    assert "train" not in plan
    assert "low" not in {Path(path).stem for path in plan["score"]}
    assert len(plan.pop("score")) % 3 == 0  # the base model and both smoothings
    assert not {path for path in plan.pop("prepare_benchmark") if Path(path).stem in ("yo", "sw")}
    assert not {path for path in plan.pop("tokenize") if Path(path).stem == "low"}
    assert set(plan) <= CHEAP_AND_JOINT | {"metrics", "audit_model"}


def test_a_few_shot_prompt_scores_again_and_trains_nothing(finished):
    plan = finished.plan("all_tables", settings={"scoring": {"shots": 2, "language": "native"}})
    assert {Path(path).stem for path in plan.pop("prepare_examples")} == {"ha", "so", "sw", "yo"}
    assert len(plan.pop("tokenize")) == 2
    assert len(plan.pop("score")) == len(plan.pop("metrics")) == 3
    assert set(plan) <= CHEAP_AND_JOINT | {"audit_model"}


def test_an_audit_of_a_grid_trains_and_scores_nothing(tmp_path):
    plan = Workflow(tmp_path).plan("audit")
    assert set(plan) == {"base_model", "prepare_benchmark", "tokenize", "audit_model"}


def test_a_prompt_that_was_tried_leaves_the_scores_of_another_one_alone(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    workflow = Workflow(tmp_path, *TINY)
    workflow.run("audit", settings={"scoring": {"prompt": "{question}\n{answer_word}:"}})
    # The audit is of the prompt that is configured again; what is cheap may follow it.
    assert set(workflow.plan("all_tables")) <= CHEAP_AND_JOINT | {"audit_model", "metrics"}


def test_a_stricter_audit_is_enforced_without_another_tokenising(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    manifest = next((tmp_path / "results/tokens").rglob("low.json"))
    record = read_json(manifest)
    record["audit"]["yo"]["same_text"] = {"questions": 1, "first": ["q"]}
    write_json(manifest, record)
    workflow = Workflow(tmp_path, *TINY)
    done = workflow.run("all_tables", "--show-failed-logs", settings={"audit": {"same_text": 0.0}}, check=False)
    assert done.returncode
    message = (
        "language 'yo': 1 of 12 questions have two options with the same text: q; more than audit.same_text 0 allows"
    )
    assert message in done.stdout + done.stderr
    assert manifest.exists()


def test_a_damaged_manifest_is_refused_and_trains_nothing_again(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    workflow = Workflow(tmp_path, *TINY)
    manifest = Path("results/packed/model=tiny-llama/cldr-alpaca.json")
    text = (tmp_path / manifest).read_text()
    (tmp_path / manifest).write_text(text[: len(text) // 2])
    cell = "model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0"
    trained = tmp_path / f"results/models/{cell}/train.json"
    record = trained.read_text()
    (tmp_path / "results/tables/table1.csv").unlink()  # something to do
    done = workflow.run("all_tables", check=False)
    assert done.returncode
    assert re.search(f"error: {manifest}: not readable as JSON .*; delete it and run again", done.stderr)
    assert trained.read_text() == record
    (tmp_path / manifest).unlink()
    workflow.run(str(manifest))
    assert not {"train", "score"} & set(workflow.plan("all_tables"))


def test_a_quiet_run_names_what_failed(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    scores = next((tmp_path / "results/scores").rglob("low.parquet"))
    scores.write_bytes(scores.read_bytes()[:-100])
    done = Workflow(tmp_path, *TINY).run("all_tables", "--quiet", "all", check=False)
    assert done.returncode
    message = rf"results/logs/metrics/.*\.log: error: {scores.relative_to(tmp_path)}: .*; delete it and run again"
    assert re.search(message, done.stderr)


def test_with_one_learning_rate_the_selected_cells_are_all(finished):
    assert finished.plan("all", settings={"scoring": {"cells": "selected"}}) == {}


def test_only_selected_cells_are_scored_and_the_rest_later(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    for folder in ("scores", "metrics"):
        shutil.rmtree(tmp_path / "results" / folder)
    workflow = Workflow(tmp_path, *TINY)
    every = {"grid": {"lr": ["1e-3", "2e-3"]}}
    selected = {**every, "scoring": {"cells": "selected"}}
    figure = "results/figs/reliability_yo.svg"

    workflow.run("all_tables", figure, settings=selected)
    chosen = read_selection(tmp_path / "results/selection.parquet")
    wanted = {Cell("tiny-llama"), *(cell for arm in chosen.values() for cell in arm)}
    assert len(wanted) == 3
    assert cells([str(path) for path in (tmp_path / "results/scores").rglob("low.parquet")]) == wanted
    assert workflow.plan("all_tables", figure, settings=selected) == {}

    plan = workflow.plan("all_tables", settings=every)
    missing = plan.pop("score")
    assert len(missing) == 2
    assert not cells(missing) & wanted
    assert cells(plan.pop("metrics")) == cells(missing)
    assert set(plan) <= CHEAP_AND_JOINT - {"select"}

    workflow.run(*missing, settings=every)
    assert workflow.plan("all_tables", figure, settings=selected) == {}


def test_post_hoc_calibration_is_of_the_base_models_and_selected_cells(finished):
    cells_there = cells([str(path) for path in (finished.folder / "results/posthoc").rglob("posthoc.parquet")])
    chosen = read_selection(finished.folder / "results/selection.parquet")
    assert cells_there == {Cell("tiny-llama"), *(cell for arm in chosen.values() for cell in arm)}
    plain = finished.plan("results/tables/posthoc.csv", settings={"evaluation": {"smoothing": [0.0], "n_bins": 12}})
    assert {cell.smoothing for cell in cells(plain["posthoc"])} == {"none", "0.0"}  # of those that tables compare


def test_content_free_prompts_are_scored_beside_the_questions(finished, tmp_path):
    settings = {"scoring": {"content_free": ["N/A", "[MASK]"]}}
    plan = finished.plan("all", settings=settings)
    assert {path.split("/")[3] for path in plan.pop("content_free")} == {"cldr4+content_free"}
    scored = plan.pop("score")
    assert len(scored) == 3
    assert {path.split("/")[2] for path in scored} == {"benchmark=cldr4+content_free"}
    assert {path.split("/")[3] for path in plan.pop("tokenize")} == {"benchmark=cldr4+content_free"}
    assert cells(plan.pop("posthoc")) == cells(scored)
    assert set(plan) <= {"posthoc_table", "temperature_transfer", "all", "all_tables", "all_figures"}
    few = finished.plan("results/tables/posthoc.csv", settings={"scoring": {"content_free": ["N/A"], "shots": 2}})
    assert {Path(path).parts[3] for path in few["prepare_examples"]} == {"cldr4"}

    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    workflow = Workflow(tmp_path, *TINY)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results/scores").rglob("*.parquet")}
    workflow.run("results/tables/posthoc.csv", settings=settings)
    assert workflow.plan("results/tables/posthoc.csv", settings=settings) == {}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    rows = pl.read_csv(tmp_path / "results/tables/posthoc.csv", schema_overrides={"smoothing": pl.String})
    assert set(rows.filter(calibration="contextual")["confidence_method"]) == {"choice"}
    scores = pl.read_parquet(tmp_path / scored[0], hive_partitioning=False)
    assert set(scores["question_id"]) == {"N/A, 4 options", "[MASK], 4 options"}


def test_content_free_prompts_are_asked_for_by_the_configuration_alone(finished):
    done = finished.run("results/data/benchmarks/cldr4+content_free/yo.parquet", "--dry-run", check=False)
    assert done.returncode
    assert "scoring.content_free: empty; list texts that say nothing" in done.stdout + done.stderr


def test_what_a_device_takes_at_once_trains_nothing_again(finished):
    settings = {
        "device": {
            "train_tokens": 512,
            "score_tokens": 512,
            "activation_checkpointing": True,
            "checkpoint_minutes": 1,
        },
        "models": {"tiny-llama": {"gpus": 4, "nodes": 2}},
    }
    assert finished.plan("all", settings=settings) == {}


def test_a_larger_tolerance_of_rejected_rows_trains_nothing_again(finished):
    assert finished.plan("all", settings={"data": {"max_rejected_share": 0.5}}) == {}


def test_a_changed_hyperparameter_trains_again(finished):
    plan = finished.plan("all_tables", settings={"training": {"epochs": 2}})
    assert len(plan["train"]) == 2 * 2
    assert "pretrain" not in plan
    assert "pack" not in plan
    assert cells(plan["score"]) == {Cell("tiny-llama", "cldr-alpaca", s, "1e-3", "0") for s in ("0.0", "0.1")}
