"""The program that trains a cell, as a process, in a folder of its own."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train_cell as program
from calgrid.cell import Cell
from calgrid.errors import UserError
from support.training import pack, prepared

SCRIPTS = Path(program.__file__).parent
CELL = Cell("tiny", "made-up", "0.1", "1e-3", "0").path
WORDS = ["one", "the first", "A. B. C. D.", "which one? the first of them", "of"]


@contextmanager
def as_a_process(log: Path) -> Iterator[None]:
    """One thread, messages in a file, and the signal handlers of before afterwards: as `Training.start` has it."""
    threads, root = torch.get_num_threads(), logging.getLogger()
    level, handlers = root.level, {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    into = logging.FileHandler(log, mode="w")
    root.addHandler(into)
    root.setLevel(logging.INFO)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        root.setLevel(level)
        root.removeHandler(into)
        into.close()
        for name, handler in handlers.items():
            signal.signal(name, handler)


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
        """To its end: by a launcher as processes, without one in this process, which has imported all that it needs."""
        if launched:
            assert self.end(self.start(*launched)) == 0, self.log
        else:
            with as_a_process(self.folder / "log"):
                program.main(self.flags)
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


def same(one: Training, other: Training) -> bool:
    weights = other.weights
    return (
        one.record["curve"] == other.record["curve"]
        and one.record["validation"] == other.record["validation"]
        and all(torch.equal(values, weights[name]) for name, values in one.weights.items())
    )


def refused(training: Training, message: str) -> None:
    with pytest.raises(UserError, match=message):
        program.main(training.flags)


def pack_answers(base: Path, folder: Path) -> Path:
    """Sixty short conversations, packed for a model."""
    answers = [f"{WORDS[i % 5]} {WORDS[i % 3]} {i}" for i in range(60)]
    return pack(base, prepared(folder / "data.parquet", answers, validation=4))
