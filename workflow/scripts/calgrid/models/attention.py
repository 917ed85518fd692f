"""Attention within each conversation of a packed row: no mask, no padding elsewhere, nothing seen of a neighbour.

A row holds conversations end to end, and everything but attention works on tokens one by one. For attention alone
they are laid side by side, those of like length in one block, padded at the right to the block's longest:

    row       a a a b b c c c c c c         blocks   a a a      c c c c c c
                                                     b b .

A query sees the keys before it in its own line, so that a neighbour can't be seen and padding, at the right, never
is. Blocks are computed by PyTorch's fused attention, causal and without a mask; Gemma2, which caps its scores, and
lines longer than a sliding window take the plain products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

NAME = "calgrid"  # as `attn_implementation`
WASTE = 0.25  # of a block may be padding


@dataclass(frozen=True)
class Blocks:
    """How the L tokens of a row lie in blocks, P places in all."""

    places: torch.Tensor  # (L,) of each token of the row, among the blocks' places
    shapes: list[tuple[int, int]]  # (lines, longest) of each block; their products add up to P

    @property
    def sizes(self) -> list[int]:
        return [lines * longest for lines, longest in self.shapes]


def blocks_of(lengths: Sequence[int]) -> Blocks:
    """The blocks of a row whose conversations have these lengths, in the row's order."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    groups: list[list[int]] = []
    tokens = 0
    for line in order:
        tokens += lengths[line]
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] * (1 - WASTE) <= tokens:
            groups[-1].append(line)
        else:
            groups.append([line])
            tokens = lengths[line]
    starts, before = [0] * len(lengths), 0
    for group in groups:
        for number, line in enumerate(group):
            starts[line] = before + number * lengths[group[0]]
        before += len(group) * lengths[group[0]]
    places = [torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return Blocks(torch.cat(places), [(len(group), lengths[group[0]]) for group in groups])


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    blocks: Blocks,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: query (1, H, L, E), key and value (1, G, L, E); result (1, L, H, E)."""
    if attention_mask is not None or len(query) != 1:
        raise ValueError("one packed row without a mask is expected")
    groups = query.shape[1] // key.shape[1]
    n_places = sum(blocks.sizes)

    def laid(states: torch.Tensor) -> Sequence[torch.Tensor]:  # (1, heads, L, E) to (lines, heads, longest, E) a block
        tokens = states.squeeze(0).transpose(0, 1)
        places = tokens.new_zeros(n_places, *tokens.shape[1:]).index_copy(0, blocks.places, tokens)
        parts = places.split(blocks.sizes)
        return [p.unflatten(0, shape).transpose(1, 2) for p, shape in zip(parts, blocks.shapes, strict=True)]

    results = []
    for q, k, v in zip(laid(query), laid(key), laid(value), strict=True):
        k, v = repeat_kv(k, groups), repeat_kv(v, groups)
        length = q.shape[2]
        crossed = sliding_window is not None and length > sliding_window
        if softcap is None:
            result = torch.nn.functional.scaled_dot_product_attention(
                *(q, k, v),
                attn_mask=_visible(length, sliding_window, q.device) if crossed else None,
                is_causal=not crossed,
                dropout_p=dropout,
                scale=scaling,
            )
        else:
            scores = (q @ k.transpose(2, 3)) * (scaling / softcap)
            scores = torch.tanh(scores) * softcap
            scores = scores.masked_fill(~_visible(length, sliding_window, q.device), float("-inf"))
            weights = scores.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
            result = torch.nn.functional.dropout(weights, dropout) @ v
        results.append(result.transpose(1, 2).flatten(0, 1))
    return torch.cat(results).index_select(0, blocks.places).unsqueeze(0), None


def _visible(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Bool (length, length): whether the key at the second place is seen from the first."""
    place = torch.arange(length, device=device)
    behind = place.unsqueeze(1) - place
    return (behind >= 0) & (behind < (length if window is None else window))


AttentionInterface.register(NAME, attend)
