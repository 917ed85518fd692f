"""One process in a process group of its own, as a GPU is driven: sharded weights, bfloat16 passes."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from calgrid.training import sharding
from support.models import ARCHITECTURES
from support.training import parameters, run, trained_model


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sharded_training_is_the_plain_one(architecture, tied, group):
    plain, sharded = trained_model(architecture), trained_model(architecture)
    if tied:
        for model in (plain, sharded):
            model.config.tie_word_embeddings = True
            model.lm_head.weight = model.model.embed_tokens.weight
    progress = run(sharded)
    found = sharding.whole_weights(sharded)
    dist.destroy_process_group()
    expected = run(plain)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # for the fixture to end
    for ours, theirs in zip(progress.curve, expected.curve, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert torch.allclose(
        torch.cat([found[name].flatten() for name in plain.state_dict()]), parameters(plain), atol=1e-5
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_passes_keep_float32_weights(architecture, group):
    model = trained_model(architecture)
    before = parameters(model).clone()
    progress = run(model, compute_dtype=torch.bfloat16, lr=5e-6)
    weights = sharding.whole_weights(model)
    assert {values.dtype for values in weights.values()} == {torch.float32}
    moved = (torch.cat([values.flatten() for values in weights.values()]) - before).abs()
    assert (moved > 0).float().mean() > 0.9  # in bfloat16 most would be rounded away
    dist.destroy_process_group()
    expected = run(trained_model(architecture), lr=5e-6)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    for ours, theirs in zip(progress.curve, expected.curve, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.01)


def test_rows_are_shared_out_evenly(monkeypatch):
    monkeypatch.setattr("calgrid.training.sharding.n_processes", lambda: 3)
    from calgrid.training.fine_tune import shared_out

    rows = [[0], [1], [2], [3], [4]]
    given = []
    for rank in range(3):
        monkeypatch.setattr("calgrid.training.sharding.rank", lambda rank=rank: rank)
        given.append(shared_out(rows))
    assert {len(mine) for mine in given} == {2}
    assert sorted(row for mine in given for row, weight in mine if weight) == rows
    assert given[2][1] == ([0], 0.0)
