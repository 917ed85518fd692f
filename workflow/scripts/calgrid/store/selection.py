"""Which learning rate stands for a model, SFT set and smoothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from calgrid.cell import CELL_FIELDS, Arm, Cell
from calgrid.errors import UserError
from calgrid.store import files
from calgrid.store.reading import cell_of, read_table
from calgrid.vocabulary import BASE, VALIDATION_LOSS

SCHEMA = {**dict.fromkeys(CELL_FIELDS, pl.String), "validation_loss": pl.Float64}


def check_cell(record: Mapping[str, Any], path: str | Path) -> None:
    """Refuse the record of another cell's training than its path names."""
    if "cell" in record and record["cell"] != asdict(here := cell_of(path)):
        raise UserError(f"{path}: the record of cell {record['cell']}, not of {here.path}; train this cell again")


def read_validation_loss(path: str | Path) -> float:
    """The validation loss in a train.json, nats per token; NaN where training diverged."""
    record = files.read_json(path)
    if isinstance(record, dict):
        check_cell(record, path)
    value = record.get("validation_loss", "missing") if isinstance(record, dict) else "missing"
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: validation_loss is {value!r}, expected a number; train this cell again")
    return float(value)


def select(losses: Mapping[Cell, float], rule: str = VALIDATION_LOSS) -> pl.DataFrame:
    """Select one learning rate for each model, SFT set and smoothing.

    Args:
        losses: validation loss of each tuned cell.
        rule: `validation_loss` (the least mean over the seeds, the smaller rate where two are equal), or
            the learning rate to take everywhere.

    Returns: a row a cell: model, sft, smoothing, lr, seed, validation_loss, selected. A rate with a seed
        whose loss is not finite is never selected.

    Raises UserError where no rate is left, or the fixed one is missing or diverged.
    """
    try:
        fixed = None if rule == VALIDATION_LOSS else float(rule)
    except ValueError:
        raise UserError(f"learning rate {rule!r}: write {VALIDATION_LOSS!r} or a number, such as 1e-5") from None
    arms: dict[Arm, dict[str, list[float]]] = {}
    for cell, loss in losses.items():
        arms.setdefault((cell.model, cell.sft, cell.smoothing), {}).setdefault(cell.lr, []).append(loss)
    chosen = {arm: _choose(arm, rates, fixed) for arm, rates in arms.items()}
    rows = [
        {**asdict(cell), "validation_loss": loss, "selected": chosen[cell.model, cell.sft, cell.smoothing] == cell.lr}
        for cell, loss in sorted(losses.items())
    ]
    return pl.DataFrame(rows, schema={**SCHEMA, "selected": pl.Boolean})


def _said(arm: Arm) -> str:
    return "model {}, SFT set {}, smoothing {}".format(*arm)


def _choose(arm: Arm, rates: Mapping[str, list[float]], fixed: float | None) -> str:
    rates = {lr: losses for lr, losses in rates.items() if fixed is None or float(lr) == fixed}
    if not rates:
        raise UserError(f"{_said(arm)}: no training with the learning rate {fixed:g}, to be taken everywhere; train it")
    means = {lr: sum(losses) / len(losses) for lr, losses in rates.items()}
    finite = {lr: mean for lr, mean in means.items() if math.isfinite(mean)}  # one diverged seed rules a rate out
    if not finite:
        raise UserError(f"{_said(arm)}: no finite validation loss at {', '.join(rates)}; add a smaller learning rate")
    return min(finite, key=lambda lr: (finite[lr], float(lr)))


def read_selection(path: str | Path) -> dict[Arm, list[Cell]]:
    """The selected cells of each model, SFT set and smoothing: one a seed, all of one learning rate."""
    found: dict[Arm, list[Cell]] = {}
    frame = read_table(path).filter("selected")
    for row in frame.select(CELL_FIELDS).iter_rows():
        cell = Cell(*row)
        found.setdefault((cell.model, cell.sft, cell.smoothing), []).append(cell)
    return found


def read_selected(path: str | Path) -> set[Cell]:
    """All selected cells."""
    return {cell for arm in read_selection(path).values() for cell in arm}


def cells_of(arm: Arm, selected: Mapping[Arm, Sequence[Cell]]) -> Sequence[Cell]:
    """The cells, one a seed, that stand for a row. Raises UserError for a row without a selected cell."""
    model, sft, smoothing = arm
    if sft == BASE:
        return [Cell(model)]
    if arm not in selected:
        raise UserError(f"model {model}, SFT set {sft}, smoothing {smoothing}: no selected cell; train it, then select")
    return selected[arm]


def of_arms(frame: pl.DataFrame, arms: Sequence[Arm], selected: Mapping[Arm, Sequence[Cell]]) -> pl.DataFrame:
    """The rows of the cells that stand for the rows of a table or figure; what is of other cells is left out.

    Args:
        frame: with the fields of a cell as columns (`reading.read_metrics`).
        arms: in the table's order.
        selected: the selected cells (`read_selection`).

    Returns: the rows of `frame`, a set of them a seed, and `order`, the arm's place.

    Raises UserError for an arm without a selected cell.
    """
    cells = [{"order": order, **asdict(cell)} for order, arm in enumerate(arms) for cell in cells_of(arm, selected)]
    return frame.join(pl.DataFrame(cells), on=list(CELL_FIELDS))


def read_rule(path: str | Path) -> str:
    """The rule that made a selection file: `validation_loss`, or the fixed learning rate."""
    record = files.read_provenance(path)
    if "rule" not in record:
        raise UserError(f"{path}: its provenance has no 'rule'; it was not written by select_lr.py")
    return str(record["rule"])
