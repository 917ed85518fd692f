"""The use of a GPU by scoring and training: needed FLOPs a second over a plain matrix product's in the same run.

Without a GPU a toy shape runs on the CPU, so that this code is exercised.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PreTrainedModel

from calgrid.models import attention
from calgrid.models.loading import device
from calgrid.scoring.prompts import Question
from calgrid.scoring.score import score_questions
from calgrid.training import sharding
from calgrid.training.fine_tune import Progress, Trainee, accumulate
from calgrid.training.memory import TrainingMemory, available_memory, product_rate
from calgrid.training.packing import Conversations, batch
from counts import least

log = logging.getLogger("bench")

STEPS = 5  # of training that are timed
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


def shares(questions: Sequence[Question]) -> Iterator[tuple[str, float, str]]:
    """For each shape and attention: its name, the share of the matrix-product rate, and the rates in words."""
    for name, config in configs().items():
        auto = "eager" if config.model_type == "gemma2" else "sdpa"
        for path in (auto, "flex_attention") if available() else (auto,):
            model = build(config, path)
            list(score_questions(model, questions[:8], BATCH_TOKENS))
            started = time.perf_counter()
            done = sum(1 for _ in score_questions(model, questions, BATCH_TOKENS))
            taken = time.perf_counter() - started
            rate, product = least(questions).flops(config) / taken, product_rate()
            log.info("%s, %s: %d questions in %.1f s", name, path, done, taken)
            yield f"{name}, {path}", rate / product, f"{rate / 1e12:.3g} of {product / 1e12:.3g} TFLOP/s"
            del model


def now() -> float:
    """Seconds, once the device has done what it was asked for."""
    if available():
        torch.cuda.synchronize()
    return time.perf_counter()


def training_share(data: Conversations) -> tuple[str, float, str]:
    """The largest of the shapes that this device can train: its name, the share, and the rates in words.

    Steps as `calgrid.training.fine_tune` takes them, with activation checkpointing; the first one does not count.
    """
    train_tokens, batch_size = (8192, 128) if available() else (512, 4)
    computed, longest = 2 if available() else 4, int(data.lengths.max())
    fitting = {
        name: config
        for name, config in configs().items()
        if TrainingMemory(config, train_tokens, longest, True, computed).bytes(1) <= available_memory(1)
    }
    if not fitting:
        raise RuntimeError(f"this GPU can't train any of {', '.join(configs())}")
    name, config = next(iter(fitting.items()))
    with sharding.processes():
        trainee = Trainee(build(config, attention.NAME))
        trainee.model.activation_checkpointing_enable()
        sharding.prepare(trainee.model, trainee)
        trainee.train()
        optimizer = torch.optim.AdamW(trainee.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
        progress = Progress()
        before, started = progress, 0.0
        for step in range(STEPS + 1):
            if step == 1:
                before, started = replace(progress), now()
            accumulate(trainee, data, batch(len(data), batch_size, 0, step), 0.1, train_tokens, progress)
            torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        taken = now() - started
    rate, product = (progress.flops - before.flops) / taken, product_rate()
    log.info("%s: %.0f tokens/s in training", name, (progress.tokens - before.tokens) / taken)
    return f"{name}, training", rate / product, f"{rate / 1e12:.3g} of {product / 1e12:.3g} TFLOP/s"
