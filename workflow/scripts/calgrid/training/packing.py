"""Conversations packed whole into rows: which ones a step takes, how they lie, and what is supervised.

Tokenised once into a file (program `pack`), conversations lie there end to end. What a step computes is a function of
the seed and the step alone: an epoch is a permutation of the conversations, a step the next `batch_size` of them, and
these are packed into rows of like length. A row is computed without padding:

    conversations   A: a0 a1 a2   B: b0 b1
    row             a0 a1 a2 b0 b1
    position         0  1  2  0  1       each counts from its own beginning, and attends to itself alone
    label           a1 a2  . b1  .       where the next token is supervised
"""

import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from calgrid.errors import UserError
from calgrid.models.attention import Blocks, blocks_of
from calgrid.models.loading import on_device
from calgrid.store.reading import read_table

SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "split": pl.String(),
    "tokens": pl.List(pl.UInt32),
    "supervised": pl.List(pl.Boolean),
}


@dataclass(frozen=True)
class Conversations:
    """Tokenised conversations, T tokens in all, end to end; number i takes starts[i] to starts[i + 1]."""

    ids: list[str]
    tokens: NDArray[np.uint32]  # (T,)
    supervised: NDArray[np.bool_]  # (T,) whether the token is a target; the first of a conversation never is
    starts: NDArray[np.int64]  # (conversations + 1,)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each conversation."""
        return np.diff(self.starts)

    @cached_property
    def n_supervised(self) -> NDArray[np.int64]:
        """Supervised tokens of each conversation."""
        return np.add.reduceat(self.supervised, self.starts[:-1], dtype=np.int64) if len(self) else self.starts[:0]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Conversations":
        """From a frame of `SCHEMA`, in its order."""
        lengths = frame["tokens"].list.len().to_numpy().astype(np.int64)
        tokens, supervised = (frame[name].list.explode().to_numpy() for name in ("tokens", "supervised"))
        return cls(frame["id"].to_list(), tokens, supervised, np.concatenate([[0], np.cumsum(lengths)]))


def read(path: str | Path, split: str) -> Conversations:
    """The conversations of one split of a packed file."""
    return Conversations.of(read_table(path, list(SCHEMA), pl.col("split") == split))


def digest(frame: pl.DataFrame) -> str:
    """SHA-256 of a frame of `SCHEMA`: of its ids, splits, tokens and which of them are supervised."""
    whole = Conversations.of(frame)
    found = sha256(json.dumps([whole.ids, frame["split"].to_list()]).encode())
    for values in (whole.starts, whole.tokens, whole.supervised):
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def steps_an_epoch(n_conversations: int, batch_size: int) -> int:
    return math.ceil(n_conversations / batch_size)


def batch(n_conversations: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The conversations of a step, counted from 0; the last step of an epoch takes what is left."""
    epoch, place = divmod(step, steps_an_epoch(n_conversations, batch_size))
    return _order(n_conversations, seed, epoch)[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=1)
def _order(n: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(n, generator=generator).tolist()


def rows(lengths: Sequence[int], capacity: int, multiple: int = 1) -> list[list[int]]:
    """Conversations packed into rows of like length, so that no process of a sharded training waits for another.

    Args:
        lengths: tokens of each conversation.
        capacity: tokens of a row at most; a longer conversation has a row to itself.
        multiple: the number of rows is a multiple of this, where there are conversations enough.

    Returns:
        For each row the indices of its conversations, ascending; none is empty.
    """
    n_rows = multiple * max(1, math.ceil(sum(lengths) / (capacity * multiple)))
    longest_first = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while True:
        n_rows = min(n_rows, len(lengths))
        filled: list[tuple[int, int, list[int]]] = [(0, number, []) for number in range(n_rows)]
        for index in longest_first:  # into the emptiest row
            tokens, number, members = filled[0]
            heapq.heapreplace(filled, (tokens + lengths[index], number, [*members, index]))
        if all(tokens <= capacity or len(members) == 1 for tokens, _, members in filled):
            return [sorted(members) for _, number, members in sorted(filled, key=lambda row: row[1])]
        n_rows += multiple


@dataclass(frozen=True)
class Row:
    """Conversations laid out as one row of L tokens, N of them supervised."""

    tokens: torch.Tensor  # (1, L)
    positions: torch.Tensor  # (1, L)
    blocks: Blocks
    places: torch.Tensor  # (N,) in the row, from which the labels are predicted
    labels: torch.Tensor  # (N,)

    def to(self, where: torch.device) -> "Row":
        return Row(
            on_device(where, self.tokens),
            on_device(where, self.positions),
            Blocks(on_device(where, self.blocks.places), self.blocks.shapes),
            on_device(where, self.places),
            on_device(where, self.labels),
        )


def lay_out(conversations: Conversations, members: Sequence[int]) -> Row:
    """The row of these conversations."""
    spans = [slice(conversations.starts[i], conversations.starts[i + 1]) for i in members]
    tokens = torch.from_numpy(np.concatenate([conversations.tokens[span] for span in spans]).astype(np.int64))
    supervised = np.concatenate([conversations.supervised[span] for span in spans])
    targets = torch.from_numpy(np.flatnonzero(supervised))
    lengths = conversations.lengths[list(members)].tolist()
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Row(tokens.unsqueeze(0), positions.unsqueeze(0), blocks_of(lengths), targets - 1, tokens[targets])


def check(conversations: pl.DataFrame, vocabulary: int, max_length: int, source: str) -> None:
    """Refuse packed conversations that can't be trained on.

    Raises:
        UserError: a split is empty, has no supervised token, or a token has no embedding.
    """
    for split in ("train", "validation"):
        part = conversations.filter(split=split)
        if not len(part):
            raise UserError(
                f"{source}: split {split!r} has no conversation of at most {max_length} tokens (the lesser of "
                "training.max_length and the model's context); raise training.max_length, set "
                "training.long_conversations: cut, or take more rows (max_rows)"
            )
        if not part["supervised"].list.any().any():
            raise UserError(
                f"{source}: split {split!r} has no supervised token; the chat template marks no answer: use "
                "training.chat_template: calgrid"
            )
    largest = conversations["tokens"].explode().to_numpy().max()
    if largest >= vocabulary:
        raise UserError(
            f"{source}: token {largest} is beyond the model's vocabulary of {vocabulary}; some tokens have no "
            "embedding: take the tokenizer that belongs to the model"
        )
