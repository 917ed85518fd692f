"""Measure one cell on one benchmark: every metric, of every group of questions, by every confidence method.

    python workflow/scripts/measure_cell.py --benchmark global-mmlu --cell model=gemma2-2b/sft=base/... \\
        --languages en yo \\
        --scores results/scores/benchmark=global-mmlu/model=.../high.parquet ... --output results/metrics/....parquet
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from calgrid import cli, flags
from calgrid.cell import Cell
from calgrid.store import files
from calgrid.vocabulary import N_BINS


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", required=True, nargs="+", type=Path, help="the cell's score shards")
    parser.add_argument("--languages", required=True, nargs="+", help="languages to measure")
    flags.add_tiers(parser)
    parser.add_argument(
        "--measured-bins", nargs="+", type=int, default=[N_BINS], help="numbers of bins (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="methods measured at once (default: %(default)s)")
    parser.add_argument("--benchmark", required=True, help="recorded in the output")
    parser.add_argument("--cell", required=True, type=Cell.parse, help="recorded in the output: model=.../sft=.../...")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args(argv)

    from calgrid.measure.cell import measure
    from calgrid.scoring.stored import QUESTION_ATTRIBUTES, read_scores

    tiers = flags.read_tiers(arguments.tiers)
    scores = read_scores(arguments.scores, arguments.languages, attributes=QUESTION_ATTRIBUTES)
    measured = measure(scores, arguments.measured_bins, tiers, threads=arguments.threads)
    made_by = files.provenance(
        benchmark=arguments.benchmark,
        cell=asdict(arguments.cell),
        languages=arguments.languages,
        tiers=tiers,
        measured_bins=arguments.measured_bins,
        made_of=files.seals_of(arguments.scores),
    )
    files.write_parquet(measured, arguments.output, made_by)


if __name__ == "__main__":
    cli.run(main)
