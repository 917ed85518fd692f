"""Scorings as processes: killed in the middle, and started twice."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import score_shard as program
from support.shard import FLAGS, LANGUAGES, OUTPUT, tokenised_shard
from support.workflow import ROOT


@pytest.fixture
def shard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tokenised_shard(tmp_path)


def test_killed_in_the_middle_and_started_again_gives_the_same_file_bit_for_bit(shard, caplog):
    program_file = str(ROOT / "workflow/scripts/score_shard.py")
    command = [sys.executable, program_file, *FLAGS]
    program.main([*FLAGS])
    whole = Path(OUTPUT).read_bytes()
    Path(OUTPUT).unlink()

    # A slow device, so that there is a middle to be killed in.
    slow = (
        "import runpy, sys, time; sys.argv = sys.argv[1:]; import calgrid.scoring.score as s; real = s.launch\n"
        "def slow(*a): time.sleep(1); return real(*a)\n"
        "s.launch = slow; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(program_file).parent)}
    job = subprocess.Popen([sys.executable, "-c", slow, *command[1:]], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not Path("finished/am.parquet").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not Path(OUTPUT).exists()
    finished = sorted(path.stem for path in Path("finished").glob("??.parquet"))
    assert finished[0] == "am"
    assert len(finished) < 3

    caplog.clear()
    with caplog.at_level(logging.INFO):
        program.main([*FLAGS])
    assert f"finished before: {', '.join(finished)}" in caplog.text
    assert [lang for lang in LANGUAGES if f"{lang}: 41 questions" in caplog.text] == sorted({*LANGUAGES} - {*finished})
    assert Path(OUTPUT).read_bytes() == whole


def test_a_second_copy_waits_before_it_loads_the_model_and_takes_the_result(shard, monkeypatch, caplog):
    def meanwhile(*_, **__):
        """While this copy computes, another one starts, and waits until it has ended."""
        command = [sys.executable, str(ROOT / "workflow/scripts/score_shard.py"), *FLAGS]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        copies.append(second)
        for line in second.stderr:
            said.append(line)
            if "waiting for it" in line:
                break
        return real(*_, **__)

    real, copies, said = program.load_model, [], []
    monkeypatch.setattr(program, "load_model", meanwhile)
    program.main([*FLAGS])
    written = Path(OUTPUT).read_bytes()
    said += copies[0].communicate()[1].splitlines()
    assert copies[0].returncode == 0
    log = "\n".join(said)
    assert "scored by that process; nothing left to do" in log
    assert "loading" not in log
    assert Path(OUTPUT).read_bytes() == written
