"""What both sides of a benchmark get: real questions and conversations, and random models with a real tokenizer.

Rows and tokenizer come from a folder laid out as the Hub (`hub/<id>`, `tokenizers/mistral-v1`) or from the Hub.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from calgrid.data.question_sets import prepare
from calgrid.data.sft import canonical
from calgrid.data.sources import Rejects, Source, opened
from calgrid.scoring.prompts import LETTERS, headers, prompt_text
from calgrid.scoring.settings import Prompting
from calgrid.training import pretrain
from calgrid.training.chat import Example, fit, use_template
from calgrid.training.packing import SCHEMA, Conversations

LANGUAGES = ("en", "de", "hi", "yo", "ja")
CONTEXT = 4096

# Layers of a Llama; about 50, 14 and 4 million parameters with Mistral's vocabulary.
SHAPES = {
    "full": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 10, "num_attention_heads": 8},
    "quick": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8, "num_attention_heads": 4},
    "tiny": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4},
}


def rows(data: Path | None, hub: str, layout: str, split: str, config: str) -> pl.DataFrame:
    """Canonical questions of a data set of the Hub, or of the same under the folder `data`."""
    source = Source(None if data else hub, str(data / "hub" / hub) if data else None, None, config, split)
    with opened(source) as (dataset, _):
        return prepare(source, dataset, layout, max_questions=None, max_rejected_share=0.05)[0]


def mmlu(data: Path | None, split: str) -> pl.DataFrame:
    return rows(data, "cais/mmlu", "mmlu", split, "all")


def mmlu_prox(data: Path | None) -> pl.DataFrame:
    return rows(data, "li-lab/MMLU-ProX-Lite", "mmlu_prox", "test", "en")


def global_mmlu(data: Path | None, language: str) -> pl.DataFrame:
    return rows(data, "CohereLabs/Global-MMLU", "global_mmlu", "dev", language)


def alpaca(data: Path | None, tokenizer: PreTrainedTokenizerBase, n: int) -> list[Example]:
    """`n` tokenised conversations of Alpaca, at equal distances."""
    source = Source(
        None if data else "tatsu-lab/alpaca", str(data / "hub/tatsu-lab/alpaca") if data else None, None, None, "train"
    )
    with opened(source) as (dataset, _):
        found = list(canonical(((str(i), row) for i, row in enumerate(dataset)), "alpaca", Rejects()))
    use_template(tokenizer, "calgrid")
    chosen = [found[i * len(found) // n][1] for i in range(n)]
    return [example for example, _ in fit(tokenizer, chosen, CONTEXT, "refuse") if example]


def conversations(tokens: Sequence[Sequence[int]], supervised: Sequence[Sequence[bool]]) -> Conversations:
    """Tokenised conversations as a training takes them."""
    rows = [(str(i), "train", *row) for i, row in enumerate(zip(tokens, supervised, strict=True))]
    return Conversations.of(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def spread(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    """`n` rows at equal distances."""
    return frame[[i * len(frame) // n for i in range(min(n, len(frame)))]]


def tokenizer_of(data: Path | None) -> PreTrainedTokenizerBase:
    """Mistral's: SentencePiece, 32,000 tokens, BOS in front."""
    if data:
        return pretrain.load_tokenizer(data / "tokenizers/mistral-v1")
    return AutoTokenizer.from_pretrained("mistralai/Mistral-7B-v0.1")


def save_model(folder: Path, tokenizer: PreTrainedTokenizerBase, shape: str, vocabulary: int | None = None) -> int:
    """A Hugging Face folder of a Llama with random weights; returns the number of its parameters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPES[shape],
        num_key_value_heads=SHAPES[shape]["num_attention_heads"] // 2,
        vocab_size=vocabulary or len(tokenizer),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,  # the default gives nearly the same probability to all tokens
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.num_parameters()


def requests(
    questions: pl.DataFrame, examples: pl.DataFrame | None = None, shots: int = 0
) -> Mapping[str, Mapping[str, list[tuple[str, str]]]]:
    """By question id the (context, continuation) pairs of its texts and of its letters, as CalGrid's prompts read."""
    settings = Prompting(shots=shots)
    subjects = set(questions["subject"])
    before = headers(examples, "subject", subjects, settings, "en", "Answer") if examples is not None else {}
    found = {}
    for row in questions.iter_rows(named=True):
        context = before.get(row["subject"], "")
        context += prompt_text(row["question"], row["options"], settings, "Answer")
        found[row["question_id"]] = {
            kind: [(context, settings.candidate.format(candidate=candidate)) for candidate in candidates]
            for kind, candidates in (("texts", row["options"]), ("letters", LETTERS[: len(row["options"])]))
        }
    return found
