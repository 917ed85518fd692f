"""Draw pooled ECE, pooled accuracy and validation loss over the learning rates.

    python workflow/scripts/draw_lr_sensitivity.py --benchmark global-mmlu --models gemma2-2b --sft tulu3 \\
        --smoothings 0.0 0.1 --selection results/selection.parquet \\
        --metrics results/metrics/benchmark=global-mmlu/**/*.parquet \\
        --output results/figs/global-mmlu/lr_sensitivity.svg
"""

from collections.abc import Sequence

from calgrid import cli, flags


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    flags.add_benchmark_flags(parser)
    arguments = parser.parse_args(argv)

    from calgrid.figures import lr_sensitivity, theme
    from calgrid.store.reading import read_metrics, read_table

    settings = {
        "benchmark": arguments.benchmark,
        "method": arguments.confidence_method,
        "n_bins": arguments.n_bins,
    }
    numbers = lr_sensitivity.lr_sensitivity(
        arguments.models,
        arguments.sft,
        arguments.smoothings,
        read_table(arguments.selection),
        read_metrics(arguments.metrics),
        **settings,
    )
    chart = lr_sensitivity.lr_sensitivity_chart(numbers, **settings)
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
