"""What every section of the configuration is made of: a checked model without unknown keys, and its types.

Each stage's settings lie in its package (`training.settings`, `scoring.settings`), the rest in `config.sections`.
Programs take the same models as flags (`cli.add_settings`), so that a setting is defined once.
Imported whenever the Snakefile is parsed: nothing heavier than pydantic here.
"""

import re
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from calgrid.cell import canonical_lr, canonical_smoothing
from calgrid.vocabulary import ALL, BASE, NONE

LONGEST_NAME = 100  # characters


def _name(value: str) -> str:
    # Names become parts of paths and of shell words.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError("use letters, digits, '.', '_' and '-' only, beginning with a letter or a digit")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"use at most {LONGEST_NAME} characters; file systems take no longer names")
    if value in (BASE, NONE, ALL):
        raise ValueError(f"the names {BASE!r}, {NONE!r} and {ALL!r} are taken by the workflow itself")
    return value


def _word(value: str) -> str:
    # Becomes the value of a flag, which would otherwise be taken for a flag itself.
    if not value.strip() or value.startswith("-"):
        raise ValueError("write a name that is not empty and does not begin with '-'")
    return value


Name = Annotated[str, AfterValidator(_name)]
Word = Annotated[str, AfterValidator(_word)]
# `json_schema_input_type`: what a user writes, where it is kept as text; for docs/configuration.md.
Smoothing = Annotated[
    str, BeforeValidator(canonical_smoothing, json_schema_input_type=Annotated[float, Field(ge=0, lt=1)])
]
LearningRate = Annotated[str, BeforeValidator(canonical_lr, json_schema_input_type=Annotated[float, Field(gt=0)])]
Share = Annotated[float, Field(ge=0, lt=1)]


def _takes_numbers(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_takes_numbers, get_args(annotation)))


class Section(BaseModel):
    """A part of the configuration: immutable, and without room for keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, bool) and field and _takes_numbers(field.annotation):
                    raise ValueError(
                        f"{name}: {item}: write a number; YAML reads yes, no, on and off as true and false"
                    )
        return values
