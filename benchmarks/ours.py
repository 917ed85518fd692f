"""CalGrid as a worker of `scoring.py`."""

import time
from typing import Any

import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from calgrid.models.loading import load_model
from calgrid.models.reading import load_tokenizer
from calgrid.scoring.prompts import tokenize_language
from calgrid.scoring.score import score_language
from calgrid.scoring.settings import Prompting
from lines import memory, serve

loaded: list[tuple[PreTrainedModel, PreTrainedTokenizerBase]] = []  # the one model


def load(model: str, threads: int) -> None:
    torch.set_num_threads(threads)
    where = {"pretrained_model_name_or_path": model, "local_files_only": True}
    loaded[:] = [(load_model(where, torch.float32, attention="sdpa"), load_tokenizer(where))]


def score(questions: str, examples: str | None, shots: int, score_tokens: int) -> dict[str, Any]:
    """Seconds (tokenising and scoring), and by question id the sums of its texts and of its letters.

    Args:
        questions: a Parquet file of canonical rows.
        examples: likewise, where `shots` > 0.
        shots: answered examples before each question.
        score_tokens: padded tokens of a forward pass.
    """
    model, tokenizer = loaded[0]
    asked = pl.read_parquet(questions)
    shown = pl.read_parquet(examples) if examples else None
    started = time.perf_counter()
    tokens, _ = tokenize_language(
        tokenizer, asked, "en", Prompting(shots=shots), context=model.config.max_position_embeddings, examples=shown
    )
    tokenized = time.perf_counter()
    scores = score_language(model, tokens, score_tokens)
    return {
        "seconds": time.perf_counter() - started,
        "tokenizing": tokenized - started,
        "texts": dict(scores.select("question_id", "logprob_sum").iter_rows()),
        "letters": dict(scores.select("question_id", "letter_logprob").iter_rows()),
    }


if __name__ == "__main__":
    serve({"load": load, "score": score, "memory": memory})
