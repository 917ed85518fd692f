"""The reference of every configuration key, from the models that check the configuration (docs/configuration.md)."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from calgrid.config.check import Config

COMMAND = "python workflow/scripts/write_config_reference.py > docs/configuration.md"
LONGEST = 60  # characters of a default; a longer one is looked up in the file
NAME = "<name>"  # stands for the name of an entry of the catalogue
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
PLURALS = {"text": "texts", "whole number": "whole numbers", "number": "numbers", "one of": "any of"}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "multipleOf": "multiple of"}

HEAD = f"""\
# Configuration: every key

<!-- Made by `{COMMAND}`: change the descriptions in workflow/scripts/calgrid/config/sections.py and
     check.py, training/settings.py and scoring/settings.py. -->

`config/config.yaml` is read first, and files given with `--configfile` are merged over it key by key; a list replaces
the whole list. *Default* is what `config/config.yaml` says, and where it is silent the program's own; it stands when
your file leaves a key out. *Required* keys have neither. A mistake (an unknown key, a value beyond its limits, a name
that nothing has) is named before anything runs. `{NAME}` is a name that you choose: letters, digits, `.`, `_` and `-`,
beginning with a letter or a digit.
"""

Schema = Mapping[str, Any]


def reference(configuration: Mapping[str, Any]) -> str:
    """The reference as Markdown: a section for each model, a row for each key.

    Args:
        configuration: what a user's file is merged over, as YAML reads it.
    """
    schema = Config.model_json_schema()
    parts = [HEAD]
    for path, section in sections(schema, schema["$defs"]):
        parts.append(f"\n## {f'`{path}`' if path else 'Sections'}\n\n")
        parts.append(f"{section['description']}\n\n" if path else "")
        parts.append("| key | type | default | meaning |\n| --- | --- | --- | --- |\n")
        required = section.get("required", ())
        for name, field in section["properties"].items():
            key = f"{path}.{name}".lstrip(".")
            below = _section_of(field, schema["$defs"])
            link = f"[below](#{_anchor(_path_below(key, field))})" if below else None
            cells = [
                f"`{key}`",
                _type(field),
                link or _default(key, field, name in required, configuration),
                _meaning(field, below),
            ]
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(parts)


def sections(section: Schema, definitions: Mapping[str, Schema], path: str = "") -> Iterator[tuple[str, Schema]]:
    """Path and schema of a section and of all sections in it; `models.<name>` is the path of a catalogue's entries."""
    yield path, section
    for name, field in section["properties"].items():
        if below := _section_of(field, definitions):
            yield from sections(below, definitions, _path_below(f"{path}.{name}".lstrip("."), field))


def _section_of(field: Schema, definitions: Mapping[str, Schema]) -> Schema | None:
    """The section that a field holds: itself, by name, or as one of its alternatives."""
    for part in (field, _entries(field), *field.get("anyOf", ())):
        if "$ref" in part:
            return definitions[part["$ref"].rpartition("/")[2]]
    return None


def _entries(field: Schema) -> Schema:
    """What the entries of a field are whose names the user chooses; empty for other fields."""
    found = field.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def _path_below(key: str, field: Schema) -> str:
    return f"{key}.{NAME}" if _entries(field) else key


def _anchor(path: str) -> str:
    """The anchor that GitHub gives the heading of a section: letters, digits, `_` and `-` remain."""
    return "".join(character for character in path if character.isalnum() or character in "_-")


def _type(field: Schema) -> str:
    if "$ref" in field:
        return "section"
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"] if part.get("type") != "null")
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field["type"] == "array":
        items = _type(field["items"])
        one = next(one for one in PLURALS if items.startswith(one))
        return f"list of {items.replace(one, PLURALS[one], 1)}" + (", not empty" if field.get("minItems") else "")
    if field["type"] == "object":
        return f"{_type(_entries(field))} by name" + (", not empty" if field.get("minProperties") else "")
    limits = ", ".join(f"{sign} {field[name]:g}" for name, sign in LIMITS.items() if name in field)
    return TYPES[field["type"]] + (f" ({limits})" if limits else "")


def _default(key: str, field: Schema, required: bool, configuration: Mapping[str, Any]) -> str:
    value: Any = configuration
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            if required:
                return "required"
            value = field["default"]
            break
        value = value[part]
    if value is None:
        return "none"
    style = '"' if isinstance(value, str) and "\n" in value else None
    text = yaml.safe_dump(value, default_flow_style=True, default_style=style, width=float("inf"), allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...")
    return f"`{text}`" if len(text) <= LONGEST else "see `config/config.yaml`"


def _meaning(field: Schema, below: Schema | None) -> str:
    return field.get("description") or (below["description"] if below else "")
