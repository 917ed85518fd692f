"""The demo's grid, small, by the profile as it is, on a real Slurm."""

import time

import polars as pl
from cluster import run as slurm
from slurm_run import SlurmRun
from workflow import ROOT

from calgrid.sections import BASE


def test_all_tables(tmp_path, capsys):
    configs = (ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml", ROOT / "tests/slurm/grid.yaml")
    run = SlurmRun(tmp_path, *configs)
    started = time.monotonic()
    run.start("all_tables").finish(1200)
    seconds = time.monotonic() - started

    table = pl.read_csv(tmp_path / "results/tables/table1.csv")
    assert set(table["model"]) == {"tiny-gemma2", "tiny-llama"}
    assert set(table["sft"]) == {BASE, "cldr-alpaca"}
    assert table["ece"].is_between(0, 1).all()
    assert len(list((tmp_path / "results/scores").rglob("*.parquet"))) == 2 * (1 + 2 * 2)

    jobs = slurm("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=today", "--format=State,Comment")
    assert run.log.count("has been submitted with SLURM jobid") >= 50, jobs
    files = list((tmp_path / "results/benchmarks").rglob("*.tsv"))
    at_work = sum(pl.read_csv(file, separator="\t", infer_schema=False)["s"].cast(float).sum() for file in files)
    with capsys.disabled():
        print(
            f"\n{len(files)} jobs on Slurm in {seconds:.0f} s; by their benchmark files the programs themselves ran "
            f"{at_work:.0f} s, {at_work / 2:.0f} s a core"
        )
    assert len(files) >= 50
    assert run.start("all_tables").end(120) == 0
    assert "Nothing to be done" in run.log
