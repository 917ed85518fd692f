"""Log-probabilities of every candidate of every question: one pass through the transformer, whatever they share.

Questions come in rows (`scoring.trie`). The LM head is applied where a token is scored, once a place. A header shared
by many questions goes through the model once; its keys and values stand before every row. The result equals one
forward pass a candidate.
"""

import logging
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import polars as pl
import torch
from transformers import DynamicCache, PreTrainedModel

from calgrid.errors import UserError
from calgrid.models.loading import HEAD_VALUES, attention_masks, hidden_states, logits, on_device
from calgrid.scoring.prompts import QUESTION, Question, questions_of
from calgrid.scoring.trie import Row, batches, within_budget

log = logging.getLogger(__name__)

# Documented in docs/scores.md.
SCHEMA = pl.Schema(
    {
        **QUESTION,
        "n_options": pl.UInt8(),
        "prompt_tokens": pl.UInt32(),
        "boundary_merges": pl.UInt8(),
        "logprob_sum": pl.List(pl.Float32),
        "logprob_min": pl.List(pl.Float32),
        "n_tokens": pl.List(pl.UInt16),
        "n_bytes": pl.List(pl.UInt32),
        "greedy": pl.List(pl.Boolean),
        "letter_logprob": pl.List(pl.Float32),
        "letter_greedy": pl.List(pl.Boolean),
        "letter_mass": pl.Float32(),
    }
)


@dataclass(frozen=True)
class Scored:
    """Log-probability (natural, from float32 logits) of each token of a candidate; is each the likeliest?"""

    logprobs: list[float]
    greedy: bool


class Header(DynamicCache):
    """Keys and values of a header of H tokens, which every row of a batch reads and none extends."""

    @torch.inference_mode()
    def __init__(self, model: PreTrainedModel, tokens: Sequence[int]) -> None:
        super().__init__()  # without the model's configuration: no layer forgets what left its sliding window
        self.tokens = tuple(tokens)
        self.complete = False
        if tokens:
            places = torch.arange(len(tokens), device=model.device).unsqueeze(0)
            causal = places.unsqueeze(2) >= places.unsqueeze(1)
            hidden_states(
                model,
                input_ids=torch.tensor([self.tokens], device=model.device),
                position_ids=places,
                attention_mask=attention_masks(model, causal, places, places),
                past_key_values=self,
            )
        self.complete = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The header's and the rows' keys and values, (B, heads, H + T, head size) each."""
        if not self.complete:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if not self.tokens:
            return key_states, value_states
        layer, rows = self.layers[layer_idx], len(key_states)
        return (
            torch.cat([layer.keys.expand(rows, -1, -1, -1), key_states], dim=2),
            torch.cat([layer.values.expand(rows, -1, -1, -1), value_states], dim=2),
        )


@dataclass(frozen=True)
class Launched:
    """A batch whose scores the device is computing."""

    batch: Sequence[Row]
    order: list[int]  # of the scored tokens on the device; entry i is token order[i] of the batch
    logprobs: torch.Tensor  # (scored tokens,)
    likeliest: torch.Tensor  # (scored tokens,) bool


@torch.inference_mode()
def launch(model: PreTrainedModel, header: Header, batch: Sequence[Row]) -> Launched:
    """Begin to score the rows of a batch after `header`. On a GPU this returns before the scores are there."""
    before, length = len(header.tokens), max(map(len, batch))
    tokens = torch.zeros(len(batch), length, dtype=torch.long)
    positions = torch.zeros(len(batch), length, dtype=torch.long)
    ends = torch.arange(1, length + 1).repeat(len(batch), 1)  # padding attends to itself
    for b, row in enumerate(batch):
        tokens[b, : len(row)] = torch.tensor(row.tokens)
        positions[b, : len(row)] = torch.tensor(row.positions)
        ends[b, : len(row)] = torch.tensor(row.ends)

    # What is scored, as (place in the batch, token), by place: the LM head is applied once to each distinct one.
    wanted = [
        (b * length + place, token)
        for b, row in enumerate(batch)
        for question, paths in zip(row.questions, row.paths, strict=True)
        for candidate, path in zip(question.candidates, paths, strict=True)
        for place, token in zip(path, candidate, strict=True)
    ]
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    places = sorted({place for place, _ in wanted})
    head_row = {place: index for index, place in enumerate(places)}
    scored_at = [head_row[wanted[i][0]] for i in order]
    scored_tokens = on_device(model.device, torch.tensor([wanted[i][1] for i in order]))

    tokens, positions, ends = (on_device(model.device, tensor) for tensor in (tokens, positions + before, ends))
    place = torch.arange(length, device=model.device)
    below = (place.unsqueeze(1) >= place) & (place.unsqueeze(1) < ends.unsqueeze(1))  # (B, T, T)
    allowed = torch.nn.functional.pad(below, (before, 0), value=True)  # (B, T, H + T)
    key_positions = torch.cat([torch.arange(before, device=model.device).repeat(len(batch), 1), positions], dim=1)
    hidden = hidden_states(
        model,
        input_ids=tokens,
        position_ids=positions,
        attention_mask=attention_masks(model, allowed, positions, key_positions),
        past_key_values=header,
    )

    chosen = hidden.flatten(0, 1)[on_device(model.device, torch.tensor(places))]  # (places, D)
    rows = on_device(model.device, torch.tensor(scored_at))
    logprobs, likeliest = [], []
    step = max(1, HEAD_VALUES[model.device.type] // model.config.vocab_size)
    for start in range(0, len(places), step):
        values = logits(model, chosen[start : start + step])
        part = slice(bisect_left(scored_at, start), bisect_left(scored_at, start + step))
        at, token = rows[part] - start, scored_tokens[part]
        chosen_value = values[at, token]
        top, top_token = values.max(-1)
        log_sum = values.sub_(top.unsqueeze(1)).exp_().sum(-1).log()  # log-softmax without a second array of this size
        logprobs.append(chosen_value - top[at] - log_sum[at])
        likeliest.append(top_token[at] == token)
    return Launched(batch, order, torch.cat(logprobs), torch.cat(likeliest))


def collect(launched: Launched) -> Iterator[tuple[Question, list[Scored]]]:
    """Each question of a batch with the scores of its candidates, once they are there."""
    found: list[tuple[float, bool]] = [(0.0, False)] * len(launched.order)
    values = zip(launched.logprobs.tolist(), launched.likeliest.tolist(), strict=True)
    for index, value in zip(launched.order, values, strict=True):
        found[index] = value
    in_turn = iter(found)
    for row in launched.batch:
        for question in row.questions:
            scored = []
            for candidate in question.candidates:
                logprobs, likeliest = zip(*islice(in_turn, len(candidate)), strict=True)
                scored.append(Scored(list(logprobs), all(likeliest)))
            yield question, scored


def score_questions(
    model: PreTrainedModel, questions: Sequence[Question], score_tokens: int
) -> Iterator[tuple[Question, list[Scored]]]:
    """Each question with the scores of its candidates, in the order of computation.

    A batch is launched before the scores of the one before are collected, so that a GPU does not wait for Python.
    Where one does not fit the GPU's memory, it and all later ones are cut to half the tokens, until they fit.

    Raises:
        UserError: a single row does not fit the memory.
    """
    header = Header(model, ())
    launched: Launched | None = None
    for planned in batches(questions, score_tokens):
        tokens = planned[0].questions[0].header
        pending = list(within_budget(planned, len, score_tokens))
        while pending:
            batch = pending[0]
            try:
                if tokens != header.tokens:
                    header = Header(model, tokens)
                following = launch(model, header, batch)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise UserError(
                        f"question {batch[0].questions[0].id!r}: a row of {len(batch[0])} tokens after a header of "
                        f"{len(tokens)} does not fit the GPU's memory; take a GPU with more memory"
                    ) from None
                score_tokens = len(batch) * len(batch[0]) // 2
                log.warning("out of memory: going on with %d tokens a forward pass", score_tokens)
                torch.cuda.empty_cache()
                pending = [part for whole in pending for part in within_budget(whole, len, score_tokens)]
                continue
            del pending[0]
            if launched:
                yield from collect(launched)
            launched = following
    if launched:
        yield from collect(launched)


def score_language(
    model: PreTrainedModel, tokens: pl.DataFrame, score_tokens: int, progress: Callable[[int], None] = lambda _: None
) -> pl.DataFrame:
    """Score all questions of one language.

    Args:
        model: in evaluation mode.
        tokens: the tokenised questions, `prompts.TOKENS`.
        score_tokens: padded tokens of a forward pass, the header not counted.
        progress: told the number of questions that are done, after each.

    Returns:
        A frame of `SCHEMA`, one row a question, sorted by question id.

    Raises:
        UserError: see `score_questions`.
    """
    kept = tokens.select(*QUESTION, "n_bytes", "boundary_merges")
    records = {record["question_id"]: record for record in kept.iter_rows(named=True)}
    rows = []
    for question, candidates in score_questions(model, questions_of(tokens), score_tokens):
        n_options = len(question.texts)
        texts, letters = candidates[:n_options], candidates[n_options:]
        letter_logprob = [sum(letter.logprobs) for letter in letters]
        rows.append(
            {
                **records[question.id],
                "n_options": n_options,
                "prompt_tokens": len(question.header) + len(question.prompt),
                "logprob_sum": [sum(text.logprobs) for text in texts],
                "logprob_min": [min(text.logprobs) for text in texts],
                "n_tokens": [len(text.logprobs) for text in texts],
                "greedy": [text.greedy for text in texts],
                "letter_logprob": letter_logprob,
                "letter_greedy": [letter.greedy for letter in letters],
                "letter_mass": sum(map(math.exp, letter_logprob)),
            }
        )
        progress(1)
    return pl.DataFrame(rows, schema=SCHEMA).sort("question_id")
