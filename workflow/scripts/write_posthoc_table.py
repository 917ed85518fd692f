"""Write the table of label smoothing beside post-hoc calibration, as CSV (long, full precision) and LaTeX.

    python workflow/scripts/write_posthoc_table.py --benchmarks mmlu-prox global-mmlu --models gemma2-2b --sft tulu3 \\
        --smoothings 0.0 0.1 --tiers high=en low=yo --selection results/selection.parquet \\
        --posthoc results/posthoc/**/*.parquet --output-dir results/tables

The LaTeX file has a table for each confidence method.
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmarks", required=True, nargs="+", help="blocks of columns, in this order")
    flags.add_arms(parser)
    parser.add_argument("--tiers", required=True, nargs="+", metavar="TIER=A,B", help="languages of each resource tier")
    parser.add_argument(
        "--confidence-methods", required=True, nargs="+", choices=CONFIDENCE_METHODS, help="a table each"
    )
    flags.add_transfer_language(parser)
    parser.add_argument("--selection", required=True, type=Path, help="which learning rates to show")
    parser.add_argument("--posthoc", required=True, nargs="+", type=Path, help="post-hoc calibration of all cells")
    parser.add_argument("--output-dir", required=True, type=Path, help="folder for posthoc.csv and posthoc.tex")
    arguments = parser.parse_args(argv)

    from calgrid.languages import language_name
    from calgrid.store.reading import read_metrics
    from calgrid.store.selection import read_rule, read_selection
    from calgrid.tables import contents
    from calgrid.tables import posthoc as posthoc_table
    from calgrid.tables.latex import escape
    from calgrid.tables.layout import how_selected

    numbers = posthoc_table.numbers(
        contents.arms_by_model(arguments.models, arguments.sft, arguments.smoothings),
        read_selection(arguments.selection),
        read_metrics(arguments.posthoc),
        benchmarks=arguments.benchmarks,
        methods=arguments.confidence_methods,
        tiers=flags.read_tiers(arguments.tiers),
    )
    rule, name = read_rule(arguments.selection), language_name(arguments.transfer_language)
    selected = escape(how_selected(rule))
    text = "\n".join(
        posthoc_table.table(
            numbers, method, posthoc_table.caption(numbers, method, name, selected), arguments.transfer_language
        )
        for method in arguments.confidence_methods
    )
    files.write_text(arguments.output_dir / "posthoc.csv", numbers.write_csv())
    files.write_text(arguments.output_dir / "posthoc.tex", text)


if __name__ == "__main__":
    cli.run(main)
