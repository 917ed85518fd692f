# Post-hoc calibration: one job a cell and benchmark, from stored scores alone; a table of all, a figure a benchmark.
rule posthoc:
    input:
        scores=lambda w: cell_scores(w.benchmark, CELL.format(**w)),
        content_free=content_free_scores,
    output:
        f"results/posthoc/benchmark={{benchmark}}/{CELL}/posthoc.parquet",
    log:
        f"results/logs/posthoc/benchmark={{benchmark}}/{CELL}.log",
    benchmark:
        f"results/benchmarks/posthoc/benchmark={{benchmark}}/{CELL}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        languages=lambda w: grid.languages(CONFIG, w.benchmark),
        cell=lambda w: CELL.format(**w),
        tiers=tier_flags(),
        methods=posthoc_methods(),
        n_bins=CONFIG.evaluation.n_bins,
        posthoc_share=str(CONFIG.evaluation.posthoc_share),
        transfer=CONFIG.evaluation.transfer_language,
        code=code("calibrate_posthoc.py"),
    shell:
        "python $SCRIPTS/calibrate_posthoc.py --benchmark {wildcards.benchmark:q} --scores {input.scores:q}"
        " --content-free {input.content_free:q} --cell {params.cell:q} --languages {params.languages:q}"
        " --tiers {params.tiers:q} --confidence-methods {params.methods} --n-bins {params.n_bins}"
        " --posthoc-share {params.posthoc_share} --transfer-language {params.transfer:q} --output {output:q} > {log:q} 2>&1"


rule posthoc_table:
    input:
        selection="results/selection.parquet",
        posthoc=lambda w: [path for benchmark in CONFIG.grid.benchmarks for path in grid_posthoc(benchmark)],
    output:
        [table(path, "posthoc", "Post-hoc calibration") for path in posthoc_tables()],
    log:
        "results/logs/posthoc_table.log",
    benchmark:
        "results/benchmarks/posthoc_table.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        benchmarks=CONFIG.grid.benchmarks,
        arms=arm_flags(CONFIG.evaluation.smoothing),
        methods=posthoc_methods(),
        tiers=tier_flags(),
        transfer=CONFIG.evaluation.transfer_language,
        code=code("write_posthoc_table.py"),
    shell:
        "python $SCRIPTS/write_posthoc_table.py --selection {input.selection} --posthoc {input.posthoc:q}"
        " --benchmarks {params.benchmarks:q} {params.arms:q} --confidence-methods {params.methods}"
        " --tiers {params.tiers:q} --transfer-language {params.transfer:q} --output-dir results/tables > {log} 2>&1"


rule temperature_transfer:
    input:
        selection="results/selection.parquet",
        posthoc=lambda w: grid_posthoc(w.benchmark),
    output:
        figure(
            "results/figs/{benchmark}/temperature_transfer.{suffix}",
            "temperature_transfer",
            "{benchmark}",
            "transfer of temperatures",
        ),
    log:
        "results/logs/figures/{benchmark}/temperature_transfer.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/{benchmark}/temperature_transfer.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        models=CONFIG.grid.models,
        sft=CONFIG.grid.sft_datasets,
        tiers=tier_flags(),
        method=CONFIG.evaluation.confidence_method,
        transfer=CONFIG.evaluation.transfer_language,
        code=code("draw_temperature_transfer.py"),
    shell:
        "python $SCRIPTS/draw_temperature_transfer.py --benchmark {wildcards.benchmark:q} --selection {input.selection}"
        " --posthoc {input.posthoc:q} --models {params.models:q} --sft {params.sft:q} --tiers {params.tiers:q}"
        " --confidence-method {params.method} --transfer-language {params.transfer:q} --output {output:q} > {log:q} 2>&1"
