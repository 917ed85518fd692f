"""docs/troubleshooting.md: each message that it quotes is one that the code, or the tool that prints it, still has."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.workflow import ROOT

TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
ELSEWHERE = {  # messages of other tools: the module that has them
    "Directory cannot be locked.": "snakemake.exceptions",
    "file is not valid JSON or YAML": "snakemake.common.configfile",
    "No rule to produce": "snakemake.exceptions",
    "marked for report but does not exist": "snakemake.report",
    "Failed to run sinfo": "snakemake_executor_plugin_slurm.partitions",
    "The files below seem to be incomplete.": "snakemake.exceptions",
    "completed successfully, but some output files are missing": "snakemake.exceptions",
}
COMPILED = {"CUDA out of memory"}  # in torch's libraries


@cache
def texts(path: Path) -> list[str]:
    """The texts of a program, what is filled in left out; of a rule file, its lines."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return re.sub(r"\{[^{}]*\}", "{}", source).splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def is_printed(message: str, paths: list[Path]) -> bool:
    """Whether one text has all fixed parts of a message, in order."""
    parts = re.compile(".*".join(re.escape(part.strip()) for part in message.split("...")), re.DOTALL)
    return any(parts.search(text) for path in paths for text in texts(path))


def quoted() -> list[str]:
    tables = TEXT.split("## Slurm")[0]
    rows = re.findall(r"^\| (`.+?`) \| ", tables, re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def test_messages_are_found():
    assert len(quoted()) > 45
    assert not is_printed("no ... such message as this", [*ROOT.glob("workflow/scripts/**/*.py")])


@pytest.mark.parametrize("message", quoted())
def test_a_message_is_still_printed(message):
    if message in COMPILED:
        return
    if message in ELSEWHERE:
        paths = [Path(find_spec(ELSEWHERE[message]).origin)]
    else:
        paths = [*ROOT.glob("workflow/scripts/**/*.py"), *ROOT.glob("workflow/**/*.smk")]
    assert is_printed(message, paths), f"docs/troubleshooting.md: no program prints {message!r}"


def test_the_settings_that_it_names_are_in_the_profile():
    assert "slurm-logdir: results/logs/slurm\n" in (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    for setting in ("slurm_account", "slurm_partition", "gpu_model", "mem_mb", "runtime", "retries", "jobs"):
        assert re.search(rf"^\W*{setting}:", (ROOT / "profiles/slurm/config.yaml").read_text(), re.MULTILINE), setting
