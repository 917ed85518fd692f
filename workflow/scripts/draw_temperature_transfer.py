"""Draw ECE by language before and after temperature scaling: its own temperature, another language's, and pooled.

    python workflow/scripts/draw_temperature_transfer.py --benchmark global-mmlu --models gemma2-2b --sft tulu3 \\
        --tiers high=en low=yo --selection results/selection.parquet \\
        --posthoc results/posthoc/benchmark=global-mmlu/**/*.parquet --output results/figs/global-mmlu/transfer.svg
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", required=True, help="the benchmark to show")
    parser.add_argument("--models", required=True, nargs="+", help="models, in this order")
    parser.add_argument("--sft", required=True, nargs="+", help="SFT sets, in this order")
    flags.add_tiers(parser)
    flags.add_transfer_language(parser)
    parser.add_argument("--selection", required=True, type=Path, help="which learning rates to show")
    parser.add_argument(
        "--posthoc", required=True, nargs="+", type=Path, help="post-hoc calibration; of more cells too"
    )
    flags.add_confidence_method(parser)
    parser.add_argument("--output", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")
    arguments = parser.parse_args(argv)

    from calgrid.figures import temperature_transfer, theme
    from calgrid.languages import language_name
    from calgrid.store.reading import read_metrics
    from calgrid.store.selection import read_selection

    numbers = temperature_transfer.transfer(
        arguments.models,
        arguments.sft,
        read_selection(arguments.selection),
        read_metrics(arguments.posthoc),
        benchmark=arguments.benchmark,
        method=arguments.confidence_method,
        tiers=flags.read_tiers(arguments.tiers),
    )
    chart = temperature_transfer.transfer_chart(
        numbers,
        benchmark=arguments.benchmark,
        method=arguments.confidence_method,
        transfer_language=arguments.transfer_language,
        transfer_name=language_name(arguments.transfer_language),
    )
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
