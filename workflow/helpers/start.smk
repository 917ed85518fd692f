# The checked configuration, what is checked when a run starts, and what every rule shares. No rule here.
import os
import re
import shlex
import sys
import time
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

STARTED = time.time()
SCRIPTS = f"{workflow.basedir}/workflow/scripts"
sys.path.insert(0, SCRIPTS)

from calgrid import slurm
from calgrid.cell import BASE_CELL, CELL, Cell, canonical_lr, canonical_smoothing
from calgrid.cli import settings_flags
from calgrid.config import check, grid
from calgrid.config.sections import Source
from calgrid.errors import UserError
from calgrid.scoring.settings import Prompting
from calgrid.store import paths, s3, versions
from calgrid.store.program_hash import program_hash
from calgrid.store.files import read_json, sampled_hash
from calgrid.training.settings import Packing
from calgrid.vocabulary import BASE, CLDR_CORPUS, CONTENT_FREE, NO_SMOOTHING, VALIDATION_LOSS

# For the shell commands: where the programs lie, and as `python` the interpreter that runs Snakemake, unless a conda
# environment takes its place. A path in the commands themselves would change them with every move of the folder.
# Snakemake itself asks Slurm about its jobs by commands of ours.
COMMANDS = [str(slurm.COMMANDS)] if workflow.is_main_process else []
PATHS = [*COMMANDS, str(Path(sys.executable).parent), os.environ.get("PATH", "")]
os.environ.update(SCRIPTS=SCRIPTS, PATH=os.pathsep.join(PATHS))

try:
    CONFIG = check.load(config, workflow.configfiles)
    s3.use(workflow)
except UserError as error:
    raise WorkflowError(str(error)) from None


onstart:
    check_start()


onerror:
    tell_errors()


wildcard_constraints:
    model=r"[^/=]+",
    sft=r"[^/=]+",
    smoothing=r"[^/=]+",
    lr=r"[^/=]+",
    seed=r"[^/=]+",
    benchmark=r"[^/=]+",
    shard=r"[^/=]+",
    prompt=r"[^/=]+",
    language=r"[^/=]+",


def check_start():
    """Before anything runs: no manifest is damaged, no job of an earlier start in Slurm's queue, the profile in effect."""
    if not workflow.is_main_process:
        return
    if DAMAGED:
        raise WorkflowError("\n".join(DAMAGED))
    try:
        slurm.check_queue(Path.cwd())
        warning = slurm.check_profile(
            workflow.executor_plugin.name, set(workflow.resource_settings.overwrite_resources)
        )
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if warning:
        print(warning, file=sys.stderr)


def tell_errors():
    """What failed, where Snakemake was told to be quiet about everything: the messages of the jobs' logs since the start."""
    if "ALL" not in {kind.name for kind in workflow.output_settings.quiet or ()}:
        return
    for log in Path("results/logs").rglob("*.log"):
        if log.stat().st_mtime >= STARTED:
            last = log.read_text(errors="replace").rstrip().rpartition("\n")[2]
            if last.startswith("error: "):
                print(f"{log}: {last}", file=sys.stderr)


def code(program):
    """The code of a cheap stage as a parameter, so that a change of it reruns the stage."""
    return program_hash(Path(SCRIPTS, program))


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
