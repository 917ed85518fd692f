"""What the tests that run the workflow share."""

import shutil
from pathlib import Path

import pytest

from support.workflow import Workflow


@pytest.fixture
def copied(finished: Workflow, tmp_path: Path) -> Workflow:
    """A finished grid whose results may change."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Workflow(tmp_path, *finished.configfiles)
