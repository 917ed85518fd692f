"""How large models and data are: said by the configuration, or counted once they are there."""

import json

from calgrid.config.check import load
from calgrid.models.shape import Shape, Work
from calgrid.plan.costs import Costs
from calgrid.plan.sizes import Sizes
from support.plan import CELL, job, small


def test_limits_of_the_configuration_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = small(training={"max_length": 64})
    raw["sft_datasets"]["tulu3"]["max_rows"] = 200
    raw["benchmarks"]["global_mmlu"]["max_questions"] = 7
    sizes = Sizes(load(raw), {})
    assert sizes.rows("tulu3") == 200
    assert sizes.training("m", "tulu3")["train"].tokens == 180 * 64
    assert sizes.questions("global_mmlu", "en") == 7
    assert not sizes.unknown


def test_a_models_own_shape_counts_once_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = {
        **{"model_type": "llama", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128},
        **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    }
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(shape))
    raw = small()
    raw["models"]["m"] = {"path": "model", "parameters": 1e9}
    sizes = Sizes(load(raw), {})
    parameters = 2 * 1000 * 64 + 2 * (64 * (64 + 2 * 32 + 64 + 3 * 128) + 2 * 64) + 64
    assert sizes.parameters("m") == parameters
    assert sizes.unknown == {
        "models.m.parameters": "models.m.parameters: 1e+09, but its config.json makes "
        f"{parameters:.3g}, which counts; correct it"
    }
    work = Work(tokens=10, pairs=55, heads=3)
    assert sizes.forward("m", work) == work.flops(Shape.of_config(shape))
    (tmp_path / "model/config.json").write_text("{")
    assert Sizes(load(raw), {}).parameters("m") == 1e9


def test_what_nobody_says_is_named_and_counts_as_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = small()
    del raw["models"]["m"]["parameters"]
    del raw["sft_datasets"]["tulu3"]["conversations"]
    sizes = Sizes(load(raw), {})
    assert Costs(sizes.config, sizes).of(job("train", **CELL)).flops == 0
    assert list(sizes.unknown.values()) == [
        f"{field}: not given, so that its cost counts as none; add it, or prepare the data"
        for field in ("sft_datasets.tulu3.conversations", "models.m.parameters")
    ]
