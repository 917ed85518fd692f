"""The program that trains a cell: what it writes, what it refuses, and that no blow loses anything."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import launch_training as launch_program
import train_cell as program
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.store import files
from calgrid.training import launch
from support.training import pack, prepared

SCRIPTS = Path(program.__file__).parent
CELL = Cell("tiny", "made-up", "0.1", "1e-3", "0").path
WORDS = ["one", "the first", "A. B. C. D.", "which one? the first of them", "of"]


@pytest.fixture(scope="module")
def packed(base, tmp_path_factory):
    answers = [f"{WORDS[i % 5]} {WORDS[i % 3]} {i}" for i in range(60)]
    return pack(base, prepared(tmp_path_factory.mktemp("data") / "data.parquet", answers, validation=4))


class Training:
    """One training in a folder of its own."""

    def __init__(self, folder: Path, base: Path, packed: Path, *flags: str) -> None:
        self.folder = folder
        self.cell = folder / "models" / CELL
        self.flags = [
            *("--base", str(base), "--conversations", str(packed), "--smoothing", "0.1", "--lr", "1e-3", "--seed", "0"),
            *("--batch-size", "4", "--train-tokens", "128", "--checkpoint-minutes", "0"),
            *("--checkpoints", str(folder / "checkpoints"), "--weights", str(self.cell / "model")),
            *("--record", str(self.cell / "train.json"), *flags),
        ]

    def start(self, *launched: str) -> subprocess.Popen:
        command = [sys.executable, *launched, str(SCRIPTS / "train_cell.py"), *self.flags]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log = (self.folder / "log").open("w")
        return subprocess.Popen(command, stderr=log, stdout=log, env=environment, start_new_session=True)

    def launcher(self, *flags: str) -> list[str]:
        return [str(SCRIPTS / "launch_training.py"), *flags, "--result", str(self.cell / "train.json"), "--"]

    def run(self, *launched: str) -> "Training":
        assert self.end(self.start(*launched)) == 0, self.log
        return self

    def end(self, running: subprocess.Popen) -> int:
        try:
            return running.wait(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            raise AssertionError(self.log) from None

    def strike(self, blow: signal.Signals, step: int, *launched: str) -> int:
        """Start, send a signal to the whole group once `step` steps have a checkpoint; returns the exit status."""
        running = self.start(*launched)
        deadline = time.monotonic() + 120
        while f"checkpoint after step {step}\n" not in self.log:
            assert time.monotonic() < deadline
            assert running.poll() is None, self.log
            time.sleep(0.02)
        os.killpg(running.pid, blow)
        return self.end(running)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def record(self) -> dict:
        return json.loads((self.cell / "train.json").read_text())

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.cell / "model/model.safetensors")


@pytest.fixture(scope="module")
def whole(base, packed, tmp_path_factory):
    """An uninterrupted training."""
    return Training(tmp_path_factory.mktemp("whole"), base, packed, "--checkpoint-minutes", "60").run()


def same(one: Training, other: Training) -> bool:
    weights = other.weights
    return (
        one.record["curve"] == other.record["curve"]
        and one.record["validation"] == other.record["validation"]
        and all(torch.equal(values, weights[name]) for name, values in one.weights.items())
    )


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


def test_two_processes_give_the_curve_of_one(base, packed, two, tmp_path_factory):
    two.run(*two.launcher("--gpus", "2"))
    off = ("--activation-checkpointing", "0", "--dropout", "0")
    one = Training(tmp_path_factory.mktemp("one"), base, packed, *off).run()
    assert (two.record["processes"], one.record["processes"]) == (2, 1)
    for ours, theirs in zip(two.record["curve"], one.record["curve"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    assert two.record["validation_loss"] == pytest.approx(one.record["validation_loss"], abs=1e-4)
    for name, values in two.weights.items():
        assert torch.allclose(values.float(), one.weights[name].float(), atol=0.01), name


def test_two_processes_stop_at_sigterm_and_one_goes_on(two):
    assert two.strike(signal.SIGTERM, 5, *two.launcher("--gpus", "2")) == 75
    assert len(list((two.folder / "checkpoints").rglob("*.distcp"))) == 2
    two.run()
    assert re.search(r"going on after step \d+", two.log)
    assert two.record["steps"] == 28


def test_two_machines_meet(two, monkeypatch, tmp_path):
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
    assert two.record["processes"] == 2


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


# What is refused


def refused(training: Training, message: str) -> None:
    with pytest.raises(UserError, match=message):
        program.main(training.flags)


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


def test_others_may_read_the_model(whole):
    umask = os.umask(0)
    os.umask(umask)
    for path in (whole.cell / "model").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path


# The launch command


def test_one_gpu_is_started_plainly():
    assert launch.command(["train.py", "--lr", "1e-3"], 1, 1, 8, {}) == [sys.executable, "train.py", "--lr", "1e-3"]


def test_several_gpus_are_started_by_accelerate():
    command = launch.command(["train.py"], 4, 1, 8, {})
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert command[command.index("--num_processes") + 1] == "4"
    assert command[-1] == "train.py"


def test_several_machines_are_started_by_slurm(monkeypatch):
    monkeypatch.setattr(launch, "first_host", lambda job: f"gpu-of-{job}")
    command = launch.command(["train.py"], 16, 2, 8, {"SLURM_JOB_ID": "123456"})
    assert command[:8] == ["srun", "--overlap", "--nodes", "2", "--ntasks", "2", "--ntasks-per-node", "1"]
    assert command[command.index("--num_machines") + 1] == "2"
    assert command[command.index("--main_process_ip") + 1] == "gpu-of-123456"
    assert command[command.index("--cpus-per-task") + 1] == "8"


@pytest.mark.parametrize(("gpus", "nodes"), [(0, 1), (-1, 1), (1, 2), (3, 2), (2, 0)])
def test_numbers_of_gpus_and_machines_must_go_together(gpus, nodes):
    with pytest.raises(UserError, match=f"--gpus {gpus} --nodes {nodes}: give at least one of each, and as many GPUs"):
        launch.command(["train.py"], gpus, nodes, 8, {"SLURM_JOB_ID": "1"})


def test_several_machines_need_slurm(capsys):
    with pytest.raises(UserError, match=r"--nodes 2: several machines need a job of Slurm; set models.<name>.nodes: 1"):
        launch_program.main(["--gpus", "2", "--nodes", "2", "--result", "train.json", "--", "train.py"])
