# Reproduction: the run beside the numbers that the paper prints (data/paper), as tables, a page and a figure.
rule reproduction:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: [path for benchmark in CONFIG.grid.benchmarks for path in grid_metrics(benchmark)],
        intervals=expand("results/intervals/{benchmark}.parquet", benchmark=CONFIG.grid.benchmarks),
    output:
        csv=table("results/tables/reproduction.csv", "reproduction", "Against the paper"),
        claims=table("results/tables/reproduction_claims.csv", "reproduction", "The paper's claims"),
        html=table("results/tables/reproduction.html", "reproduction", "Against the paper"),
        figure=figure("results/figs/reproduction.svg", "reproduction", "Headline", "against the paper"),
        png=figure("results/figs/reproduction.png", "reproduction", "Headline", "against the paper"),
    log:
        "results/logs/reproduction.log",
    benchmark:
        "results/benchmarks/reproduction.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        printed=[state for state in folder_state(f"{workflow.basedir}/data/paper") if ".csv " in state],
        code=code("write_reproduction.py"),
    shell:
        "python $SCRIPTS/write_reproduction.py --selection {input.selection} --metrics {input.metrics:q}"
        " --intervals {input.intervals:q} --csv {output.csv} --claims {output.claims} --html {output.html}"
        " --figures {output.figure} {output.png} > {log} 2>&1"
