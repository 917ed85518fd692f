"""The program that trains a cell: what it refuses."""

import json
from collections import namedtuple

import pytest
import torch
from transformers import AutoModelForCausalLM

import train_cell as program
from calgrid.errors import UserError
from calgrid.store import files
from support.training import prepared
from support.training_job import CELL, Training, refused


def test_conversations_of_another_model_are_refused(base, packed, tmp_path):
    other = tmp_path / "base.json"
    files.write_json(other, {**files.read_json(base), "content_hash": "other"})
    refused(Training(tmp_path, other, packed), r"packed.parquet: not packed for the model of .*base.json")


def test_conversations_made_otherwise_are_refused(base, packed, tmp_path):
    refused(
        Training(tmp_path, base, packed, "--max-length", "99"),
        r"packed.parquet: made with --max-length 2048, not 99; pack it",
    )


def test_too_little_memory_is_named_with_the_gpus_that_do(base, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "available_memory", lambda _: 2.0**20)
    refused(
        Training(tmp_path, base, packed),
        rf"model '{CELL}': training takes about 1 GiB on each of 1 device\(s\), which have 0 GiB .* 1 of 24 GiB",
    )


def test_too_little_disk_is_named_before_anything_is_computed(base, packed, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("calgrid.training.checkpoints.shutil.disk_usage", lambda _: usage(10, 9, 1))
    refused(Training(tmp_path, base, packed), r"this disk has 1 MiB free, and the training writes up to 1 MiB")


def test_pickled_weights_are_not_read(base, packed, tmp_path):
    record = json.loads(base.read_text())
    folder = tmp_path / "pickled"
    AutoModelForCausalLM.from_pretrained(record["weights"]["path"]).config.save_pretrained(folder)
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"weights can't be loaded .*it takes safetensors"):
        program.load_model({"pretrained_model_name_or_path": folder}, "auto")


def test_code_of_a_model_folder_is_not_run(base, tmp_path):
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "new", "auto_map": {"AutoConfig": "evil.Evil"}}))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(UserError, match="can't be loaded"):
        program.load_config({"pretrained_model_name_or_path": str(folder)})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--smoothing", "2"), r"--smoothing 2.0: label smoothing lies in \[0, 1\)"),
        (("--lr", "-1"), r"--lr -1.0: a learning rate is a positive number"),
        (("--train-tokens", "0"), r"--train-tokens 0: a row has at least one token"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_read(base, packed, tmp_path, flags, message):
    refused(Training(tmp_path, base, packed, *flags), message)


def test_another_file_than_a_packed_one_is_named(base, tmp_path):
    data = prepared(tmp_path / "data.parquet", ["one", "two"])
    refused(Training(tmp_path, base, data), r"data.parquet: not written by pack_conversations.py; give results/packed/")
