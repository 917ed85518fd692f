"""Draw a reliability figure: one row an SFT set, one column a model; base, and tuned with each smoothing.

    python workflow/scripts/draw_reliability.py --benchmark global-mmlu --language yo --models gemma2-2b mistral-7b \\
        --sft tulu3 openhermes --smoothings 0.0 0.1 --selection results/selection.parquet \\
        --scores results/scores/benchmark=global-mmlu/**/low.parquet --output results/figs/reliability_yo.svg
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.vocabulary import BASE


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", required=True, help="the benchmark of all scores")
    parser.add_argument("--language", required=True, help="the language to show")
    parser.add_argument("--models", required=True, nargs="+", help="columns, in this order")
    parser.add_argument(
        "--sft", nargs="*", default=[BASE], help="rows, in this order; base: the base models alone (default)"
    )
    parser.add_argument("--smoothings", nargs="*", default=[], help="label smoothings to compare, in this order")
    parser.add_argument("--selection", type=Path, help="which learning rates to show; not for base models alone")
    parser.add_argument(
        "--scores", required=True, nargs="+", type=Path, help="scores that hold the language; of other cells too"
    )
    flags.add_confidence_method(parser)
    flags.add_figure_bins(parser)
    parser.add_argument("--title", help="title (default: language and benchmark)")
    parser.add_argument("--output", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")
    arguments = parser.parse_args(argv)

    from calgrid.figures import reliability, theme
    from calgrid.languages import language_name
    from calgrid.store.reading import by_cell
    from calgrid.store.selection import read_selection

    numbers = reliability.reliability(
        arguments.models,
        arguments.sft or [BASE],
        arguments.smoothings,
        read_selection(arguments.selection) if arguments.selection else {},
        by_cell(arguments.scores, arguments.benchmark),
        language=arguments.language,
        method=arguments.confidence_method,
        n_bins=arguments.figure_bins,
    )
    title = arguments.title or f"{language_name(arguments.language)}, {arguments.benchmark}"
    chart = reliability.reliability_chart(numbers, title, reliability.subtitle(numbers, arguments.confidence_method))
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
