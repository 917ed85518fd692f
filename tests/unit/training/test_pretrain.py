"""Tokenizers and tiny models pretrained from scratch, as transformers loads them again."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import pretrain_model as program
from calgrid.data.cldr import facts, wording
from calgrid.data.demo import LANGUAGES
from calgrid.errors import UserError
from calgrid.training.pretrain import load_tokenizer, packed, pretrain, read_texts, train_tokenizer
from calgrid.training.settings import Pretraining
from support.workflow import ROOT

TOKENIZERS = ROOT.parent / "shared" / "data" / "tokenizers"
ARCHITECTURES = ("gemma2", "mistral", "llama")


def small(architecture: str, **changes: object) -> Pretraining:
    sizes = {"vocabulary": 400, "hidden_size": 16, "layers": 2, "steps": 4, "batch_size": 2, "row_length": 24}
    return Pretraining(architecture=architecture, **(sizes | changes))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [wording(language).statement(fact) for language in LANGUAGES for fact in facts(LANGUAGES)[::7]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    pl.DataFrame({"text": texts}).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> dict[str, Path]:
    where = tmp_path_factory.mktemp("models")
    for architecture in ARCHITECTURES:
        pretrain([corpus], where / architecture, small(architecture))
    return {architecture: where / architecture for architecture in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_folder_is_an_ordinary_hugging_face_one(
    folders: dict[str, Path], architecture: str, texts: list[str]
) -> None:
    folder = folders[architecture]
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
    model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == architecture
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert getattr(model.config, "sliding_window", None) == (None if architecture == "llama" else 64)
    assert model.config.vocab_size == len(words)
    assert [model.generation_config.bos_token_id, model.generation_config.eos_token_id] == [
        words.bos_token_id,
        words.eos_token_id,
    ]
    logits = model(**words(texts[:2], return_tensors="pt", padding=True)).logits
    assert logits.dtype == torch.float32 and logits.isfinite().all()


def test_beginning_once_and_no_text_is_changed(folders: dict[str, Path], texts: list[str]) -> None:
    words = AutoTokenizer.from_pretrained(folders["llama"])
    for text in [*texts, "", " two  spaces ", "\n", "am: ጃንዋሪ", "Answer: A"]:
        ids = words(text)["input_ids"]
        assert ids[0] == words.bos_token_id and ids.count(words.bos_token_id) == 1
        assert words.decode(ids, skip_special_tokens=True) == text
        assert words(text, add_special_tokens=False)["input_ids"] == ids[1:]


def test_the_marks_of_a_chat_are_one_token_each(folders: dict[str, Path]) -> None:
    words = AutoTokenizer.from_pretrained(folders["llama"])
    for mark in ("<|system|>", "<|user|>", "<|assistant|>"):
        assert len(words(mark, add_special_tokens=False)["input_ids"]) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_twice_the_same_bits_and_with_another_seed_not(
    folders: dict[str, Path], architecture: str, corpus: Path, tmp_path: Path
) -> None:
    for seed in (0, 1):
        pretrain([corpus], tmp_path / str(seed), small(architecture, seed=seed))
    weights = (folders[architecture] / "model.safetensors").read_bytes()
    assert (tmp_path / "0" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "1" / "model.safetensors").read_bytes() != weights
    assert (tmp_path / "0" / "tokenizer.json").read_bytes() == (folders[architecture] / "tokenizer.json").read_bytes()


def test_the_loss_falls(corpus: Path, tmp_path: Path) -> None:
    record = pretrain([corpus], tmp_path / "m", small("llama", steps=30, batch_size=4, hidden_size=32))
    assert len(record["losses"]) == 30 and record["tokens"] == 30 * 4 * 24
    assert sum(record["losses"][-5:]) / 5 < record["losses"][0] - 0.4
    assert json.loads((tmp_path / "m" / "pretrain.json").read_text())["losses"] == record["losses"]


def test_rows_are_the_documents_one_after_the_other(texts: list[str]) -> None:
    words = train_tokenizer(texts, 400)
    settings = small("llama", batch_size=1, row_length=50)
    rows = packed(texts[:30], words, settings)
    stream = torch.cat([next(rows).flatten() for _ in range(12)])
    assert next(rows).shape == (1, 50)
    documents = words.decode(stream).split(words.eos_token)[:-1]
    assert all(document.startswith(words.bos_token) for document in documents)
    bare = [document.removeprefix(words.bos_token).strip() for document in documents]
    assert set(bare) <= set(texts[:30]) and len(bare) > 10
    assert len(set(bare[:30])) == len(bare[:30])  # each once before any twice


def test_conversations_are_a_corpus_too(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], []]
    pl.DataFrame({"messages": turns}).write_parquet(tmp_path / "sft.parquet")
    pl.DataFrame({"text": ["three", None]}).write_parquet(tmp_path / "text.parquet")
    assert read_texts([tmp_path / "sft.parquet", tmp_path / "text.parquet"]) == ["one\ntwo", "three"]


def test_a_bad_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        read_texts([tmp_path / "none.parquet"])
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(UserError, match="not readable as Parquet"):
        read_texts([tmp_path / "words.txt"])
    pl.DataFrame({"words": ["a"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"columns \['words'\]; --corpus needs a column text or messages"):
        read_texts([tmp_path / "other.parquet"])
    pl.DataFrame({"text": [""]}).write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(UserError, match="no text in it"):
        read_texts([tmp_path / "empty.parquet"])


def test_bad_settings_are_refused(corpus: Path, tmp_path: Path) -> None:
    flags = ["--corpus", str(corpus), "--output", str(tmp_path / "m")]
    with pytest.raises(UserError, match=r"--hidden-size '20': .* multiple of 8"):
        program.main([*flags, "--architecture", "llama", "--hidden-size", "20"])
    with pytest.raises(UserError, match="--architecture 'gpt'"):
        program.main([*flags, "--architecture", "gpt"])
    with pytest.raises(UserError, match="--steps '0'"):
        program.main([*flags, "--architecture", "llama", "--steps", "0"])
    assert not (tmp_path / "m").exists()


def test_the_program_takes_several_files(corpus: Path, tmp_path: Path) -> None:
    sizes = ["--vocabulary", "400", "--hidden-size", "16", "--layers", "1", "--steps", "2"]
    flags = ["--corpus", str(corpus), str(corpus), "--architecture", "llama", "--output", str(tmp_path / "m")]
    program.main([*flags, *sizes])
    assert json.loads((tmp_path / "m" / "pretrain.json").read_text())["documents"] == 2 * pl.read_parquet(corpus).height


def test_a_tokenizer_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "tokenizer.json", tmp_path / "tokenizer.model", tmp_path):
        with pytest.raises(UserError, match=r"(?s)not readable as a tokenizer .* give a Hugging Face folder"):
            load_tokenizer(path)


def test_a_tokenizer_without_an_end_of_text_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    text = (folders["llama"] / "tokenizer.json").read_text().replace("</s>", "<end>")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match="names no end-of-text token"):
        load_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.skipif(not TOKENIZERS.exists(), reason="the real tokenizers are not here")
@pytest.mark.parametrize(
    ("path", "beginning"),
    [("mistral-v1", "<s>"), ("mistral-v1/tokenizer.model", "<s>"), ("gpt-neox/tokenizer.json", None)],
)
def test_a_real_tokenizer_is_kept_as_it_is(
    path: str, beginning: str | None, corpus: Path, tmp_path: Path, texts: list[str]
) -> None:
    given = TOKENIZERS / path
    settings = small("gemma2", tokenizer=str(given), steps=1, batch_size=1, row_length=16)
    pretrain([corpus], tmp_path / "m", settings)
    words, loaded = AutoTokenizer.from_pretrained(tmp_path / "m"), load_tokenizer(given)
    assert words.bos_token == beginning and words.eos_token and words.pad_token
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "m").config.vocab_size == len(words)
    for text in [*texts, " a  b ", "x\n A. y"]:
        ids = words(text)["input_ids"]
        assert ids == loaded(text)["input_ids"]
        assert words.decode(ids, skip_special_tokens=True) == text
        assert beginning is None or (ids[0] == words.bos_token_id and ids.count(words.bos_token_id) == 1)


@pytest.mark.skipif(not TOKENIZERS.exists(), reason="the real tokenizers are not here")
def test_the_sentencepiece_tokenizer_agrees_with_sentencepiece(texts: list[str]) -> None:
    import sentencepiece

    oracle = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZERS / "mistral-v1" / "tokenizer.model"))
    words = load_tokenizer(TOKENIZERS / "mistral-v1")
    for text in [*texts, "x\nA. y\nAnswer:"]:  # runs of spaces differ, as on the Hub
        assert words(text)["input_ids"] == [oracle.bos_id(), *oracle.encode(text)]
