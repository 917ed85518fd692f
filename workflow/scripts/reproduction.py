"""Set a run beside the numbers printed in the paper: cell by cell and claim by claim, and draw it.

    python workflow/scripts/reproduction.py --selection results/selection.parquet \\
        --metrics results/metrics/**/*.parquet --intervals results/intervals/*.parquet \\
        --csv results/tables/reproduction.csv --claims results/tables/reproduction_claims.csv \\
        --html results/tables/reproduction.html --figures results/figs/reproduction.svg
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--selection", required=True, type=Path, help="which learning rates stand for the run")
    parser.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of all cells")
    parser.add_argument("--intervals", required=True, nargs="+", type=Path, help="intervals, <benchmark>.parquet")
    parser.add_argument("--csv", required=True, type=Path, help="the cells to write")
    parser.add_argument("--claims", required=True, type=Path, help="the claims to write, as CSV")
    parser.add_argument("--html", required=True, type=Path, help="the page to write")
    parser.add_argument("--figures", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")
    arguments = parser.parse_args(argv)

    from calgrid import paper, paper_checks, theme
    from calgrid import reproduction as library
    from calgrid.reproduction_chart import chart
    from calgrid.reproduction_page import page
    from calgrid.selection import read_selection
    from calgrid.store import read_table

    printed = paper.read()
    ours = library.read_run(arguments.metrics, read_selection(arguments.selection))
    intervals = library.read_intervals({path.stem: read_table(path) for path in arguments.intervals})
    cells = library.compare(printed, ours, intervals)
    files.write_text(arguments.csv, cells.write_csv())
    files.write_text(arguments.claims, library.compare_claims(cells).write_csv())
    files.write_text(arguments.html, page(cells, paper_checks.findings(printed).values()))
    theme.save(chart(cells), arguments.figures)


if __name__ == "__main__":
    cli.run(main)
