"""lm-evaluation-harness as a worker of `scoring.py`; runs in the environment of benchmarks/requirements.lock."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lines import memory, serve

models: list[HFLM] = []  # the one loaded


def load(model: str, threads: int) -> None:
    torch.set_num_threads(threads)
    models[:] = [HFLM(pretrained=model, backend="causal", device="cpu", dtype="float32", attn_implementation="sdpa")]


def score(requests: Sequence[tuple[str, str]], batch_size: int) -> dict[str, Any]:
    """Seconds (tokenising and scoring), and the log-likelihood of each (context, continuation)."""
    instances = [Instance("loglikelihood", {}, tuple(request), 0) for request in requests]
    models[0].batch_size_per_gpu = batch_size
    started = time.perf_counter()
    found = models[0].loglikelihood(instances, disable_tqdm=True)
    return {"seconds": time.perf_counter() - started, "sums": [total for total, _ in found]}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    serve({"load": load, "score": score, "memory": memory})
