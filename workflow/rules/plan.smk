# The plan: what a command will cost, before it is launched. No input and no output, so that it waits for nothing, makes
# nothing else, and runs whenever it is asked for.
import shlex


localrules:
    plan,


def snakemake_arguments():
    """What decides which jobs there are and which run, as Snakemake hands it on to its own jobs; no secrets."""
    handed_on = workflow.spawned_job_args_factory
    words = [
        handed_on.workflow_property_to_arg("main_snakefile", flag="--snakefile"),
        handed_on.workflow_property_to_arg("config_settings.config_args", flag="--config"),
        handed_on.get_configfiles_arg(),
        handed_on.workflow_property_to_arg("rerun_triggers"),
        handed_on.workflow_property_to_arg("dag_settings.max_checksum_file_size"),
        handed_on.get_default_storage_provider_args(),
        *handed_on.get_storage_provider_args(),
    ]
    return shlex.split(" ".join(words))


rule plan:
    log:
        "results/logs/plan.log",
    handover: True  # to another Snakemake, which looks at all jobs and runs none
    params:
        targets=CONFIG.plan.targets,
        snakemake=lambda w: snakemake_arguments(),
    shell:
        "python $SCRIPTS/plan.py {params.targets:q} --output results/plan.html -- {params.snakemake:q} 2> {log}"
        " || {{ cat {log} >&2; exit 1; }}"
