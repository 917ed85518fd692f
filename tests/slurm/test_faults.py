"""What happens on clusters, each provoked: the grid is finished, or one message says what to do; nothing is lost."""

import json
import re
import subprocess
import time

import pytest

from support.slurm_cluster import run as slurm
from support.slurm_cluster import wait
from support.slurm_run import SlurmRun, record

SMOOTHINGS = ("0.0", "0.1", "0.2", "0.3", "0.4")
STEPS = 160


def crowd_out(node: str) -> None:
    """A job of a partition that comes first, which wants a whole node."""
    slurm("sbatch", "--partition=main", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")


def steps(run: SlurmRun, smoothing: str) -> int:
    return json.loads((run.folder / record(smoothing)).read_text())["steps"]


def went_on(run: SlurmRun, smoothing: str) -> bool:
    return bool(re.search(r"going on after step [1-9]", run.train_log(smoothing).read_text()))


def test_struck_jobs_are_tried_again(trainings, cluster):
    """One run: cancelled by an administrator, past its time limit, out of memory, a node down, preempted for good."""

    def change(profile: dict) -> None:
        train = profile["set-resources"]["train"]
        train["mem_mb"] = "100 * 100 ** (attempt - 1) if wildcards.smoothing == '0.2' else 4000"
        train["slurm_partition"] = "'cancels' if wildcards.smoothing == '0.4' else 'main'"
        nodes = "{'0.3': ' --nodelist=n3', '0.4': ' --nodelist=n2'}.get(wildcards.smoothing, ' --nodelist=n1')"
        train["slurm_extra"] = f"{train['slurm_extra']} + ({nodes} if attempt == 1 else '')"

    run = trainings.profile(change).start(*map(record, SMOOTHINGS))
    jobs = {smoothing: run.job(smoothing) for smoothing in ("0.0", "0.1", "0.3", "0.4")}
    slurm("scancel", jobs["0.0"])
    slurm("scontrol", "update", f"JobId={jobs['0.1']}", "TimeLimit=1")
    cluster.cut_power("n3")
    crowd_out("n2")
    time.sleep(15)
    cluster.start_node("n3")
    run.finish(900)
    for job, state in {"0.0": "CANCELLED", "0.4": "CANCELLED", "0.3": "NODE_FAIL"}.items():
        assert re.search(rf"SLURM-job '{jobs[job]}' failed.*'{state}'", run.log, re.DOTALL), (job, run.log)
    for smoothing in SMOOTHINGS:
        assert steps(run, smoothing) == STEPS
    for smoothing in jobs:
        assert went_on(run, smoothing), smoothing


def test_jobs_that_slurm_itself_queues_again(trainings, cluster):
    """With slurm-requeue: preempted, and a node down; each job goes on by itself, and none runs twice."""

    def change(profile: dict) -> None:
        del profile["slurm-no-requeue"]
        profile["slurm-requeue"] = True
        train = profile["set-resources"]["train"]
        train["mem_mb"] = 4000
        train["slurm_partition"] = "requeues"
        nodes = "{'0.0': ' --nodelist=n1'}.get(wildcards.smoothing, ' --nodelist=n2')"
        train["slurm_extra"] = f"{train['slurm_extra']} + {nodes}"

    run = trainings.profile(change).start(*map(record, ("0.0", "0.1")))
    jobs = {smoothing: run.job(smoothing) for smoothing in ("0.0", "0.1")}
    crowd_out("n1")
    cluster.cut_power("n2")
    time.sleep(15)
    cluster.start_node("n2")
    run.finish(600)
    assert "failed" not in run.log
    for smoothing in jobs:
        assert steps(run, smoothing) == STEPS
        assert went_on(run, smoothing)
    submitted = re.findall(r"SLURM jobid '?(\d+)", run.log)
    assert sorted(submitted) == sorted(jobs.values())


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_an_administrators_scancel_is_noticed(trainings, command):
    """By sacct the state reads `CANCELLED by 0`."""
    run = trainings.profile(lambda profile: profile.update({"slurm-status-command": command})).start(record("0.0"))
    slurm("scancel", run.job("0.0"))
    run.finish(600)
    assert went_on(run, "0.0")


def test_a_killed_start_leaves_its_jobs_to_the_next(trainings, cluster):
    run = trainings.start(*map(record, ("0.0", "0.1")))
    jobs = sorted(run.job(smoothing) for smoothing in ("0.0", "0.1"))
    run.kill()

    assert run.start(*map(record, ("0.0", "0.1"))).end(60)
    assert "LockException" in run.log or "cannot be locked" in run.log
    unlock(run)
    assert run.start(*map(record, ("0.0", "0.1"))).end(60)
    assert "Slurm's queue still has 2 jobs that an earlier start in this folder submitted" in run.log
    assert f"scancel {' '.join(jobs)}" in run.log
    assert "Traceback" not in run.log

    wait(lambda: not set(jobs) & set(cluster.jobs("--states=running,completing")), "both jobs' end", 600)
    made = {path: (run.folder / path).stat().st_mtime_ns for path in map(record, ("0.0", "0.1"))}
    run.start(*made).finish(60)
    assert "Nothing to be done" in run.log
    assert made == {path: (run.folder / path).stat().st_mtime_ns for path in made}


def unlock(run: SlurmRun) -> None:
    run.start("--unlock").finish(60)


def test_two_starts_in_one_folder(trainings):
    run = trainings.start(record("0.0"))
    run.job("0.0")
    other = SlurmRun(run.folder, *run.configs)
    (run.folder / "log").rename(run.folder / "first.log")
    assert other.start(record("0.0")).end(60)
    assert "cannot be locked" in other.log
    run.finish(600)
    assert steps(run, "0.0") == STEPS


def test_a_full_disk(trainings, tmp_path):
    """The results lie on a disk without room for a checkpoint; with more room, the grid is finished."""
    run = trainings
    results, kept = run.folder / "results", tmp_path / "kept"
    results.rename(kept)
    results.mkdir()
    size = int(subprocess.check_output(["du", "--summarize", "--block-size=1M", str(kept)]).split()[0])
    slurm("mount", "-t", "tmpfs", "-o", f"size={size + 4}m", "tmpfs", str(results))
    try:
        slurm("cp", "-a", f"{kept}/.", str(results))
        assert run.profile(lambda profile: profile.update({"retries": 0})).start(record("0.0")).end(600)
        assert re.search(r"free space", run.log), run.log
        assert "Traceback" not in run.log
        slurm("mount", "-o", f"remount,size={size + 200}m", str(results))
        run.start(record("0.0")).finish(600)
        assert steps(run, "0.0") == STEPS
    finally:
        slurm("umount", "--lazy", str(results))


def test_the_controller_is_away_for_two_minutes(trainings, cluster):
    run = trainings.start(record("0.0"))
    run.job("0.0")
    cluster.stop_controller()
    time.sleep(125)
    cluster.start_controller()
    run.finish(600)
    assert steps(run, "0.0") == STEPS


def test_without_the_profile_nothing_is_submitted(trainings):
    run = trainings.profile(lambda profile: profile.pop("set-resources"))
    assert run.start(record("0.0")).end(60)
    assert "without the GPUs, memory and time that profiles/slurm/config.yaml asks for" in run.log
    assert "Submitted" not in run.log
