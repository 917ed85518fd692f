"""The layouts of instruction data: which columns the rows of a source have, and how a conversation is read.

To add a layout, write its reader here and add a record to `SFT_LAYOUTS`; `layout` in the configuration then takes its
name. Parsing the Snakefile imports this module: nothing heavy at its head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from calgrid.errors import Unusable

Row = Mapping[str, Any]
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
}
TOOL_ROLES = {
    "tool",
    "tool_call",
    "tool_response",
    "function",
    "function_call",
    "function_response",
    "observation",
    "environment",
    "ipython",
}
TOOL_FIELDS = ("tool_calls", "function_call", "function_calls")
Messages = list[dict[str, str]]


def _alpaca(row: Row) -> Messages:
    instruction, given, output = (_text(row.get(name)) for name in ("instruction", "input", "output"))
    if not instruction.strip():
        raise Unusable("empty user message")
    content = f"{instruction}\n\n{given}" if given.strip() else instruction
    return [{"role": "user", "content": content}, {"role": "assistant", "content": output}]


def _turns(row: Row, column: str, role_field: str, text_field: str) -> Messages:
    turns = row[column] or []
    if not isinstance(turns, list) or not all(isinstance(turn, dict | None) for turn in turns):
        raise Unusable("turns that are no list of records")
    turns = [turn or {} for turn in turns]
    if not all(isinstance(turn.get(role_field), str | None) for turn in turns):
        raise Unusable("a role that is no text")
    if any(turn.get(role_field) in TOOL_ROLES or any(turn.get(name) for name in TOOL_FIELDS) for turn in turns):
        raise Unusable("tool turns")
    for turn in turns:
        if turn.get(role_field) not in ROLES:
            raise Unusable(f"unknown role {turn.get(role_field)!r}")
    return [{"role": ROLES[turn[role_field]], "content": _text(turn[text_field])} for turn in turns]


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise Unusable("content is not text")
    return value or ""


@dataclass(frozen=True, kw_only=True)
class SftLayout:
    """How the rows of a source are read."""

    name: str
    columns: tuple[str, ...]  # that it needs; `x[].y` is the field y of the records in the list x
    read: Callable[[Row], Messages]  # of a row: its turns; raises Unusable


def _layouts(*layouts: SftLayout) -> Mapping[str, SftLayout]:
    return {layout.name: layout for layout in layouts}


SFT_LAYOUTS = _layouts(
    SftLayout(name="alpaca", columns=("instruction", "output"), read=_alpaca),  # and "input", where there is one
    SftLayout(
        name="sharegpt",
        columns=("conversations[].from", "conversations[].value"),
        read=partial(_turns, column="conversations", role_field="from", text_field="value"),
    ),
    SftLayout(
        name="messages",
        columns=("messages[].role", "messages[].content"),
        read=partial(_turns, column="messages", role_field="role", text_field="content"),
    ),
)
