# Metrics: one job a cell and benchmark, from stored scores alone.
rule metrics:
    input:
        audit=lambda w: paths.audit(w.model),  # not ancient: see audit_model
        scores=lambda w: cell_scores(w.benchmark, CELL.format(**w)),
    output:
        f"results/metrics/benchmark={{benchmark}}/{CELL}/metrics.parquet",
    log:
        f"results/logs/metrics/benchmark={{benchmark}}/{CELL}.log",
    benchmark:
        f"results/benchmarks/metrics/benchmark={{benchmark}}/{CELL}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        languages=lambda w: grid.languages(CONFIG, w.benchmark),
        cell=lambda w: CELL.format(**w),
        tiers=tier_flags(),
        measured_bins=measured_bins(),
        code=code("measure_cell.py"),
    shell:
        "python $SCRIPTS/measure_cell.py --benchmark {wildcards.benchmark:q} --scores {input.scores:q}"
        " --cell {params.cell:q} --languages {params.languages:q} --tiers {params.tiers:q} --measured-bins {params.measured_bins}"
        " --threads {threads} --output {output:q} > {log:q} 2>&1"
