"""Write one table a language of a benchmark (Tables 3 to 73 of the paper), as CSV (long, full precision) and LaTeX.

    python workflow/scripts/write_language_tables.py --benchmark global-mmlu --languages en yo --models gemma2-2b \\
        --sft openhermes tulu3 --smoothings 0.0 0.1 0.2 --selection results/selection.parquet \\
        --metrics results/metrics/benchmark=global-mmlu/**/*.parquet \\
        --significance results/significance/global-mmlu.parquet --output-dir results/tables
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", required=True, help="the benchmark")
    parser.add_argument("--languages", required=True, nargs="+", help="languages, one table each")
    parser.add_argument("--significance", required=True, type=Path, help="tests on this benchmark")
    flags.add_table_flags(parser)
    parser.add_argument("--output-dir", required=True, type=Path, help="folder for <benchmark>/<language>.csv and .tex")
    arguments = parser.parse_args(argv)

    from calgrid.store.reading import read_metrics, read_table
    from calgrid.store.selection import read_rule, read_selection
    from calgrid.tables import contents, latex, layout

    selected, rule = read_selection(arguments.selection), read_rule(arguments.selection)
    metrics, tests = read_metrics(arguments.metrics), read_table(arguments.significance)
    arms = contents.arms_by_sft(arguments.models, arguments.sft, arguments.smoothings)
    for language in arguments.languages:
        numbers = contents.numbers(
            arms,
            selected,
            metrics,
            tests,
            benchmark=arguments.benchmark,
            language=language,
            method=arguments.confidence_method,
            n_bins=arguments.n_bins,
            alpha=arguments.alpha,
            correction=arguments.correction,
        )
        folder = arguments.output_dir / arguments.benchmark
        shown, label = arguments.table_metrics, f"tab:{arguments.benchmark}:{language}"
        caption = layout.caption(numbers, shown, rule, arguments.alpha, arguments.correction)
        files.write_text(folder / f"{language}.csv", numbers.write_csv())
        files.write_text(folder / f"{language}.tex", latex.table(numbers, shown, "sft", caption, label))


if __name__ == "__main__":
    cli.run(main)
