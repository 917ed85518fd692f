"""Tiny language models of the true architectures, pretrained from scratch on a text corpus.

For the demonstration and the tests alone: about a million parameters of Gemma2, Mistral or Llama as transformers
implements them, with a byte-level BPE tokenizer trained on the corpus or a given real one, saved as an ordinary
Hugging Face folder. The same settings and corpus give the same weights, bit for bit, on one machine.
"""

import itertools
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from calgrid.errors import UserError
from calgrid.models.architectures import ARCHITECTURES
from calgrid.models.shape import Shape
from calgrid.store import files
from calgrid.store.reading import read_table
from calgrid.store.versions import PRETRAIN_VERSION
from calgrid.training.settings import Pretraining

log = logging.getLogger(__name__)

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
# Reserved as in the tokenizers of Gemma and Llama 3, so that a chat template costs few tokens; unused in pretraining.
CHAT_MARKS = ("<|system|>", "<|user|>", "<|assistant|>")
POSITIONS = 2048  # what the configuration promises; rotary positions cost nothing
WINDOW = 64  # tokens of the sliding window of gemma2 and mistral: shorter than most prompts, so that it matters
LOG_EVERY = 10.0  # seconds
# (end of text, beginning of text) of tokenizer files that do not say which of their tokens these are
KNOWN_MARKS = (("</s>", "<s>"), ("<eos>", "<bos>"), ("<|end_of_text|>", "<|begin_of_text|>"), ("<|endoftext|>", None))


def pretrain(corpus: Sequence[str | Path], output: str | Path, settings: Pretraining) -> dict[str, Any]:
    """Train a tokenizer (unless one is given) and a model, save both into the folder `output`.

    Args:
        corpus: Parquet files, see `read_texts`.
        output: an ordinary Hugging Face folder: safetensors, configuration, tokenizer, generation configuration.
        settings: all but `corpus`, which holds the names that the configuration gives to such files.

    Returns the record saved as pretrain.json: parameters, losses (nats a token, one a step), tokens, seconds.
    """
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    texts = read_texts(corpus)
    words = load_tokenizer(settings.tokenizer) if settings.tokenizer else train_tokenizer(texts, settings.vocabulary)
    model = build_model(words, settings)
    parameters = sum(weights.numel() for weights in model.parameters())
    log.info("%s: %.2f M parameters, vocabulary of %d", settings.architecture, parameters / 1e6, len(words))
    record = {
        "settings": settings.model_dump(exclude={"corpus"}),
        "parameters": parameters,
        "documents": len(texts),
        **_train(model, packed(texts, words, settings), settings),
    }
    with files.atomic(output) as folder:
        model.save_pretrained(folder)
        words.save_pretrained(folder)
        files.write_json(folder / "pretrain.json", files.provenance(**record, pretrain_version=PRETRAIN_VERSION))
    return record


def read_texts(corpus: Sequence[str | Path]) -> list[str]:
    """The documents of Parquet files with a column `text`, or `messages`: one document a conversation.

    Raises UserError for a file that is missing, of another kind, without such a column, or empty.
    """
    texts: list[str] = []
    for path in corpus:
        frame = read_table(path)
        if "text" in frame.columns:
            texts += frame["text"].to_list()
        elif "messages" in frame.columns:
            texts += ["\n".join(turn["content"] for turn in turns) for turns in frame["messages"].to_list()]
        else:
            raise UserError(f"{path}: columns {frame.columns}; --corpus needs a column text or messages")
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"{', '.join(map(str, corpus))}: no text in it; --corpus needs at least one document")
    return texts


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that puts BOS before every text, once, as those of Gemma, Llama and Mistral do."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, BOS, EOS, *CHAT_MARKS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.post_processor = _beginning(bpe, BOS)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(CHAT_MARKS),
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """A real tokenizer: a Hugging Face folder, a tokenizer.json, or a SentencePiece tokenizer.model.

    The two kinds of bare file do not say which tokens begin and end a text, so that is taken from `KNOWN_MARKS`;
    a beginning is put before every text, once. Without a token for padding the end of text serves.
    Raises UserError for a path that is none of these or a tokenizer without a known end of text.
    """
    path = Path(path)
    if path.is_dir() and not (path / "tokenizer_config.json").exists():
        path = next((path / name for name in ("tokenizer.json", "tokenizer.model") if (path / name).exists()), path)
    try:
        if not path.exists():
            raise FileNotFoundError("no such file")
        if path.is_dir():
            words = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        elif path.suffix == ".json":
            words = _with_marks(Tokenizer.from_file(str(path)))
        elif path.name == "tokenizer.model":
            bpe = LlamaTokenizer.from_pretrained(path.parent).backend_tokenizer
            # As in the tokenizer.json of the Hub. The class's own pre-tokenizer swallows a leading space.
            bpe.pre_tokenizer = None
            bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
            words = _with_marks(bpe)
        else:
            raise ValueError("no tokenizer_config.json, tokenizer.json or tokenizer.model")
    except Exception as error:  # each library behind these calls raises its own kinds, plain Exception among them
        raise UserError(
            f"--tokenizer {path}: not readable as a tokenizer ({error}); "
            "give a Hugging Face folder, a tokenizer.json or a SentencePiece tokenizer.model"
        ) from None
    if words.eos_token is None:
        raise UserError(f"--tokenizer {path}: it names no end-of-text token; give its folder, not the bare file")
    if words.pad_token is None:
        words.pad_token = words.eos_token
    return words


def _with_marks(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    known = bpe.get_vocab()
    eos, bos = next((marks for marks in KNOWN_MARKS if marks[0] in known), (None, None))
    if bos is not None:
        bpe.post_processor = _beginning(bpe, bos)
    marks = {"bos_token": bos, "eos_token": eos, "unk_token": "<unk>" if "<unk>" in known else None}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, clean_up_tokenization_spaces=False, **marks)


def _beginning(bpe: Tokenizer, bos: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, bpe.token_to_id(bos))]
    )


def build_model(words: PreTrainedTokenizerFast, settings: Pretraining) -> PreTrainedModel:
    """A randomly initialised model: four attention heads, two of them to a key-value head, tied embeddings.

    The rest is as in the originals: Gemma2 alternates windowed and full attention and caps its logits, Mistral has a
    window in every layer, Llama neither.
    """
    architecture = ARCHITECTURES[settings.architecture]
    sizes = asdict(Shape.tiny(settings.architecture, len(words), settings.hidden_size, settings.layers))
    shape: dict[str, Any] = {
        **sizes,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    if architecture.windowed:
        shape["sliding_window"] = WINDOW
    config = AutoConfig.for_model(**shape)
    if hasattr(config, "query_pre_attn_scalar"):
        config.query_pre_attn_scalar = config.head_dim
    attention = {"attn_implementation": "eager"} if architecture.caps_attention else {}  # sdpa lacks the cap
    return AutoModelForCausalLM.from_config(config, **attention)


def packed(texts: Sequence[str], words: PreTrainedTokenizerFast, settings: Pretraining) -> Iterator[torch.Tensor]:
    """Endless batches of token ids, (batch, length), int64, with no padding.

    Documents in random order, each with its beginning and end of text, stand one after the other across the rows;
    every pass over the corpus has an order of its own.
    """
    documents = words(list(texts))["input_ids"]
    rng, stream, size = random.Random(settings.seed), list[int](), settings.batch_size * settings.row_length
    while True:
        for number in rng.sample(range(len(documents)), len(documents)):
            stream += [*documents[number], words.eos_token_id]
            while len(stream) >= size:
                yield torch.tensor(stream[:size]).view(settings.batch_size, settings.row_length)
                stream = stream[size:]


def _train(model: PreTrainedModel, batches: Iterator[torch.Tensor], settings: Pretraining) -> dict[str, Any]:
    """Train in place; returns the loss curve, tokens and seconds."""
    model.train()
    # Muon for the layers' matrices needs about half the steps of AdamW alone to reach the same answers.
    matrices = [w for n, w in model.named_parameters() if w.ndim == 2 and "embed" not in n]
    others = [w for n, w in model.named_parameters() if w.ndim != 2 or "embed" in n]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=settings.lr, weight_decay=0.0),
        torch.optim.AdamW(others, lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    warm_up = max(1, settings.steps // 20)
    losses, start, logged = [], time.monotonic(), time.monotonic()
    for step, batch in enumerate(itertools.islice(batches, settings.steps), start=1):
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = settings.lr * min(
                step / warm_up, (settings.steps + 1 - step) / (settings.steps - warm_up + 1)
            )
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]  # (batch, length - 1, vocabulary)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        losses.append(loss.item())
        if time.monotonic() - logged > LOG_EVERY or step in (1, settings.steps):
            logged = time.monotonic()
            speed = step / (logged - start)
            log.info(
                "step %d/%d  loss %.3f  %.0f tokens/s  %.0f s left",
                *(step, settings.steps, losses[-1], speed * batch.numel(), (settings.steps - step) / speed),
            )
    model.eval()
    return {
        "losses": losses,
        "tokens": settings.steps * settings.batch_size * settings.row_length,
        "seconds": round(time.monotonic() - start, 1),
    }
