# Figures: reliability of one language, from the scores of its shard alone; curves of training.
rule headline_figure:
    input:
        selection="results/selection.parquet",
        scores=lambda w: language_scores(
            CONFIG.evaluation.headline_benchmark, w.language, in_grid(CONFIG.evaluation.headline_sft_datasets)
        ),
    output:
        "results/figs/reliability_{language}.svg",
    log:
        "results/logs/figures/reliability_{language}.log",
    conda:
        "../../envs/calgrid.yaml"
    params:
        benchmark=CONFIG.evaluation.headline_benchmark,
        sft=in_grid(CONFIG.evaluation.headline_sft_datasets),
        flags=figure_flags(),
        code=code("reliability.py"),
    shell:
        "python $SCRIPTS/reliability.py --benchmark {params.benchmark:q} --language {wildcards.language:q}"
        " --sft {params.sft:q} --selection {input.selection} --scores {input.scores:q} {params.flags:q}"
        " --output {output:q} > {log:q} 2>&1"


rule language_figure:
    input:
        selection="results/selection.parquet",
        scores=lambda w: language_scores(w.benchmark, w.language, figure_sft_datasets(w.sft)),
    output:
        "results/figs/{benchmark}/{sft}/reliability_{language}.svg",
    log:
        "results/logs/figures/{benchmark}/{sft}/reliability_{language}.log",
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=figure_flags(),
        code=code("reliability.py"),
    shell:
        "python $SCRIPTS/reliability.py --benchmark {wildcards.benchmark:q} --language {wildcards.language:q}"
        " --sft {wildcards.sft:q} --selection {input.selection} --scores {input.scores:q} {params.flags:q}"
        " --output {output:q} > {log:q} 2>&1"


rule training_curves:
    input:
        lambda w: [grid.train_record(cell.path) for cell in trained_cells(w.model, w.sft)],
    output:
        "results/figs/training_{model}_{sft}.svg",
    log:
        "results/logs/figures/training_{model}_{sft}.log",
    wildcard_constraints:
        model="|".join(map(re.escape, CONFIG.models)),
        sft="|".join(map(re.escape, CONFIG.sft_datasets)),
    conda:
        "../../envs/calgrid.yaml"
    params:
        code=code("training_curves.py"),
    shell:
        "python $SCRIPTS/training_curves.py --records {input:q} --output {output:q} > {log:q} 2>&1"
