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
import pytest

from calgrid.store.files import read_json, write_json
from support.workflow import TABLE


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_grid_is_completed(finished, copied, tmp_path, blow):
    """Struck down in the middle of scoring, with jobs in flight: what was finished stays, the rest follows."""
    for folder in ("scores", "metrics", "significance", "tables"):
        shutil.rmtree(tmp_path / "results" / folder)
    scores = tmp_path / "results/scores"
    running = subprocess.Popen(
        copied.command(TABLE), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(scores.rglob("low.parquet")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, blow)
    running.wait()
    files = (path for path in (tmp_path / "results").rglob("*") if path.is_file())
    before = {path: path.stat().st_mtime_ns for path in files if path.suffix in (".parquet", ".safetensors")}
    for path in scores.rglob("low.parquet"):
        pl.read_parquet(path, hive_partitioning=False)
    if blow == signal.SIGKILL:
        copied.run("--unlock")
    copied.run(TABLE, "--rerun-incomplete")
    in_flight = [path for path, time_ns in before.items() if path.exists() and path.stat().st_mtime_ns != time_ns]
    assert (
        len([path for path in in_flight if "scores" in path.parts]) <= 2
    )  # cores: renamed, but not yet known to be whole
    assert not [path for path in in_flight if "models" in path.parts or "data" in path.parts]
    assert not [path for path in (tmp_path / "results").rglob(".tmp-*") if "scores" in path.parts]
    for path in scores.rglob("low.parquet"):
        whole = finished.folder / path.relative_to(tmp_path)
        assert pl.read_parquet(path, hive_partitioning=False).equals(pl.read_parquet(whole, hive_partitioning=False))
    assert len(list(scores.rglob("low.parquet"))) == 3


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
