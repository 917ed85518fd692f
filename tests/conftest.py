"""What several tests share."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # each core has a worker; torch reads this when it is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock

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
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder that one worker builds for all of them; whoever asks gets a copy."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, build: Callable[[Path], object]) -> Path:
        whole, failed = shared / f"{name}-built", shared / f"{name}-failed"
        with FileLock(shared / f"{name}.lock"):
            assert not failed.exists(), f"{name} could not be built by another worker"
            if not whole.exists():
                failed.touch()
                building = shared / name
                building.mkdir()
                build(building)
                building.rename(whole)
                failed.unlink()
        copy = tmp_path_factory.mktemp(name)
        shutil.copytree(whole, copy, symlinks=True, dirs_exist_ok=True)
        return copy

    return folder


@pytest.fixture(scope="session")
def finished(built_once) -> Workflow:
    """A finished grid: the demo's, at the least size. Tests that change results copy it."""
    return Workflow(built_once("finished", lambda folder: Workflow(folder, *TINY).run("all")), *TINY)


@pytest.fixture(scope="session")
def built_store(built_once):
    """A synthetic store of these sizes."""
    from support.synthetic_store import Store

    def store(**sizes) -> Store:
        name = "store-" + hashlib.sha256(repr(sorted(sizes.items())).encode()).hexdigest()[:8]
        return Store(built_once(name, lambda folder: Store(folder, **sizes).build()), **sizes)

    return store


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a tiny base model."""
    from support.training import save_base

    return save_base(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def packed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations that the base model's trainings take."""
    from support.training_job import pack_answers

    return pack_answers(base, tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def figures_keep_to_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure that a test draws is checked against Vega-Lite's schema, which `theme.save` leaves out."""
    import altair as alt

    save = theme.save

    def checked(chart, paths):
        alt.TopLevelVConcatSpec.validate(chart) if isinstance(chart, dict) else chart.to_dict(validate=True)
        save(chart, paths)

    monkeypatch.setattr(theme, "save", checked)
