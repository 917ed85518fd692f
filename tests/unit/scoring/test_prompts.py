"""Prompts: what is scored, how it is cut, what the audits find."""

import json

import polars as pl
import pytest

import audit_tokens as audit_program
import tokenize_benchmark as program
from audit_tokens import REMEDIES, problems
from calgrid.errors import UserError
from calgrid.scoring.prompts import FINDINGS, TOKENS, prompt_text, shared_length, tokenize_language
from calgrid.scoring.settings import Audit, Prompting
from calgrid.store import files
from support.models import save_tiny, tiny_tokenizer
from support.questions import WHY, frame

TOKENIZER = tiny_tokenizer()


def tokenize(questions, context=512, examples=None, answer_word="Answer", **settings):
    return tokenize_language(
        TOKENIZER,
        questions,
        "en",
        Prompting(**settings),
        context=context,
        answer_word=answer_word,
        examples=examples,
    )


def decoded(row) -> dict[str, str | list[str]]:
    return {
        "prompt": TOKENIZER.decode(row["header"] + row["prompt"]),
        "texts": [TOKENIZER.decode(tokens) for tokens in row["texts"]],
        "letters": [TOKENIZER.decode(tokens) for tokens in row["letters"]],
    }


def test_prompt_is_the_documented_one():
    assert prompt_text("Why?", ["x", "y"], Prompting(), "Answer") == "Why?\nA. x\nB. y\nAnswer:"


def test_braces_in_a_question_are_text():
    assert "{question}" in prompt_text("What is {question}?", ["{options}", "y"], Prompting(), "Answer")


def test_tokens_are_those_of_prompt_and_candidate():
    tokens, _ = tokenize(frame(WHY))
    assert tokens.schema == TOKENS
    (row,) = tokens.iter_rows(named=True)
    assert decoded(row) == {
        "prompt": "<s>Why?\nA. because\nB. no reason\nAnswer:",
        "texts": [" because", " no reason"],
        "letters": [" A", " B"],
    }
    assert row["n_bytes"] == [7, 9]
    assert row["header"] == []


def test_options_need_not_be_listed():
    (row,) = tokenize(frame(WHY), prompt="{question}\n{answer_word}:")[0].iter_rows(named=True)
    assert decoded(row)["prompt"] == "<s>Why?\nAnswer:"


def test_bytes_are_counted_in_utf8():
    (row,) = tokenize(frame(("?", ["ọjọ́", "夜"], 0)))[0].iter_rows(named=True)
    assert row["n_bytes"] == [len("ọjọ́".encode()), 3]


def test_the_answer_word_is_the_languages():
    (row,) = tokenize(frame(WHY), answer_word="Ìdáhùn")[0].iter_rows(named=True)
    assert decoded(row)["prompt"].endswith("\nÌdáhùn:")


def test_white_space_at_the_prompts_end_goes_to_the_candidate():
    (row,) = tokenize(frame(WHY), prompt="{question} ", candidate="{candidate}")[0].iter_rows(named=True)
    assert decoded(row) == {"prompt": "<s>Why?", "texts": [" because", " no reason"], "letters": [" A", " B"]}


def test_bos_stands_exactly_once():
    (row,) = tokenize(frame(WHY))[0].iter_rows(named=True)
    assert row["prompt"].count(TOKENIZER.bos_token_id) == 1
    assert row["prompt"][0] == TOKENIZER.bos_token_id
    bare = tiny_tokenizer()
    bare.bos_token = None
    (row,) = tokenize_language(bare, frame(WHY), "en", Prompting(), context=512)[0].iter_rows(named=True)
    assert bare.decode(row["prompt"]).startswith("Why?")


def test_a_token_across_the_boundary_is_counted_and_cut_as_the_harness_does():
    tokens, audit = tokenize(frame(("Question: whi", ["ch one", "x"], 0)), prompt="{question}", candidate="{candidate}")
    (row,) = tokens.iter_rows(named=True)
    assert TOKENIZER.decode(row["prompt"]) == "<s>Question: whi"
    assert TOKENIZER.decode(row["texts"][0]) == " one"  # of "Question", ":", " which", " one"
    assert row["boundary_merges"] == 1
    assert audit["boundary"] == {"questions": 1, "first": ["q0"]}


# Few-shot.

EXAMPLES = frame(("One?", ["1", "2"], 0), ("Two?", ["1", "2"], 1), ("Three?", ["3", "4"], 0), subject="maths")
MATHS = frame(("Four?", ["4", "5"], 0), ("Five?", ["4", "5"], 1), subject="maths")


@pytest.mark.parametrize(("shown", "first", "second"), [("text", "1", "2"), ("letter", "A", "B")])
def test_examples_stand_before_the_question_in_their_order(shown, first, second):
    tokens, _ = tokenize(MATHS, examples=EXAMPLES, shots=2, shown_answer=shown)
    for row, text in zip(tokens.iter_rows(named=True), ("Four?", "Five?"), strict=True):
        assert decoded(row)["prompt"] == (
            f"<s>One?\nA. 1\nB. 2\nAnswer: {first}\n\nTwo?\nA. 1\nB. 2\nAnswer: {second}\n\n{text}\nA. 4\nB. 5\nAnswer:"
        )


def test_the_examples_are_the_shared_header():
    tokens, _ = tokenize(MATHS, examples=EXAMPLES, shots=2)
    (header,) = {tuple(header) for header in tokens["header"].to_list()}
    assert TOKENIZER.decode(header).startswith("<s>One?\n")
    assert TOKENIZER.decode(header).rstrip().endswith("Answer: 2")


def first_example(questions: pl.DataFrame, examples: pl.DataFrame) -> str:
    (row,) = tokenize(questions, examples=examples, shots=1)[0].iter_rows(named=True)
    return decoded(row)["prompt"].removeprefix("<s>").split("\n")[0]


def test_examples_are_of_the_questions_subject_or_else_its_category():
    none = pl.lit(None, dtype=pl.String)
    examples = pl.concat([EXAMPLES, frame(("Where?", ["x", "y"], 0), subject="law", category="norms")])
    asked = frame(WHY, subject="law", category="norms")
    assert first_example(asked, examples) == "Where?"
    assert first_example(asked.with_columns(subject=none), examples) == "Where?"
    assert first_example(asked, examples.with_columns(subject=none)) == "Where?"
    assert first_example(asked.with_columns(subject=none, category=none), examples) == "One?"
    assert first_example(frame(WHY, subject="maths"), examples) == "One?"


def test_too_few_examples_are_named():
    with pytest.raises(UserError, match=r"3 examples of subject 'maths', where scoring\.shots asks for 4; lower it"):
        tokenize(MATHS, examples=EXAMPLES, shots=4)
    with pytest.raises(UserError, match=r"language 'en': 0 examples of subject 'law', where scoring\.shots asks for 1"):
        tokenize(frame(WHY, subject="law"), examples=EXAMPLES, shots=1)


# Audits.

LONG = ("word " * 200, ["x", "y"], 0)


@pytest.mark.parametrize(
    ("finding", "bad", "settings", "scored"),
    [
        ("bos", ("Why<s>?", ["x", "y"], 0), {}, 1),
        ("too_long", LONG, {}, 1),
        ("no_token", ("Why?", ["", "y"], 0), {"candidate": "{candidate}"}, 1),
        ("same_text", ("Why?", ["x", "x"], 0), {}, 2),
    ],
)
def test_what_an_audit_finds(finding, bad, settings, scored):
    tokens, audit = tokenize(frame(WHY, bad), context=128, **settings)
    assert {name: audit[name]["first"] for name in FINDINGS if audit[name]["questions"]} == {finding: ["q1"]}
    assert len(tokens) == scored
    assert audit["questions"] == 2
    assert audit["left_out"] == 2 - scored
    none = Audit(**dict.fromkeys(FINDINGS, 0.0))
    (line,) = problems(audit, none, "benchmark 'b', language 'en'")
    assert line.startswith(f"benchmark 'b', language 'en': 1 of 2 questions {REMEDIES[finding][0]}")
    assert f": q1; more than audit.{finding} 0 allows; " in line
    assert line.endswith(f"or raise audit.{finding}")
    assert list(problems(audit, Audit(**{**none.model_dump(), finding: 0.5}), "")) == []


def test_a_language_without_a_question_that_can_be_scored_is_refused():
    _, audit = tokenize(frame(LONG), context=128)
    too_long, none_left = problems(audit, Audit(), "x")
    assert "do not fit the model's context of 128 tokens (the longest has " in too_long
    assert none_left == "x: no question can be scored; take the language out of the benchmark"


def test_the_context_holds_prompt_and_candidate_together():
    (row,) = tokenize(frame(WHY))[0].iter_rows(named=True)
    needed = len(row["prompt"]) + max(map(len, row["texts"]))
    assert len(tokenize(frame(WHY), context=needed)[0]) == 1
    assert len(tokenize(frame(WHY), context=needed - 1)[0]) == 0


def test_shared_length():
    assert [shared_length(*pair) for pair in ([[], [1]], [[1, 2], [1, 2, 3]], [[1, 2], [2]], [[5], [5]])] == [
        0,
        2,
        0,
        1,
    ]


# The program.


@pytest.fixture
def run(tmp_path):
    """The tokenising program and then the audit's, with flags; the tokens and their manifest."""
    save_tiny(tmp_path / "model", "llama")
    record = {"weights": {"path": str(tmp_path / "model")}, "max_position_embeddings": 512, "model_type": "llama"}
    (tmp_path / "base.json").write_text(json.dumps(record))
    facts = {"source": "s", "revision": None, "source_commit": None, "rows": 2, "sha256": "0"}
    files.write_parquet(frame(WHY, ("How?", ["x", "x"], 0)), tmp_path / "yo.parquet", facts)

    def run(*flags: str, audit: tuple[str, ...] = ()):
        program.main(
            [
                *("--model", str(tmp_path / "base.json"), "--benchmark", "b"),
                *("--questions", f"yo={tmp_path / 'yo.parquet'}"),
                *("--output", str(tmp_path / "tokens.parquet"), "--manifest", str(tmp_path / "tokens.json"), *flags),
            ]
        )
        manifest = str(tmp_path / "tokens.json")
        audit_program.main(["--manifests", manifest, "--output", str(tmp_path / "audit.json"), *audit])
        return pl.read_parquet(tmp_path / "tokens.parquet"), json.loads((tmp_path / "tokens.json").read_text())

    return run


def test_the_manifest_has_the_findings_by_language(run, tmp_path):
    tokens, manifest = run(audit=("--same-text", "0.5"))
    assert manifest["rows"] == len(tokens) == 2
    assert manifest["audit"]["yo"]["questions"] == 2
    assert manifest["audit"]["yo"]["same_text"] == {"questions": 1, "first": ["q1"]}
    assert manifest["data"]["yo"]["source"] == "s"
    assert manifest["prompting"] == Prompting().model_dump()
    assert files.read_json(tmp_path / "audit.json") == {"b": manifest["audit"]}


def test_findings_above_their_share_stop_the_audit_and_leave_the_tokens(run, tmp_path):
    expected = (
        r"benchmark 'b', language 'yo': 1 of 2 questions have two options with the same text: q1; more than audit"
    )
    with pytest.raises(UserError, match=expected):
        run()
    assert not (tmp_path / "audit.json").exists()
    assert (tmp_path / "tokens.parquet").exists()


def test_sdpa_for_gemma2_is_refused_before_any_gpu_hour(run, tmp_path):
    (tmp_path / "base.json").write_text((tmp_path / "base.json").read_text().replace('"llama"', '"gemma2"'))
    with pytest.raises(UserError, match=r"device.score_attention: sdpa: gemma2 caps its attention scores"):
        run(audit=("--same-text", "0.5", "--score-attention", "sdpa"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--language", "native"], "--answer-words: none for 'yo', which --language native needs"),
        (["--shots", "2"], "--examples: none for 'yo', which --shots 2 needs"),
        (["--answer-words", "yo"], "--answer-words 'yo': write CODE=VALUE"),
        (["--questions", "yo=no.parquet"], "no.parquet: no such file"),
    ],
)
def test_bad_flags(run, flags, message):
    with pytest.raises(UserError, match=message):
        run(*flags)
