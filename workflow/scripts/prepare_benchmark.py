"""Bring one language of a multiple-choice benchmark into the canonical form.

    python workflow/scripts/prepare_benchmark.py --hub CohereLabs/Global-MMLU --config yo --language yo \\
        --layout global_mmlu --output results/data/benchmarks/global_mmlu/yo.parquet \\
        --manifest results/data/benchmarks/global_mmlu/yo.json

Layouts: global_mmlu (option_a .. option_d, a letter), mmlu_prox (option_0 .. option_9, answer_index), mmlu (choices,
an index). Rows that can't be used are counted by reason, and refused above --max-rejected-share.
"""

from collections.abc import Sequence

from calgrid import cli
from calgrid.data import question_sets, sources
from calgrid.data.benchmark_layouts import BENCHMARK_LAYOUTS
from calgrid.vocabulary import BENCHMARK_SPLIT


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    sources.add_flags(parser, split=BENCHMARK_SPLIT, layouts=BENCHMARK_LAYOUTS)
    parser.add_argument("--language", required=True, help="language of the rows, as the manifest records it")
    parser.add_argument(
        "--max-questions",
        type=sources.positive,
        metavar="N",
        help="take N questions, the same ones in each language",
    )
    arguments = parser.parse_args(argv)
    source = sources.source_of(arguments)
    with sources.opened(source) as (dataset, commit):
        frame, rejects = question_sets.prepare(
            source, dataset, arguments.layout, arguments.max_questions, arguments.max_rejected_share
        )
    made_with = {"max_questions": arguments.max_questions}
    sources.write(frame, rejects, arguments, source, commit, made_with, language=arguments.language)


if __name__ == "__main__":
    cli.run(main)
