"""Write the report: one self-contained page of a grid's results.

    python workflow/scripts/write_report.py --benchmarks global-mmlu --models gemma2-2b --sft tulu3 \\
        --smoothings 0.0 0.1 \\
        --lr 1e-5 5e-5 --seeds 0 --selection results/selection.parquet --records results/models/**/train.json \\
        --metrics results/metrics/**/*.parquet --bins results/reliability/*.parquet --diagram-smoothings 0.0 0.1 \\
        --table1 results/tables/table1.csv --heatmaps results/figs/*/heatmap.svg --arrows results/figs/*/arrows.svg \\
        --reproduction results/tables/reproduction.csv --reproduction-figure results/figs/reproduction.svg \\
        --files results/tables/*.* results/figs/*.* --configuration "$(cat config/config.yaml)" \\
        --output results/report.html

Of trainings and metrics give those that there are: the page says what is not done yet.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from calgrid import cli, flags
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    flags.add_arms(parser)
    parser.add_argument("--lr", required=True, nargs="+", help="learning rates of the grid, in this order")
    parser.add_argument("--seeds", required=True, nargs="+", help="seeds of the grid")
    parser.add_argument("--benchmarks", required=True, nargs="+", help="benchmarks of the grid, in this order")
    parser.add_argument("--records", nargs="*", default=[], type=Path, help="train.json of each training")
    parser.add_argument("--metrics", nargs="*", default=[], type=Path, help="metrics of each cell and benchmark")
    parser.add_argument(
        "--bins", required=True, nargs="+", type=Path, help="<benchmark>.parquet of bin_reliability.py, in this order"
    )
    parser.add_argument(
        "--diagram-smoothings", nargs="+", required=True, help="label smoothings of the reliability diagram"
    )
    parser.add_argument("--table1", required=True, type=Path, help="table1.csv")
    parser.add_argument("--heatmaps", nargs="*", default=[], type=Path, help="<benchmark>/heatmap.svg")
    parser.add_argument("--arrows", nargs="*", default=[], type=Path, help="<benchmark>/arrows.svg")
    parser.add_argument("--reproduction", required=True, type=Path, help="reproduction.csv")
    parser.add_argument("--reproduction-figure", required=True, type=Path, help="reproduction.svg")
    parser.add_argument("--files", nargs="*", default=[], type=Path, help="tables and figures to link to")
    parser.add_argument("--configuration", required=True, help="the grid's configuration, as JSON or YAML, to be shown")
    flags.add_table_looks(parser)
    parser.add_argument("--output", required=True, type=Path, help="the page to write")
    arguments = parser.parse_args(argv)

    import polars as pl
    import yaml

    from calgrid.cell import arms_to_show
    from calgrid.paper import reproduction as reproductions
    from calgrid.report import content
    from calgrid.report import page as report_page
    from calgrid.report import provenance as report_provenance
    from calgrid.store.reading import benchmark_of, cell_of, read_metrics, read_table
    from calgrid.store.selection import read_rule
    from calgrid.tables import contents, layout
    from calgrid.tables import page as tables_page
    from calgrid.vocabulary import POOLED

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path, arguments.output.parent)).as_posix()

    figure = arguments.reproduction_figure
    rule = read_rule(arguments.selection)
    points = content.state(
        arms_to_show(arguments.models, arguments.sft, arguments.smoothings),
        arguments.lr,
        arguments.seeds,
        arguments.benchmarks,
        read_table(arguments.selection),
        {(benchmark_of(path), cell_of(path)) for path in arguments.metrics},
    )
    sizes = {}
    if arguments.metrics:
        sizes = {
            benchmark: (languages, questions)
            for benchmark, languages, questions in read_metrics(arguments.metrics, pl.col("grouping") == POOLED)
            .unique("benchmark", maintain_order=True)
            .select("benchmark", "n_languages", "n_questions")
            .iter_rows()
        }
    numbers = contents.read_csv(arguments.table1)
    looks = (arguments.table_metrics, rule, arguments.alpha, arguments.correction)
    table1 = tables_page.table(numbers, arguments.table_metrics, "model", layout.caption(numbers, *looks))
    bins = {path.stem: read_table(path) for path in arguments.bins}
    made = {path.stem: files.read_provenance(path) for path in arguments.bins}
    trainings = {}
    for path in arguments.records:  # curves, of thousands of steps each, are not kept
        trainings[cell_of(path)] = {name: value for name, value in files.read_json(path).items() if name != "curve"}
    page = report_page.page(
        points,
        sizes,
        layout.how_selected(rule),
        table1,
        content.diagrams(bins, arguments.models, arguments.sft, arguments.diagram_smoothings),
        ", ".join(dict.fromkeys(record["confidence_method"] for record in made.values())),
        {
            "heatmap": [report_page.Figure(path.parent.name, path, relative(path)) for path in arguments.heatmaps],
            "arrows": [report_page.Figure(path.parent.name, path, relative(path)) for path in arguments.arrows],
            "reproduction": [report_page.Figure("", figure, relative(figure))],
        },
        reproductions.read_cells(arguments.reproduction),
        list(map(relative, arguments.files)),
        report_page.Provenance(
            report_provenance.sources(trainings, made),
            report_provenance.stages(
                trainings.values(),
                made.values(),
                map(files.read_provenance, arguments.metrics),
                files.provenance(),
            ),
            yaml.safe_dump(yaml.safe_load(arguments.configuration), sort_keys=False, allow_unicode=True),
        ),
    )
    files.write_text(arguments.output, page)


if __name__ == "__main__":
    cli.run(main)
