"""The library's packages lie in one order: each imports those before it, and none of those after it."""

import ast
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.workflow import ROOT

LIBRARY = ROOT / "workflow/scripts/calgrid"
# Modules of no package by their own names. `flags`, which programs share, knows metrics and confidence methods.
ORDER = [
    *("errors", "vocabulary", "calibration", "languages", "cell", "settings", "cli", "slurm", "pages"),
    *("store", "data", "models", "training", "scoring", "measure", "flags"),
    *("config", "tables", "figures", "paper", "report", "plan", "verify"),
]
HEAVY = ("torch", "transformers", "accelerate")
AFTER_SCORING = ("measure", "tables", "figures", "paper", "report", "plan", "verify")


def modules() -> list[str]:
    """`store.files`, `errors`, ...; without the `__init__` of packages."""
    files = [path.relative_to(LIBRARY).with_suffix("") for path in LIBRARY.rglob("*.py")]
    return sorted(".".join(path.parts) for path in files if path.name != "__init__")


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports: of the library as `store.files`, of others by their top name; types alone left out."""
    found = set()
    tree = ast.parse((LIBRARY / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    for_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    left_out = {inside for block in for_types for statement in block.body for inside in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            top, _, inside = node.module.partition(".")
            if top != "calgrid":
                found.add(top)
            elif (LIBRARY / f"{inside.replace('.', '/')}.py").is_file():
                found.add(inside)
            else:
                found |= {f"{inside}.{alias.name}".lstrip(".") for alias in node.names}
    return frozenset(found)


def of_library(names: frozenset[str]) -> set[str]:
    return set(names) & set(modules())


def place(module: str) -> int:
    return ORDER.index(module.split(".")[0])


def test_each_package_has_its_place():
    assert {module.split(".")[0] for module in modules()} == set(ORDER)


def test_no_module_imports_upwards():
    upwards = [f"{m} imports {other}" for m in modules() for other in of_library(imports(m)) if place(other) > place(m)]
    assert upwards == []


def test_imports_form_no_circle():
    list(TopologicalSorter({module: of_library(imports(module)) for module in modules()}).static_order())


@cache
def reached(module: str) -> frozenset[str]:
    inside = of_library(imports(module))
    return imports(module).union(*(reached(other) for other in inside))


@pytest.mark.parametrize("package", AFTER_SCORING)
def test_nothing_after_scoring_imports_a_model(package):
    heavy = {m: sorted(set(HEAVY) & reached(m)) for m in modules() if m.split(".")[0] == package}
    assert {m: found for m, found in heavy.items() if found} == {}


def test_no_file_is_longer_than_500_lines():
    folders = ("workflow", "tests", "benchmarks", "envs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".smk", ".js")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_programs_begin_with_a_verb_and_share_no_name_with_the_library():
    verbs = {
        *(
            "audit",
            "bin",
            "calibrate",
            "check",
            "compare",
            "draw",
            "fetch",
            "launch",
            "make",
            "measure",
            "pack",
            "plan",
        ),
        *("prepare", "pretrain", "score", "select", "tokenize", "train", "verify", "write"),
    }
    programs = [path.stem for path in LIBRARY.parent.glob("*.py")]
    assert {name.split("_")[0] for name in programs} <= verbs
    assert not set(programs) & {part for module in modules() for part in module.split(".")}


def test_the_snakefile_is_short_and_rules_hold_rules():
    assert len((ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()) < 60
    helpers = [path.name for path in (ROOT / "workflow/rules").glob("*.smk") if "\ndef " in path.read_text()]
    assert helpers == []


def test_every_constant_name_is_one_thing():
    """METRICS, CONFIDENCE_METHODS, ... mean one thing each."""
    names: dict[str, list[str]] = {}
    for module in modules():
        tree = ast.parse(Path(LIBRARY / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        for statement in tree.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
            for target in targets:
                if isinstance(target, ast.Name):
                    names.setdefault(target.id, []).append(module)
    records = ("METRICS", "CONFIDENCE_METHODS", "BENCHMARK_LAYOUTS", "SFT_LAYOUTS", "ARCHITECTURES", "BASE", "ALL")
    assert {name: names[name] for name in records if len(names[name]) != 1} == {}


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(LIBRARY.parent) for path in LIBRARY.rglob("__init__.py")}
    assert set(listed) == {".".join(folder.parts) for folder in folders}
