"""Real rows through the whole workflow, small: `tests/config/real-sample.yaml` with less of everything."""

import polars as pl
import pytest
import yaml
from datasets import load_dataset

from support.workflow import ROOT, Workflow

CONFIG = ROOT / "tests/config/real-sample.yaml"


def absolute(value, shared):
    """The configuration with `../shared/data` as an absolute path, since the test runs in a folder of its own."""
    if isinstance(value, dict):
        return {key: absolute(item, shared) for key, item in value.items()}
    return value.replace("../shared/data", str(shared)) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    workflow = Workflow(tmp_path_factory.mktemp("real"))
    settings = absolute(yaml.safe_load(CONFIG.read_text()), shared_data)
    settings["models"]["tiny-llama-real"]["pretrain"]["steps"] = 2
    settings["benchmarks"]["global_mmlu_dev"]["languages"] = ["yo"]
    settings["benchmarks"]["mmlu_prox_lite"]["max_questions"] = 60
    settings["sft_datasets"]["sharegpt-sample"]["max_rows"] = 64
    settings["grid"] |= {"models": ["tiny-llama-real"], "sft_datasets": ["sharegpt-sample"]}
    settings["training"] |= {"epochs": 1, "max_length": 256}
    settings["evaluation"] |= {
        "headline_sft_datasets": ["sharegpt-sample"],
        "table1_sft_datasets": ["sharegpt-sample"],
    }
    workflow.run("results/tables/table1.tex", "results/figs/reliability_yo.svg", settings=settings)
    return workflow.folder / "results"


def test_every_question_of_the_source_is_in_the_scores_once(real, shared_data):
    source = load_dataset(str(shared_data / "hub/CohereLabs/Global-MMLU"), "yo", split="dev").to_polars()
    files = sorted((real / "scores/benchmark=global_mmlu_dev").rglob("*.parquet"))
    assert len(files) == 3  # base, and two smoothings
    for file in files:
        scores = pl.read_parquet(file, hive_partitioning=False)
        assert sorted(scores["question_id"]) == sorted(source["sample_id"])
        joined = scores.join(source, left_on="question_id", right_on="sample_id", validate="1:1")
        assert (joined["answer"] == joined["answer_right"].replace_strict({"A": 0, "B": 1, "C": 2, "D": 3})).all()
        assert (joined["subject"] == joined["subject_right"]).all()
        assert (scores["n_options"] == 4).all()


def test_the_questions_taken_of_a_larger_benchmark_are_scored_once(real):
    for file in (real / "scores/benchmark=mmlu_prox_lite").rglob("*.parquet"):
        scores = pl.read_parquet(file, hive_partitioning=False)
        prepared = pl.read_parquet(real / "data/benchmarks/mmlu_prox_lite/en.parquet")
        assert len(scores) == 60
        assert sorted(scores["question_id"]) == sorted(prepared["question_id"])
        joined = scores.join(prepared, on="question_id", validate="1:1")
        assert (joined["n_options"] == joined["options"].list.len()).all()
        assert joined["n_options"].n_unique() > 1


def test_table_and_figure_are_there(real):
    assert "tiny-llama-real" in (real / "tables/table1.tex").read_text()
    assert "Yoruba (yo)" in (real / "figs/reliability_yo.svg").read_text()


def test_what_was_refused_is_counted(real):
    manifest = yaml.safe_load((real / "data/sft/alpaca-sample.json").read_text())
    assert manifest["rows"] + sum(manifest["rejected"].values()) == 300
