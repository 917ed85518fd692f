"""CalGrid as a worker of `training.py`."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from calgrid.models.attention import NAME
from calgrid.models.loading import load_model
from calgrid.training.fine_tune import fine_tune
from calgrid.training.settings import Training
from lines import serve
from material import conversations

where: dict[str, Any] = {"local_files_only": True}  # the model that each call of `train` starts from


def start(model: str, threads: int) -> None:
    torch.set_num_threads(threads)
    where["pretrained_model_name_or_path"] = model


def train(
    tokens: Sequence[Sequence[int]], supervised: Sequence[Sequence[bool]], smoothing: float, train_tokens: int
) -> dict[str, Any]:
    """Seconds of one optimiser step over these conversations, and its loss (smoothed, nats a supervised token)."""
    data = conversations(tokens, supervised)
    settings = Training(epochs=1, batch_size=len(data), warmup_share=0.0, dropout=0.0)
    one = conversations(tokens[:1], supervised[:1])
    model = load_model(where, torch.float32, attention=NAME)
    started = time.perf_counter()
    progress = fine_tune(model, data, one, settings, lr=1e-5, smoothing=smoothing, seed=0, train_tokens=train_tokens)
    return {"seconds": time.perf_counter() - started, "loss": progress.curve[0]["loss"]}


if __name__ == "__main__":
    serve({"start": start, "train": train})
