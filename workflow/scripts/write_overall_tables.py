"""Write the overall tables, Table 1 and Table 2 of the paper, as CSV (long, full precision) and LaTeX.

    python workflow/scripts/write_overall_tables.py --benchmarks mmlu-prox global-mmlu --models gemma2-2b mistral-7b \\
        --sft alpaca tulu3 --table1-sft-datasets tulu3 --smoothings 0.0 0.1 --selection results/selection.parquet \\
        --metrics results/metrics/**/*.parquet --significance results/significance/*.parquet \\
        --output-dir results/tables
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.errors import UserError
from calgrid.store import files
from calgrid.vocabulary import ALL


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmarks", required=True, nargs="+", help="blocks of columns, in this order")
    parser.add_argument("--table1-sft-datasets", required=True, nargs="+", help="SFT sets of Table 1, in this order")
    parser.add_argument("--significance", required=True, nargs="+", type=Path, help="tests, <benchmark>.parquet")
    flags.add_table_flags(parser)
    parser.add_argument("--output-dir", required=True, type=Path, help="folder for table1 and table2 .csv and .tex")
    arguments = parser.parse_args(argv)

    import polars as pl

    from calgrid.store.reading import read_metrics, read_table
    from calgrid.store.selection import read_rule, read_selection
    from calgrid.tables import contents, latex, layout

    tests = {path.stem: read_table(path) for path in arguments.significance}
    if missing := [name for name in arguments.benchmarks if name not in tests]:
        raise UserError(f"no tests of benchmark {missing[0]!r}; give {missing[0]}.parquet with --significance")
    selected, rule = read_selection(arguments.selection), read_rule(arguments.selection)
    metrics = read_metrics(arguments.metrics)
    for name, sft in {"table1": arguments.table1_sft_datasets, "table2": arguments.sft}.items():
        arms = contents.arms_by_model(arguments.models, sft, arguments.smoothings)
        numbers = pl.concat(
            contents.numbers(
                arms,
                selected,
                metrics,
                tests[benchmark],
                benchmark=benchmark,
                language=ALL,
                method=arguments.confidence_method,
                n_bins=arguments.n_bins,
                alpha=arguments.alpha,
                correction=arguments.correction,
            )
            for benchmark in arguments.benchmarks
        )
        shown = arguments.table_metrics
        caption = layout.caption(numbers, shown, rule, arguments.alpha, arguments.correction)
        source = latex.table(numbers, shown, "model", caption, f"tab:overall:{name}")
        files.write_text(arguments.output_dir / f"{name}.csv", numbers.write_csv())
        files.write_text(arguments.output_dir / f"{name}.tex", source)


if __name__ == "__main__":
    cli.run(main)
