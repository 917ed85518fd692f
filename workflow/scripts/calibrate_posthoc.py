"""Calibrate one cell on one benchmark post hoc: fitted on one part of the questions, measured on the other.

    python workflow/scripts/calibrate_posthoc.py --benchmark global-mmlu --cell model=gemma2-2b/sft=base/... \\
        --languages en yo \\
        --scores results/scores/benchmark=global-mmlu/model=.../high.parquet ... --tiers high=en low=yo \\
        --output results/posthoc/....parquet
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from calgrid import cli, flags
from calgrid.cell import Cell
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.store import files
from calgrid.vocabulary import CONFIDENCE_METHOD, POSTHOC_METHODS, POSTHOC_SHARE

log = logging.getLogger("posthoc")


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", required=True, nargs="+", type=Path, help="the cell's score shards")
    parser.add_argument("--content-free", nargs="*", default=[], type=Path, help="its scores of content-free prompts")
    parser.add_argument("--languages", required=True, nargs="+", help="languages to measure")
    flags.add_tiers(parser)
    parser.add_argument(
        "--confidence-methods",
        nargs="+",
        default=[CONFIDENCE_METHOD, *POSTHOC_METHODS],
        choices=CONFIDENCE_METHODS,
        help="how confidence is extracted (default: %(default)s)",
    )
    flags.add_n_bins(parser)
    parser.add_argument(
        "--posthoc-share", type=float, default=POSTHOC_SHARE, help="of the questions, to fit on (default: %(default)s)"
    )
    flags.add_transfer_language(parser)
    parser.add_argument("--benchmark", required=True, help="recorded in the output")
    parser.add_argument("--cell", required=True, type=Cell.parse, help="recorded in the output: model=.../sft=.../...")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args(argv)

    from calgrid.measure import posthoc
    from calgrid.scoring.stored import read_scores

    languages, content_free = arguments.languages, None
    topics = posthoc.TOPICS if arguments.content_free else ()  # which content-free prompts go with a question
    scores = read_scores(arguments.scores, languages, arguments.confidence_methods, topics)
    if arguments.content_free:
        content_free = read_scores(arguments.content_free, languages, ["choice"], topics)
    settings = {
        "posthoc_share": arguments.posthoc_share,
        "transfer_language": arguments.transfer_language,
        "tiers": flags.read_tiers(arguments.tiers),
    }
    measured = posthoc.measure(
        scores, arguments.confidence_methods, arguments.n_bins, **settings, content_free=content_free
    )
    if arguments.transfer_language not in languages:
        log.info("%s is not among the languages: its temperature is not tried", arguments.transfer_language)
    at_bound = measured.filter("at_bound", grouping=posthoc.LANGUAGE)
    for method, calibration_, language, value in at_bound.select(
        "confidence_method", "calibration", "language", "temperature"
    ).iter_rows():
        log.info("%s, %s, %s: no temperature minimises the loss; taken: %g", method, calibration_, language, value)
    made_of = files.seals_of([*arguments.scores, *(arguments.content_free or [])])
    made_by = files.provenance(
        benchmark=arguments.benchmark,
        cell=asdict(arguments.cell),
        languages=languages,
        confidence_methods=arguments.confidence_methods,
        n_bins=arguments.n_bins,
        **settings,
        made_of=made_of,
    )
    files.write_parquet(measured, arguments.output, made_by)


if __name__ == "__main__":
    cli.run(main)
