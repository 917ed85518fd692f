"""Tokenise and audit a shard of a benchmark for a base model, before any model is loaded on a GPU.

    python workflow/scripts/tokenize_benchmark.py --model results/models/model=.../base.json --benchmark cldr4 \\
        --questions yo=results/data/benchmarks/cldr4/yo.parquet \\
        --output results/tokens/benchmark=cldr4/model=.../low.parquet \\
        --manifest results/tokens/benchmark=cldr4/model=.../low.json

The output has one row a question; see `calgrid.prompts.TOKENS`. What is wrong with questions is counted by language in
the manifest, and refused above the shares of --audit; `calgrid.prompts.FINDINGS` says what is looked for.
"""

import argparse
import logging
from collections.abc import Sequence

from calgrid import cli, files
from calgrid.errors import UserError
from calgrid.sections import Audit, Prompting

log = logging.getLogger(__name__)


def pairs(flag: str, arguments: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping."""
    found = {}
    for argument in arguments:
        name, equals, found[name] = argument.partition("=")
        if not equals:
            raise UserError(f"{flag} {argument!r}: write NAME=VALUE")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="base.json of the model")
    parser.add_argument("--benchmark", required=True, help="name of the benchmark, for the record")
    parser.add_argument("--questions", required=True, nargs="+", metavar="CODE=FILE", help="prepared questions")
    parser.add_argument("--examples", nargs="*", default=[], metavar="CODE=FILE", help="prepared examples, for --shots")
    parser.add_argument(
        "--answer-words",
        nargs="*",
        default=[],
        metavar="CODE=WORD",
        help='the word for "Answer" in each language, for --language native',
    )
    parser.add_argument("--output", required=True, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, help="JSON file to write: findings and a hash of the output")
    parser.add_argument(
        "--audit", nargs="*", default=[], metavar="FINDING=SHARE", help="tolerated shares of a language's questions"
    )
    cli.add_settings(parser, Prompting)
    arguments = parser.parse_args(argv)
    settings = cli.read_settings(arguments, Prompting)
    limits = cli.read_settings(argparse.Namespace(**pairs("--audit", arguments.audit)), Audit)
    questions = pairs("--questions", arguments.questions)
    examples = pairs("--examples", arguments.examples)
    words = pairs("--answer-words", arguments.answer_words)
    for language in questions:
        if settings.shots and language not in examples:
            raise UserError(f"--examples: none for {language!r}, which --shots {settings.shots} needs")
        if settings.language == "native" and language not in words:
            raise UserError(f"--answer-words: none for {language!r}, which --language native needs")

    import polars as pl

    from calgrid.data_sources import values_hash
    from calgrid.modeling import load_tokenizer, weights_of
    from calgrid.prompts import tokenize_language

    model = files.read_json(arguments.model)
    tokenizer = load_tokenizer(weights_of(arguments.model))
    frames, audits = [], []
    for language, path in sorted(questions.items()):
        frame, audit = tokenize_language(
            tokenizer,
            pl.read_parquet(path),
            language,
            settings,
            context=model["max_position_embeddings"],
            answer_word=words.get(language, "Answer"),
            examples=pl.read_parquet(examples[language]) if settings.shots else None,
        )
        frames.append(frame)
        audits.append(audit)
        log.info("%s: %d of %d questions can be scored; %s", language, len(frame), audit.n_questions, audit)
    if problems := [line for audit in audits for line in audit.problems(limits)]:
        raise UserError("\n".join(problems))
    tokens = pl.concat(frames)
    record = {
        "benchmark": arguments.benchmark,
        "model": model,
        "prompting": settings.model_dump(),
        "answer_words": words,
        "data": {language: files.data_origin(path) for language, path in questions.items()},
        "examples": {language: files.data_origin(path) for language, path in examples.items()},
        "audit": {audit.language: audit.record() for audit in audits},
        "rows": len(tokens),
        "sha256": values_hash(tokens),
    }
    files.write_parquet(tokens, arguments.output, files.provenance(**record))
    files.write_json(arguments.manifest, record)


if __name__ == "__main__":
    cli.run(main)
