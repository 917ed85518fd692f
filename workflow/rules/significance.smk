# Significance: tests of smoothing against none and of tuned against base, and intervals; one job a benchmark.
rule significance:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: grid_metrics(w.benchmark),
        scores=lambda w: grid_scores(w.benchmark),
    output:
        tests="results/significance/{benchmark}.parquet",
        intervals="results/intervals/{benchmark}.parquet",
    log:
        "results/logs/significance/{benchmark}.log",
    benchmark:
        "results/benchmarks/significance/{benchmark}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        method=CONFIG.evaluation.confidence_method,
        n_bins=CONFIG.evaluation.n_bins,
        t_test=CONFIG.evaluation.t_test,
        resamples=CONFIG.evaluation.resamples,
        code=code("compare_arms.py"),
    shell:
        "python $SCRIPTS/compare_arms.py --benchmark {wildcards.benchmark:q} --selection {input.selection}"
        " --metrics {input.metrics:q} --scores {input.scores:q} --confidence-method {params.method}"
        " --n-bins {params.n_bins} --t-test {params.t_test} --resamples {params.resamples}"
        " --intervals {output.intervals:q} --output {output.tests:q} > {log:q} 2>&1"
