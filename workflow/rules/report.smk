# The report: one page of the whole grid, and the bins of its reliability diagrams, one job a benchmark.
rule reliability_bins:
    input:
        selection="results/selection.parquet",
        scores=lambda w: compared_scores(w.benchmark, diagram_smoothings()),
    output:
        "results/reliability/{benchmark}.parquet",
    log:
        "results/logs/reliability_bins/{benchmark}.log",
    benchmark:
        "results/benchmarks/reliability_bins/{benchmark}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        languages=lambda w: grid.languages(CONFIG, w.benchmark),
        arms=arm_flags(diagram_smoothings()),
        method=CONFIG.evaluation.confidence_method,
        figure_bins=CONFIG.evaluation.figure_bins,
        code=code("bin_reliability.py"),
    shell:
        "python $SCRIPTS/bin_reliability.py --benchmark {wildcards.benchmark:q} --languages {params.languages:q}"
        " {params.arms:q} --selection {input.selection} --scores {input.scores:q} --confidence-method {params.method}"
        " --figure-bins {params.figure_bins} --output {output:q} > {log:q} 2>&1"


rule report_page:
    input:
        selection="results/selection.parquet",
        records=[paths.train_record(cell.path) for cell in grid.tuned_cells(CONFIG)],
        metrics=lambda w: [path for benchmark in CONFIG.grid.benchmarks for path in grid_metrics(benchmark)],
        bins=expand("results/reliability/{benchmark}.parquet", benchmark=CONFIG.grid.benchmarks),
        table1="results/tables/table1.csv",
        heatmaps=expand("results/figs/{benchmark}/heatmap.svg", benchmark=CONFIG.grid.benchmarks),
        arrows=expand("results/figs/{benchmark}/arrows.svg", benchmark=CONFIG.grid.benchmarks),
        reproduction="results/tables/reproduction.csv",
        reproduction_figure="results/figs/reproduction.svg",
        files=lambda w: rules.all.input,
    output:
        report("results/report.html", caption="../report/report.rst", category="Overview", labels={"page": "report"}),
    log:
        "results/logs/report_page.log",
    benchmark:
        "results/benchmarks/report_page.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        arms=arm_flags(CONFIG.grid.smoothing),
        grid=report_flags(),
        looks=table_looks(),
        configuration=lambda w: CONFIG.model_dump_json(exclude_none=True),  # its braces are no wildcards
        code=code("write_report.py"),
    shell:
        "python $SCRIPTS/write_report.py {params.arms:q} {params.grid:q} {params.looks:q} --selection {input.selection}"
        " --records {input.records:q} --metrics {input.metrics:q} --bins {input.bins:q} --table1 {input.table1:q}"
        " --heatmaps {input.heatmaps:q} --arrows {input.arrows:q} --reproduction {input.reproduction:q}"
        " --reproduction-figure {input.reproduction_figure:q} --files {input.files:q}"
        " --configuration {params.configuration:q} --output {output:q} > {log} 2>&1"
