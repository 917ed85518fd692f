"""Synthetic scores at the size of a real benchmark: a cell of 600,000 questions, made in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from calgrid.store import files

SUBJECTS = 57  # of MMLU
CATEGORIES = ("Business", "Humanities", "Medical", "Other", "STEM", "Social Sciences")
LABELS = ("CA", "CS", None)


@dataclass(frozen=True)
class Benchmark:
    """The sizes of a benchmark."""

    name: str
    languages: tuple[str, ...]
    n_questions: int  # a language
    options: tuple[int, int]  # least and most
    labelled: bool  # with labels of cultural sensitivity

    def write(self, path: Path, seed: int, languages: Sequence[str] | None = None) -> None:
        """Write the scores of one cell to `path`: over-confident, and less skilled in the later languages."""
        languages = sorted(languages or self.languages)
        facts, tokens = self._questions()
        repeat = len(languages)
        n_options = np.tile(facts["n_options"].to_numpy(), repeat)
        answers = np.tile(facts["answer"].to_numpy(), repeat)
        many = np.tile(tokens, (repeat, 1))
        skill = np.repeat([2 / (1 + self.languages.index(language) / 8) for language in languages], self.n_questions)
        signal = np.random.default_rng(seed).standard_normal(many.shape, dtype=np.float32)
        signal[np.arange(len(many)), answers] += skill.astype(np.float32)
        frame = pl.concat([facts] * repeat).with_columns(
            language=pl.Series(np.repeat(np.array(languages), self.n_questions)),
            prompt_tokens=pl.lit(120, dtype=pl.UInt32),
            logprob_sum=_lists((signal - 2) * many, n_options, np.float32),
            logprob_min=_lists(2 * signal - 3, n_options, np.float32),
            n_tokens=_lists(many, n_options, np.uint16),
            n_bytes=_lists(4 * many + 1, n_options, np.uint32),
            letter_logprob=_lists(1.5 * signal - 2, n_options, np.float32),
        )
        files.write_parquet(frame, path, {})

    def _questions(self) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """Facts of the questions, which are the same in every cell and language, and tokens of each option."""
        rng = np.random.default_rng(0)
        n = self.n_questions
        n_options = rng.integers(self.options[0], self.options[1] + 1, n)
        subject = rng.integers(0, SUBJECTS, n)
        facts = pl.DataFrame(
            {
                "question_id": [f"q{i:05}" for i in range(n)],
                "subject": [f"subject {i}" for i in subject],
                "category": [CATEGORIES[i % len(CATEGORIES)] for i in subject],
                "cultural_sensitivity": [LABELS[i % 3] if self.labelled else None for i in subject],
                "answer": (rng.random(n) * n_options).astype(np.uint8),
                "n_options": n_options.astype(np.uint8),
            },
            schema_overrides={"cultural_sensitivity": pl.String},
        )
        return facts, rng.integers(1, 12, (n, self.options[1]))


def _lists(values: NDArray[Any], lengths: NDArray[np.int64], dtype: type[np.generic]) -> pl.Series:
    """Lists of the first `lengths` values of each row."""
    inside = np.arange(values.shape[1]) < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pl.Series(pa.LargeListArray.from_arrays(offsets, values[inside].astype(dtype)))


# The languages in the order of their tiers.
_GLOBAL = (
    "en ar cs de es fa fr hi it ja nl pl pt ru sv tr vi zh bn el fil he id ko lt ms ro sr uk "
    "am ha ig ky mg ne ny si sn so sw te yo"
)
_PROX = "en ar cs de es fr hi hu it ja pt ru vi zh af bn id ko sr th uk ur mr ne sw te wo yo zu"
GLOBAL_MMLU = Benchmark("global_mmlu", tuple(_GLOBAL.split(" ")), n_questions=14_042, options=(4, 4), labelled=True)
MMLU_PROX = Benchmark("mmlu_prox", tuple(_PROX.split(" ")), n_questions=11_759, options=(3, 10), labelled=False)
