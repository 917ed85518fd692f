"""Instruction data: Alpaca, ShareGPT and messages layouts to one canonical form.

A conversation is a list of `{"role": ..., "content": ...}`: at most one system turn, then user and assistant turns
that alternate and end with the assistant's. Texts are taken as they are, without trimming.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from calgrid.data.sft_layouts import SFT_LAYOUTS, Messages
from calgrid.data.sources import Rejects, Source, check_layout, json_rows, lowest
from calgrid.errors import Unusable, UserError
from calgrid.store.files import content_hash

if TYPE_CHECKING:
    import polars as pl
    from datasets import Dataset


def canonical(
    rows: Iterable[tuple[str, Mapping[str, Any]]], layout: str, rejects: Rejects
) -> Iterator[tuple[str, Messages]]:
    """Yield (id, conversation) for the usable ones of `rows`, given as (id, row); count the others in `rejects`."""
    for row_id, row in rows:
        try:
            yield row_id, conversation(row, layout)
        except Unusable as reason:
            rejects.add(str(reason), row_id)


def conversation(row: Mapping[str, Any], layout: str) -> Messages:
    """The conversation in one row.

    Raises Unusable with the reason. Nothing is repaired, with one exception: an empty system turn says nothing and
    is left out.
    """
    messages = SFT_LAYOUTS[layout].read(row)
    if messages and messages[0]["role"] == "system" and not messages[0]["content"].strip():
        messages = messages[1:]
    roles = [message["role"] for message in messages]
    empty = {message["role"] for message in messages if not message["content"].strip()}
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if "assistant" not in roles:
        raise Unusable("no assistant turn")
    if "assistant" in empty:
        raise Unusable("empty assistant answer")
    if "user" in empty:
        raise Unusable("empty user message")
    if "system" in spoken:
        raise Unusable("system turn after the first")
    if spoken[0] != "user":
        raise Unusable("does not start with a user turn")
    if any(role == following for role, following in pairwise(spoken)):
        raise Unusable("user and assistant do not alternate")
    if spoken[-1] != "assistant":
        raise Unusable("ends with a user turn")
    return messages


def prepare(
    source: Source,
    dataset: "Dataset",
    layout: str,
    max_rows: int | None,
    validation_share: float,
    max_rejected_share: float,
) -> tuple["pl.DataFrame", Rejects]:
    """The canonical rows of `dataset` (id, split, messages; in the source's order) and what was rejected.

    `max_rows` takes a fixed sample of the source, before rows are rejected. The split is "validation" for
    `validation_share` of the distinct conversations, at least one, and "train" for the others. It is made by their
    content: whatever the order and the ids, copies of a conversation lie on one side.

    Raises UserError for another layout, for too many rejected rows, or with nothing left to train on.
    """
    import polars as pl

    check_layout(source, dataset, layout, SFT_LAYOUTS)
    ids = row_ids(dataset)
    if max_rows is not None and max_rows < len(ids):
        chosen = lowest([str(i) for i in range(len(ids))], max_rows)
        dataset, ids = dataset.select(chosen), [ids[i] for i in chosen]

    rejects = Rejects()
    conversations = canonical(zip(ids, dataset, strict=True), layout, rejects)
    message = pl.Struct({"role": pl.String, "content": pl.String})
    schema = pl.Schema([("id", pl.String), ("messages", pl.List(message))])
    # By parts, since a million conversations as Python objects take several times their text's memory.
    parts = iter(lambda: list(islice(conversations, 10_000)), [])
    frames = [pl.DataFrame(part, schema=schema, orient="row") for part in parts]
    rejects.check(source, len(ids), max_rejected_share)
    frame = pl.concat(frames)

    keys = [content_hash(row) for row in json_rows(frame.select("messages"))]
    distinct = len(set(keys))
    held_out = max(1, round(validation_share * distinct))
    if held_out >= distinct:
        raise UserError(
            f"{source}: too few distinct conversations ({distinct}) to hold out {validation_share:.1%} for validation; "
            "take more rows (max_rows) or a smaller data.validation_share (--validation-share)"
        )
    validation = set(lowest(keys, held_out))
    split = pl.Series("split", ["validation" if i in validation else "train" for i in range(len(keys))])
    return frame.select("id", split, "messages"), rejects


def row_ids(dataset: "Dataset") -> list[str]:
    """The column `id` if each row has its own, else the row numbers from 0."""
    if "id" in dataset.column_names:
        ids = dataset["id"][:]
        if None not in ids and len({str(value) for value in ids}) == len(ids):
            return [str(value) for value in ids]
    return [str(i) for i in range(len(dataset))]
