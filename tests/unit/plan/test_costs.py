"""What jobs cost: those of a reckoning by hand."""

import re

import pytest

from calgrid.config.check import load
from calgrid.plan.costs import RATES, STAGE_OF, Costs, family
from calgrid.plan.sizes import Sizes
from support.plan import CELL, job, small
from support.workflow import ROOT


def test_every_rule_has_a_stage_and_a_rate():
    rules = set()
    for file in set((ROOT / "workflow/rules").glob("*.smk")) - {ROOT / "workflow/rules/targets.smk"}:
        rules |= set(re.findall(r"^(?:rule|checkpoint) (\w+):|^use rule \w+ as (\w+)", file.read_text(), re.MULTILINE))
    names = {name for pair in rules for name in pair if name} - {"plan"}
    assert names
    assert names <= set(STAGE_OF), "put a new rule into a stage of calgrid.plan.costs"
    assert {family(f"language_tables_{name}") for name in ("cldr4", "x")} == {"language_tables"}
    assert set(RATES) <= set(STAGE_OF) | {"figures", "other"}


def test_every_rule_records_its_seconds():
    """Beside its log, by the same name."""
    for file in set((ROOT / "workflow/rules").glob("*.smk")) - {ROOT / "workflow/rules/targets.smk"}:
        if file.name == "plan.smk":  # which asks for the time itself
            continue
        logs = re.findall(r'^ +log:\n +(.*)\.log",$', file.read_text(), re.MULTILINE)
        benchmarks = re.findall(r'^ +benchmark:\n +(.*)\.tsv"$', file.read_text(), re.MULTILINE)
        assert [path.replace("/logs/", "/benchmarks/") for path in logs] == benchmarks, file.name


def test_a_trainings_cost_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(small())
    cost = Costs(config, Sizes(config, {})).of(job("train", **CELL))
    # 900 conversations forward and backward, 100 forward, 100 tokens each, 2 FLOPs a parameter, three epochs
    flops = 3 * (3 * 2 * 1e9 * 90_000 + 2 * 1e9 * 10_000)
    assert cost.flops == flops
    assert cost.seconds == pytest.approx(10 + flops / (2 * 100e12 * 0.5))
    assert cost.gpus == 2
    assert cost.stays == 2e9 + 5e6
    assert cost.passes == 24e9


def test_a_scorings_cost_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(small(benchmarks={"global_mmlu": {"shards": None, "languages": ["en", "sw", "yo"]}}))
    cost = Costs(config, Sizes(config, {})).of(job("score", benchmark="global_mmlu", shard="low", **CELL))
    flops = 2 * 1e9 * 2 * 50 * 200  # two languages in the shard
    assert cost.flops == flops
    assert cost.seconds == pytest.approx(10 + flops / (100e12 * 0.2))
    assert (cost.gpus, cost.stays) == (1, 14 * 4 * 100 + 2e4)
