"""What a change of a finished grid runs, and nothing else."""

import shutil
import time
from pathlib import Path

import polars as pl
import pytest

from calgrid.cell import Cell
from calgrid.store.files import read_provenance
from calgrid.store.selection import read_selection
from support.workflow import TINY, Workflow, cells, checkout

CHEAP_AND_JOINT = {  # read all cells
    *("select", "significance", "overall_tables", "all_tables", "language_tables_cldr4", "tables_page"),
    *("posthoc", "posthoc_table", "change_rates", "reproduction"),
}


def test_nothing_is_done_twice(finished):
    assert finished.plan("all") == {}


def test_a_touched_file_plans_nothing(copied, tmp_path_factory):
    """Touched results, and a fresh checkout of the scripts."""
    now = time.time()
    for path in (copied.folder / "results").rglob("*"):
        if path.is_file() and ".snakemake" not in path.name:
            path.touch()
    assert time.time() - now < 60
    assert copied.plan("all") == {}
    elsewhere = Workflow(copied.folder, *TINY, root=checkout(tmp_path_factory.mktemp("checkout")))
    for path in elsewhere.root.rglob("*"):
        path.touch()
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


def test_a_prompt_that_was_tried_leaves_the_scores_of_another_one_alone(copied):
    """A hostile one, with quotes, blanks and a command: the tokens' provenance has it as it is, and nothing was run."""
    prompt = "{question}\n\"$(touch ran)\" 'x' `touch ran`; touch ran && {answer_word}:"
    copied.run("audit", settings={"scoring": {"prompt": prompt}})
    made_by = [read_provenance(path) for path in (copied.folder / "results/tokens").rglob("low.parquet")]
    assert prompt in [record["prompting"]["prompt"] for record in made_by]
    assert not (copied.folder / "ran").exists()
    # The audit is of the prompt that is configured again; what is cheap may follow it.
    assert set(copied.plan("all_tables")) <= CHEAP_AND_JOINT | {"audit_model", "metrics"}


def test_with_one_learning_rate_the_selected_cells_are_all(finished):
    assert finished.plan("all", settings={"scoring": {"cells": "selected"}}) == {}


def test_only_selected_cells_are_scored_and_the_rest_later(copied, tmp_path):
    for folder in ("scores", "metrics"):
        shutil.rmtree(tmp_path / "results" / folder)
    every = {"grid": {"lr": ["1e-3", "2e-3"], "smoothing": [0.0]}, "evaluation": {"smoothing": [0.0]}}
    selected = {**every, "scoring": {"cells": "selected"}}
    wanted_files = ("results/significance/cldr4.parquet", "results/figs/reliability_yo.svg")

    copied.run(*wanted_files, settings=selected)
    chosen = read_selection(tmp_path / "results/selection.parquet")
    wanted = {Cell("tiny-llama"), *(cell for arm in chosen.values() for cell in arm)}
    assert len(wanted) == 2
    assert cells([str(path) for path in (tmp_path / "results/scores").rglob("low.parquet")]) == wanted
    assert copied.plan(*wanted_files, settings=selected) == {}

    plan = copied.plan("all_tables", settings=every)
    missing = plan.pop("score")
    assert len(missing) == 1
    assert not cells(missing) & wanted
    assert cells(plan.pop("metrics")) == cells(missing)
    assert set(plan) <= CHEAP_AND_JOINT - {"select"}

    copied.run(*missing, settings=every)
    assert copied.plan(*wanted_files, settings=selected) == {}


def test_content_free_prompts_are_scored_beside_the_questions(finished, copied, tmp_path):
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

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results/scores").rglob("*.parquet")}
    plain = {**settings, "grid": {"smoothing": [0.0]}, "evaluation": {"smoothing": [0.0]}}
    copied.run("results/tables/posthoc.csv", settings=plain)
    assert copied.plan("results/tables/posthoc.csv", settings=plain) == {}
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
