"""docs/extending.md: each recipe's blocks, put into copies of the files that they name, are all that it takes."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from calgrid.measure.bootstrap import BOOTSTRAPPED
from calgrid.measure.metrics import MEANS, METRICS, Metric
from support.data import folder
from support.workflow import ROOT

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SCRIPTS = ROOT / "workflow/scripts"
BLOCK = re.compile(r"^```python\n# workflow/scripts/(\S+): (above|in) ([A-Z_]+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(heading: str) -> list[tuple[str, str, str, str]]:
    """File, place, name and code of the blocks below a heading of the page."""
    section = re.split(r"^## \d+\. ", PAGE, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading + "\n")]
    return BLOCK.findall(text)


def inserted(source: str, place: str, name: str, code: str) -> str:
    """A module with a block above a definition, or as the last entry in it."""
    (statement,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(node).startswith((f"{name} = ", f"{name}: "))
    ]
    lines = source.splitlines(keepends=True)
    at = statement.lineno - 1 if place == "above" else (statement.end_lineno or 0) - 1
    return "".join([*lines[:at], code, *(["\n\n"] if place == "above" else []), *lines[at:]])


@dataclass(frozen=True)
class Extended:
    """A copy of the library with a recipe in it."""

    scripts: Path

    def ask(self, *questions: tuple[Any, ...]) -> list[Any]:
        """The answers of tests/support/extended.py."""
        path = os.pathsep.join([str(self.scripts), str(ROOT / "tests")])
        done = subprocess.run(
            [sys.executable, ROOT / "tests/support/extended.py", json.dumps(questions)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])


def extended(scripts: Path, heading: str, edit: Callable[[str], str] = str) -> Extended:
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    for file, place, name, code in blocks(heading):
        path = scripts / file
        path.write_text(inserted(path.read_text(encoding="utf-8"), place, name, edit(code)), encoding="utf-8")
    return Extended(scripts)


@pytest.mark.parametrize(
    ("heading", "places"),
    [
        ("A metric", ["calgrid/measure/metrics.py: METRICS", "calgrid/measure/definitions.py: DEFINITIONS"]),
        ("A confidence method", ["calgrid/scoring/confidence.py: CONFIDENCE_METHODS"]),
        ("A benchmark layout", ["calgrid/data/benchmark_layouts.py: BENCHMARK_LAYOUTS"]),
        ("An SFT layout", ["calgrid/data/sft_layouts.py: SFT_LAYOUTS"]),
        ("An architecture", ["calgrid/models/architectures.py: ARCHITECTURES"]),
    ],
)
def test_a_recipe_changes_one_place(heading, places):
    assert list(dict.fromkeys(f"{file}: {name}" for file, _, name, _ in blocks(heading))) == places


@pytest.mark.parametrize("heading", ["A metric", "A confidence method", "A benchmark layout", "An SFT layout"])
def test_a_recipe_passes_the_linter(tmp_path, heading):
    extended(tmp_path / "scripts", heading)
    for program in (["ruff", "check"], ["ruff", "format", "--check"]):
        command = [sys.executable, "-m", *program, "--no-cache", "--config", ROOT / "pyproject.toml"]
        done = subprocess.run([*command, tmp_path / "scripts"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_page_has_ten_recipes():
    assert re.findall(r"^## (\d+)\. ", PAGE, re.MULTILINE) == [str(n) for n in range(1, 11)]


def read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, schema_overrides={"smoothing": pl.String, "lr": pl.String}, infer_schema_length=None)


def scores_of(results: Path, smoothing: str) -> pl.DataFrame:
    (path,) = (results / "scores").rglob(f"smoothing={smoothing}/lr=1e-5/**/all.parquet")
    return pl.read_parquet(path)


def measured_of(results: Path, smoothing: str, **wanted: object) -> dict[str, object]:
    (path,) = (results / "metrics").rglob(f"smoothing={smoothing}/lr=1e-5/**/metrics.parquet")
    (row,) = pl.read_parquet(path).filter(n_bins=30, grouping="pooled", **wanted).iter_rows(named=True)
    return row


@pytest.mark.parametrize(("better", "arrow"), [("higher", "uparrow"), ("lower", "downarrow")])
def test_a_metric(tmp_path, better, arrow):
    library = extended(
        tmp_path / "scripts", "A metric", lambda code: code.replace('better="higher"', f'better="{better}"')
    )
    known, unknown, tables = library.ask(
        ("refused", "evaluation/table_metrics", ["accuracy", "top_2"]),
        ("refused", "evaluation/table_metrics", ["accuracy", "top_3"]),
        ("tables", str(tmp_path), "--table-metrics", "top_2", "accuracy"),
    )
    assert known == []
    assert unknown

    scores = scores_of(tmp_path / "results", "0.1")
    log_p = np.array(scores["logprob_sum"].to_list()) / np.array(scores["n_tokens"].to_list())
    right = log_p[np.arange(len(log_p)), scores["answer"].to_numpy()]
    expected = ((log_p > right[:, None]).sum(axis=1) < 2).mean()
    row = measured_of(tmp_path / "results", "0.1", confidence_method="perplexity")
    assert row["top_2"] == pytest.approx(expected, abs=1e-12)

    table = read(Path(tables) / "table1.csv").filter(metric="top_2", aggregation="pooled", sft="tulu3")
    values = dict(table.select("smoothing", "value").iter_rows())
    best = (max if better == "higher" else min)(values, key=lambda smoothing: values[smoothing])
    assert f"{values['0.0']:.3f}" != f"{values['0.1']:.3f}"
    assert table.filter("bold")["smoothing"].to_list() == [best]
    source = (Path(tables) / "table1.tex").read_text()
    assert rf"Top 2\,$\{arrow}$ & Acc.\,$\uparrow$" in source
    assert f"\\textbf{{{values[best]:.3f}}}" in source.replace(r"\textit{", "").replace("}}", "}")
    assert "Top-2 accuracy and accuracy for all languages" in source
    tests = pl.read_parquet(tmp_path / "results/significance/four.parquet").filter(metric="top_2", against="0.0")
    assert {"languages", "questions", "bootstrap"} == set(tests["test"])


def test_a_metric_without_a_better_side_given_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="better"):
        Metric(name="m", head="M", label="m", of="mean")  # type: ignore[call-arg]
    library = extended(tmp_path / "scripts", "A metric", lambda code: code.replace(' better="higher",', ""))
    with pytest.raises(AssertionError, match=r"TypeError: .*missing 1 required keyword-only argument: 'better'"):
        library.ask(("refused", "evaluation/table_metrics", ["accuracy"]))


def test_what_a_record_says_of_its_tests_is_so():
    """A metric that says `bootstrap` has its sums there; another has none."""
    assert set(BOOTSTRAPPED) == {*MEANS, *(name for name, metric in METRICS.items() if metric.tested == "bootstrap")}


def test_a_confidence_method(tmp_path):
    library = extended(tmp_path / "scripts", "A confidence method")
    known, post_hoc, unknown, tables = library.ask(
        ("refused", "evaluation/confidence_method", "root_length"),
        ("refused", "evaluation/posthoc_methods", ["choice", "root_length"]),
        ("refused", "evaluation/confidence_method", "root"),
        ("tables", str(tmp_path), "--confidence-method", "root_length"),
    )
    assert known == post_hoc == []
    assert unknown

    scores = scores_of(tmp_path / "results", "0.1")
    values = np.array(scores["logprob_sum"].to_list()) / np.sqrt(np.array(scores["n_tokens"].to_list()))
    p = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    row = measured_of(tmp_path / "results", "0.1", confidence_method="root_length")
    assert row["confidence"] == pytest.approx(p.max(axis=1).mean(), abs=1e-6)
    table = read(Path(tables) / "table1.csv").filter(metric="confidence", aggregation="pooled", smoothing="0.1")
    assert table["confidence_method"].to_list() == ["root_length"]
    assert table["value"].to_list() == [pytest.approx(row["confidence"], abs=1e-12)]
    assert r"Confidence: root\_length;" in (Path(tables) / "table1.tex").read_text()


def test_a_benchmark_layout(tmp_path):
    library = extended(tmp_path / "scripts", "A benchmark layout")
    rows = [
        {"Question": f"Which is {i}?", "A": f"{i}", "B": "x", "C": "y", "D": "z", "Answer": "A", "Subject": f"s{i % 2}"}
        for i in range(4)
    ]
    source = folder(tmp_path / "rows", rows, "test.jsonl")
    known, unknown, output, options = library.ask(
        ("refused", "benchmarks/global_mmlu/layout", "mmmlu"),
        ("refused", "benchmarks/global_mmlu/layout", "mmmmlu"),
        ("prepare", "prepare_benchmark", "mmmlu", str(source), str(tmp_path / "out.parquet")),
        ("most_options", "mmmlu"),
    )
    assert known == []
    assert unknown
    assert options == 4
    frame = pl.read_parquet(output)
    assert frame.row(3, named=True) == {
        "question_id": "s1/test/1",
        **{"subject": "s1", "category": None, "cultural_sensitivity": None, "question": "Which is 3?"},
        **{"options": ["3", "x", "y", "z"], "answer": 0},
    }
    assert len(frame) == 4


def test_an_sft_layout(tmp_path):
    library = extended(tmp_path / "scripts", "An SFT layout")
    rows = [{"instruction": f"Add {i}.", "context": "To 1." * (i % 2), "response": f"{i + 1}"} for i in range(10)]
    source = folder(tmp_path / "rows", rows)
    known, unknown, output = library.ask(
        ("refused", "sft_datasets/alpaca/layout", "dolly"),
        ("refused", "sft_datasets/alpaca/layout", "polly"),
        ("prepare", "prepare_sft", "dolly", str(source), str(tmp_path / "out.parquet")),
    )
    assert known == []
    assert unknown
    frame = pl.read_parquet(output)
    assert frame["messages"].to_list()[:2] == [
        [{"role": "user", "content": "Add 0."}, {"role": "assistant", "content": "1"}],
        [{"role": "user", "content": "Add 1.\n\nTo 1."}, {"role": "assistant", "content": "2"}],
    ]
    assert frame["split"].value_counts().sort("split").rows() == [("train", 8), ("validation", 2)]


def test_an_architecture(tmp_path):
    library = extended(tmp_path / "scripts", "An architecture")
    known, unknown, distances = library.ask(
        ("refused", "models/tiny", {"pretrain": {"architecture": "qwen3"}}),
        ("refused", "models/tiny", {"pretrain": {"architecture": "qwen"}}),
        ("attends", "qwen3"),
    )
    assert known == []
    assert unknown
    assert max(distances) < 1e-5
