# Change rates of the calibration errors by tuning: tables of all, a figure a benchmark.
rule change_rates:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: [
            path
            for benchmark in CONFIG.grid.benchmarks
            for path in figure_metrics(benchmark, CONFIG.evaluation.smoothing)
        ],
    output:
        csv=table("results/tables/change_rates.csv", "change_rates_table", "Change rates"),
        tex=table("results/tables/change_rates.tex", "change_rates_table", "Change rates"),
    log:
        "results/logs/change_rates.log",
    benchmark:
        "results/benchmarks/change_rates.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=change_rate_flags(),
        code=code("write_change_rates.py"),
    shell:
        "python $SCRIPTS/write_change_rates.py --selection {input.selection} --metrics {input.metrics:q} {params.flags:q}"
        " --csv {output.csv} --tex {output.tex} > {log} 2>&1"


rule change_rates_figure:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: figure_metrics(w.benchmark, CONFIG.evaluation.smoothing),
    output:
        figure("results/figs/{benchmark}/change_rates.{suffix}", "change_rates", "{benchmark}", "change rates"),
    log:
        "results/logs/figures/{benchmark}/change_rates.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/{benchmark}/change_rates.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=change_rate_flags(),
        code=code("write_change_rates.py"),
    shell:
        "python $SCRIPTS/write_change_rates.py --selection {input.selection} --metrics {input.metrics:q} {params.flags:q}"
        " --benchmark {wildcards.benchmark:q} --figures {output:q} > {log:q} 2>&1"
