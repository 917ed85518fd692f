"""Leases: one process at a time, dead holders are followed, those that stood still step aside."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from calgrid.errors import Interrupted
from calgrid.store import lease
from support.workflow import ROOT

SCRIPTS = ROOT / "workflow/scripts"
SECONDS = "3"  # until a lease without a beat is taken over

# Holds the lease, tells so, works for some seconds, writes the result.
HOLDER = """
import logging, pathlib, sys, time
logging.basicConfig(level="INFO")
from calgrid.store import lease
result, work, seconds = sys.argv[1:]
with lease.held(result, [work]) as done:
    print("done" if done else "computing", flush=True)
    if not done:
        time.sleep(float(seconds))
        path = pathlib.Path(result)
        path.write_text(path.read_text() + work if path.exists() else work)
"""


@pytest.fixture
def result(tmp_path):
    return tmp_path / "cell" / "train.json"


@pytest.fixture(autouse=True)
def seconds(monkeypatch):
    monkeypatch.setenv(lease.SECONDS_VARIABLE, SECONDS)


def start(result, work="w", seconds=0.5):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-c", HOLDER, str(result), work, str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def begun(process):
    assert process.stdout.readline() == "computing\n"
    return process


def ended(process):
    output, errors = process.communicate(timeout=60)
    return output, errors, process.returncode


def test_a_second_copy_finds_the_result(result):
    first = begun(start(result, seconds=1.5))
    output, errors, status = ended(start(result))
    assert (output, status) == ("done\n", 0)
    assert f"process {first.pid} on " in errors
    assert "is computing train.json already; waiting for it" in errors
    assert ended(first)[2] == 0
    assert result.read_text() == "w"
    assert not lease.path_of(result).exists()


def test_another_work_is_computed_after_the_first(result):
    first = begun(start(result, "one", 1))
    assert ended(start(result, "two"))[0] == "computing\n"
    ended(first)
    assert result.read_text() == "onetwo"


def test_of_many_copies_one_computes(result):
    copies = [start(result, seconds=0.5) for _ in range(6)]
    outputs = [ended(copy)[0] for copy in copies]
    assert sorted(outputs) == ["computing\n", *["done\n"] * 5]
    assert result.read_text() == "w"


def test_a_killed_holder_on_this_machine_is_followed_at_once(result):
    first = begun(start(result, seconds=60))
    first.kill()
    first.wait()
    started = time.monotonic()
    output, errors, _ = ended(start(result, seconds=0))
    assert output == "computing\n"
    assert "does not beat any more; taking over" in errors
    assert time.monotonic() - started < float(SECONDS)


def test_a_holder_on_a_node_that_went_down_is_followed_after_its_last_beat(result):
    first = begun(start(result, seconds=60))
    path = lease.path_of(result)
    content = json.loads(path.read_text())
    first.kill()
    path.write_text(json.dumps({**content, "host": "another-node"}))
    started = time.monotonic()
    assert ended(start(result, seconds=0))[0] == "computing\n"
    assert time.monotonic() - started > float(SECONDS)


def test_a_holder_that_stood_still_too_long_stops(result):
    first = begun(start(result, seconds=60))
    first.send_signal(signal.SIGSTOP)
    second = start(result, seconds=2)
    begun(second)
    first.send_signal(signal.SIGCONT)
    _, errors, status = ended(first)
    assert status == Interrupted.exit_code
    assert "another process took this result over while this one stood still; it stops" in errors
    assert ended(second)[2] == 0
    assert result.read_text() == "w"


def test_a_failure_gives_the_lease_back(result):
    with pytest.raises(KeyError), lease.held(result, []):
        assert lease.path_of(result).exists()
        raise KeyError
    assert not lease.path_of(result).exists()


def test_a_damaged_lease_is_taken_over(result):
    result.parent.mkdir()
    lease.path_of(result).write_text("")
    assert ended(start(result, seconds=0))[0] == "computing\n"
