"""docs/configuration.md: made from the models, complete, and as they stand."""

import subprocess
import sys

import pytest
import yaml
from pydantic import BaseModel

from calgrid.config import reference
from calgrid.config.check import Config
from support.workflow import ROOT

PAGE = ROOT / "docs/configuration.md"
CONFIGURATION = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def keys(value, path=""):
    """The keys of a configuration as the reference spells them: names of the catalogue are `<name>`."""
    for name, inside in value.items():
        key = f"{path}.{name}".lstrip(".")
        yield key
        if isinstance(inside, dict) and key not in ("tiers", "answer_words"):
            if key in ("models", "sft_datasets", "benchmarks"):
                for entry in inside.values():
                    yield from keys(entry, f"{key}.<name>")
            elif not key.endswith(".shards"):
                yield from keys(inside, key)


def test_the_page_is_what_the_program_prints():
    program = ROOT / "workflow/scripts/write_config_reference.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert done.stdout == PAGE.read_text(encoding="utf-8"), f"docs/configuration.md has drifted: {reference.COMMAND}"


@pytest.mark.parametrize("file", ["config/config.yaml", "config/demo.yaml", "tests/config/tiny.yaml"])
def test_every_key_of_a_configuration_has_a_row(file):
    text = PAGE.read_text(encoding="utf-8")
    used = set(keys(yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))))
    assert len(used) > 10
    assert [key for key in sorted(used) if f"\n| `{key}` |" not in text] == []


def test_every_field_has_a_row_and_a_description():
    schema = Config.model_json_schema()
    sections = dict(reference.sections(schema, schema["$defs"]))
    names = {section["title"] for section in sections.values()}
    assert names == {"Config", *schema["$defs"]}
    assert all(section["description"] for section in sections.values())
    rows = [line for line in reference.reference(CONFIGURATION).splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(section["properties"]) for section in sections.values())
    assert [row for row in rows if row.endswith("|  |")] == []  # add a description to the field


def test_rows_have_type_limits_default_and_meaning():
    rows = [line for line in reference.reference(CONFIGURATION).splitlines() if line.startswith("| `")]
    assert "| `models.<name>.gpus` | whole number (≥ 1) | `1` | GPUs that train it together, its weights" in str(rows)
    by_key = {row.split("`")[1]: row for row in rows}
    assert len(by_key) == len(rows)
    # what config/config.yaml says stands before the model's own
    assert "| `16384` |" in by_key["device.score_tokens"]
    changed = {**CONFIGURATION, "device": {}}
    assert "| `device.score_tokens` | whole number (≥ 1) | `16384` |" in reference.reference(changed)
    # numbers that are kept as text are numbers to a user
    assert "| list of numbers (≥ 0, < 1), not empty | `[0.0, 0.1, 0.2]` |" in by_key["grid.smoothing"]
    assert "| `validation_loss` or number (> 0) |" in by_key["selection.lr"]
    assert "| `all` or list of texts |" in by_key["grid.languages"]
    assert "| one of `alpaca`, `sharegpt`, `messages` | required |" in by_key["sft_datasets.<name>.layout"]
    assert r'| `"{question}\n{options}\n{answer_word}:"` |' in by_key["scoring.prompt"]
    assert "| [below](#modelsnamepretrain) |" in by_key["models.<name>.pretrain"]
    assert "\n## `models.<name>.pretrain`\n" in reference.reference(CONFIGURATION)


def test_a_new_section_and_its_fields_appear_by_themselves(monkeypatch):
    class Extra(BaseModel):
        """What is new."""

        share: float | None = None

    class Larger(Config):
        extra: dict[str, Extra] = {}  # noqa: RUF012

    monkeypatch.setattr(reference, "Config", Larger)
    text = reference.reference(CONFIGURATION)
    assert "| `extra` | section by name | [below](#extraname) | What is new. |" in text
    assert "## `extra.<name>`\n\nWhat is new.\n" in text
    assert "| `extra.<name>.share` | number | none |  |" in text
