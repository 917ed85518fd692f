# CalGrid: model x SFT set x label smoothing x learning rate, from data to tables and figures.
#
#     snakemake -n all_tables                                    what would run
#     snakemake --cores 1 plan                                   what it would cost
#     snakemake --configfile config/demo.yaml --cores 2 all      the embedded small grid
#     snakemake --profile profiles/slurm all_tables              the paper's grid on a cluster


report: "workflow/report/workflow.rst"


configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/rules/common.smk"


container: CONFIG.container


include: "workflow/rules/outputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tokenize.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/significance.smk"
include: "workflow/rules/posthoc.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/change_rates.smk"
include: "workflow/rules/overview.smk"
include: "workflow/rules/reproduction.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    all_tables,
    headline_figures,
    all_figures,
    audit,
    report,


rule all_tables:
    default_target: True
    input:
        overall_tables(),
        [language_tables(benchmark) for benchmark in CONFIG.grid.benchmarks],
        "results/tables/index.html",
        rules.change_rates.output,
        rules.reproduction.output.csv,
        rules.reproduction.output.claims,
        rules.reproduction.output.html,
        posthoc_tables(),


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
        overview_figures(),


rule audit:
    input:
        [grid.audit(model) for model in CONFIG.grid.models],


rule all:
    input:
        rules.all_tables.input,
        rules.all_figures.input,


rule report:
    input:
        rules.report_page.output,
