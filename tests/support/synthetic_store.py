"""A synthetic results store: scores with a known degree of over-confidence, and training records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

import compare_arms as significance_program
import measure_cell as metrics_program
import select_lr as select_program
from calgrid.cell import Cell
from calgrid.store import files, paths

SCORE_SCHEMA = {
    "language": pl.String,
    "question_id": pl.String,
    "subject": pl.String,
    "category": pl.String,
    "cultural_sensitivity": pl.String,
    "answer": pl.UInt8,
    "n_options": pl.UInt8,
    "prompt_tokens": pl.UInt32,
    "logprob_sum": pl.List(pl.Float32),
    "logprob_min": pl.List(pl.Float32),
    "n_tokens": pl.List(pl.UInt16),
    "n_bytes": pl.List(pl.UInt32),
    "letter_logprob": pl.List(pl.Float32),
    "letter_mass": pl.Float32,
}


TIERS = ("high=en,de", "low=sw,yo")


@dataclass(frozen=True)
class Store:
    """Sizes of a synthetic store; `build` writes it."""

    root: Path
    models: Sequence[str] = ("tiny-a", "tiny_b")
    sft: Sequence[str] = ("alpaca", "tulu3")
    smoothing: Sequence[str] = ("0.0", "0.1", "0.2")
    lr: Sequence[str] = ("1e-5", "5e-5")
    seeds: Sequence[str] = ("0",)
    languages: Sequence[str] = ("en", "de", "sw", "yo")
    benchmarks: Sequence[tuple[str, int, int]] = (("four", 4, 4), ("ten", 3, 10))  # name, least and most options
    n_questions: int = 60

    @property
    def base(self) -> list[Cell]:
        return [Cell(model) for model in self.models]

    @property
    def tuned(self) -> list[Cell]:
        return [Cell(*values) for values in product(self.models, self.sft, self.smoothing, self.lr, self.seeds)]

    @property
    def cells(self) -> list[Cell]:
        return self.base + self.tuned

    @property
    def selection(self) -> Path:
        return self.root / "results/selection.parquet"

    def path(self, relative: str) -> Path:
        return self.root / relative

    def scores(self, benchmark: str) -> list[Path]:
        return [self.path(paths.scores(benchmark, cell.path, "all")) for cell in self.cells]

    def metrics(self, benchmark: str) -> list[Path]:
        return [self.path(paths.metrics(benchmark, cell.path)) for cell in self.cells]

    def significance(self, benchmark: str) -> Path:
        return self.path(f"results/significance/{benchmark}.parquet")

    def intervals(self, benchmark: str) -> Path:
        return self.path(f"results/intervals/{benchmark}.parquet")

    def build_scores(self) -> "Store":
        for (name, least, most), cell in product(self.benchmarks, self.cells):
            path = self.path(paths.scores(name, cell.path, "all"))
            files.write_parquet(scores(cell, self.languages, self.n_questions, least, most), path, {})
        for cell in self.tuned:
            path = self.path(paths.train_record(cell.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            loss = 2.0 + float(cell.smoothing) / 10 + abs(float(cell.lr) - 1e-5) * 1e4 + int(cell.seed) / 100
            path.write_text(json.dumps({"validation_loss": loss}))
        return self

    def build_metrics(self) -> None:
        """Measure the scores as they lie."""
        for (name, _, _), cell in product(self.benchmarks, self.cells):
            metrics_program.main(
                [
                    *("--scores", str(self.path(paths.scores(name, cell.path, "all")))),
                    *("--benchmark", name, "--cell", cell.path, "--languages", *self.languages),
                    *("--tiers", *TIERS, "--measured-bins", "30", "10"),
                    *("--output", str(self.path(paths.metrics(name, cell.path)))),
                ]
            )

    def build(self) -> "Store":
        """Write scores and records, and run the programs up to the significance."""
        self.build_scores()
        records = [str(self.path(paths.train_record(cell.path))) for cell in self.tuned]
        select_program.main(["--train-json", *records, "--output", str(self.selection)])
        self.build_metrics()
        for name, _, _ in self.benchmarks:
            significance_program.main(
                [
                    *("--benchmark", name, "--selection", str(self.selection)),
                    *("--metrics", *map(str, self.metrics(name)), "--scores", *map(str, self.scores(name))),
                    *("--resamples", "200", "--intervals", str(self.intervals(name))),
                    *("--output", str(self.significance(name))),
                ]
            )
        return self


def scores(cell: Cell, languages: Sequence[str], n_questions: int, least: int, most: int) -> pl.DataFrame:
    """Scores of one cell: a model that knows less of the later languages, over-confident after tuning."""
    sharpness = 1.0 if cell.is_base else 2.2 - 8 * min(float(cell.smoothing), 0.1)
    noise = np.random.default_rng(sum(cell.path.encode()))
    rows = []
    for number, language in enumerate(languages):
        questions = np.random.default_rng(number)  # the same questions and answers for every cell
        for question in range(n_questions):
            k = int(questions.integers(least, most + 1))
            truth = questions.normal(0, 1.6 / (1 + number / 2), k)
            answer = int(np.argmax(truth + questions.gumbel(size=k)))
            known = sharpness * (truth + noise.normal(0, 0.2, k))
            log_p = known - np.log(np.exp(known).sum())
            n_tokens = questions.integers(1, 6, k)
            rows.append(
                {
                    "language": language,
                    "question_id": f"q{question:05}",
                    "subject": ("geography", "physics", "law")[question % 3],
                    "category": ("Humanities", "STEM", "Humanities")[question % 3],
                    "cultural_sensitivity": ("CA", "CS", None)[question % 3 if question % 5 else 2],
                    "answer": answer,
                    "n_options": k,
                    "prompt_tokens": 40,
                    "logprob_sum": (log_p * n_tokens).tolist(),
                    "logprob_min": (log_p - 0.5).tolist(),
                    "n_tokens": n_tokens.tolist(),
                    "n_bytes": (4 * n_tokens + 1).tolist(),
                    "letter_logprob": (log_p / 2).tolist(),
                    "letter_mass": 0.5,
                }
            )
    return pl.DataFrame(rows, schema=SCORE_SCHEMA).sort("language", "question_id")
