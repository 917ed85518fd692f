"""What the benchmark of the stages after scoring measures with: memory of many processes, limits, rules, scores."""

import os
import sys
from dataclasses import replace

import polars as pl
import pytest

import measuring
import processes
from after_scoring import SyntheticGrid, Workflow
from calgrid.cell import Cell
from calgrid.config import grid
from calgrid.store import paths
from figures import Figure, table
from synthetic_scores import GLOBAL_MMLU

MIB = 2**20
HOLD = "import time; held = bytearray({} * 2**20); time.sleep({})"
TWO = (
    "import subprocess, sys\n"
    f"both = [subprocess.Popen([sys.executable, '-c', {HOLD.format(80, 1.5)!r}]) for _ in range(2)]\n"
    "sys.exit(max(process.wait() for process in both))"
)


def test_memory_is_summed_over_what_a_process_starts(tmp_path):
    cost = processes.together([sys.executable, "-c", TWO], tmp_path, os.environ, tmp_path / "log", every=0.05)
    assert 160 * MIB < cost.bytes < 260 * MIB
    assert cost.seconds >= 1.5


def test_memory_of_one_process_is_not_that_of_the_one_that_started_it(tmp_path):
    held = bytearray(b"1") * (300 * MIB)
    cost = processes.alone([sys.executable, "-c", HOLD.format(80, 0)], tmp_path, os.environ)
    assert 80 * MIB < cost.bytes < 160 * MIB
    assert cost.cpu > 0
    assert len(held) == 300 * MIB


def test_a_failed_process_is_no_measurement(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    with pytest.raises(RuntimeError, match="status 1"):
        processes.alone(command, tmp_path, os.environ)
    with pytest.raises(RuntimeError, match="no such thing"):
        processes.together(command, tmp_path, os.environ, tmp_path / "log")


def test_a_smaller_grid_has_its_share_of_the_time():
    assert measuring.time_limit(111) == 30 * 60
    assert measuring.time_limit(37) == 10 * 60 + measuring.START_SECONDS
    assert measuring.time_limit(110) < measuring.time_limit(111) + measuring.START_SECONDS


def test_a_line_that_is_not_measured_falls_not_short():
    figure = Figure("demo", float("nan"), ours="not measured")
    assert figure.met
    assert "nan" not in table([figure], "peer")


def test_only_rules_after_scoring_are_allowed(tmp_path):
    allowed = set(Workflow(tmp_path).allowed)
    assert {"metrics", "select", "significance", "overall_tables", "language_tables_global_mmlu"} <= allowed
    assert not allowed & {"score", "tokenize", "train", "train_on_nodes", "prepare_benchmark", "prepare_examples"}


def test_a_synthetic_grid_is_measured_by_the_workflows_own_command(tmp_path):
    small = replace(GLOBAL_MMLU, n_questions=12)
    settings = {"models": ["gemma2-2b"], "sft_datasets": ["tulu3"], "smoothing": [0.0, 0.1], "lr": [1e-5]}
    made = SyntheticGrid(tmp_path, {small.name: small}, settings)
    base = Cell("gemma2-2b")
    made.write(1, cells=[base])
    target = paths.metrics(small.name, base.path)
    costs = made.workflow(2).program(target, 2)
    assert len(costs) == 2
    rows = pl.read_parquet(tmp_path / target, hive_partitioning=False)
    assert rows.filter(grouping="pooled")["n_questions"].unique().to_list() == [12 * len(small.languages)]
    with pytest.raises(LookupError, match="score"):
        made.workflow(2).program(paths.metrics(small.name, grid.tuned_cells(made.config)[0].path), 1)
