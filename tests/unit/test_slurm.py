"""squeue and sacct between Snakemake's plugin and Slurm, with commands of the shell in Slurm's place; tests/slurm has a
real one."""

import os
import subprocess
from pathlib import Path

import pytest

from calgrid import slurm
from calgrid.errors import UserError

QUERY = ["--format=%i|%T", "--states=all", "--noheader", "--name", "run-1"]


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """What a command answers the plugin, Slurm's own having answered so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(slurm.COMMANDS), str(tmp_path / "bin"), os.environ["PATH"]]))
    (tmp_path / "bin").mkdir()

    def answer(script: str, *words: str, name: str = "squeue") -> subprocess.CompletedProcess:
        for command in ("squeue", "sacct"):
            path = tmp_path / "bin" / command
            path.write_text(f"#!/bin/sh\n{script if command == name else 'echo PENDING'}\n")
            path.chmod(0o755)
        return subprocess.run([name, *(words or QUERY)], capture_output=True, text=True, check=False)

    return answer


def test_states_that_the_plugin_knows_are_passed_on(ask):
    assert (
        ask("printf '1|RUNNING\\n2|COMPLETED\\n3|OUT_OF_MEMORY\\n'").stdout
        == "1|RUNNING\n2|COMPLETED\n3|OUT_OF_MEMORY\n"
    )


def test_a_job_preempted_for_good_is_over(ask):
    assert ask("case \"$*\" in *--jobs*) echo PREEMPTED;; *) echo '1|PREEMPTED';; esac").stdout == "1|CANCELLED\n"


def test_a_preempted_job_that_is_queued_again_is_not(ask):
    assert ask("echo '1|PREEMPTED'", name="sacct").stdout == "1|PENDING\n"


def test_saccts_cancelled_by(ask):
    assert ask("echo '1|CANCELLED by 1000'", name="sacct").stdout == "1|CANCELLED\n"


def test_a_job_that_was_there_and_is_no_more(ask):
    ask("printf '1|RUNNING\\n2|RUNNING\\n'")
    assert ask("echo '2|RUNNING'").stdout == "2|RUNNING\n1|UNKNOWN\n"
    assert ask("true").stdout == "1|UNKNOWN\n2|UNKNOWN\n"
    assert ask("true", *QUERY[:-1], "run-2").stdout == ""


def test_a_controller_that_is_away_is_asked_again(ask, tmp_path):
    away = f"if [ -e {tmp_path}/back ]; then echo '1|RUNNING'; else touch {tmp_path}/back; echo no >&2; exit 1; fi"
    done = ask(away)
    assert (done.stdout, done.returncode) == ("1|RUNNING\n", 0)


def test_other_questions_are_slurms_own(ask):
    assert ask('echo "$@"; exit 3', "--me", "--name", "x").stdout == "--me --name x\n"
    assert ask('echo "$@"; exit 3', "--me").returncode == 3


def test_jobs_of_an_earlier_start_are_named(ask, tmp_path):
    ask(f"printf '7|{tmp_path}|rule_train_wildcards_x\\n8|/elsewhere|rule_train\\n9|{tmp_path}|mine\\n'")
    assert slurm.queued_jobs(tmp_path) == ["7"]
    with pytest.raises(UserError, match=r"still has 1 jobs that an earlier start .* \(7\)\. Wait .* scancel 7"):
        slurm.check_queue(tmp_path)
    assert slurm.queued_jobs(tmp_path / "other") == []


def test_without_slurm_there_is_no_queue(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert slurm.queued_jobs(Path()) == []


def test_a_profile_that_took_no_effect():
    assert slurm.check_profile("slurm", {"train", "score", "pack"}) is None
    with pytest.raises(UserError, match="start with `snakemake --profile profiles/slurm`"):
        slurm.check_profile("slurm", {"pack"})
