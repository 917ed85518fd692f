"""What was interrupted or damaged: what is whole stays, the rest follows, and a message names it."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl

from calgrid.store.files import read_json, write_json
from support.workflow import TABLE, Workflow


def test_an_interrupted_grid_is_completed(finished, copied):
    """Struck by Ctrl-C and then by kill -9 in the middle of scoring: what was finished stays, the rest follows."""
    results = copied.folder / "results"
    for folder in ("scores", "metrics", "significance", "tables"):
        shutil.rmtree(results / folder)
    for blow in (signal.SIGINT, signal.SIGKILL):
        before = whole_files(results)
        strike(copied, blow)
        for path in (results / "scores").rglob("low.parquet"):
            pl.read_parquet(path, hive_partitioning=False)
        check_in_flight(before, results)
    copied.run("--unlock")
    before = whole_files(results)
    copied.run(TABLE, "--rerun-incomplete")
    check_in_flight(before, results)
    assert not [path for path in results.rglob(".tmp-*") if "scores" in path.parts]
    found = list((results / "scores").rglob("low.parquet"))
    for path in found:
        whole = finished.folder / path.relative_to(copied.folder)
        assert pl.read_parquet(path, hive_partitioning=False).equals(pl.read_parquet(whole, hive_partitioning=False))
    assert len(found) == 3


def strike(workflow: Workflow, blow: signal.Signals) -> None:
    """Run, and hit the whole group of processes once another shard is scored."""
    scores = workflow.folder / "results/scores"
    scored = len(list(scores.rglob("low.parquet")))
    command = workflow.command(TABLE, "--rerun-incomplete")
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(scores.rglob("low.parquet"))) <= scored:
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, blow)
    running.wait()


def whole_files(results: Path) -> dict[Path, int]:
    files = (path for path in results.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files if path.suffix in (".parquet", ".safetensors")}


def check_in_flight(before: dict[Path, int], results: Path) -> None:
    """Made again is at most what was renamed, but not yet known to be whole: of as many jobs as cores."""
    again = [path for path, time_ns in before.items() if path.exists() and path.stat().st_mtime_ns != time_ns]
    assert len([path for path in again if "scores" in path.parts]) <= 2
    assert not [path for path in again if "models" in path.parts or "data" in path.parts]


def test_an_interrupted_training_goes_on_even_on_other_hardware(copied, tmp_path):
    settings = {"training": {"epochs": 10}, "device": {"checkpoint_minutes": 0}}
    cell = "model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0"
    record = f"results/models/{cell}/train.json"
    running = subprocess.Popen(
        copied.command(record, settings=settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "results/checkpoints/models" / cell).rglob("step-*/state.json")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    copied.run("--unlock")
    two = {"models": {"tiny-llama": {"gpus": 2}}}
    copied.run(record, "--rerun-incomplete", settings={**settings, **two})
    assert "going on after step" in (tmp_path / f"results/logs/train/{cell}.log").read_text()
    done = json.loads((tmp_path / record).read_text())
    assert done["processes"] == 2
    assert done["steps"] == len(done["curve"]) == 10 * 4
    assert not (tmp_path / "results/checkpoints/models" / cell).exists()


def test_a_stricter_audit_is_enforced_without_another_tokenising(copied, tmp_path):
    manifest = next((tmp_path / "results/tokens").rglob("low.json"))
    record = read_json(manifest)
    record["audit"]["yo"]["same_text"] = {"questions": 1, "first": ["q"]}
    write_json(manifest, record)
    done = copied.run("all_tables", "--show-failed-logs", settings={"audit": {"same_text": 0.0}}, check=False)
    assert done.returncode
    message = (
        "language 'yo': 1 of 12 questions have two options with the same text: q; more than audit.same_text 0 allows"
    )
    assert message in done.stdout + done.stderr
    assert manifest.exists()


def test_a_damaged_manifest_is_refused_and_trains_nothing_again(copied, tmp_path):
    manifest = Path("results/packed/model=tiny-llama/cldr-alpaca.json")
    text = (tmp_path / manifest).read_text()
    (tmp_path / manifest).write_text(text[: len(text) // 2])
    cell = "model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0"
    trained = tmp_path / f"results/models/{cell}/train.json"
    record = trained.read_text()
    (tmp_path / "results/tables/table1.csv").unlink()  # something to do
    done = copied.run("all_tables", check=False)
    assert done.returncode
    assert re.search(f"error: {manifest}: not readable as JSON .*; delete it and run again", done.stderr)
    assert trained.read_text() == record
    (tmp_path / manifest).unlink()
    copied.run(str(manifest))
    assert not {"train", "score"} & set(copied.plan("all_tables"))


def test_a_quiet_run_names_what_failed(copied, tmp_path):
    scores = next((tmp_path / "results/scores").rglob("low.parquet"))
    scores.write_bytes(scores.read_bytes()[:-100])
    done = copied.run("all_tables", "--quiet", "all", check=False)
    assert done.returncode
    message = rf"results/logs/metrics/.*\.log: error: {scores.relative_to(tmp_path)}: .*; delete it and run again"
    assert re.search(message, done.stderr)
