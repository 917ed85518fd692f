"""Test label smoothing against none, and tuning against the base model, on one benchmark; and intervals of each value.

    python workflow/scripts/compare_arms.py --benchmark global-mmlu --selection results/selection.parquet \\
        --metrics results/metrics/benchmark=global-mmlu/**/*.parquet \\
        --scores results/scores/benchmark=global-mmlu/**/*.parquet --intervals results/intervals/global-mmlu.parquet \\
        --output results/significance/global-mmlu.parquet
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.store import files
from calgrid.vocabulary import RESAMPLES, T_TEST, T_TESTS


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", required=True, help="the benchmark of all files")
    parser.add_argument("--selection", required=True, type=Path, help="which cells to compare")
    parser.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of the cells, on the benchmark")
    parser.add_argument("--scores", required=True, nargs="+", type=Path, help="scores of the cells, on the benchmark")
    flags.add_confidence_method(parser)
    flags.add_n_bins(parser)
    parser.add_argument(
        "--t-test", default=T_TEST, choices=T_TESTS, help="Student's t-test over languages (default: %(default)s)"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--intervals", required=True, type=Path, help="the Parquet file of intervals to write")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file of tests to write")
    arguments = parser.parse_args(argv)

    from calgrid.measure.significance import compare
    from calgrid.store.reading import by_cell, read_metrics
    from calgrid.store.selection import read_selection

    tests, intervals = compare(
        read_selection(arguments.selection),
        read_metrics(path for paths in by_cell(arguments.metrics, arguments.benchmark).values() for path in paths),
        by_cell(arguments.scores, arguments.benchmark),
        method=arguments.confidence_method,
        n_bins=arguments.n_bins,
        n_resamples=arguments.resamples,
        kind=arguments.t_test,
    )
    provenance = files.provenance(
        benchmark=arguments.benchmark,
        confidence_method=arguments.confidence_method,
        t_test=arguments.t_test,
        n_bins=arguments.n_bins,
        resamples=arguments.resamples,
        made_of=files.seals_of([arguments.selection, *arguments.metrics, *arguments.scores]),
    )
    files.write_parquet(intervals, arguments.intervals, provenance)
    files.write_parquet(tests, arguments.output, provenance)


if __name__ == "__main__":
    cli.run(main)
