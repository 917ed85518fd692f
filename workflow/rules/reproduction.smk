# Reproduction: the run beside the numbers that the paper prints (data/paper), as tables, a page and a figure.
rule reproduction:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: [path for benchmark in CONFIG.grid.benchmarks for path in grid_metrics(benchmark)],
        intervals=expand("results/intervals/{benchmark}.parquet", benchmark=CONFIG.grid.benchmarks),
    output:
        csv="results/tables/reproduction.csv",
        claims="results/tables/reproduction_claims.csv",
        html="results/tables/reproduction.html",
        figure="results/figs/reproduction.svg",
        png="results/figs/reproduction.png",
    log:
        "results/logs/reproduction.log",
    benchmark:
        "results/benchmarks/reproduction.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        printed=folder_state(f"{workflow.basedir}/data/paper"),
        code=code("reproduction.py"),
    shell:
        "python $SCRIPTS/reproduction.py --selection {input.selection} --metrics {input.metrics:q}"
        " --intervals {input.intervals:q} --csv {output.csv} --claims {output.claims} --html {output.html}"
        " --figures {output.figure} {output.png} > {log} 2>&1"
