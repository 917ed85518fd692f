# The plan: what a command will cost, before it is launched. No input and no output, so that it waits for nothing, makes
# nothing else, and runs whenever it is asked for.
localrules:
    plan,


rule plan:
    log:
        "results/logs/plan.log",
    handover: True  # to another Snakemake, which looks at all jobs and runs none
    params:
        targets=CONFIG.plan.targets,
        snakemake=lambda w: snakemake_arguments(),
    shell:
        "python $SCRIPTS/plan_grid.py {params.targets:q} --output results/plan.html -- {params.snakemake:q} 2> {log}"
        " || {{ cat {log} >&2; exit 1; }}"
