"""Draw ECE by language and arm as a heatmap, languages by resource tier.

    python workflow/scripts/heatmap.py --benchmark global-mmlu --models gemma2-2b --sft tulu3 --smoothings 0.0 0.1 \\
        --tiers high=en low=yo --selection results/selection.parquet \\
        --metrics results/metrics/benchmark=global-mmlu/**/*.parquet --output results/figs/global-mmlu/heatmap.svg
"""

from collections.abc import Sequence

from calgrid import cli


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    cli.add_overview_flags(parser)
    cli.add_tiers(parser)
    arguments = parser.parse_args(argv)

    from calgrid import heatmap, theme
    from calgrid.selection import read_selection
    from calgrid.store import read_metrics

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
        tiers=cli.read_tiers(arguments.tiers),
        **settings,
    )
    chart = heatmap.heatmap_chart(numbers, **settings)
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
