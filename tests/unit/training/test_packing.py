"""Packing: each conversation once, whole and apart from its neighbours; and the program that writes the file."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calgrid.errors import UserError
from calgrid.models import attention
from calgrid.models.attention import Blocks, blocks_of
from calgrid.store import files
from calgrid.training import packing
from support.models import tiny_model
from support.training import conversations, examples, pack, prepared, trained_model

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 80), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_rows_hold_each_conversation_once_and_no_more_than_fits(lengths, capacity, multiple):
    rows = packing.rows(lengths, capacity, multiple)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[i] for i in row) <= capacity or len(row) == 1
    assert len(rows) % multiple == 0 or len(rows) == len(lengths)


@given(LENGTHS)
@settings(max_examples=100, deadline=None)
def test_blocks_hold_each_token_once_with_little_padding(lengths):
    blocks = blocks_of(lengths)
    assert len(blocks.places.unique()) == len(blocks.places) == sum(lengths)
    assert blocks.places.max() < sum(blocks.sizes)
    assert sum(blocks.sizes) * (1 - attention.WASTE) <= sum(lengths)
    at = 0
    for length in lengths:  # contiguous, within one line of one block
        places = blocks.places[at : at + length]
        assert (places.diff() == 1).all()
        at += length


def test_steps_are_a_function_of_seed_and_step():
    whole = [packing.batch(103, 10, 5, step) for step in range(22)]
    assert [len(batch) for batch in whole] == [*[10] * 10, 3] * 2
    for epoch in (whole[:11], whole[11:]):
        assert sorted(i for batch in epoch for i in batch) == list(range(103))
    assert whole[:11] != whole[11:]
    assert packing.batch(103, 10, 5, 17) == whole[17]
    assert packing.batch(103, 10, 6, 17) != whole[17]


def test_a_row_supervises_each_conversations_own_tokens():
    data = conversations(examples(6))
    row = packing.lay_out(data, [4, 0, 2])
    expected = [
        (token, list(example.tokens[:place]))
        for example in (examples(6)[i] for i in (4, 0, 2))
        for place, token in enumerate(example.tokens)
        if example.supervised[place]
    ]
    found = []
    for place, label in zip(row.places.tolist(), row.labels.tolist(), strict=True):
        start = place - int(row.positions[0, place])
        found.append((label, row.tokens[0, start : place + 1].tolist()))
    assert found == expected


@pytest.mark.parametrize("architecture", ["gemma2", "llama", "mistral"])
def test_a_neighbour_changes_nothing(architecture):
    model, plain = trained_model(architecture), tiny_model(architecture)
    data = conversations(examples(8))
    row = packing.lay_out(data, list(range(8)))
    inputs = {"input_ids": row.tokens, "position_ids": row.positions, "use_cache": False}
    with torch.no_grad():
        packed = model.model(**inputs, blocks=row.blocks).last_hidden_state[0]
        for start, end in zip(data.starts, data.starts[1:], strict=False):
            alone = plain.model(input_ids=row.tokens[:, start:end]).last_hidden_state[0]
            assert torch.allclose(packed[start:end], alone, atol=1e-5)


def test_attention_takes_no_mask():
    with pytest.raises(ValueError, match="without a mask"):
        attention.attend(
            *(torch.nn.Identity(), *[torch.zeros(1, 1, 2, 4)] * 3, torch.zeros(1, 1, 2, 2)),
            blocks=Blocks(torch.arange(2), [(1, 2)]),
            scaling=1.0,
        )


def test_real_rows_fill_98_percent(shared_data, tmp_path):
    """Rows as long as their step's longest would be filled that much; computed are the tokens alone."""
    from calgrid.data.sft import conversation
    from calgrid.models.reading import load_tokenizer
    from calgrid.training.chat import fit, use_template

    tokenizer = load_tokenizer({"pretrained_model_name_or_path": shared_data / "tokenizers/mistral-v1"})
    use_template(tokenizer, "calgrid")
    source = json.loads((shared_data / "hub/tatsu-lab/alpaca/train.json").read_text())
    source = [row for row in source if row["output"].strip()]
    fitted = fit(tokenizer, [conversation(row, "alpaca") for row in source], 2048, "refuse")
    data = conversations([example for example, _ in fitted if example])
    assert len(data) == len(source)
    filled = places = 0
    for step in range(packing.steps_an_epoch(len(data), 128)):
        lengths = data.lengths[packing.batch(len(data), 128, 0, step)].tolist()
        rows = packing.rows(lengths, 2048)
        filled += sum(lengths)
        places += len(rows) * max(sum(lengths[i] for i in row) for row in rows)
    assert filled / places > 0.98


# The program


def test_the_file_and_its_manifest(base, tmp_path):
    output = pack(base, prepared(tmp_path / "data.parquet", ["one", "the first", "A. B. C. D. " * 9]))
    manifest = json.loads(output.with_suffix(".json").read_text())
    train, validation = (packing.read(output, split) for split in ("train", "validation"))
    assert (train.ids, validation.ids) == (["1", "2"], ["0"])
    assert manifest["counts"]["train"] == {
        "conversations": 2,
        "tokens": len(train.tokens),
        "supervised_tokens": int(np.sum(train.supervised)),
        "longest": max(train.lengths),
    }
    assert manifest["left_out"] == {"too long": 0, "cut at a turn": 0}
    assert manifest["sha256"] == packing.digest(pl.read_parquet(output)) == files.read_provenance(output)["sha256"]
    assert manifest["settings"]["max_length"] == 2048


def test_what_does_not_fit_is_counted(base, tmp_path):
    output = pack(base, prepared(tmp_path / "data.parquet", ["one", "two", "A. B. C. D. " * 90]), "--max-length", "99")
    assert json.loads(output.with_suffix(".json").read_text())["left_out"] == {"too long": 1, "cut at a turn": 0}
    assert len(packing.read(output, "train")) == 1


def test_a_change_of_one_token_changes_the_hash(tmp_path):
    frame = pl.DataFrame([("a", "train", [1, 2], [False, True])], schema=packing.SCHEMA, orient="row")
    other = pl.DataFrame([("a", "train", [1, 2], [True, True])], schema=packing.SCHEMA, orient="row")
    assert packing.digest(frame) != packing.digest(other)


def test_a_split_without_conversations_is_refused(base, tmp_path):
    data = prepared(tmp_path / "data.parquet", ["one", "A. B. C. D. " * 90])
    with pytest.raises(
        UserError, match=r"data.parquet: split 'train' has no conversation of at most 99 tokens .*raise training"
    ):
        pack(base, data, "--max-length", "99")


def test_nothing_supervised_is_refused(base, tmp_path):
    rows = [("a", "train", [1, 2], [False, False]), ("b", "validation", [1, 2], [False, True])]
    frame = pl.DataFrame(rows, schema=packing.SCHEMA, orient="row")
    with pytest.raises(UserError, match=r"the data: split 'train' has no supervised token"):
        packing.check(frame, 300, 99, "the data")


def test_a_token_without_an_embedding_is_refused():
    rows = [("a", split, [1, 300], [False, True]) for split in ("train", "validation")]
    frame = pl.DataFrame(rows, schema=packing.SCHEMA, orient="row")
    packing.check(frame, 301, 99, "the data")
    with pytest.raises(UserError, match=r"the data: token 300 is beyond the model's vocabulary of 300"):
        packing.check(frame, 300, 99, "the data")
