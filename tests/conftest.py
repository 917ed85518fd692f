"""What several tests share."""

from pathlib import Path

import pytest
from workflow import ROOT, Workflow

TINY = (ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real public rows that lie beside the project, not in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which are not part of the project")
    return SHARED_DATA


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A finished grid: the demo's, at the least size."""
    workflow = Workflow(tmp_path_factory.mktemp("finished"), *TINY)
    workflow.run("all")
    return workflow
