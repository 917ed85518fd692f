"""Benchmark layouts to the canonical form, and every reason for which a question is rejected."""

import pytest

from calgrid.data.question_sets import canonical, question
from calgrid.data.sources import Rejects
from calgrid.errors import Unusable

GLOBAL_MMLU = {
    "sample_id": "law/test/0",
    "subject": "law",
    "subject_category": "Humanities",
    "question": "Which?",
    **{f"option_{letter}": text for letter, text in zip("abcd", ["one", "two", "two", "None"], strict=True)},
    "answer": "D",
    "cultural_sensitivity_label": "CS",
}
MMLU_PROX = {
    "question_id": 70,
    "question": "Which?",
    # Not in the order of the numbers, and option_10 sorts before option_2 as text.
    **{f"option_{i}": None for i in (10, 9, 8, 7, 6, 5, 4, 3)},
    **{f"option_{i}": f"text {i}" for i in (2, 1, 0)},
    "answer": "C",
    "answer_index": 2,
    "category": "business",
}
MMLU = {"question": "Which?", "subject": "law", "choices": ["one", "two"], "answer": 1}


def test_global_mmlu() -> None:
    # Two options with one text are a matter for an audit, and "None" is a text.
    assert question(GLOBAL_MMLU, "global_mmlu") == {
        "subject": "law",
        "category": "Humanities",
        "cultural_sensitivity": "CS",
        "question": "Which?",
        "options": ["one", "two", "two", "None"],
        "answer": 3,
    }


@pytest.mark.parametrize("label", ["-", "", None])
def test_a_question_without_a_cultural_label(label: str | None) -> None:
    row = {**GLOBAL_MMLU, "cultural_sensitivity_label": label}
    assert question(row, "global_mmlu")["cultural_sensitivity"] is None


def test_mmlu_prox() -> None:
    assert question(MMLU_PROX, "mmlu_prox") == {
        "subject": None,
        "category": "business",
        "cultural_sensitivity": None,
        "question": "Which?",
        "options": ["text 0", "text 1", "text 2"],
        "answer": 2,
    }


def test_the_index_suffices_for_mmlu_prox() -> None:
    assert question({**MMLU_PROX, "answer": None}, "mmlu_prox")["answer"] == 2


def test_mmlu() -> None:
    assert question(MMLU, "mmlu") == {
        "subject": "law",
        "category": None,
        "cultural_sensitivity": None,
        "question": "Which?",
        "options": ["one", "two"],
        "answer": 1,
    }


@pytest.mark.parametrize(
    ("layout", "change", "reason"),
    [
        ("mmlu", {"question": " "}, "empty question"),
        ("mmlu", {"question": None}, "empty question"),
        ("mmlu", {"choices": ["one"]}, "fewer than 2 options"),
        ("mmlu", {"choices": None}, "fewer than 2 options"),
        ("mmlu", {"choices": [str(i) for i in range(27)]}, "more options than letters"),
        ("mmlu", {"choices": [1, 2, 3]}, "a question or option that is no text"),
        ("mmlu", {"choices": ["one", "two", " "]}, "empty option"),
        ("mmlu", {"choices": ["one", "two", None]}, "empty option"),
        ("mmlu", {"answer": 2}, "answer is none of the options"),
        ("mmlu", {"answer": -1}, "answer is none of the options"),
        ("mmlu", {"answer": None}, "answer is none of the options"),
        ("mmlu", {"answer": "B"}, "answer is none of the options"),
        ("global_mmlu", {"option_b": None}, "empty option"),
        ("global_mmlu", {"answer": "E"}, "answer is none of the options"),
        ("global_mmlu", {"answer": ""}, "answer is none of the options"),
        ("global_mmlu", {"answer": None}, "answer is none of the options"),
        ("mmlu_prox", {"option_1": None}, "gap in the options"),
        ("mmlu_prox", {"option_4": "text 4"}, "gap in the options"),
        ("mmlu_prox", {"option_2": ""}, "empty option"),
        ("mmlu_prox", {"option_1": None, "option_2": None}, "fewer than 2 options"),
        ("mmlu_prox", {"answer": "D", "answer_index": 3}, "answer is none of the options"),
        ("mmlu_prox", {"answer": "B"}, "answer and answer_index disagree"),
        ("mmlu_prox", {"answer": "(C)"}, "answer and answer_index disagree"),
    ],
)
def test_reasons(layout: str, change: dict, reason: str) -> None:
    row = {"mmlu": MMLU, "global_mmlu": GLOBAL_MMLU, "mmlu_prox": MMLU_PROX}[layout]
    with pytest.raises(Unusable, match=f"^{reason}$"):
        question({**row, **change}, layout)


def test_of_several_questions_with_one_id_the_first_is_kept() -> None:
    rejects = Rejects()
    other = {**MMLU, "question": "Another?"}
    kept = list(canonical([("1", MMLU), ("2", MMLU), ("1", MMLU), ("1", other), ("", MMLU)], "mmlu", rejects))
    assert [(row["question_id"], row["question"]) for row in kept] == [("1", "Which?"), ("2", "Which?")]
    assert rejects.counts == {"duplicate question id": 2, "no question id": 1}
