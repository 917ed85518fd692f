"""Draw ECE by language and arm as a heatmap, languages by resource tier.

    python workflow/scripts/draw_heatmap.py --benchmark global-mmlu --models gemma2-2b --sft tulu3 \\
        --smoothings 0.0 0.1 \\
        --tiers high=en low=yo --selection results/selection.parquet \\
        --metrics results/metrics/benchmark=global-mmlu/**/*.parquet --output results/figs/global-mmlu/heatmap.svg
"""

from collections.abc import Sequence

from calgrid import cli, flags


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    flags.add_benchmark_flags(parser)
    flags.add_tiers(parser)
    arguments = parser.parse_args(argv)

    from calgrid.figures import heatmap, theme
    from calgrid.store.reading import read_metrics
    from calgrid.store.selection import read_selection

    settings = {
        "benchmark": arguments.benchmark,
        "method": arguments.confidence_method,
        "n_bins": arguments.n_bins,
    }
    numbers = heatmap.heatmap(
        arguments.models,
        arguments.sft,
        arguments.smoothings,
        read_selection(arguments.selection),
        read_metrics(arguments.metrics),
        tiers=flags.read_tiers(arguments.tiers),
        **settings,
    )
    chart = heatmap.heatmap_chart(numbers, **settings)
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
