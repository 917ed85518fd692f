"""Draw Figure 1 of the paper: reliability of base and tuned models in several languages; a row a model.

    python workflow/scripts/draw_figure1.py --benchmark global-mmlu --languages en bn yo \\
        --models gemma2-2b mistral-7b \\
        --sft tulu3 --selection results/selection.parquet \\
        --scores results/scores/benchmark=global-mmlu/**/*.parquet --output results/figs/figure1.svg
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", required=True, help="the benchmark of all scores")
    parser.add_argument("--languages", required=True, nargs="+", help="columns, in this order")
    parser.add_argument("--models", required=True, nargs="+", help="rows, in this order")
    parser.add_argument("--sft", required=True, help="the SFT set of the tuned models, without label smoothing")
    parser.add_argument("--selection", required=True, type=Path, help="which learning rates to show")
    parser.add_argument(
        "--scores", required=True, nargs="+", type=Path, help="scores that hold the languages; of other cells too"
    )
    flags.add_confidence_method(parser)
    flags.add_figure_bins(parser)
    parser.add_argument("--output", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")
    arguments = parser.parse_args(argv)

    import polars as pl

    from calgrid.figures import reliability, theme
    from calgrid.store.reading import by_cell
    from calgrid.store.selection import read_selection
    from calgrid.vocabulary import NO_SMOOTHING

    selected, scores = read_selection(arguments.selection), by_cell(arguments.scores, arguments.benchmark)
    numbers = pl.concat(
        reliability.reliability(
            arguments.models,
            [arguments.sft],
            [NO_SMOOTHING],
            selected,
            scores,
            language=language,
            method=arguments.confidence_method,
            n_bins=arguments.figure_bins,
        )
        for language in arguments.languages
    )
    chart = reliability.languages_chart(
        numbers,
        f"Before and after tuning on {arguments.sft}, {arguments.benchmark}",
        reliability.subtitle(numbers, arguments.confidence_method),
    )
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
