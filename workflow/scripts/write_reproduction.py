"""Set a run beside the numbers printed in the paper: cell by cell and claim by claim, and draw it.

    python workflow/scripts/write_reproduction.py --selection results/selection.parquet \\
        --metrics results/metrics/**/*.parquet --intervals results/intervals/*.parquet \\
        --csv results/tables/reproduction.csv --claims results/tables/reproduction_claims.csv \\
        --html results/tables/reproduction.html --figures results/figs/reproduction.svg
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli
from calgrid.store import files


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

    from calgrid.figures import theme
    from calgrid.paper import consistency, published
    from calgrid.paper import reproduction as library
    from calgrid.paper.chart import chart
    from calgrid.paper.page import page
    from calgrid.store.reading import read_table
    from calgrid.store.selection import read_selection

    printed = published.read()
    ours = library.read_run(arguments.metrics, read_selection(arguments.selection))
    intervals = library.read_intervals({path.stem: read_table(path) for path in arguments.intervals})
    cells = library.compare(printed, ours, intervals)
    files.write_text(arguments.csv, cells.write_csv())
    files.write_text(arguments.claims, library.compare_claims(cells).write_csv())
    files.write_text(arguments.html, page(cells, consistency.findings(printed).values()))
    theme.save(chart(cells), arguments.figures)


if __name__ == "__main__":
    cli.run(main)
