"""Write one self-contained HTML page of all tables, from their CSV files.

    python workflow/scripts/write_tables_page.py --overall results/tables/table1.csv results/tables/table2.csv \\
        --by-language results/tables/global-mmlu/*.csv --selection results/selection.parquet \\
        --output results/tables/index.html
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--overall", required=True, nargs="+", type=Path, help="table1.csv and table2.csv")
    parser.add_argument("--by-language", nargs="*", default=[], type=Path, help="<benchmark>/<language>.csv")
    flags.add_table_looks(parser)
    parser.add_argument("--output", required=True, type=Path, help="the page to write")
    arguments = parser.parse_args(argv)

    from calgrid.languages import language_name
    from calgrid.store.selection import read_rule
    from calgrid.tables import contents, layout
    from calgrid.tables import page as tables_page

    rule = read_rule(arguments.selection)

    def shown(path: Path, first: str, name: str) -> tables_page.Table:
        numbers = contents.read_csv(path)
        caption = layout.caption(numbers, arguments.table_metrics, rule, arguments.alpha, arguments.correction)
        html = tables_page.table(numbers, arguments.table_metrics, first, caption)
        return tables_page.Table(name, f"{path.parent.name}-{path.stem}", html)

    sections = {"Overall": [shown(path, "model", path.stem.replace("table", "Table ")) for path in arguments.overall]}
    for path in arguments.by_language:
        sections.setdefault(path.parent.name, []).append(shown(path, "sft", language_name(path.stem)))
    files.write_text(arguments.output, tables_page.page("Calibration: all tables", sections))


if __name__ == "__main__":
    cli.run(main)
