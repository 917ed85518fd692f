"""Small trainings of tiny models."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch
from transformers import PreTrainedModel

import fetch_base_model
import pack_conversations
from calgrid.models import attention
from calgrid.store import files
from calgrid.training import packing
from calgrid.training.chat import Example
from calgrid.training.fine_tune import Progress, fine_tune
from calgrid.training.packing import Conversations
from calgrid.training.settings import Training
from support.models import save_tiny, tiny_model


def examples(n: int = 40, seed: int = 0) -> list[Example]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(n):
        length = int(torch.randint(6, 30, (1,), generator=generator))
        tokens = torch.randint(3, 300, (length,), generator=generator).tolist()
        answer = int(torch.randint(1, length - 2, (1,), generator=generator))
        found.append(Example(tokens, [place >= answer for place in range(length)]))
    return found


def conversations(found: list[Example]) -> Conversations:
    rows = [(str(i), "train", example.tokens, example.supervised) for i, example in enumerate(found)]
    return Conversations.of(pl.DataFrame(rows, schema=packing.SCHEMA, orient="row"))


def trained_model(architecture: str, dropout: float = 0.0) -> PreTrainedModel:
    model = tiny_model(architecture)
    model.set_attn_implementation(attention.NAME)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = dropout
    return model


def run(model: PreTrainedModel, settings: Training | None = None, **changes) -> Progress:
    arguments = {"lr": 2e-4, "smoothing": 0.1, "seed": 3, "train_tokens": 64, **changes}
    data = conversations(examples())
    return fine_tune(model, data, conversations(examples(5, seed=1)), settings or Training(batch_size=4), **arguments)


def parameters(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def after(steps: int) -> Callable[[], bool]:
    """Something that asks a training to stop after this many steps."""
    calls = iter(range(1, 10_000))
    return lambda: next(calls) == steps


def prepared(path, answers, validation=1):
    rows = [
        (str(i), "validation" if i < validation else "train", [turn("user", "which?"), turn("assistant", answer)])
        for i, answer in enumerate(answers)
    ]
    frame = pl.DataFrame(rows, schema=["id", "split", "messages"], orient="row")
    origin = {"source": "made up", "revision": None, "source_commit": None, "rows": len(rows), "sha256": "x"}
    files.write_parquet(frame, path, origin)
    return path


def turn(role, content):
    return {"role": role, "content": content}


def pack(base, data, *flags):
    output = data.with_name("packed.parquet")
    pack_conversations.main(
        [
            *("--base", str(base), "--data", str(data), "--output", str(output)),
            *("--manifest", str(output.with_suffix(".json")), *flags),
        ]
    )
    return output


def save_base(folder: Path) -> Path:
    """A tiny model, and its record as the workflow writes it."""
    save_tiny(folder / "weights", "llama")
    fetch_base_model.main(["--path", str(folder / "weights"), "--output", str(folder / "base.json")])
    return folder / "base.json"
