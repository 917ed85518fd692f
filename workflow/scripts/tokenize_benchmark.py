"""Tokenise a shard of a benchmark for a base model, and look for what is wrong with its questions.

    python workflow/scripts/tokenize_benchmark.py --model results/models/model=.../base.json --benchmark cldr4 \\
        --questions yo=results/data/benchmarks/cldr4/yo.parquet \\
        --output results/tokens/prompt=.../benchmark=cldr4/model=.../low.parquet \\
        --manifest results/tokens/prompt=.../benchmark=cldr4/model=.../low.json

The output has one row a question; docs/scores.md describes it. What is wrong with questions is counted by language in
the manifest; `audit_tokens.py` says what is too much.
"""

import logging
from collections.abc import Sequence

from calgrid import cli
from calgrid.errors import UserError
from calgrid.scoring.settings import Prompting
from calgrid.store import files
from calgrid.store.versions import TOKENIZE_VERSION

log = logging.getLogger(__name__)


def by_language(flag: str, arguments: Sequence[str]) -> dict[str, str]:
    """`CODE=VALUE` arguments as a mapping."""
    found = {}
    for argument in arguments:
        name, equals, found[name] = argument.partition("=")
        if not equals:
            raise UserError(f"{flag} {argument!r}: write CODE=VALUE")
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
    parser.add_argument(
        "--manifest", required=True, help="JSON file to write: what was found, and a hash of the output"
    )
    cli.add_settings(parser, Prompting)
    arguments = parser.parse_args(argv)
    settings = cli.read_settings(arguments, Prompting)
    questions = by_language("--questions", arguments.questions)
    examples = by_language("--examples", arguments.examples)
    words = by_language("--answer-words", arguments.answer_words)
    for language in questions:
        if settings.shots and language not in examples:
            raise UserError(f"--examples: none for {language!r}, which --shots {settings.shots} needs")
        if settings.language == "native" and language not in words:
            raise UserError(f"--answer-words: none for {language!r}, which --language native needs")

    import polars as pl

    from calgrid.data.sources import values_hash
    from calgrid.models.reading import load_tokenizer, weights_of
    from calgrid.scoring.prompts import FINDINGS, tokenize_language
    from calgrid.store.reading import read_table

    model = files.read_record(arguments.model, "max_position_embeddings")
    tokenizer = load_tokenizer(weights_of(arguments.model))
    record = {
        "benchmark": arguments.benchmark,
        "model": model,
        "prompting": settings.model_dump(),
        "answer_words": words,
        "data": {language: files.data_origin(path) for language, path in questions.items()},
        "examples": {language: files.data_origin(path) for language, path in examples.items()},
    }
    frames, audits = [], {}
    for language, path in sorted(questions.items()):
        frame, audits[language] = tokenize_language(
            tokenizer,
            read_table(path),
            language,
            settings,
            context=model["max_position_embeddings"],
            answer_word=words.get(language, "Answer"),
            examples=read_table(examples[language]) if settings.shots else None,
        )
        frames.append(frame)
        found = ", ".join(f"{name} {audits[language][name]['questions']}" for name in FINDINGS)
        log.info("%s: %d questions, %d can be scored; %s", language, audits[language]["questions"], len(frame), found)
    tokens = pl.concat(frames)
    record |= {"audit": audits, "rows": len(tokens), "sha256": values_hash(tokens)}
    files.write_parquet(tokens, arguments.output, files.provenance(**record, tokenize_version=TOKENIZE_VERSION))
    files.write_json(arguments.manifest, record)


if __name__ == "__main__":
    cli.run(main)
