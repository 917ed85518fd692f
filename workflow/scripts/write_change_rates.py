"""Write change rates of ECE and SCE by tuning, (tuned - base) / base: a CSV file of all, LaTeX tables, and figures.

    python workflow/scripts/write_change_rates.py --models gemma2-2b --sft tulu3 --smoothings 0.0 0.1 \\
        --selection results/selection.parquet --metrics results/metrics/**/*.parquet \\
        --csv results/tables/change_rates.csv --tex results/tables/change_rates.tex

    python workflow/scripts/write_change_rates.py ... --benchmark global-mmlu --figures results/figs/change_rates.svg
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    flags.add_arms(parser)
    parser.add_argument("--selection", required=True, type=Path, help="which learning rates to show")
    parser.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of these cells and base models")
    flags.add_n_bins(parser)
    parser.add_argument("--csv", type=Path, help="the CSV file to write")
    parser.add_argument("--tex", type=Path, help="the LaTeX file to write: a table a benchmark")
    parser.add_argument("--benchmark", help="of the figures (default: the first one in the metrics)")
    parser.add_argument("--language", help="of the figures' categories (default: all languages together)")
    parser.add_argument("--figures", nargs="+", default=[], type=Path, help="figures to write: .svg, .png")
    arguments = parser.parse_args(argv)

    from calgrid.figures import theme
    from calgrid.store.reading import read_metrics
    from calgrid.store.selection import read_selection
    from calgrid.tables import change_rates

    rates = change_rates.change_rates(
        arguments.models,
        arguments.sft,
        arguments.smoothings,
        read_selection(arguments.selection),
        read_metrics(arguments.metrics),
        arguments.n_bins,
    )
    benchmarks = rates["benchmark"].unique(maintain_order=True).to_list()
    if arguments.csv:
        files.write_text(arguments.csv, rates.write_csv())
    if arguments.tex:
        caption = (
            "Change of calibration errors by tuning without label smoothing on {}: (tuned - base) / base in per cent, "
            f"by confidence method; {arguments.n_bins} bins. Above 0: worse."
        )
        tables = [
            change_rates.latex(rates, name, caption.format(name), f"tab:change_rates:{name}") for name in benchmarks
        ]
        files.write_text(arguments.tex, "\n".join(tables))
    if arguments.figures:
        from calgrid.figures import change_rates as figures

        chart = figures.chart(rates, arguments.benchmark or benchmarks[0], arguments.language)
        theme.save(chart, arguments.figures)


if __name__ == "__main__":
    cli.run(main)
