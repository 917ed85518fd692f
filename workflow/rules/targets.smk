# Targets: what a user asks for by name.
localrules:
    all,
    all_tables,
    headline_figures,
    all_figures,
    audit,
    report,


rule headline_figures:
    input:
        headline_figures(),


rule all_figures:
    input:
        rules.headline_figures.input,
        "results/figs/figure1.svg",
        language_figures(),
        training_figures(),
        [f"results/figs/{benchmark}/change_rates.svg" for benchmark in CONFIG.grid.benchmarks],
        rules.reproduction.output.figure,
        transfer_figures(),
        benchmark_figures(),


rule audit:
    input:
        [paths.audit(model) for model in CONFIG.grid.models],


rule all:
    input:
        rules.all_tables.input,
        rules.all_figures.input,


rule report:
    input:
        rules.report_page.output,
