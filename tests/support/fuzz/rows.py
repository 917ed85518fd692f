"""Rows of data sets in each layout, as careless and hostile people write them."""

import copy
import random
from collections.abc import Callable
from typing import Any

from calgrid.data import question_sets, sft
from calgrid.data.sft_layouts import SFT_LAYOUTS
from calgrid.data.sources import Rejects, Source
from support.fuzz.cases import ACCEPT, EITHER, REFUSE, Case

TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
GOOD: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "Add 1 and 2.", "input": "", "output": "3"},
    "messages": {"messages": TURNS},
    "sharegpt": {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    "global_mmlu": {
        **{"sample_id": "q1", "subject": "law", "subject_category": "STEM", "question": "Which?", "answer": "B"},
        **{f"option_{letter}": letter for letter in "abcd"},
        "cultural_sensitivity_label": "CS",
    },
    "mmlu_prox": {
        **{"question_id": 1, "question": "Which?", "answer_index": 1, "answer": "B", "category": "law"},
        **{f"option_{number}": str(number) for number in range(4)},
        **{f"option_{number}": None for number in range(4, 10)},
    },
    "mmlu": {"question": "Which?", "choices": ["a", "b", "c"], "answer": 1, "subject": "law"},
}
EMPTY = ("", " ", "\n\t", None, "\u3000")
NOT_TEXT = (3, 1.5, True, ["x"], {"x": 1}, [])
TEXTS = (
    *("\0", "\x1b[31m", "<script>alert(1)</script>", r"\input{/etc/passwd}", "$x$", "%", "{question}", "\u202e"),
    *("A" * 9999, "a\r\nb", "🙂", "../../x", "=1+1", "'; DROP"),
)


def row(rng: random.Random) -> Case:
    layout = rng.choice(list(GOOD))
    value = copy.deepcopy(GOOD[layout])
    sft_layout = layout in SFT_LAYOUTS
    mutate = rng.choice(SFT_ROWS[layout] if sft_layout else [*QUESTION_ROWS, *ANSWER_ROWS[layout]])
    expected, name = mutate(value, layout, rng)
    rejects = Rejects()

    def attempt() -> str | None:
        if sft_layout:
            kept = list(sft.canonical([("r", value)], layout, rejects))
            return odd_conversation(kept[0][1]) if kept else None
        found = list(question_sets.canonical([("q", value)], layout, rejects))
        return odd_question(found[0]) if found else None

    return Case("row", f"{layout} {name}", expected, attempt)


def odd_conversation(messages: list[dict[str, str]]) -> str:
    roles = [message["role"] for message in messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    right = spoken == ["user", "assistant"] * (len(spoken) // 2) and spoken
    text = all(isinstance(message["content"], str) and message["content"].strip() for message in messages)
    return "" if right and text else f"conversation {messages}"


def odd_question(found: dict[str, Any]) -> str:
    options, answer = found["options"], found["answer"]
    right = 2 <= len(options) <= 26 and all(isinstance(option, str) and option.strip() for option in options)
    right = right and isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options)
    topics = [found[name] for name in ("subject", "category", "cultural_sensitivity")]
    right = right and all(topic is None or isinstance(topic, str) for topic in topics)
    return "" if right and isinstance(found["question"], str) and found["question"].strip() else f"question {found}"


def _setter(names: tuple[str, ...], values: tuple[Any, ...], expected: str) -> Callable[..., tuple[str, str]]:
    def mutate(value: dict[str, Any], layout: str, rng: random.Random) -> tuple[str, str]:
        name = rng.choice(names)
        value[name] = rng.choice(values)
        return expected, f"{name} = {str(value[name])[:40]!r}"

    return mutate


def _turn(field_of: str, values: tuple[Any, ...], expected: str) -> Callable[..., tuple[str, str]]:
    """One turn's text or role."""

    def mutate(value: dict[str, Any], layout: str, rng: random.Random) -> tuple[str, str]:
        turns = value["messages" if layout == "messages" else "conversations"]
        name = {"text": ("content", "value"), "role": ("role", "from")}[field_of][layout == "sharegpt"]
        turns[number := rng.randrange(2)][name] = rng.choice(values)
        return expected, f"turn {number} {name} = {str(turns[number][name])[:40]!r}"

    return mutate


def _turns(values: Callable[[list[Any]], list[Any]], expected: str) -> Callable[..., tuple[str, str]]:
    def mutate(value: dict[str, Any], layout: str, rng: random.Random) -> tuple[str, str]:
        column = "messages" if layout == "messages" else "conversations"
        value[column] = rng.choice(values(value[column]))
        return expected, f"{column} = {str(value[column])[:60]}"

    return mutate


def _broken_turns(turns: list[Any]) -> list[Any]:
    one, two = turns
    orders = [[], [one], [two], [two, one], [one, one, two], [one, two, two], [one, two, one]]
    kinds = [None, "text", 3, {"role": "user"}, [None, None], ["a"], [{}, {}], [[one], [two]], [one, 3]]
    return [*orders, *kinds, [one, {**two, "tool_calls": [{"x": 1}]}]]


ROLES = ("tool", "", None, "narrator", 3, "User", ["user"], "function", {})
SFT_ROWS: dict[str, list[Callable[..., tuple[str, str]]]] = {
    "alpaca": [
        _setter(("instruction", "output"), EMPTY, REFUSE),
        _setter(("instruction", "input", "output"), NOT_TEXT, REFUSE),
        _setter(("instruction", "input", "output"), TEXTS, ACCEPT),
        _setter(("input",), EMPTY, ACCEPT),
        lambda value, layout, rng: (REFUSE, f"without {value.popitem()}"),
    ],
    **{
        layout: [
            _turn("text", EMPTY, REFUSE),
            _turn("text", NOT_TEXT, REFUSE),
            _turn("text", TEXTS, ACCEPT),
            _turn("role", ROLES, REFUSE),
            _turns(_broken_turns, REFUSE),
        ]
        for layout in ("messages", "sharegpt")
    },
}
QUESTION_ROWS: list[Callable[..., tuple[str, str]]] = [
    _setter(("question",), EMPTY, REFUSE),
    _setter(("question",), NOT_TEXT, REFUSE),
    _setter(("question", "subject"), TEXTS, ACCEPT),
    _setter(("subject",), (3, ["x"], {"a": 1}, 2.5, True), REFUSE),
]
ANSWER_ROWS: dict[str, list[Callable[..., tuple[str, str]]]] = {
    "global_mmlu": [
        _setter(("answer",), ("E", "b", "", None, 1, "AB", "Á", ["A"], True), REFUSE),
        _setter(tuple(f"option_{letter}" for letter in "abcd"), (*EMPTY, *NOT_TEXT), REFUSE),
        _setter(tuple(f"option_{letter}" for letter in "abcd"), TEXTS, ACCEPT),
    ],
    "mmlu_prox": [
        _setter(("answer_index",), (4, -1, None, "1", 1.0, True, 10**9, [1], 2), REFUSE),
        _setter(("answer",), ("C", "b", "", 1, ["B"]), REFUSE),
        _setter(("option_0", "option_2"), (*EMPTY, *NOT_TEXT), REFUSE),
        _setter(("option_7",), ("late", "", 3), REFUSE),
        _setter(("option_1", "option_4"), TEXTS, ACCEPT),
    ],
    "mmlu": [
        _setter(("answer",), (3, -1, None, "1", True, False, 1.0, 10**9, "B", [1]), REFUSE),
        _setter(
            ("choices",),
            (None, [], ["a"], "abc", ["a", None], ["a", ""], ["a", 3], {"a": 1}, 3, [["a"], ["b"]], ["x"] * 27),
            REFUSE,
        ),
    ],
}


def data_set(rng: random.Random) -> Case:
    """A whole data set through `prepare`, some of its rows mutated: as Arrow would hand it over."""
    import datasets
    import pyarrow as pa

    layout = rng.choice(list(GOOD))
    sft_layout = layout in SFT_LAYOUTS
    rows, expectations = [], []
    for number in range(20):
        value = copy.deepcopy(GOOD[layout])
        if layout == "alpaca":
            value["instruction"] += f" {number}"
        elif sft_layout:
            column, text = ("messages", "content") if layout == "messages" else ("conversations", "value")
            value[column][0][text] += f" {number}"
        elif layout != "mmlu":
            value["sample_id" if layout == "global_mmlu" else "question_id"] = (
                number % 19 if rng.random() < 0.1 else number
            )
        if rng.random() < 0.2:
            mutate = rng.choice(SFT_ROWS[layout] if sft_layout else [*QUESTION_ROWS, *ANSWER_ROWS[layout]])
            expectations.append(mutate(value, layout, rng)[0])
        rows.append(value)
    try:
        made = datasets.Dataset.from_list(rows)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError, AttributeError):
        return row(rng)  # no such file can exist
    source = Source(None, "fuzz", None, None, "test")
    share = rng.choice([0.0, 0.9])

    def attempt() -> str | None:
        if sft_layout:
            frame, _ = sft.prepare(source, made, layout, None, 0.1, share)
            return next(filter(None, map(odd_conversation, frame["messages"].to_list())), "")
        frame, _ = question_sets.prepare(source, made, layout, None, share)
        if frame["question_id"].is_duplicated().any():
            return "a question id stands twice"
        return next(filter(None, map(odd_question, frame.iter_rows(named=True))), "")

    return Case("data set", f"{layout} share {share} {expectations}", EITHER, attempt)
