"""Each default is stated once: the sections and the programs' flags take it from the vocabulary."""

import ast
import subprocess
import sys

import pytest
import yaml
from pydantic import BaseModel

from calgrid.config import check
from support.workflow import ROOT

SCRIPTS = ROOT / "workflow/scripts"
CONFIGURATION = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
CHECKED = check.load(CONFIGURATION)
SECTIONS = {
    name: field.annotation
    for name, field in check.Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
OF_THE_PAPERS_GRID = ("evaluation.figure1_languages",)  # whose default is what another grid shows


@pytest.mark.parametrize("name", SECTIONS)
def test_the_configuration_says_what_the_section_has_as_default(name):
    for key in CONFIGURATION.get(name, ()):
        field = SECTIONS[name].model_fields[key]
        if not field.is_required() and f"{name}.{key}" not in OF_THE_PAPERS_GRID:
            assert getattr(getattr(CHECKED, name), key) == field.default, f"{name}.{key}"


def test_there_are_sections_to_compare():
    assert {"data", "training", "scoring", "device", "selection", "evaluation", "plan"} <= {*SECTIONS}


@pytest.mark.parametrize("path", sorted(SCRIPTS.rglob("*.py")), ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_no_flag_has_a_number_or_word_of_its_own_as_default(path):
    """A list without entries says that there is none, and 1 that a thing is not parallel."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            defaults = [keyword.value for keyword in call.keywords if keyword.arg == "default"]
            constants = [node for value in defaults for node in ast.walk(value) if isinstance(node, ast.Constant)]
            assert [node.value for node in constants if node.value not in (None, 1)] == [], ast.unparse(call)


@pytest.mark.parametrize(
    ("program", "defaults"),
    {
        "prepare_sft": ("(default: 0.02)", "(default: 0.01)", "(default: train)"),
        "prepare_benchmark": ("(default: 0.01)", "(default: test)"),
        "compare_arms": ("(default: perplexity)", "(default: 30)", "(default: paired)", "(default: 1000)"),
        "calibrate_posthoc": ("['perplexity', 'choice']", "(default: 0.5)", "(default: en)"),
        "write_overall_tables": ("(default: 0.05)", "(default: none)", "(default: 30)"),
        "draw_reliability": ("(default: 10)",),
    }.items(),
)
def test_a_program_shows_its_defaults(program, defaults):
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{program}.py", "--help"], capture_output=True, text=True, check=True
    )
    shown = " ".join(done.stdout.split())
    assert [text for text in defaults if text not in shown] == []
