"""Tiny random models of the three architectures, and a byte-level tokenizer for them, made in a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

ARCHITECTURES = ("gemma2", "llama", "mistral")
WINDOW = 12  # shorter than the prompts of the tests, so that it is crossed


def tiny_model(architecture: str, vocab_size: int = 300, context: int = 512) -> PreTrainedModel:
    torch.manual_seed(0)
    shape = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "initializer_range": 0.3,  # large enough that a wrong mask shows in the numbers
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    if architecture == "gemma2":
        config = Gemma2Config(**shape, head_dim=8, sliding_window=WINDOW, query_pre_attn_scalar=8)
        return Gemma2ForCausalLM(config).eval()
    if architecture == "mistral":
        return MistralForCausalLM(MistralConfig(**shape, sliding_window=WINDOW)).eval()
    return LlamaForCausalLM(LlamaConfig(**shape)).eval()


def tiny_tokenizer(texts: tuple[str, ...] = ("Question: which one? A. B. C. D. Answer: the first of them",)):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def save_tiny(folder: Path, architecture: str) -> Path:
    """A Hugging Face folder of a tiny model."""
    tokenizer = tiny_tokenizer()
    tiny_model(architecture, vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def attention(model: PreTrainedModel, path: str) -> Iterator[PreTrainedModel]:
    """A copy of the model with another way to compute attention; flex attention without the compiler, on CPUs."""
    copy = deepcopy(model)
    copy.set_attn_implementation(path)
    torch.compiler.set_stance("force_eager")
    yield copy
    torch.compiler.set_stance("default")
