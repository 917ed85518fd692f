"""What several tests share."""

from pathlib import Path

import pytest

from calgrid.figures import theme
from support.workflow import TINY, Workflow

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real public rows that lie beside the project, not in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which are not part of the project")
    return SHARED_DATA


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A finished grid: the demo's, at the least size. Tests that change results copy it."""
    workflow = Workflow(tmp_path_factory.mktemp("finished"), *TINY)
    workflow.run("all")
    return workflow


@pytest.fixture(autouse=True)
def figures_keep_to_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure that a test draws is checked against Vega-Lite's schema, which `theme.save` leaves out."""
    import altair as alt

    save = theme.save

    def checked(chart, paths):
        alt.VConcatChart.from_dict(chart) if isinstance(chart, dict) else chart.to_dict(validate=True)
        save(chart, paths)

    monkeypatch.setattr(theme, "save", checked)
