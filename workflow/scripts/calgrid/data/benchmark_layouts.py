"""The layouts of multiple-choice benchmarks: which columns the rows of a source have, and how a question is read.

To add a layout, write its reader here and add a record to `BENCHMARK_LAYOUTS`; `layout` in the configuration then
takes its name. Parsing the Snakefile imports this module: nothing heavy at its head.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from calgrid.errors import Unusable

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BenchmarkLayout:
    """How the rows of a source are read."""

    name: str
    columns: tuple[str, ...]  # that it needs
    # Of a row: question, options, and the index of the right one (None where the row names none); raises Unusable.
    read: Callable[[Row], tuple[Any, list[Any], Any]]
    most_options: int  # of a question, for `snakemake plan`
    id: str | None  # the column of the question's id; None: subject/split/row within the subject
    subject: str = "subject"  # the column of its subject, where the source has one
    category: str = "category"  # likewise


def _global_mmlu(row: Row) -> tuple[Any, list[Any], Any]:
    return row["question"], [row[f"option_{letter}"] for letter in "abcd"], _letter_index(row["answer"])


def _mmlu_prox(row: Row) -> tuple[Any, list[Any], Any]:
    """The options up to the first null; `answer_index` holds, and `answer` must not contradict it."""
    numbers = sorted(int(name.removeprefix("option_")) for name in row if re.fullmatch(r"option_\d+", name))
    options = [row[f"option_{number}"] for number in numbers]
    while options and options[-1] is None:
        options.pop()
    if None in options:
        raise Unusable("gap in the options")
    answer, letter = row["answer_index"], row.get("answer")
    if letter is not None and _letter_index(letter) != answer:
        raise Unusable("answer and answer_index disagree")
    return row["question"], options, answer


def _mmlu(row: Row) -> tuple[Any, list[Any], Any]:
    if not isinstance(row["choices"], list | None):
        raise Unusable("choices that are no list")
    return row["question"], row["choices"] or [], row["answer"]


def _letter_index(letter: Any) -> int | None:
    """A is 0; None for anything else than one capital letter."""
    return ascii_uppercase.index(letter) if isinstance(letter, str) and re.fullmatch("[A-Z]", letter) else None


def _layouts(*layouts: BenchmarkLayout) -> Mapping[str, BenchmarkLayout]:
    return {layout.name: layout for layout in layouts}


BENCHMARK_LAYOUTS = _layouts(
    BenchmarkLayout(
        name="global_mmlu",
        columns=("sample_id", "question", "option_a", "option_b", "option_c", "option_d", "answer"),
        read=_global_mmlu,
        most_options=4,
        id="sample_id",
        category="subject_category",
    ),
    BenchmarkLayout(
        name="mmlu_prox",
        columns=("question_id", "question", "option_0", "option_1", "answer_index"),
        read=_mmlu_prox,
        most_options=10,
        id="question_id",
    ),
    BenchmarkLayout(name="mmlu", columns=("question", "choices", "answer"), read=_mmlu, most_options=4, id=None),
)
