"""Scores against lm-evaluation-harness's log-likelihoods, where it is installed (benchmarks/requirements.lock)."""

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import processors

from calgrid.data.question_sets import prepare
from calgrid.data.sources import Source, opened
from calgrid.models.loading import load_model
from calgrid.models.reading import load_tokenizer
from calgrid.scoring.prompts import LETTERS, headers, prompt_text, tokenize_language
from calgrid.scoring.score import score_language
from calgrid.scoring.settings import Prompting
from calgrid.training import pretrain
from support.models import tiny_model, tiny_tokenizer

pytest.importorskip("lm_eval")

LANGUAGES = ("en", "de", "hi", "yo", "ja")
QUESTIONS = 200  # of each language
MADE_UP = (
    ("Which one is first?", ["alpha", "beta", "gamma ray", "gamma"]),
    ("Welche Größe misst man in Kelvin?", ["Länge", "die Temperatur", "Masse", "Zeit "]),
    ("पानी का रासायनिक सूत्र क्या है?", ["H2O", "CO2", "ऑक्सीजन गैस", "नमक"]),
    ("Kí ni olú ìlú Nàìjíríà?", ["Èkó", "Àbújá", "Ìbàdàn", "Kánò", "Ọ̀yọ́"]),
    ("日本で一番高い山は?", ["富士山", "北岳", "阿蘇山", "高尾山"]),
)


def harness(folder):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(folder), backend="causal", device="cpu", dtype="float32", batch_size=8)


def differences(folder, lm, questions: pl.DataFrame, shots: int = 0, examples: pl.DataFrame | None = None):
    """|ours - theirs| of every candidate's sum, and theirs; texts and letters."""
    from lm_eval.api.instance import Instance

    where = {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    settings = Prompting(shots=shots)
    model = load_model(where, torch.float32)
    context = model.config.max_position_embeddings
    tokens, _ = tokenize_language(load_tokenizer(where), questions, "xx", settings, context=context, examples=examples)
    assert len(tokens) == len(questions)
    scores = {row["question_id"]: row for row in score_language(model, tokens, 2048).iter_rows(named=True)}
    subjects = set(questions["subject"])
    before = headers(examples, "subject", subjects, settings, "xx", "Answer") if examples is not None else {}
    pairs, ours = [], []
    for row in questions.iter_rows(named=True):
        prompt = before.get(row["subject"], "") + prompt_text(row["question"], row["options"], settings, "Answer")
        pairs += [(prompt, f" {candidate}") for candidate in [*row["options"], *LETTERS[: len(row["options"])]]]
        ours += scores[row["question_id"]]["logprob_sum"] + scores[row["question_id"]]["letter_logprob"]
    found = lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs], disable_tqdm=True)
    theirs = np.array([total for total, _ in found])
    return np.abs(np.array(ours) - theirs), theirs


def tolerances(sums: np.ndarray) -> np.ndarray:
    """1e-4; of long candidates a few steps of float32, in which the harness adds up and both sides keep sums."""
    return np.maximum(1e-4, np.where(np.abs(sums) < 512, 0, 4 * np.spacing(np.abs(sums).astype(np.float32))))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tiny_tokenizer()
    # As real tokenizers do; without it the harness would put no BOS in front.
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    tokenizer.save_pretrained(folder)
    tiny_model("llama", vocab_size=len(tokenizer), context=2048).save_pretrained(folder)
    return folder


def made_up() -> pl.DataFrame:
    """Each question in several forms, two subjects by turns."""
    rows = [
        {
            "question_id": f"{number}-{repeat}",
            "subject": ("geography", "physics")[number % 2],
            "category": None,
            "cultural_sensitivity": None,
            "question": "\n".join([question] * (repeat + 1)),
            "options": [option * (repeat + 1) for option in options],
            "answer": number % 4,
        }
        for number, (question, options) in enumerate(MADE_UP)
        for repeat in range(3)
    ]
    return pl.DataFrame(rows, schema_overrides={"category": pl.String, "cultural_sensitivity": pl.String})


@pytest.mark.parametrize("shots", [0, 2])
def test_sums_equal_the_harness_in_several_scripts(tiny, shots):
    examples = made_up() if shots else None
    found, sums = differences(tiny, harness(tiny), made_up(), shots, examples)
    assert (found < tolerances(sums)).all()


@pytest.fixture(scope="module")
def real_tokenizer(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    tokenizer = pretrain.load_tokenizer(shared_data / "tokenizers/mistral-v1")
    tokenizer.save_pretrained(folder)
    tiny_model("llama", vocab_size=len(tokenizer), context=4096).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def real_harness(real_tokenizer):
    return harness(real_tokenizer)


@pytest.mark.parametrize("language", LANGUAGES)
def test_sums_equal_the_harness_on_real_questions(real_tokenizer, real_harness, shared_data, language):
    source = Source(None, str(shared_data / "hub/CohereLabs/Global-MMLU"), None, language, "dev")
    with opened(source) as (dataset, _):
        questions, _ = prepare(source, dataset, "global_mmlu", QUESTIONS, 0.05)
    found, sums = differences(real_tokenizer, real_harness, questions)
    assert len(sums) == 8 * QUESTIONS
    assert (found < tolerances(sums)).all()
