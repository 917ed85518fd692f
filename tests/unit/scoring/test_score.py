"""The trie of the candidates against its plain definition: one forward pass of transformers' own model a candidate."""

import itertools
import math
from copy import deepcopy

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calgrid.errors import UserError
from calgrid.models.loading import attention_masks, hidden_states, load_model, logits
from calgrid.scoring import score
from calgrid.scoring.prompts import Question, tokenize_language
from calgrid.scoring.score import SCHEMA, Header, score_language, score_questions
from calgrid.scoring.settings import Prompting
from calgrid.scoring.trie import batches, lay_out, share_rows
from calgrid.store import files
from support.models import ARCHITECTURES, WINDOW, attention, tiny_model, tiny_tokenizer

MODELS = {name: tiny_model(name) for name in ARCHITECTURES}  # transformers' default attention: the plain definition
# Gemma2 caps its attention scores, which sdpa can't.
PATHS = [(name, path) for name in ARCHITECTURES for path in ("eager", "sdpa", "flex_attention")]
PATHS.remove(("gemma2", "sdpa"))


@torch.inference_mode()
def plain(model, question: Question) -> list[list[float]]:
    """One forward pass for each candidate: nothing shared, nothing packed."""
    before = [*question.header, *question.prompt]
    found = []
    for candidate in question.candidates:
        logprobs = model(torch.tensor([before + candidate])).logits[0].float().log_softmax(-1)
        start = len(before) - 1
        found.append([logprobs[start + i, token].item() for i, token in enumerate(candidate)])
    return found


def greatest_difference(model, expected_by, questions: list[Question], score_tokens: int = 400) -> float:
    scored = list(score_questions(model, questions, score_tokens))
    assert sorted(question.id for question, _ in scored) == sorted(question.id for question in questions)
    return max(
        abs(ours - theirs)
        for question, candidates in scored
        for candidate, values in zip(candidates, plain(expected_by, question), strict=True)
        for ours, theirs in zip(candidate.logprobs, values, strict=True)
    )


# Few different tokens, so that candidates and prompts share beginnings; lengths on both sides of the window.
some = st.integers(3, 8)
prompts = st.lists(some, min_size=1, max_size=3 * WINDOW)
candidates = st.lists(st.lists(some, min_size=1, max_size=5), min_size=1, max_size=12)
header_tokens = st.sampled_from([(), (1, *range(3, 10)), (1, *range(3, 3 + 2 * WINDOW))])


@st.composite
def question_lists(draw):
    stem = draw(st.lists(some, max_size=2 * WINDOW))
    found = []
    for number in range(draw(st.integers(1, 6))):
        header = draw(header_tokens)
        prompt = [*([] if header else [1]), *(stem if draw(st.booleans()) else []), *draw(prompts)]
        letters = draw(st.lists(st.lists(some, min_size=1, max_size=1), min_size=1, max_size=3))
        found.append(Question(str(number), prompt, draw(candidates), letters, header))
    return found


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("architecture", "path"), PATHS)
@settings(max_examples=15, deadline=None)
@given(questions=question_lists(), score_tokens=st.integers(1, 500))
def test_trie_equals_one_forward_pass_a_candidate(architecture, path, questions, score_tokens):
    with attention(MODELS[architecture], path) as model:
        assert greatest_difference(model, MODELS[architecture], questions, score_tokens) < 1e-5


# What fails without an error, one test each.


def question(n_prompt: int, header: tuple[int, ...] = ()) -> Question:
    prompt = [3 + 7 * i % 100 for i in range(n_prompt)]
    return Question("q", prompt, [[5, 6, 7], [5, 6, 8], [9]], [[10], [11]], header)


def differs(monkeypatch, architecture: str, broken, of: Question) -> bool:
    """Whether the scores are wrong when `attention_masks` is replaced."""
    monkeypatch.setattr(score, "attention_masks", broken)
    return greatest_difference(MODELS[architecture], tiny_model(architecture), [of]) > 1e-3


@pytest.mark.parametrize("architecture", ["gemma2", "mistral"])
def test_the_window_has_to_be_in_the_mask(monkeypatch, architecture):
    def without(model, allowed, positions, key_positions):
        return attention_masks(model, allowed, positions * 0, key_positions * 0)

    assert differs(monkeypatch, architecture, without, question(3 * WINDOW))
    assert not differs(monkeypatch, architecture, attention_masks, question(3 * WINDOW))


@pytest.mark.parametrize("architecture", ["gemma2", "mistral"])
def test_the_window_goes_by_position_and_not_by_place(monkeypatch, architecture):
    def by_place(model, allowed, positions, key_positions):
        place = torch.arange(positions.shape[1]).unsqueeze(0)
        return attention_masks(model, allowed, place, place)

    branches = [[3 + i, *range(20, 26)] for i in range(6)]  # places go far beyond positions
    of = Question("q", [3 + 7 * i % 100 for i in range(2 * WINDOW)], branches, [[10]])
    assert differs(monkeypatch, architecture, by_place, of)
    assert not differs(monkeypatch, architecture, attention_masks, of)


def test_gemma2_has_a_mask_for_each_type_of_layer(monkeypatch):
    def one_mask(name):
        def masks(*arguments):
            return dict.fromkeys(("full_attention", "sliding_attention"), attention_masks(*arguments)[name])

        return masks

    for name in ("full_attention", "sliding_attention"):
        assert differs(monkeypatch, "gemma2", one_mask(name), question(3 * WINDOW))


def test_masks_are_additive_since_eager_attention_misreads_boolean_ones(monkeypatch):
    def boolean(model, allowed, positions, key_positions):
        return attention_masks(model, allowed, positions, key_positions) == 0

    with attention(MODELS["llama"], "eager") as model:
        monkeypatch.setattr(score, "attention_masks", boolean)
        assert greatest_difference(model, tiny_model("llama"), [question(20)]) > 1e-3


def test_candidates_need_the_mask_to_be_kept_apart(monkeypatch):
    def causal_only(model, allowed, positions, key_positions):
        return attention_masks(model, torch.ones_like(allowed).tril(), positions, key_positions)

    of = Question("q", [1, 5, 6], [[7, 8, 9], [10, 11, 12]], [[4]])
    assert differs(monkeypatch, "llama", causal_only, of)
    assert not differs(monkeypatch, "llama", attention_masks, of)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_header_longer_than_the_window_stays_exact(architecture):
    """A cache that knows the model's configuration would forget what left the window of the header's last token."""
    header = (1, *range(3, 3 + 3 * WINDOW))
    of = [question(n, header) for n in (1, 5, 2 * WINDOW)]
    numbered = [Question(str(i), q.prompt, q.texts, q.letters, q.header) for i, q in enumerate(of)]
    assert greatest_difference(MODELS[architecture], MODELS[architecture], numbered) < 1e-5


def test_gemma2_refuses_sdpa_which_would_drop_its_soft_cap(tmp_path):
    MODELS["gemma2"].save_pretrained(tmp_path)
    with pytest.raises(UserError, match="gemma2 caps its attention scores, which sdpa can't; use eager or flex"):
        load_model({"pretrained_model_name_or_path": str(tmp_path)}, torch.float32, attention="sdpa")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lm_head_equals_the_models_own(architecture):
    """The soft-cap on Gemma2's logits included."""
    model = MODELS[architecture]
    tokens = torch.arange(3, 40).unsqueeze(0)
    with torch.inference_mode():
        ours = logits(model, hidden_states(model, input_ids=tokens)[0])
        theirs = model(tokens).logits[0]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_logits_of_a_bfloat16_model_do_not_tie():
    model = tiny_model("llama").bfloat16()
    hidden = torch.randn(64, 32).bfloat16() * 8
    exact = logits(model, hidden)
    assert exact.dtype == torch.float32
    assert len(exact[0].unique()) == exact.shape[1]
    assert len(exact[0].bfloat16().unique()) < exact.shape[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_gpu_gives_the_cpus_scores_within_bfloat16(architecture):
    model = tiny_model(architecture)
    asked = [question(n, header) for n in (3, 30) for header in ((), (1, *range(3, 40)))]
    numbered = [Question(str(i), q.prompt, q.texts, q.letters, q.header) for i, q in enumerate(asked)]
    assert greatest_difference(deepcopy(model).cuda(), model, numbered) < 1e-4
    half = deepcopy(model).bfloat16().cuda()
    assert greatest_difference(half, model, numbered) < 0.5
    hidden = torch.randn(64, 32).bfloat16().cuda() * 8
    exact = hidden.double() @ half.lm_head.weight.double().T
    if architecture == "gemma2":
        exact = torch.tanh(exact / 30) * 30
    assert (logits(half, hidden) - exact).abs().max() < 1e-4 * exact.abs().max()


# The layout.


def test_shared_tokens_stand_once_in_a_row():
    row = lay_out([Question("q", [1, 5, 6], [[10, 11, 12], [10, 11, 13], [10, 20], [30]], [[40], [41]])])
    assert row.tokens == [1, 5, 6, 10, 11]  # last tokens are scored, not fed
    assert row.positions == [0, 1, 2, 3, 4]
    assert row.paths == [[[2, 3, 4], [2, 3, 4], [2, 3], [2], [2], [2]]]


def test_questions_on_one_passage_share_a_row():
    passage = list(range(100, 150))
    asked = [Question(str(i), [1, *passage, i], [[7, 8], [9]], [[4]]) for i in (60, 61)]
    (row,) = (lay_out(members) for members in share_rows([*asked]))
    assert row.tokens == [1, *passage, 60, 7, 61, 7]
    assert row.positions == [*range(52), 52, 51, 52]
    assert row.ends == [55] * 51 + [53, 53, 55, 55]
    alone = Question("x", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [[7]], [[4]])
    assert [[q.id for q in members] for members in share_rows([*asked, alone])] == [["x"], ["60", "61"]]


def test_every_distinct_prefix_is_computed_once():
    """Against a set of prefixes, on questions that all share a row."""
    asked = [
        Question(str(i), [1, *range(20, 20 + 3 * i)], [[5, 6, 7], [5, 6, 8], [20 + 3 * i, 4]], [[9]]) for i in range(5)
    ]
    fed = {tuple(q.prompt + c[:-1])[:n] for q in asked for c in q.candidates for n in range(1, 99)}
    assert len(lay_out(sorted(asked, key=lambda q: q.prompt))) <= len(fed) + 1  # "20" closes one branch early


def test_batches_keep_every_question_the_budget_and_one_header():
    asked = [Question(str(i), [i + 3] * n, [[3]], [[4]], (1,) * (i % 2)) for i, n in enumerate([5, 90, 7, 30, 8, 2])]
    found = list(batches(asked, 64))
    assert sorted(q.id for batch in found for row in batch for q in row.questions) == list("012345")
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= 64
        assert len({q.header for row in batch for q in row.questions}) == 1
    assert list(batches(asked[::-1], 64)) == found


def test_little_is_padded():
    lengths = torch.distributions.LogNormal(4.8, 0.6).sample((600,)).int().tolist()  # about those of MMLU
    asked = [Question(str(i), [1, i + 3, *[3] * n], [[3]], [[4]]) for i, n in enumerate(lengths)]
    found = list(batches(asked, 8192))
    assert sorted(int(q.id) for batch in found for row in batch for q in row.questions) == list(range(600))
    padded = sum(len(batch) * max(map(len, batch)) for batch in found)
    assert sum(len(row) for batch in found for row in batch) > 0.9 * padded
    assert all(len(batch) * max(map(len, batch)) <= 8192 for batch in found)


def test_the_headers_keys_are_not_extended_by_rows():
    header = Header(MODELS["llama"], (1, 5, 6))
    before = header.layers[0].keys.clone()
    score.launch(MODELS["llama"], header, [lay_out([question(4)])])
    assert torch.equal(header.layers[0].keys, before)


# One language.


def frame(rows: list[tuple[str, str, list[str], int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "question_id": [row[0] for row in rows],
            "subject": None,
            "category": "facts",
            "cultural_sensitivity": None,
            "question": [row[1] for row in rows],
            "options": [row[2] for row in rows],
            "answer": [row[3] for row in rows],
        },
        schema_overrides={"subject": pl.String, "cultural_sensitivity": pl.String, "answer": pl.UInt8},
    )


QUESTIONS = frame(
    [
        ("b", "Which comes first?", ["one", "two", "three hundred"], 0),
        ("a", "Who goes there and why, at this late hour of the night?", ["a friend", "a foe", "nobody", "I"], 3),
        ("c", "Ẹ káàárọ̀? 早上", ["ọjọ́", "夜"], 1),
    ]
)


def tokens_of(questions: pl.DataFrame) -> pl.DataFrame:
    return tokenize_language(tiny_tokenizer(), questions, "en", Prompting(), context=512)[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_score_language_gives_every_column(architecture):
    model, tokens = MODELS[architecture], tokens_of(QUESTIONS)
    done = []
    found = score_language(model, tokens, 999, done.append)
    assert found.schema == SCHEMA
    assert sum(done) == 3
    assert found["question_id"].to_list() == ["a", "b", "c"]
    for record, row, source in zip(
        found.iter_rows(named=True),
        tokens.iter_rows(named=True),
        QUESTIONS.sort("question_id").iter_rows(named=True),
        strict=True,
    ):
        asked = Question("q", row["prompt"], row["texts"], row["letters"])
        values = plain(model, asked)
        n = len(source["options"])
        assert record["n_options"] == n
        assert record["answer"] == source["answer"]
        assert record["category"] == "facts"
        assert record["prompt_tokens"] == len(row["prompt"])
        assert record["boundary_merges"] == 0
        assert record["logprob_sum"] == pytest.approx([sum(v) for v in values[:n]], abs=1e-4)
        assert record["logprob_min"] == pytest.approx([min(v) for v in values[:n]], abs=1e-4)
        assert record["n_tokens"] == [len(v) for v in values[:n]]
        assert record["n_bytes"] == [len(option.encode()) for option in source["options"]]
        assert record["letter_logprob"] == pytest.approx([sum(v) for v in values[n:]], abs=1e-4)
        assert record["letter_mass"] == pytest.approx(sum(math.exp(sum(v)) for v in values[n:]), rel=1e-3)
        assert record["greedy"] + record["letter_greedy"] == [False] * (2 * n)  # a random model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_says_whether_the_model_would_write_the_candidate(architecture):
    model = MODELS[architecture]
    prompt = [1, 5, 6, 7]
    with torch.inference_mode():
        written = model.generate(torch.tensor([prompt]), max_new_tokens=3, do_sample=False)[0, len(prompt) :].tolist()
    assert len(written) == 3
    other = [*written[:2], written[2] ^ 1]
    ((_, scored),) = score_questions(model, [Question("q", prompt, [written, other], [written[:1], other[2:]])], 99)
    assert [candidate.greedy for candidate in scored] == [True, False, True, other[2:] == written[:1]]


def test_results_do_not_depend_on_the_batch_or_the_order():
    alone = score_language(MODELS["llama"], tokens_of(QUESTIONS), 1)
    together = score_language(MODELS["llama"], tokens_of(QUESTIONS.reverse()), 10**6)
    assert alone.drop("logprob_sum", "logprob_min", "letter_logprob", "letter_mass").equals(
        together.drop("logprob_sum", "logprob_min", "letter_logprob", "letter_mass")
    )
    for column in ("logprob_sum", "logprob_min", "letter_logprob"):
        for a, b in zip(alone[column].explode(), together[column].explode(), strict=True):
            assert a == pytest.approx(b, abs=1e-5)


def test_out_of_memory_halves_the_batch_and_goes_on(monkeypatch, caplog):
    asked = [Question(str(i), [1, *[3 + i] * 9], [[5, 6], [7]], [[4]]) for i in range(16)]
    expected = dict_of(score_questions(MODELS["llama"], asked, 10**6))
    real, sizes = score.hidden_states, []

    def small_device(model, **inputs):
        sizes.append(inputs["input_ids"].numel())
        if sizes[-1] > 50:
            raise torch.OutOfMemoryError
        return real(model, **inputs)

    monkeypatch.setattr(score, "hidden_states", small_device)
    found = dict_of(score_questions(MODELS["llama"], asked, 10**6))
    assert found.keys() == expected.keys()
    for key in found:
        assert found[key] == pytest.approx(expected[key], abs=1e-5)
    assert sizes == [176, 88, 44, 44, 44, 44]
    assert [record.message for record in caplog.records] == [
        "out of memory: going on with 88 tokens a forward pass",
        "out of memory: going on with 44 tokens a forward pass",
    ]


def dict_of(scored) -> dict[str, list[float]]:
    return {q.id: [value for c in candidates for value in c.logprobs] for q, candidates in scored}


def test_a_row_that_does_not_fit_memory_is_named(monkeypatch):
    def no_memory(model, **inputs):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(score, "hidden_states", no_memory)
    with pytest.raises(UserError, match="question 'q': a row of 22 tokens after a header of 0 does not fit the GPU's"):
        list(score_questions(MODELS["llama"], [question(20)], 999))


def test_a_shard_of_global_mmlu_takes_less_than_25_mb(tmp_path):
    """13 languages x 14,042 questions x 4 options, with values as random as they come."""
    generator = torch.Generator().manual_seed(0)
    n, n_languages = 14_042, 13

    def lists(values: torch.Tensor, dtype) -> pl.Series:
        return pl.Series(values.numpy()).cast(pl.Array(dtype, 4)).cast(pl.List(dtype))

    frames = []
    for language in range(n_languages):
        counts = torch.randint(1, 40, (n, 4), generator=generator)
        sums = -counts * torch.rand(n, 4, generator=generator) * 5
        columns = {
            "language": pl.repeat(f"l{language:02}", n, eager=True),
            "question_id": pl.Series([f"subject_number_{i // 250}/test/{i % 250}" for i in range(n)]),
            "subject": pl.Series([f"subject_number_{i // 250}" for i in range(n)]),
            "category": pl.Series([f"category_{i // 3000}" for i in range(n)]),
            "cultural_sensitivity": pl.Series([None, "CS", "CA", None] * (n // 4) + [None] * (n % 4)),
            "answer": pl.Series(torch.randint(0, 4, (n,), generator=generator).numpy()),
            "n_options": pl.repeat(4, n, eager=True),
            "prompt_tokens": pl.Series(torch.randint(40, 600, (n,), generator=generator).numpy()),
            "boundary_merges": pl.repeat(0, n, eager=True),
            "logprob_sum": lists(sums, pl.Float32),
            "logprob_min": lists(sums * torch.rand(n, 4, generator=generator), pl.Float32),
            "n_tokens": lists(counts, pl.UInt16),
            "n_bytes": lists(counts * 3 + torch.randint(0, 20, (n, 4), generator=generator), pl.UInt32),
            "greedy": lists(torch.rand(n, 4, generator=generator) < 0.1, pl.Boolean),
            "letter_logprob": lists(-torch.rand(n, 4, generator=generator) * 9, pl.Float32),
            "letter_greedy": lists(torch.rand(n, 4, generator=generator) < 0.2, pl.Boolean),
            "letter_mass": pl.Series(torch.rand(n, generator=generator).numpy()),
        }
        frames.append(pl.DataFrame(columns).cast(dict(SCHEMA)))
    whole = pl.concat(frames)
    assert whole.schema == SCHEMA
    files.write_parquet(whole, tmp_path / "shard.parquet", {})
    assert (tmp_path / "shard.parquet").stat().st_size < 25e6


def test_every_column_is_documented():
    from support.workflow import ROOT

    described = {
        name
        for line in (ROOT / "docs/scores.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].replace("`", "").replace(" ", "").split(",")
    }
    assert described >= set(SCHEMA)
    assert list(itertools.chain(described - set(SCHEMA))) == []
