"""Instruction layouts to the canonical form, and every reason for which a row is rejected."""

import pytest

from calgrid.data.sft import canonical, conversation
from calgrid.data.sources import Rejects
from calgrid.errors import Unusable


def turns(*spoken: tuple[str, str | None]) -> dict:
    return {"messages": [{"role": role, "content": text} for role, text in spoken]}


USER, ASSISTANT = {"role": "user", "content": "How far?"}, {"role": "assistant", "content": "2 km"}


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"instruction": "Add.", "input": "1 and 2", "output": "3"}, "Add.\n\n1 and 2"),
        ({"instruction": "Add.", "input": "", "output": "3"}, "Add."),
        ({"instruction": "Add.", "input": None, "output": "3"}, "Add."),
        ({"instruction": "Add.", "output": "3"}, "Add."),
    ],
)
def test_alpaca(row: dict, question: str) -> None:
    assert conversation(row, "alpaca") == [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "3"},
    ]


@pytest.mark.parametrize(("user", "assistant"), [("human", "gpt"), ("user", "assistant"), ("human", "chatgpt")])
def test_sharegpt_roles(user: str, assistant: str) -> None:
    row = {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": user, "value": "How far?", "weight": None},
            {"from": assistant, "value": "2 km", "weight": 1},
        ]
    }
    assert conversation(row, "sharegpt") == [{"role": "system", "content": "Be brief."}, USER, ASSISTANT]


def test_messages_keep_their_text_as_it_is() -> None:
    row = turns(("user", " How far?\n"), ("assistant", "2 km"), ("user", "And back?"), ("assistant", "The same. "))
    assert conversation(row, "messages") == row["messages"]


def test_an_empty_system_turn_is_left_out() -> None:
    row = turns(("system", " "), ("user", "How far?"), ("assistant", "2 km"))
    assert conversation(row, "messages") == [USER, ASSISTANT]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (turns(), "no assistant turn"),
        ({"messages": None}, "no assistant turn"),
        (turns(("system", "Be brief."), ("user", "How far?")), "no assistant turn"),
        (turns(("system", "")), "no assistant turn"),
        (turns(("user", "How far?"), ("assistant", " \n")), "empty assistant answer"),
        (turns(("user", "How far?"), ("assistant", None)), "empty assistant answer"),
        (turns(("user", ""), ("assistant", "2 km")), "empty user message"),
        (turns(("user", "a"), ("narrator", "b"), ("assistant", "c")), "unknown role 'narrator'"),
        ({"messages": [USER, ASSISTANT, None]}, "unknown role None"),
        (turns(("user", "a"), ("system", "b"), ("assistant", "c")), "system turn after the first"),
        (turns(("assistant", "Hello!"), ("user", "a"), ("assistant", "b")), "does not start with a user turn"),
        (turns(("user", "a"), ("user", "b"), ("assistant", "c")), "user and assistant do not alternate"),
        (turns(("user", "a"), ("assistant", "b"), ("assistant", "c")), "user and assistant do not alternate"),
        (turns(("user", "a"), ("assistant", "b"), ("user", "c")), "ends with a user turn"),
        (turns(("user", "a"), ("tool", "b"), ("assistant", "c")), "tool turns"),
        ({"messages": [USER, {**ASSISTANT, "tool_calls": [{"name": "map"}]}]}, "tool turns"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "text"}]}]}, "content is not text"),
    ],
)
def test_reasons_of_messages(row: dict, reason: str) -> None:
    with pytest.raises(Unusable, match=f"^{reason}$"):
        conversation(row, "messages")


@pytest.mark.parametrize("role", ["function_call", "observation", "tool"])
def test_tool_turns_of_sharegpt(role: str) -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": role, "value": "b"}]}
    with pytest.raises(Unusable, match=r"^tool turns$"):
        conversation(row, "sharegpt")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Add.", "input": "1", "output": ""}, "empty assistant answer"),
        ({"instruction": "Add.", "input": "1", "output": None}, "empty assistant answer"),
        ({"instruction": " ", "input": "1", "output": "3"}, "empty user message"),
        ({"instruction": "Add.", "input": "1", "output": 3}, "content is not text"),
    ],
)
def test_reasons_of_alpaca(row: dict, reason: str) -> None:
    with pytest.raises(Unusable, match=f"^{reason}$"):
        conversation(row, "alpaca")


def test_every_row_is_either_kept_or_counted() -> None:
    good, bad = turns(("user", "a"), ("assistant", "b")), turns(("user", "a"))
    rejects = Rejects()
    kept = list(canonical([("x", good), ("y", bad), ("z", bad)], "messages", rejects))
    assert kept == [("x", good["messages"])]
    assert rejects.counts == {"no assistant turn": 2}
    assert rejects.examples == {"no assistant turn": "y"}
