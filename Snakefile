# CalGrid: model x SFT set x label smoothing x learning rate, from data to tables and figures.
#
#     snakemake -n all_tables                                    what would run
#     snakemake --cores 1 plan                                   what it would cost
#     snakemake --configfile config/demo.yaml --cores 2 all      the embedded small grid
#     snakemake --profile profiles/slurm all_tables              the paper's grid on a cluster


report: "workflow/report/workflow.rst"


configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/helpers/start.smk"


container: CONFIG.container


include: "workflow/helpers/inputs.smk"
include: "workflow/helpers/outputs.smk"
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
include: "workflow/rules/benchmark_figures.smk"
include: "workflow/rules/reproduction.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/report.smk"


# Here, since an included file gives no default target.
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


include: "workflow/rules/targets.smk"
