"""Scoring's use of a GPU: needed FLOPs a second over the rate of a plain matrix product in the same run.

Without a GPU a toy shape runs on the CPU, so that this code is exercised.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PreTrainedModel

from calgrid.modeling import device
from calgrid.prompts import Question
from calgrid.scoring import score_questions
from counts import least

log = logging.getLogger("bench")

REPEATS = 5
BATCH_TOKENS = 16_384  # padded, of a forward pass; as in config/config.yaml
TOY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 32_000,
    "max_position_embeddings": 4096,
}


def available() -> bool:
    return torch.cuda.is_available()


def configs() -> dict[str, Any]:
    """Shapes of published models, whose vocabularies hold the ids of the tokenizer in use; the toys elsewhere."""
    if not available():
        return {"toy Llama": LlamaConfig(**TOY), "toy Gemma2": Gemma2Config(**TOY, head_dim=16)}
    llama = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
    )
    return {"Llama-3.1-8B": llama, "Gemma2-2B": Gemma2Config()}  # its defaults are the 2B model's


def build(config: Any, attention: str) -> PreTrainedModel:
    """Random weights, made where they are used."""
    config.use_cache = False
    dtype = torch.bfloat16 if available() else torch.float32
    with torch.device(device()):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention).eval()


def seconds(work: Callable[[], Any]) -> float:
    """Median of a few runs after one that does not count."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        if available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def product_rate() -> float:
    """FLOPs a second of a square matrix product in the dtype in use."""
    n, dtype = (8192, torch.bfloat16) if available() else (1024, torch.float32)
    a, b = (torch.randn(n, n, device=device(), dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b)


def shares(questions: Sequence[Question]) -> Iterator[tuple[str, float, str]]:
    """For each shape and attention: its name, the share of the matrix-product rate, and the rates in words."""
    for name, config in configs().items():
        auto = "eager" if config.model_type == "gemma2" else "sdpa"
        for attention in (auto, "flex_attention") if available() else (auto,):
            model = build(config, attention)
            list(score_questions(model, questions[:8], BATCH_TOKENS))
            started = time.perf_counter()
            done = sum(1 for _ in score_questions(model, questions, BATCH_TOKENS))
            taken = time.perf_counter() - started
            rate, product = least(questions).flops(config) / taken, product_rate()
            log.info("%s, %s: %d questions in %.1f s", name, attention, done, taken)
            yield f"{name}, {attention}", rate / product, f"{rate / 1e12:.3g} of {product / 1e12:.3g} TFLOP/s"
            del model
