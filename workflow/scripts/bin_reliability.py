"""Bins of all reliability diagrams of a benchmark: of each arm, in each language. The report draws them.

    python workflow/scripts/bin_reliability.py --benchmark global-mmlu --languages en yo --models gemma2-2b \\
        --sft tulu3 --smoothings 0.0 0.1 --selection results/selection.parquet \\
        --scores results/scores/benchmark=global-mmlu/**/*.parquet --output results/reliability/global-mmlu.parquet
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", required=True, help="the benchmark of all scores")
    parser.add_argument("--languages", required=True, nargs="+", help="languages, in this order")
    flags.add_arms(parser)
    parser.add_argument("--selection", required=True, type=Path, help="which learning rates were selected")
    parser.add_argument("--scores", required=True, nargs="+", type=Path, help="scores of the cells; of more cells too")
    flags.add_confidence_method(parser)
    flags.add_figure_bins(parser)
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args(argv)

    from calgrid.cell import arms_to_show
    from calgrid.figures import reliability
    from calgrid.report import provenance as report_provenance
    from calgrid.store.reading import by_cell
    from calgrid.store.selection import read_selection

    settings = {"confidence_method": arguments.confidence_method, "figure_bins": arguments.figure_bins}
    numbers = reliability.of_benchmark(
        arms_to_show(arguments.models, arguments.sft, arguments.smoothings),
        read_selection(arguments.selection),
        by_cell(arguments.scores, arguments.benchmark),
        languages=arguments.languages,
        method=arguments.confidence_method,
        n_bins=arguments.figure_bins,
    )
    made_of = report_provenance.of_scores([files.read_metadata(path) for path in arguments.scores])
    files.write_parquet(
        numbers, arguments.output, files.provenance(benchmark=arguments.benchmark, **settings, **made_of)
    )


if __name__ == "__main__":
    cli.run(main)
