# What metrics, tables and figures are made of and called: the cells that they show, their files, their flags. No rule here.
from calgrid.figures.theme import STYLES


def cell_scores(benchmark, cell):
    return [paths.scores(benchmark, cell, shard) for shard in grid.shards_in_grid(CONFIG, benchmark)]


def scored_cells():
    """The cells that tables and figures ask for: all, or the base models and the selected ones."""
    return grid.cells(CONFIG) if CONFIG.scoring.cells == "all" else selected_cells()


def selected_cells():
    """The base models, and the selected cells."""
    path = s3.readable(checkpoints.select.get().output[0])  # not written yet, Snakemake leaves here and comes again
    from calgrid.store.selection import read_selected  # here: it imports polars

    return grid.with_base(CONFIG, read_selected(path))


def tier_flags():
    return [f"{name}={','.join(languages)}" for name, languages in CONFIG.tiers.items() if languages]


def measured_bins():
    """Numbers of bins, the tables' first."""
    return list(dict.fromkeys([CONFIG.evaluation.n_bins, *CONFIG.evaluation.other_bins]))


def grid_metrics(benchmark):
    return [paths.metrics(benchmark, cell.path) for cell in scored_cells()]


def figure_metrics(benchmark, smoothings=None):
    """Of one benchmark: of the compared cells of these smoothings, or else of all that are scored."""
    if benchmark not in CONFIG.grid.benchmarks:
        raise WorkflowError(
            f"benchmark {benchmark!r} is not in the grid; there are: {', '.join(CONFIG.grid.benchmarks)}"
        )
    cells = scored_cells() if smoothings is None else compared_cells(smoothings)
    return [paths.metrics(benchmark, cell.path) for cell in cells]


def compared_cells(smoothings):
    """The base models, and the selected cells of these smoothings."""
    return grid.of_smoothings(selected_cells(), smoothings)


def grid_scores(benchmark):
    return [path for cell in scored_cells() for path in cell_scores(benchmark, cell.path)]


def compared_scores(benchmark, smoothings):
    """The scores of the cells that are compared."""
    return [path for cell in compared_cells(smoothings) for path in cell_scores(benchmark, cell.path)]


def posthoc_methods():
    """Confidence methods that are calibrated post hoc, the tables' first."""
    return list(dict.fromkeys([CONFIG.evaluation.confidence_method, *CONFIG.evaluation.posthoc_methods]))


def grid_posthoc(benchmark):
    """Of the base models, and the selected cells of the smoothings that tables compare."""
    return [paths.posthoc(benchmark, cell.path) for cell in compared_cells(CONFIG.evaluation.smoothing)]


def content_free_scores(wildcards):
    return [
        path
        for name in content_free_prompts(wildcards.benchmark)
        for path in cell_scores(name, CELL.format(**wildcards))
    ]


def language_scores(benchmark, language, sft_datasets):
    """The shards that a reliability figure of one language needs: base models, and the compared smoothings."""
    try:
        shard = grid.shard_of(CONFIG, benchmark, language)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    smoothings = CONFIG.evaluation.smoothing
    return [
        paths.scores(benchmark, cell.path, shard)
        for cell in (scored_cells() if sft_datasets else grid.base_cells(CONFIG))
        if cell.is_base or (cell.sft in sft_datasets and cell.smoothing in smoothings)
    ]


def figure1_languages():
    """Those of the configuration that the grid reports, or its first ones where none is."""
    reported = grid.languages(CONFIG, CONFIG.evaluation.headline_benchmark)
    return [name for name in CONFIG.evaluation.figure1_languages if name in reported] or reported[:6]


def figure1_scores():
    """The shards of Figure 1's languages: base models, and those tuned without smoothing."""
    benchmark = CONFIG.evaluation.headline_benchmark
    sft = in_grid(CONFIG.evaluation.headline_sft_datasets)[0]
    shards = dict.fromkeys(grid.shard_of(CONFIG, benchmark, language) for language in figure1_languages())
    return [
        paths.scores(benchmark, cell.path, shard)
        for cell in scored_cells()
        if cell.is_base or (cell.sft == sft and cell.smoothing == NO_SMOOTHING)
        for shard in shards
    ]


def in_grid(sft_datasets):
    """Those of the SFT sets that are in the grid, or all of the grid's where none is."""
    return [name for name in sft_datasets if name in CONFIG.grid.sft_datasets] or list(CONFIG.grid.sft_datasets)


def figure_sft_datasets(sft):
    """SFT sets of results/figs/{benchmark}/{sft}/: one, or none for `base`."""
    if sft not in (BASE, *CONFIG.grid.sft_datasets):
        raise WorkflowError(
            f"SFT set {sft!r} is not in the grid; there are: {BASE}, {', '.join(CONFIG.grid.sft_datasets)}"
        )
    return [] if sft == BASE else [sft]


def selection_flags():
    lr = CONFIG.selection.lr
    return [] if lr == VALIDATION_LOSS else ["--lr", lr]


def overall_tables():
    return [f"results/tables/table{number}.{suffix}" for number in (1, 2) for suffix in ("csv", "tex")]


def language_tables(benchmark):
    return [
        f"results/tables/{benchmark}/{language}.{suffix}"
        for language in grid.languages(CONFIG, benchmark)
        for suffix in ("csv", "tex")
    ]


def posthoc_tables():
    return [f"results/tables/posthoc.{suffix}" for suffix in ("csv", "tex")]


def transfer_figures():
    return [f"results/figs/{benchmark}/temperature_transfer.svg" for benchmark in CONFIG.grid.benchmarks]


def benchmark_figures():
    return [
        f"results/figs/{benchmark}/{figure}.svg"
        for benchmark in CONFIG.grid.benchmarks
        for figure in ("heatmap", "arrows", "lr_sensitivity")
    ]


def trained_cells(model, sft):
    """The trainings of the grid that a figure of their curves shows."""
    found = [cell for cell in grid.tuned_cells(CONFIG) if (cell.model, cell.sft) == (model, sft)]
    if not found:
        raise WorkflowError(
            f"the grid does not train {model!r} on {sft!r}; it trains {', '.join(CONFIG.grid.models)} on "
            f"{', '.join(CONFIG.grid.sft_datasets)}"
        )
    return found


def training_figures():
    return [
        f"results/figs/training_{model}_{sft}.svg" for model in CONFIG.grid.models for sft in CONFIG.grid.sft_datasets
    ]


def headline_figures():
    benchmark = CONFIG.evaluation.headline_benchmark
    return [f"results/figs/reliability_{language}.svg" for language in grid.languages(CONFIG, benchmark)]


def language_figures():
    return [
        f"results/figs/{benchmark}/{sft}/reliability_{language}.svg"
        for benchmark in CONFIG.grid.benchmarks
        for sft in (BASE, *CONFIG.grid.sft_datasets)
        for language in grid.languages(CONFIG, benchmark)
    ]


def table_looks():
    evaluation = CONFIG.evaluation
    return [
        *("--table-metrics", *evaluation.table_metrics),
        *("--alpha", str(evaluation.alpha)),
        *("--correction", evaluation.correction),
    ]


def table_flags(smoothings):
    return [*shown_flags(smoothings), *table_looks()]


def arm_flags(smoothings):
    return ["--models", *CONFIG.grid.models, "--sft", *CONFIG.grid.sft_datasets, "--smoothings", *smoothings]


def shown_flags(smoothings):
    evaluation = CONFIG.evaluation
    return [
        *arm_flags(smoothings),
        *("--confidence-method", evaluation.confidence_method),
        *("--n-bins", str(evaluation.n_bins)),
    ]


def change_rate_flags():
    return [*arm_flags(CONFIG.evaluation.smoothing), "--n-bins", str(CONFIG.evaluation.n_bins)]


def figure_flags():
    evaluation = CONFIG.evaluation
    return [
        *("--models", *CONFIG.grid.models),
        *("--smoothings", *evaluation.smoothing),
        *("--confidence-method", evaluation.confidence_method),
        *("--figure-bins", str(evaluation.figure_bins)),
    ]


def diagram_smoothings():
    """Those of the grid, in the report's reliability diagram; where they are too many, those of the figures."""
    return CONFIG.grid.smoothing if len(CONFIG.grid.smoothing) < len(STYLES) else CONFIG.evaluation.smoothing


def report_flags():
    return [
        *("--lr", *CONFIG.grid.lr),
        *("--seeds", *map(str, CONFIG.grid.seeds)),
        *("--benchmarks", *CONFIG.grid.benchmarks),
        *("--diagram-smoothings", *diagram_smoothings()),
    ]


# Outputs as Snakemake's own report shows them (`snakemake --report`): in these categories, with captions of
# workflow/report/.


def table(path, caption, name, language="all"):
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category="Tables",
        subcategory="Overall" if language == "all" else name,
        labels={"table": name, "language": language, "format": Path(path).suffix[1:]},
    )


def figure(path, caption, group, name, language="all"):
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category="Figures",
        subcategory=group,
        labels={"figure": name, "language": language, "format": Path(path).suffix[1:]},
    )
