"""What a model's shape makes of tokens: parameters and floating-point operations; and sizes and times in words.

Nothing heavy is imported here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from calgrid.models.architectures import ARCHITECTURES

GIB = 2**30
WEIGHT_BYTES = 2  # a parameter, as training writes it: bfloat16
CHECKPOINT_BYTES = 12  # a parameter in a checkpoint: float32 weight and AdamW's two moments
CHECKPOINTS = 2  # of a training, for a moment: the old one is removed after the new one


@dataclass(frozen=True)
class Work:
    """Tokens and what they take part in."""

    tokens: int  # through the body
    pairs: int  # of a token and one that it attends to, itself included
    heads: int  # positions of the LM head

    def __add__(self, other: "Work") -> "Work":
        return Work(self.tokens + other.tokens, self.pairs + other.pairs, self.heads + other.heads)

    def flops(self, config: Any) -> float:
        """Floating-point operations of a forward pass: two for each multiplication and addition.

        Forward and backward together take three times as many.
        """
        queries, keys = widths(config)
        layer = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size)
        head = config.hidden_size * config.vocab_size
        body = config.num_hidden_layers * (layer * self.tokens + 2 * queries * self.pairs)
        return 2 * (body + head * self.heads)


def triangle(n: int) -> int:
    """Pairs of a sequence of `n` tokens, each of which attends to itself and those before it."""
    return n * (n + 1) // 2


def training_work(lengths: Sequence[int], n_supervised: int) -> Work:
    """The least work of one pass over conversations of these lengths."""
    return Work(sum(lengths), sum(map(triangle, lengths)), n_supervised)


def widths(config: Any) -> tuple[int, int]:
    """Width of all queries, and of all keys, of a layer."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_attention_heads * size, config.num_key_value_heads * size


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, named as in its config.json."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """The shape that a config.json of Gemma2, Mistral or Llama says. Raises KeyError for another file."""
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        return cls(
            model_type=config["model_type"],
            vocab_size=config["vocab_size"],
            hidden_size=hidden,
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            tie_word_embeddings=config.get("tie_word_embeddings", ARCHITECTURES[config["model_type"]].tied),
        )

    @classmethod
    def tiny(cls, architecture: str, vocabulary: int, hidden_size: int, layers: int) -> Self:
        """A pretrained tiny model's: four attention heads, two of them to a key-value head, tied embeddings."""
        return cls(
            model_type=architecture,
            vocab_size=vocabulary,
            hidden_size=hidden_size,
            intermediate_size=3 * hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=hidden_size // 4,
            tie_word_embeddings=True,
        )

    @property
    def parameters(self) -> int:
        """Parameters, tied ones once."""
        queries, keys = widths(self)
        matrices = self.hidden_size * (2 * queries + 2 * keys + 3 * self.intermediate_size)
        layer = matrices + ARCHITECTURES[self.model_type].norms * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + self.hidden_size


def passing_bytes(parameters: float) -> float:
    """Bytes that a training has on disk for a moment, beside what it leaves there."""
    return CHECKPOINTS * CHECKPOINT_BYTES * parameters


def disk_needed(parameters: int) -> int:
    """Bytes that a training writes: its checkpoints, and the model."""
    return round(passing_bytes(parameters)) + WEIGHT_BYTES * parameters


def human(n_bytes: float) -> str:
    if n_bytes >= 1024 * GIB:
        return f"{n_bytes / GIB / 1024:.1f} TiB"
    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{math.ceil(n_bytes / 2**20)} MiB"


def duration(seconds: float) -> str:
    for unit, length, limit in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 100)):
        if seconds < limit * length:
            return f"{seconds / length:.0f} {unit}" if unit == "s" else f"{seconds / length:.1f} {unit}"
    return f"{seconds / 86400:.1f} days"
