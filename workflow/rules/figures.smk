# Figures: reliability of one language, from the scores of its shard alone, and of several; curves of training. As SVG, or
# as PNG where that is asked for.
rule headline_figure:
    input:
        selection="results/selection.parquet",
        scores=lambda w: language_scores(
            CONFIG.evaluation.headline_benchmark, w.language, in_grid(CONFIG.evaluation.headline_sft_datasets)
        ),
    output:
        figure(
            "results/figs/reliability_{language}.{suffix}",
            "reliability",
            "Headline",
            "reliability",
            language="{language}",
        ),
    log:
        "results/logs/figures/reliability_{language}.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/reliability_{language}.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        benchmark=CONFIG.evaluation.headline_benchmark,
        sft=in_grid(CONFIG.evaluation.headline_sft_datasets),
        flags=figure_flags(),
        code=code("draw_reliability.py"),
    shell:
        "python $SCRIPTS/draw_reliability.py --benchmark {params.benchmark:q} --language {wildcards.language:q}"
        " --sft {params.sft:q} --selection {input.selection} --scores {input.scores:q} {params.flags:q}"
        " --output {output:q} > {log:q} 2>&1"


rule figure1:
    input:
        selection="results/selection.parquet",
        scores=lambda w: figure1_scores(),
    output:
        figure("results/figs/figure1.{suffix}", "figure1", "Headline", "Figure 1"),
    log:
        "results/logs/figures/figure1.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/figure1.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        benchmark=CONFIG.evaluation.headline_benchmark,
        languages=figure1_languages(),
        models=CONFIG.grid.models,
        sft=in_grid(CONFIG.evaluation.headline_sft_datasets)[0],
        method=CONFIG.evaluation.confidence_method,
        figure_bins=CONFIG.evaluation.figure_bins,
        code=code("draw_figure1.py"),
    shell:
        "python $SCRIPTS/draw_figure1.py --benchmark {params.benchmark:q} --languages {params.languages:q}"
        " --models {params.models:q} --sft {params.sft:q} --selection {input.selection} --scores {input.scores:q}"
        " --confidence-method {params.method} --figure-bins {params.figure_bins} --output {output:q} > {log:q} 2>&1"


rule language_figure:
    input:
        selection=lambda w: [] if w.sft == BASE else "results/selection.parquet",  # base models wait for no training
        scores=lambda w: language_scores(w.benchmark, w.language, figure_sft_datasets(w.sft)),
    output:
        figure(
            "results/figs/{benchmark}/{sft}/reliability_{language}.{suffix}",
            "reliability",
            "{benchmark}",
            "reliability, {sft}",
            language="{language}",
        ),
    log:
        "results/logs/figures/{benchmark}/{sft}/reliability_{language}.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/{benchmark}/{sft}/reliability_{language}.{suffix}.tsv"
    wildcard_constraints:
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        selection=lambda w, input: ["--selection", input.selection] if input.selection else [],
        flags=figure_flags(),
        code=code("draw_reliability.py"),
    shell:
        "python $SCRIPTS/draw_reliability.py --benchmark {wildcards.benchmark:q} --language {wildcards.language:q}"
        " --sft {wildcards.sft:q} {params.selection:q} --scores {input.scores:q} {params.flags:q}"
        " --output {output:q} > {log:q} 2>&1"


rule training_curves:
    input:
        lambda w: [paths.train_record(cell.path) for cell in trained_cells(w.model, w.sft)],
    output:
        figure("results/figs/training_{model}_{sft}.{suffix}", "training_curves", "Training", "{model}, {sft}"),
    log:
        "results/logs/figures/training_{model}_{sft}.{suffix}.log",
    benchmark:
        "results/benchmarks/figures/training_{model}_{sft}.{suffix}.tsv"
    wildcard_constraints:
        model="|".join(map(re.escape, CONFIG.models)),
        sft="|".join(map(re.escape, CONFIG.sft_datasets)),
        suffix="svg|png",
    conda:
        "../../envs/calgrid.yaml"
    params:
        code=code("draw_training_curves.py"),
    shell:
        "python $SCRIPTS/draw_training_curves.py --records {input:q} --output {output:q} > {log:q} 2>&1"
