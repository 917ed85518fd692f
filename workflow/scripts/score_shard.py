"""Score every candidate of every question of a shard with one model.

    python workflow/scripts/score_shard.py --model results/models/<cell>/train.json \\
        --tokens results/tokens/prompt=.../benchmark=cldr4/model=.../low.parquet \\
        --finished results/checkpoints/scores/benchmark=cldr4/<cell>/low \\
        --output results/scores/benchmark=cldr4/<cell>/low.parquet

The output has one row a question, with lists over its options; docs/scores.md describes each column. Languages that
an interrupted job has finished lie in --finished and are not scored again.
"""

import argparse
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch

from calgrid import cli, flags
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.models import weights
from calgrid.models.loading import device, load_model
from calgrid.models.reading import weights_of
from calgrid.scoring.score import score_language
from calgrid.store import files, lease
from calgrid.store.reading import read_table
from calgrid.store.versions import SCORE_VERSION
from calgrid.vocabulary import SCORE_TOKENS

log = logging.getLogger("score")

LOG_SECONDS = 10


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="base.json or train.json of the cell")
    parser.add_argument("--tokens", required=True, help="the tokenised shard of the model's base")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write; its path names the cell")
    parser.add_argument(
        "--finished", required=True, type=Path, help="folder to keep finished languages in until all are"
    )
    parser.add_argument(
        "--score-tokens", type=int, default=SCORE_TOKENS, help="padded tokens of a forward pass (default: %(default)s)"
    )
    flags.add_attention(parser)
    arguments = parser.parse_args(argv)

    tokens, record = files.read_provenance(arguments.tokens), files.read_record(arguments.model, "weights")
    cell = Cell.parse(arguments.output)
    if "prompting" not in tokens:
        raise UserError(f"--tokens {arguments.tokens}: not written by tokenize_benchmark.py")
    if record.get("cell", asdict(cell)) != asdict(cell):
        raise UserError(f"--model {arguments.model}: the record of cell {record['cell']}, not of {arguments.output}")
    if tokens["model"] != record.get("base", record):
        raise UserError(f"--tokens {arguments.tokens}: made for another model than {arguments.model}")
    dtype = torch.bfloat16 if device().type == "cuda" else torch.float32
    facts = {
        "benchmark": tokens["benchmark"],
        "cell": asdict(cell),
        "model": {name: value for name, value in record.items() if name != "curve"},
        **{name: tokens[name] for name in ("prompting", "answer_words", "data", "examples", "audit")},
        "tokens_sha256": tokens["sha256"],
        "score_version": SCORE_VERSION,
        "device": str(device()),
        "dtype": str(dtype),
    }
    with lease.held(arguments.output, [facts, arguments.score_attention]) as done:
        if done:
            log.info("%s: scored by that process; nothing left to do", arguments.output)
        else:
            score(arguments, dtype, facts)


def score(arguments: argparse.Namespace, dtype: torch.dtype, facts: Mapping[str, Any]) -> None:
    """Score the languages that are not finished yet, then write the whole shard, whose provenance has `facts`."""
    where = weights_of(arguments.model)
    weights.check(facts["model"], arguments.model)
    model = load_model(where, dtype, attention=arguments.score_attention).to(device())
    made_by = files.provenance(**facts, attention=model.config._attn_implementation)
    finished: Path = arguments.finished
    sizes = dict(read_table(arguments.tokens, ["language"]).group_by("language").len().sort("language").iter_rows())
    missing = {language: size for language, size in sizes.items() if not is_finished(finished, language, made_by)}
    if done := sorted(sizes.keys() - missing):
        log.info("finished before: %s", ", ".join(done))
    progress = Progress(sum(missing.values()))
    for language in missing:
        questions = read_table(arguments.tokens, where=pl.col("language") == language)
        frame = score_language(model, questions, arguments.score_tokens, progress.of(language))
        files.write_parquet(frame, partial(finished, language), made_by)
        log.info(
            "%s: %d questions; mean probability of all letters together: %.3f",
            language,
            len(frame),
            frame["letter_mass"].mean(),
        )
    progress.report("all")
    files.write_parquet(pl.concat([read_table(partial(finished, lang)) for lang in sizes]), arguments.output, made_by)
    shutil.rmtree(finished)


def partial(finished: Path, language: str) -> Path:
    return finished / f"{language}.parquet"


def is_finished(finished: Path, language: str, made_by: dict[str, Any]) -> bool:
    """Whether a language was finished, undamaged, by a job that differs in nothing that shapes scores."""
    path = partial(finished, language)
    if not path.is_file():
        return False
    try:
        return shaping(files.read_provenance(path)) == shaping(made_by)
    except UserError as error:
        log.warning("%s: it is scored again", error)
        return False


def shaping(made_by: dict[str, Any]) -> dict[str, Any]:
    """What shapes scores; SCORE_VERSION says when code matters."""
    return {name: value for name, value in made_by.items() if name not in ("command", "commit")}


class Progress:
    """Lines of the log: questions done, their rate, and the time that the rest will take."""

    def __init__(self, n_questions: int) -> None:
        self.n_questions, self.done, self.started, self.logged = n_questions, 0, time.monotonic(), 0.0

    def of(self, language: str) -> Callable[[int], None]:
        def report(n: int) -> None:
            self.done += n
            if time.monotonic() - self.logged > LOG_SECONDS:
                self.report(language)

        return report

    def report(self, language: str) -> None:
        self.logged = time.monotonic()
        seconds = self.logged - self.started
        rate = self.done / seconds if seconds else 0.0
        log.info(
            "%s: %d of %d questions, %.1f questions/s, about %.0f s left",
            language,
            self.done,
            self.n_questions,
            rate,
            (self.n_questions - self.done) / rate if rate else 0,
        )


if __name__ == "__main__":
    cli.run(main)
