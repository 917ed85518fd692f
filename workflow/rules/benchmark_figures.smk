# Figures of a whole benchmark, from the metrics of its cells alone; as SVG, or as PNG where that is asked for.
rule heatmap:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: figure_metrics(w.benchmark, CONFIG.grid.smoothing),
    output:
        figure("results/figs/{benchmark}/heatmap.{suffix}", "heatmap", "{benchmark}", "heatmap"),
    log:
        "results/logs/figures/{benchmark}/heatmap.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/{benchmark}/heatmap.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=shown_flags(CONFIG.grid.smoothing),
        tiers=tier_flags(),
        code=code("draw_heatmap.py"),
    shell:
        "python $SCRIPTS/draw_heatmap.py --benchmark {wildcards.benchmark:q} --selection {input.selection}"
        " --metrics {input.metrics:q} {params.flags:q} --tiers {params.tiers:q} --output {output:q} > {log:q} 2>&1"


rule arrows:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: figure_metrics(w.benchmark, CONFIG.evaluation.smoothing),
    output:
        figure("results/figs/{benchmark}/arrows.{suffix}", "arrows", "{benchmark}", "arrows"),
    log:
        "results/logs/figures/{benchmark}/arrows.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/{benchmark}/arrows.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=shown_flags(CONFIG.evaluation.smoothing),
        tiers=tier_flags(),
        code=code("draw_arrows.py"),
    shell:
        "python $SCRIPTS/draw_arrows.py --benchmark {wildcards.benchmark:q} --selection {input.selection}"
        " --metrics {input.metrics:q} {params.flags:q} --tiers {params.tiers:q} --output {output:q} > {log:q} 2>&1"


rule lr_sensitivity:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: figure_metrics(w.benchmark),
    output:
        figure("results/figs/{benchmark}/lr_sensitivity.{suffix}", "lr_sensitivity", "{benchmark}", "learning rates"),
    log:
        "results/logs/figures/{benchmark}/lr_sensitivity.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/{benchmark}/lr_sensitivity.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=shown_flags(CONFIG.grid.smoothing),
        code=code("draw_lr_sensitivity.py"),
    shell:
        "python $SCRIPTS/draw_lr_sensitivity.py --benchmark {wildcards.benchmark:q} --selection {input.selection}"
        " --metrics {input.metrics:q} {params.flags:q} --output {output:q} > {log:q} 2>&1"
