"""What a grid's results were made of and by what: each distinct combination of code, versions and hardware once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from calgrid.cell import Cell
from calgrid.store.files import content_hash

Record = Mapping[str, Any]

CODE = ("commit", "versions")
TRAINED = (*CODE, "train_version", "device")
SCORED = (*CODE, "score_version", "device", "dtype", "attention")
PAGE = "this page"  # a stage
REVISION = ("source", "revision", "source_commit")


def distinct(records: Iterable[Record], fields: Sequence[str]) -> list[dict[str, Any]]:
    """The combinations of `fields` that occur, the most frequent first; what a record does not say is None.

    Returns: of each, the fields and `count`, how many records have it.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        values = {field: record.get(field) for field in fields}
        found.setdefault(json.dumps(values, sort_keys=True), {**values, "count": 0})["count"] += 1
    return sorted(found.values(), key=lambda combination: -combination["count"])


def of_scores(records: Sequence[Record]) -> dict[str, Any]:
    """What score files were made of.

    Args:
        records: their provenance.

    Returns: `scored`, the combinations of SCORED; `data`, those of REVISION among their questions, each with a hash of
        every language's questions.
    """
    data: dict[str, dict[str, Any]] = {}
    for record in records:
        for language, origin in record.get("data", {}).items():
            values = {field: origin.get(field) for field in REVISION}
            entry = data.setdefault(json.dumps(values, sort_keys=True), {**values, "languages": {}})
            entry["languages"][language] = origin.get("sha256", "")
    return {"scored": distinct(records, SCORED), "data": list(data.values())}


def sources(trainings: Mapping[Cell, Record], bins: Mapping[str, Record]) -> list[tuple[str, str, str, str]]:
    """Every model and data set with its revision.

    Args:
        trainings: records of trainings (train.json).
        bins: of each benchmark, the provenance of its bins (`of_scores`).

    Returns: kind, name, source and revision, each distinct one once; a revision is the commit that was read, else what
        was asked for, else a hash of the content.
    """
    found: dict[tuple[str, str, str, str], None] = {}
    for cell, record in trainings.items():
        base = record.get("base") or {}
        weights = base.get("weights", {})
        revision = weights.get("revision") or _hash(base.get("content_hash"))
        found["model", cell.model, weights.get("hub") or weights.get("path") or "", revision] = None
    for cell, record in trainings.items():
        data = record.get("data") or {}
        revision = data.get("source_commit") or data.get("revision") or _hash(data.get("sha256"))
        found["SFT set", cell.sft, data.get("source") or "", revision] = None
    for benchmark, record in bins.items():
        for origin in record.get("data", []):
            questions = content_hash(*(f"{name} {sha}" for name, sha in sorted(origin["languages"].items())))
            revision = origin["source_commit"] or origin["revision"] or _hash(questions)
            found["benchmark", benchmark, origin["source"] or "", revision] = None
    return list(found)


def _hash(value: str | None) -> str:
    return f"content {value[:16]}" if value else ""


def stages(
    trainings: Iterable[Record], bins: Iterable[Record], metrics: Iterable[Record], page: Record
) -> list[tuple[str, dict[str, Any]]]:
    """Who computed what: stage, and a combination of commit, versions and hardware with its count of files.

    Args:
        trainings: records of trainings.
        bins: provenance of the bins of each benchmark (`of_scores`); it says what scored the cells shown.
        metrics: provenance of the metrics.
        page: that of the page itself.
    """
    scored: dict[str, dict[str, Any]] = {}
    for record in bins:
        for combination in record.get("scored", []):
            key = json.dumps({**combination, "count": 0}, sort_keys=True)
            scored.setdefault(key, {**combination, "count": 0})["count"] += combination["count"]
    return [
        *(("trainings", combination) for combination in distinct(trainings, TRAINED)),
        *(("score files shown", combination) for combination in scored.values()),
        *(("metrics", combination) for combination in distinct(metrics, CODE)),
        *((PAGE, combination) for combination in distinct([page], CODE)),
    ]
