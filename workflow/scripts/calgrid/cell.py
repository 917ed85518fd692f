"""Cells and arms: the points of the grid, and how their values are spelt.

A cell is one point of the grid. Its path is a Hive partitioning, so that polars reads the whole store at once:

    model=gemma2-2b/sft=tulu3/smoothing=0.1/lr=1e-5/seed=0

An arm is what tables and figures compare: a model, an SFT set and a smoothing, at the selected learning rate.
Imported whenever the Snakefile is parsed: nothing heavy here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from calgrid.errors import UserError
from calgrid.vocabulary import BASE, NONE

CELL = "model={model}/sft={sft}/smoothing={smoothing}/lr={lr}/seed={seed}"  # as a wildcard pattern of Snakemake
BASE_CELL = f"model={{model}}/sft={BASE}/smoothing={NONE}/lr={NONE}/seed={NONE}"


def named_in(path: str | Path) -> dict[str, str]:
    """The parts `key=value` of a path. The last of each key counts: a folder above the store may look like one."""
    return dict(part.split("=", 1) for part in Path(path).parts if "=" in part)


@dataclass(frozen=True, order=True)
class Cell:
    """One point of the grid; all values are strings, spelt as in its path."""

    model: str
    sft: str = BASE
    smoothing: str = NONE
    lr: str = NONE
    seed: str = NONE

    @property
    def is_base(self) -> bool:
        return self.sft == BASE

    @property
    def path(self) -> str:
        return CELL.format(**asdict(self))

    @classmethod
    def parse(cls, path: str | Path) -> Self:
        """The cell that `path` names, anywhere in it. Raises UserError if it names none."""
        found = named_in(path)
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in found]:
            raise UserError(f"{path}: not the path of a cell; no {missing[0]}=... in it (expected {CELL})")
        return cls(**{name: found[name] for name in names})


CELL_FIELDS = tuple(field.name for field in fields(Cell))


Arm = tuple[str, str, str]  # model, sft, smoothing: what one learning rate is selected for


def arms_to_show(models: Sequence[str], sft: Sequence[str], smoothings: Sequence[str]) -> list[Arm]:
    """The base models, then the tuned ones, model by model."""
    tuned = [(model, name, smoothing) for model in models for name in sft for smoothing in smoothings]
    return [*((model, BASE, NONE) for model in models), *tuned]


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value) + 0.0  # no minus zero
    except (TypeError, ValueError):
        raise ValueError("write a number, such as 0.1 or 1e-5") from None


def canonical_smoothing(value: Any) -> str:
    number = _number(value)
    if not 0 <= number < 1:
        raise ValueError("label smoothing lies in [0, 1): 0.0 is none, the paper takes 0.1 and 0.2")
    return repr(number)


def canonical_lr(value: Any) -> str:
    number = _number(value)
    if not 0 < number < float("inf"):
        raise ValueError("a learning rate is a positive number, such as 1e-5")
    return f"{Decimal(repr(number)).normalize():e}"
