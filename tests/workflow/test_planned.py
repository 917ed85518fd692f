"""What an empty folder plans, and what is refused before anything runs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.workflow import ROOT, TINY, Workflow, cells


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


def test_an_audit_of_a_grid_trains_and_scores_nothing(tmp_path):
    plan = Workflow(tmp_path).plan("audit")
    assert set(plan) == {"base_model", "prepare_benchmark", "tokenize", "audit_model"}
