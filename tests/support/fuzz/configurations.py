"""Random and hostile configurations, and YAML files of them."""

import copy
import math
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from calgrid import cli
from calgrid.cell import Cell
from calgrid.config import check, grid
from calgrid.scoring.prompts import prompt_text
from calgrid.scoring.settings import Prompting
from calgrid.training.settings import Training
from support.fuzz.cases import ACCEPT, EITHER, REFUSE, Case, damage_bytes
from support.workflow import ROOT

HOSTILE_NAMES = (
    *(
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        ".hidden",
        "-rf",
        "--output",
        "a b",
        "a\nb",
        "a=b",
        "{model}",
        "$(id)",
        "`id`",
    ),
    *(
        "a;b",
        "a|b",
        "a'b",
        'a"b',
        "a*",
        "a\\b",
        "",
        " ",
        "base",
        "none",
        "all",
        "x" * 300,
        "é",
        "٣",
        "a\0b",
        "\ud800",
        "a+b",
    ),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 10**30, -(10**30), 0.5, -0.5, 1e308, float("inf"), -float("inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "no",
        "1e-5",
        "0o17",
        "0x1F",
        "nan",
        "inf",
        "{",
        "}",
        "{x}",
        "{question}",
        "\0",
        "\ud800",
        "x" * 30_000,
    ),
    *(
        [],
        [[]],
        [None],
        ["x"],
        [1, "1"],
        [float("nan")],
        {},
        {"x": {}},
        {None: 1},
        {1: 2},
        {"a": [{"b": None}]},
        b"bytes",
    ),
)


def _merged(*names: str) -> dict[str, Any]:
    from snakemake.utils import update_config

    merged: dict[str, Any] = {}
    for name in names:
        update_config(merged, yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")))
    return merged


CONFIGURATIONS = (_merged("config.yaml"), _merged("config.yaml", "demo.yaml"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all keys and items."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from places(item, (*path, name))


def put(raw: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    at: Any = raw
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value


def get(raw: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        raw = raw[part]
    return raw


def _anything(raw: dict[str, Any], rng: random.Random) -> str:
    put(raw, path := rng.choice(list(places(raw))), rng.choice(ODD_VALUES))
    return f"{path}"


def _deleted(raw: dict[str, Any], rng: random.Random) -> str:
    path = rng.choice(list(places(raw)))
    del get(raw, path[:-1])[path[-1]]
    return f"{path}"


def _swapped(raw: dict[str, Any], rng: random.Random) -> str:
    one, other = rng.choice(list(places(raw))), rng.choice(list(places(raw)))
    value = copy.deepcopy(get(raw, other))
    put(raw, one, value)
    return f"{one} <- {other}"


def _unknown_key(raw: dict[str, Any], rng: random.Random) -> str:
    closed = ["grid", "data", "training", "scoring", "audit", "device", "selection", "evaluation", None]
    section = rng.choice(closed)
    name = rng.choice(["learning_rate", "epoch", "x", "é", "__class__", "trust_remote_code", "a.b", "1"])
    (raw if section is None else raw[section])[name] = rng.choice(ODD_VALUES)
    return f"{section}.{name}"


def _hostile_name(raw: dict[str, Any], rng: random.Random) -> str:
    """A name that file systems or shells would take for something else, wherever a name is made up."""
    name = rng.choice(HOSTILE_NAMES)
    catalogue = rng.choice(["models", "sft_datasets", "benchmarks", "tiers", "languages", "shards", "tier"])
    if catalogue in ("models", "sft_datasets", "benchmarks"):
        entry = copy.deepcopy(next(iter(raw[catalogue].values())))
        raw[catalogue][name] = entry
        raw["grid"][catalogue] = [*raw["grid"][catalogue], name]
    elif catalogue == "tiers":
        raw["tiers"][name] = []
    elif catalogue == "tier":
        raw["tiers"]["high"] = [*raw["tiers"]["high"], name]
    else:
        benchmark = rng.choice(list(raw["benchmarks"].values()))
        languages = [*benchmark["languages"], *([name] if catalogue == "languages" else [])]
        benchmark["languages"] = languages
        if catalogue == "shards" or benchmark.get("shards"):
            benchmark["shards"] = {name if catalogue == "shards" else "whole": list(languages)}
    return f"{catalogue} {name!r}"


def _bad_number(raw: dict[str, Any], rng: random.Random) -> str:
    fields = {
        ("training", "epochs"): (0, -1, 1.5, "two", True, 10**30, None, [1]),
        ("training", "batch_size"): (0, "x", float("nan"), 2**40),
        ("training", "dropout"): (1.0, -0.1, float("nan"), "much", True),
        ("training", "weight_decay"): (-1, float("nan"), float("inf")),
        ("training", "max_grad_norm"): (0, -1, float("nan")),
        ("training", "epsilon"): (0, float("inf"), float("nan")),
        ("training", "warmup_share"): (1, -0.5, float("nan")),
        ("data", "validation_share"): (0, 1, -1, float("nan"), "half"),
        ("data", "max_rejected_share"): (1, -0.1, float("nan")),
        ("evaluation", "n_bins"): (0, 10**6, 2.5, "many", None),
        ("evaluation", "alpha"): (0, 1, float("nan"), 2),
        ("evaluation", "resamples"): (0, 99, -5, 10**12),
        ("device", "checkpoint_minutes"): (-1, float("inf"), float("nan")),
        ("device", "train_tokens"): (0, -8192, "all", 10**15),
        ("audit", "bos"): (1, -0.1, float("nan")),
        ("grid", "smoothing"): ([1.0], [-0.1], ["a"], [float("nan")], [], [0.1, "0.10"], 0.1, [None], [[0.1]], [True]),
        ("grid", "lr"): ([0], [-1e-5], ["nan"], ["inf"], [1e-5, "0.00001"], [], "1e-5", [None], [1e-400], [True]),
        ("grid", "seeds"): ([-1], [1.5], ["a"], [], [0, 0], [10**20], [None], [True]),
    }
    path = rng.choice(list(fields))
    put(raw, path, value := rng.choice(fields[path]))
    return f"{path} {value!r}"


def _bad_reference(raw: dict[str, Any], rng: random.Random) -> str:
    places_ = [("grid", n) for n in ("models", "sft_datasets", "benchmarks", "languages")]
    places_ += [("evaluation", n) for n in ("headline_sft_datasets", "table1_sft_datasets", "smoothing")]
    path = rng.choice(places_)
    put(raw, path, value := rng.choice([["no-such"], ["../x"], [], [None], "x", {"a": 1}, [3], [[]], ["0.77"]]))
    return f"{path} {value!r}"


def _bad_source(raw: dict[str, Any], rng: random.Random) -> str:
    commit = "a" * 40
    bad: list[dict[str, Any]] = [
        {"hub": "a/b"},
        {"hub": "a/b", "revision": "main"},
        {"hub": "a/b", "revision": commit[1:]},
        {"hub": "a/b", "revision": commit.upper()},
        {"hub": "a/b", "revision": commit + "\n"},
        {"hub": "../b", "revision": commit},
        {"hub": "-x/b", "revision": commit},
        {"hub": "a/..", "revision": commit},
        {"hub": "a/b/c", "revision": commit},
        {"hub": "a b/c", "revision": commit},
        {"hub": "https://x.y/z", "revision": commit},
        {"path": ""},
        {"path": "-x"},
        {"path": "/no/such"},
        {"path": "results/../../x"},
        {"path": "a\0b"},
        {"path": "x" * 5000},
        {"path": 3},
        {"hub": "a/b", "path": "c", "revision": commit},
        {},
    ]
    catalogue = rng.choice(["models", "sft_datasets", "benchmarks"])
    entry = next(iter(raw[catalogue].values()))
    for key in ("hub", "path", "revision", "pretrain"):
        entry.pop(key, None)
    entry |= (chosen := rng.choice(bad))
    return f"{catalogue} {chosen}"


def _bad_text(raw: dict[str, Any], rng: random.Random) -> str:
    bad = {
        ("scoring", "prompt"): (
            "",
            "Answer:",
            "{question",
            "{question!r}",
            "{question:>9}",
            "{question.x}",
            "{question}{x}",
        ),
        ("scoring", "option"): ("{letter}", "{0}", "{text[0]}", "{text}{}", "{text}\0"),
        ("scoring", "candidate"): (
            "",
            "x",
            "{candidate!s}",
            "{candidate}{letter}",
            "{{candidate}}",
            "{candidate}\ud800",
        ),
        ("scoring", "content_free"): (["N/A", "N/A"], [""], "N/A", [None], ["\x07"]),
        ("scoring", "shots"): (-1, "few", 1.5, None),
        ("scoring", "cells"): ("some", None, [], True),
        ("scoring", "language"): ("yo", None, ["native"]),
        ("selection", "lr"): ("best", "7e-7", None, [], "nan"),
        ("evaluation", "confidence_method"): ("margin", None, ["sum"], "Sum"),
        ("evaluation", "headline_benchmark"): ("mmlu", None, "../x", []),
        ("evaluation", "transfer_language"): ("xx", None, "", ["en"]),
        ("evaluation", "figure1_languages"): (["xx"], "en", [None], [["en"]]),
        ("evaluation", "table_metrics"): ([], ["f1"], "ece", [None]),
    }
    path = rng.choice(list(bad))
    put(raw, path, value := rng.choice(bad[path]))
    return f"{path} {value!r}"


def _nothing(raw: dict[str, Any], rng: random.Random) -> str:
    """Other spellings of the same, which must go through."""
    raw["grid"]["seeds"] = rng.choice([[0], [0, 1, 2], [7]])
    raw["training"]["epochs"] = rng.choice([1, 2, 30])
    raw["scoring"]["prompt"] = rng.choice(
        ["{question}\n{options}\n{answer_word}:", "{{x}} {question}\t", "é {question} 🙂"]
    )
    return "spellings"


CONFIG_MUTATIONS: tuple[tuple[Callable[[dict[str, Any], random.Random], str], str, int], ...] = (
    (_anything, EITHER, 4), (_deleted, EITHER, 2), (_swapped, EITHER, 3), (_unknown_key, REFUSE, 1),
    (_hostile_name, REFUSE, 3), (_bad_number, REFUSE, 3), (_bad_reference, REFUSE, 2), (_bad_source, REFUSE, 2),
    (_bad_text, REFUSE, 2), (_nothing, ACCEPT, 1),
)  # fmt: skip


def configuration(rng: random.Random) -> Case:
    raw = copy.deepcopy(rng.choice(CONFIGURATIONS))
    mutate, expected = rng.choices([m[:2] for m in CONFIG_MUTATIONS], [m[2] for m in CONFIG_MUTATIONS])[0]
    name = mutate(raw, rng)
    return Case("configuration", f"{mutate.__name__} {name}", expected, lambda: odd_configuration(check.load(raw)))


YAML_LINES = (
    *(
        "grid: no",
        "grid: {lr: [1e-5, 1.0e-5]}",
        "grid: {seeds: [010]}",
        "grid: {seeds: [0o17]}",
        "grid: {seeds: [1_000]}",
    ),
    *("grid: {lr: [2024-01-01]}", "grid: {seeds: [12:30:45]}", "grid: {models: [no]}", "grid: {languages: [no, yes]}"),
    *("answer_words: {no: Svar, on: x}", "grid: &a {models: *a}", "training: {<<: {epochs: 3}}", "? [a, b]\n: c"),
    *("x: !!python/object/apply:os.system [id]", "x: !!binary aGk=", "x: !!set {a, b}", "training: {epochs: .inf}"),
    *(
        "training: {dropout: .nan}",
        "grid: {lr: ['1e-5\\u0000']}",
        "\tgrid: 1",
        "%YAML 9.9\n---\ngrid: 1",
        "--- 1\n--- 2",
    ),
    *(
        "grid: [",
        "grid: {models: {}}",
        "'",
        "\x00",
        "- 1",
        "",
        "null",
        "3",
        "grid: !x y",
        "benchmarks: {x: {languages: no}}",
    ),
    *(
        "training: {epochs: " + "9" * 5000 + "}",
        "tiers: {high: [no]}",
        "models: {1: {}}",
        "models: {null: {}}",
        "[" * 3000,
    ),
    *("__use_yte__: true\n?import('os').system('true'): 1", "grid: {lr: [+1e-5, -0]}", "a: &x [*x]"),
)


def yaml_text(rng: random.Random, folder: Path) -> Case:
    """A second configuration file, of odd lines of YAML, or the first one with bytes changed."""
    path = folder / "fuzz.yaml"
    if rng.random() < 0.5:
        data = "\n".join(rng.sample(YAML_LINES, rng.randint(1, 2))).encode("utf-8", "surrogatepass")
        before = [ROOT / "config/config.yaml"]
    else:
        data = (ROOT / "config" / rng.choice(["config.yaml", "config.yaml", "demo.yaml"])).read_bytes()
        before = [ROOT / "config/config.yaml"] if b"tiny-llama" in data else []
        data = damage_bytes(data, rng)[0]
    path.write_bytes(data)
    return Case("YAML", f"{data[:60]!r}", EITHER, lambda: odd_configuration(check.read([*before, path])))


def odd_configuration(found: check.Config) -> str:
    """What is wrong with a configuration that was accepted."""
    words = [*found.models, *found.sft_datasets, *found.benchmarks, *found.tiers]
    words += [language for benchmark in found.benchmarks.values() for language in benchmark.languages]
    words += [shard for name in found.benchmarks for shard in grid.shards(found, name)]
    if odd := [word for word in words if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", word)]:
        return f"names {odd}"
    for cell in grid.cells(found)[:500]:
        if (
            not re.fullmatch(r"(\w+=[A-Za-z0-9][A-Za-z0-9._+-]*/){4}seed=[a-z0-9]+", cell.path)
            or Cell.parse(cell.path) != cell
        ):
            return f"cell {cell.path}"
    for entry in [*found.models.values(), *found.sft_datasets.values(), *found.benchmarks.values()]:
        if entry.hub and not re.fullmatch("[0-9a-f]{40}", entry.revision or ""):
            return f"a revision {entry.revision!r}"
    if numbers := [
        n for n in _numbers(found.model_dump(exclude={"training": {"max_grad_norm"}})) if not math.isfinite(n)
    ]:
        return f"numbers {numbers}"
    for settings in (found.training, Prompting(**found.scoring.model_dump(include=set(Prompting.model_fields)))):
        parser = cli.parser("")
        model = Training if isinstance(settings, Training) else Prompting
        cli.add_settings(parser, model)
        if cli.read_settings(parser.parse_args(cli.settings_flags(settings)), model) != settings:
            return f"flags {cli.settings_flags(settings)}"
    text = prompt_text("why {question} \\ 100%", ["a", "{text}"], found.scoring, "Answer")
    return "" if "why {question} \\ 100%" in text else f"prompt {text!r}"


def _numbers(value: Any) -> Iterator[float]:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _numbers(item)
    if isinstance(value, int | float):
        yield float(value)
