"""Trainings as processes: what they write, and that no blow loses anything."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.training_job import CELL, SCRIPTS, Training, refused, same


@pytest.fixture(scope="module")
def whole(base, packed, tmp_path_factory):
    """An uninterrupted training."""
    return Training(tmp_path_factory.mktemp("whole"), base, packed, "--checkpoint-minutes", "60").run()


def test_the_model_is_an_ordinary_folder(whole):
    folder = whole.cell / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert {weights.dtype for weights in model.parameters()} == {torch.bfloat16}
    assert model.config.attention_dropout == 0.0
    assert model.generation_config.eos_token_id == 2
    tokenizer = AutoTokenizer.from_pretrained(folder)
    written = tokenizer.apply_chat_template([{"role": "user", "content": "which?"}], add_generation_prompt=True)
    assert tokenizer.decode(written["input_ids"]).endswith("<|assistant|>\n")
    assert model.generate(torch.tensor([written["input_ids"]]), max_new_tokens=2).shape[1] > len(written["input_ids"])
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["smoothing"] == 0.1
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".jinja", ".safetensors"}


def test_the_record(whole):
    record = whole.record
    assert len(record["curve"]) == record["steps"] == 2 * 14
    assert set(record["curve"][0]) == {"lr", "loss", "nll", "grad_norm"}
    assert record["curve"][-1]["nll"] < record["curve"][0]["nll"]
    assert record["validation_loss"] == record["validation"][-1]["loss"]
    assert [epoch["step"] for epoch in record["validation"]] == [14, 28]
    assert 0 < record["fill"] <= 1
    assert record["processes"] == 1
    assert record["settings"]["beta2"] == 0.999
    assert not (whole.folder / "checkpoints").exists()


def test_the_log_says_how_it_goes(whole):
    line = r"step 28/28  loss \d+\.\d{4}  \d+ tokens/s, \d+ of them supervised, \d+ % of the products' rate"
    assert re.search(line, whole.log)


def test_kill_9_loses_nothing(base, packed, whole, tmp_path):
    training = Training(tmp_path, base, packed)
    assert training.strike(signal.SIGKILL, 9) == -signal.SIGKILL
    training.run()
    assert re.search(r"going on after step (9|1\d)", training.log)
    assert same(training, whole)
    assert not (tmp_path / "checkpoints").exists()


def test_sigterm_writes_a_checkpoint_and_asks_for_another_try(base, packed, whole, tmp_path):
    training = Training(tmp_path, base, packed)
    assert training.strike(signal.SIGTERM, 5) == 75
    assert re.search(rf"error: {CELL}: asked to stop after step \d+ of 28; a checkpoint is written", training.log)
    assert len(list((tmp_path / "checkpoints").rglob("state.json"))) == 1
    assert same(training.run(), whole)


def test_ctrl_c_writes_a_checkpoint(base, packed, tmp_path):
    training = Training(tmp_path, base, packed)
    assert training.strike(signal.SIGINT, 5) == 75
    assert "Traceback" not in training.log
    assert len(list((tmp_path / "checkpoints").rglob("state.json"))) == 1


@pytest.fixture
def two(base, packed, tmp_path):
    return Training(tmp_path, base, packed, "--activation-checkpointing", "1", "--dropout", "0")


def test_two_processes_stop_at_sigterm_and_one_goes_on(two):
    assert two.strike(signal.SIGTERM, 5, *two.launcher("--gpus", "2")) == 75
    assert len(list((two.folder / "checkpoints").rglob("*.distcp"))) == 2
    two.run()
    assert re.search(r"going on after step \d+", two.log)
    assert two.record["steps"] == 28


def test_two_machines_meet_and_give_the_curve_of_one(base, packed, two, monkeypatch, tmp_path, tmp_path_factory):
    """Slurm's commands played by the shell: srun starts the launcher once a node."""
    for name, script in {
        "squeue": "echo node[1-2]",
        "scontrol": "echo 127.0.0.1",
        "srun": 'shift 9\nSLURM_NODEID=1 "$@" &\nSLURM_NODEID=0 "$@"\nstatus=$?\nwait && exit $status',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    two.run(*two.launcher("--gpus", "2", "--nodes", "2"))
    off = ("--activation-checkpointing", "0", "--dropout", "0")
    one = Training(tmp_path_factory.mktemp("one"), base, packed, *off).run()
    assert (two.record["processes"], one.record["processes"]) == (2, 1)
    for ours, theirs in zip(two.record["curve"], one.record["curve"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    assert two.record["validation_loss"] == pytest.approx(one.record["validation_loss"], abs=1e-4)
    for name, values in two.weights.items():
        assert torch.allclose(values.float(), one.weights[name].float(), atol=0.01), name


def test_a_second_copy_takes_the_result_of_the_first(base, packed, tmp_path):
    """As when Snakemake was killed, and its next start runs the job again while the first one still computes it."""
    one = Training(tmp_path, base, packed)
    first = one.start(*one.launcher())
    while "checkpoint after step 5\n" not in one.log:
        assert first.poll() is None, one.log
        time.sleep(0.02)
    second = Training(tmp_path, base, packed)
    second_log = tmp_path / "second.log"
    running = subprocess.Popen(
        [sys.executable, *second.launcher(), str(SCRIPTS / "train_cell.py"), *second.flags], stderr=second_log.open("w")
    )
    assert one.end(first) == one.end(running) == 0
    assert "is computing train.json already; waiting for it" in second_log.read_text()
    assert "computed by that process; nothing left to do" in second_log.read_text()
    assert one.record["steps"] == 28
    assert one.log.count("checkpoint after step") == 27 + 1
    assert not list(tmp_path.rglob(".running-*"))


def test_a_full_disk_at_the_end_loses_no_training(base, packed, whole, tmp_path, monkeypatch):
    training = Training(tmp_path, base, packed)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", full)
        refused(training, r"model: the tuned model can't be written \(.*No space left on device\); free space and run")
    assert len(list((tmp_path / "checkpoints").rglob("step-000000028/state.json"))) == 1
    training.run()
    assert "going on after step 28" in training.log
    assert training.record["validation_loss"] == pytest.approx(whole.record["validation_loss"], abs=1e-4)


def test_others_may_read_the_model(whole):
    umask = os.umask(0)
    os.umask(umask)
    for path in (whole.cell / "model").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path
