"""A base model is checked before any GPU hour is spent."""

import json

import pytest
import torch
from transformers import GPT2Config

import fetch_base_model as program
from calgrid.errors import UserError
from calgrid.models.loading import load_model
from calgrid.models.reading import load_config, weights_of
from support.models import ARCHITECTURES, save_tiny


def record_of(tmp_path, folder):
    program.main(["--path", str(folder), "--output", str(tmp_path / "base.json")])
    return json.loads((tmp_path / "base.json").read_text())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_record_says_what_the_model_is(tmp_path, architecture):
    folder = save_tiny(tmp_path / "model", architecture)
    record = record_of(tmp_path, folder)
    assert record["weights"] == {"path": str(folder)}
    assert record["model_type"] == architecture
    assert record["bos_token"] == "<s>"
    assert record["max_position_embeddings"] == 512
    model = load_model(weights_of(tmp_path / "base.json"), torch.float32, attention_dropout=0.25)
    assert model.config._attn_implementation == ("eager" if architecture == "gemma2" else "sdpa")
    assert model.model.layers[0].self_attn.attention_dropout == 0.25
    assert not model.training


def test_changed_weights_change_the_record(tmp_path):
    folder = save_tiny(tmp_path / "model", "llama")
    before = record_of(tmp_path, folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed = record_of(tmp_path, folder)
    assert changed["content_hash"] != before["content_hash"]
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert record_of(tmp_path, folder)["content_hash"] != changed["content_hash"]


def test_an_architecture_that_is_not_supported_is_refused(tmp_path):
    GPT2Config().save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="model_type 'gpt2' is not one of gemma2, llama, mistral"):
        record_of(tmp_path, tmp_path / "model")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="configuration can't be loaded"):
        record_of(tmp_path, tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    folder = save_tiny(tmp_path / "model", "llama")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no \*\.safetensors file; convert the model, pickled weights are not read"):
        record_of(tmp_path, folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path):
    folder = save_tiny(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    with pytest.raises(UserError, match=r"the tokenizer has \d+ tokens, but config.json says vocab_size 100"):
        record_of(tmp_path, folder)


def test_a_hub_model_that_cannot_be_had_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = r"model 'no-such/model': its configuration can't be loaded .*hf auth login"
    with pytest.raises(UserError, match=message):
        program.main(["--hub", "no-such/model", "--output", str(tmp_path / "base.json")])


def test_lost_weights_are_named(tmp_path):
    record = tmp_path / "train.json"
    record.write_text(json.dumps({"weights": {"path": str(tmp_path / "model")}}))
    with pytest.raises(UserError, match=r"weights\.path .* holds no config.json; delete .*train.json"):
        weights_of(record)


def test_a_hub_record_is_loaded_by_its_commit(tmp_path):
    record = tmp_path / "base.json"
    record.write_text(json.dumps({"weights": {"hub": "a/b", "revision": "c0ffee"}}))
    assert weights_of(record) == {"pretrained_model_name_or_path": "a/b", "revision": "c0ffee"}
    with pytest.raises(UserError, match="'a/b': its configuration can't be loaded"):
        load_config({**weights_of(record), "local_files_only": True})
