"""Random and hostile configurations, data rows and damaged artifacts: what the library makes of each.

A case is a kind and a number, from which it is made again. Each mutation knows whether what it makes must be refused,
may be accepted, or must be; what is accepted is looked at. A UserError refuses a configuration or an artifact, and a
row is counted as rejected. Anything else that is raised would have been a traceback.
"""

import copy
import math
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file
from synthetic_store import scores

from calgrid import benchmarks, cli, config, files, grid, seals, sft, store, weights
from calgrid.data_sources import Rejects, Source
from calgrid.errors import UserError
from calgrid.grid import Cell
from calgrid.prompts import prompt_text
from calgrid.sections import Prompting, Training

ROOT = Path(__file__).parents[1]
REFUSE, ACCEPT, EITHER = "must be refused", "must be accepted", "either"

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


@dataclass
class Case:
    """What was tried, and what came of it."""

    kind: str
    name: str
    expected: str
    attempt: Callable[[], str | None]  # None: refused; otherwise what is wrong with what was accepted, or ""
    outcome: str = ""
    detail: str = ""

    def run(self) -> "Case":
        try:
            wrong = self.attempt()
        except UserError as error:
            wrong = None
            self.detail = str(error)
            if "Traceback" in self.detail or not self.detail.strip():
                self.outcome = "traceback"
                return self
        except BaseException as error:  # a panic of polars is no Exception
            self.outcome, self.detail = "traceback", f"{type(error).__name__}: {error}"
            return self
        if wrong is None:
            self.outcome = "refused wrongly" if self.expected == ACCEPT else "refused"
        elif wrong or self.expected == REFUSE:
            self.outcome, self.detail = "accepted silently", wrong or "it should have been refused"
        else:
            self.outcome = "accepted"
        return self


@dataclass
class Tally:
    """Counts of outcomes by kind, and the cases that failed."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, case: Case, number: int) -> None:
        self.counts.setdefault(case.kind, Counter())[case.outcome] += 1
        if case.outcome not in ("refused", "accepted"):
            self.failures.append(f"{case.kind} {number}: {case.name}: {case.outcome}: {case.detail[:300]}")


# Configurations


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
        ("grid", "seeds"): ([-1], [1.5], ["a"], [], [0, 0], [10**20], [None]),
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
    return Case("configuration", f"{mutate.__name__} {name}", expected, lambda: odd_configuration(config.load(raw)))


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
    return Case("YAML", f"{data[:60]!r}", EITHER, lambda: odd_configuration(config.read([*before, path])))


def odd_configuration(found: config.Config) -> str:
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


# Data rows

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
    sft_layout = layout in sft.LAYOUTS
    mutate = rng.choice(SFT_ROWS[layout] if sft_layout else [*QUESTION_ROWS, *ANSWER_ROWS[layout]])
    expected, name = mutate(value, layout, rng)
    rejects = Rejects()

    def attempt() -> str | None:
        if sft_layout:
            kept = list(sft.canonical([("r", value)], layout, rejects))
            return odd_conversation(kept[0][1]) if kept else None
        found = list(benchmarks.canonical([("q", value)], layout, rejects))
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
    sft_layout = layout in sft.LAYOUTS
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
        frame, _ = benchmarks.prepare(source, made, layout, None, share)
        if frame["question_id"].is_duplicated().any():
            return "a question id stands twice"
        return next(filter(None, map(odd_question, frame.iter_rows(named=True))), "")

    return Case("data set", f"{layout} share {share} {expectations}", EITHER, attempt)


# Artifacts


def damage_bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes as disks, networks and hasty users leave them."""
    how = rng.choice(
        ["flip", "flip", "flip", "flips", "cut", "cut", "zeros", "inserted", "removed", "empty", "doubled"]
    )
    place = rng.randrange(len(data))
    if rng.random() < 0.3:  # near the ends, where the structure is
        place = min(len(data) - 1, rng.choice([rng.randrange(100), max(0, len(data) - 1 - rng.randrange(100))]))
    if how in ("flip", "flips"):
        changed = bytearray(data)
        for _ in range(1 if how == "flip" else rng.randint(2, 9)):
            changed[place] ^= 1 << rng.randrange(8)
            place = rng.randrange(len(data))
        return bytes(changed), how
    length = rng.randint(1, 200)
    made = {
        "cut": data[:place],
        "zeros": data[:place] + bytes(min(length, len(data) - place)) + data[place + length :],
        "inserted": data[:place] + rng.randbytes(length) + data[place:],
        "removed": data[:place] + data[place + length :],
        "empty": b"",
        "doubled": data + data,
    }
    return made[how], f"{how} at {place}"


RECORD = {"loss": 0.1, "lr": 1e-5, "names": ["é", "x"], "base": {"hub": None, "n": 3}}


class Artifacts:
    """Small whole artifacts in a folder, to damage copies of."""

    LANGUAGES = ("en", "yo")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = [Cell("m"), Cell("m", "s", "0.1", "1e-5", "0"), Cell("n")]
        self.shards = [folder / grid.scores("b", cell.path, "all") for cell in self.cells]
        for cell, path in zip(self.cells, self.shards, strict=True):
            frame = scores(cell, self.LANGUAGES, 40, 3, 5)
            files.write_parquet(frame, path, files.provenance(benchmark="b", cell=asdict(cell)))
        self.rows = store.read_scores([self.shards[0]], self.LANGUAGES)
        self.records = [folder / f"record{number}.json" for number in range(2)]
        for number, path in enumerate(self.records):
            files.write_json(path, {**RECORD, "loss": 0.1 + number})
        self.model = folder / "model"
        self.model.mkdir()
        rng = np.random.default_rng(0)
        shapes = {"model.embed_tokens": (50, 8), "model.norm": (8,), "lm_head": (50, 8)}
        shapes |= {f"model.layers.0.{part}": (8, 8) for part in weights.LAYER}
        tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        save_file(tensors, self.model / "model.safetensors", {"format": "pt"})
        configuration = {"model_type": "llama", "vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1}
        files.write_json(self.model / "config.json", configuration)
        self.train = {"weights": {"path": str(self.model)}, "base": {}, "files": weights.sums(self.model)}
        self.whole = {path: path.read_bytes() for path in [*self.shards, *self.records, *self.model.iterdir()]}

    def case(self, rng: random.Random) -> Case:
        make = rng.choice([self.parquet, self.parquet, self.parquet, self.json, self.weights, self.weights, self.swap])
        return make(rng)

    def parquet(self, rng: random.Random) -> Case:
        data, name = damage_bytes(self.whole[self.shards[0]], rng)

        def attempt() -> str | None:
            with self.damaged(self.shards[0], data) as path:
                made_by = files.read_provenance(path)
                found = store.read_scores([path], self.LANGUAGES)
            return "" if found.equals(self.rows) and made_by["cell"]["model"] == "m" else "other rows"

        return Case("Parquet", name, EITHER, attempt)

    def json(self, rng: random.Random) -> Case:
        data, name = damage_bytes(self.whole[self.records[0]], rng)

        def attempt() -> str | None:
            with self.damaged(self.records[0], data) as path:
                found = files.read_record(path, "loss")
            return "" if found == RECORD else f"{found}"

        return Case("JSON", name, EITHER, attempt)

    def weights(self, rng: random.Random) -> Case:
        path = self.model / rng.choice(["model.safetensors", "model.safetensors", "config.json"])
        data, name = damage_bytes(self.whole[path], rng)
        headers_alone = rng.random() < 0.3

        def attempt() -> str | None:
            with self.damaged(path, data):
                if headers_alone:  # what is noticed without a hash: no traceback, whatever it is
                    weights.check_tensors(self.model)
                    return ""
                weights.check(self.train, "train.json")
            return "" if data == self.whole[path] else "other bytes"

        return Case("safetensors", f"{path.name} {name}", EITHER, attempt)

    def swap(self, rng: random.Random) -> Case:
        """A whole artifact in the place of another one."""
        what = rng.choice(["shard", "shard", "record", "weights", "kinds"])
        if what == "shard":
            source = rng.choice(self.shards[1:])
            return Case("swap", "shard", REFUSE, lambda: self._read_shard(self.whole[source]))
        if what == "record":
            return Case("swap", "record as shard", REFUSE, lambda: self._read_shard(self.whole[self.records[0]]))
        if what == "kinds":
            data = self.whole[rng.choice([self.shards[0], self.model / "model.safetensors"])]

            def read_record() -> str:
                with self.damaged(self.records[0], data) as path:
                    return str(files.read_record(path))

            return Case("swap", "another kind as record", REFUSE, read_record)

        def read_weights() -> str:
            with self.damaged(self.model / "model.safetensors", self.whole[self.shards[0]]):
                weights.check(self.train, "train.json")
            return "other bytes"

        return Case("swap", "shard as weights", REFUSE, read_weights)

    def _read_shard(self, data: bytes) -> str:
        with self.damaged(self.shards[0], data) as path:
            store.read_scores([path], self.LANGUAGES)
        return "other rows"

    def damaged(self, path: Path, data: bytes) -> "_Damaged":
        return _Damaged(path, data, self.whole[path])


class _Damaged:
    """A file with other bytes, for the time of a block."""

    def __init__(self, path: Path, data: bytes, whole: bytes) -> None:
        self.path, self.data, self.whole = path, data, whole

    def __enter__(self) -> Path:
        self.path.write_bytes(self.data)
        seals._check_parquet.cache_clear()  # one state of a file a millisecond is more than its time tells apart
        return self.path

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.whole)


def cases(folder: Path) -> dict[str, tuple[Callable[[random.Random], Case], float]]:
    """How the cases of each kind are made, and their share of all."""
    artifacts = Artifacts(folder / "artifacts")
    return {
        "configurations": (configuration, 0.3),
        "YAML": (lambda rng: yaml_text(rng, folder), 0.1),
        "rows": (row, 0.25),
        "data sets": (data_set, 0.05),
        "artifacts": (artifacts.case, 0.3),
    }


def fuzz(total: int, folder: Path, seed: int = 0) -> Tally:
    """Run `total` cases; `folder` is for files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tally = Tally()
    for kind, (make, share) in cases(folder).items():
        for number in range(round(share * total)):
            tally.add(make(random.Random(f"{kind} {seed} {number}")).run(), number)
    return tally
