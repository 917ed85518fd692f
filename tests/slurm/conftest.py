"""Fixtures on the cluster that `tests/slurm/run` starts."""

import os
import subprocess
from pathlib import Path

import pytest

from support.slurm_cluster import Cluster
from support.slurm_run import SlurmRun
from support.workflow import ROOT, Workflow

BASE = os.environ.get("CALGRID_SLURM")
CONFIGS = (ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml", ROOT / "tests/slurm/trainings.yaml")
collect_ignore_glob = [] if BASE else ["test_*.py"]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster(Path(str(BASE)))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A folder where all is ready to train."""
    workflow = Workflow(tmp_path_factory.mktemp("prepared"), *CONFIGS)
    workflow.run("audit", "results/packed/model=tiny-llama/cldr-alpaca.parquet")
    return workflow.folder


@pytest.fixture
def trainings(prepared, tmp_path) -> SlurmRun:
    folder = tmp_path / "grid"
    subprocess.run(["cp", "-a", prepared, folder], check=True)
    run = SlurmRun(folder, *CONFIGS)
    yield run
    if run.running and run.running.poll() is None:
        run.kill()
