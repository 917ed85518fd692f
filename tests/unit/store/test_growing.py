"""The store can be read while jobs write to it, and after they were killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import calgrid
from calgrid.cell import Cell
from calgrid.store import files, lease, paths
from support.workflow import ROOT

READY = paths.scores("four", Cell("a").path, "low")
GROWING = paths.scores("four", Cell("b").path, "low")

# Holds the lease of a result and has written half of it, until it is killed.
JOB = """
import sys, time
from pathlib import Path
from calgrid.store import files, lease
result = Path(sys.argv[1])
with lease.held(result, []) as done, files.atomic(result) as temporary:
    temporary.write_bytes(b"PAR1 half")
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (READY, paths.metrics("four", Cell("a").path)):
        files.write_parquet(pl.DataFrame({"answer": [1, 2]}), path, {"rows": 2})


def check_readers():
    """What this project's documentation and other people's programs read: the whole file, and nothing else."""
    pattern = "results/scores/**/*.parquet"
    found = [
        pl.scan_parquet(pattern, hive_partitioning=True).collect(),
        pl.scan_parquet("results/scores", hidden_file_prefix=".", hive_partitioning=True).collect(),
        calgrid.open_results("results").scores.collect(),
        calgrid.open_results(Path("results").absolute()).scores.collect(),
    ]
    for rows in found:
        assert rows["answer"].to_list() == [1, 2]
        assert rows["model"].to_list() == ["a", "a"]
    assert [str(path) for path in Path().glob(pattern)] == [READY]
    assert not [path for path in Path("results").rglob("*.json") if "running" in path.name or "tmp" in path.name]


def unfinished():
    return sorted(path.name for path in Path("results").rglob(".*"))


def test_while_a_lease_is_held_and_a_file_half_written():
    with lease.held(GROWING, []), files.atomic(GROWING) as temporary:
        temporary.write_bytes(b"PAR1 half")
        assert len(unfinished()) == 2
        check_readers()
        with lease.held("results/metrics/x.parquet", []), files.atomic("results/metrics/x.parquet") as other:
            other.touch()
            assert calgrid.open_results("results").metrics.collect().height == 2
    assert not unfinished()


def test_after_kill_9_and_the_next_job_cleans_up():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    job = subprocess.Popen([sys.executable, "-c", JOB, GROWING], env=environment, stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "writing\n"
    check_readers()
    job.send_signal(signal.SIGKILL)
    job.communicate()
    left = unfinished()
    assert len(left) == 2
    check_readers()
    assert all(find(path) for find, path in zip((lease.abandoned, files.abandoned), map(found, left), strict=True))
    with lease.held(GROWING, []) as done:
        assert not done
        files.write_parquet(pl.DataFrame({"answer": [3]}), GROWING, {"rows": 1})
    assert not unfinished()
    assert calgrid.open_results("results").scores.collect()["answer"].to_list() == [1, 2, 3]


def found(name):
    (path,) = Path("results").rglob(name)
    return path


def test_a_lease_that_was_being_made_when_its_process_was_killed_is_cleared_away(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = files.temporary_for(lease.path_of(GROWING))
    left = here.with_name(here.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    left.touch()
    with lease.held(GROWING, []):
        assert not left.exists()
