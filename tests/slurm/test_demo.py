"""The demo's grid, small, by the profile as it is, on a real Slurm."""

import statistics
import time

import polars as pl

from calgrid.vocabulary import BASE
from support.slurm_cluster import run as slurm
from support.slurm_run import SlurmRun
from support.workflow import ROOT


def test_all_tables(tmp_path, capsys):
    configs = (ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml", ROOT / "tests/slurm/grid.yaml")
    run = SlurmRun(tmp_path, *configs).profile(lambda profile: profile.update(jobs=3))  # more only wait for a core
    started = time.monotonic()
    run.start("all_tables").finish(1200)
    seconds = time.monotonic() - started

    table = pl.read_csv(tmp_path / "results/tables/table1.csv")
    assert set(table["model"]) == {"tiny-gemma2", "tiny-llama"}
    assert set(table["sft"]) == {BASE, "cldr-alpaca"}
    assert table.filter(metric="ece")["value"].is_between(0, 1).all()
    assert len(list((tmp_path / "results/scores").rglob("*.parquet"))) == 2 * (1 + 2 * 2)

    sacct = slurm("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=today", "--format=ElapsedRaw")
    on_slurm = [int(elapsed) for elapsed in sacct.split()]
    files = list((tmp_path / "results/benchmarks").rglob("*.tsv"))
    programs = [pl.read_csv(file, separator="\t", infer_schema=False)["s"].cast(float).sum() for file in files]
    with capsys.disabled():
        print(
            f"\nall tables after {seconds:.0f} s; {len(on_slurm)} jobs of Slurm took {sum(on_slurm)} s, "
            f"{statistics.median(on_slurm):.0f} s at the median, and by the benchmark files the {len(programs)} "
            f"programs in them {sum(programs):.0f} s, {statistics.median(programs):.1f} s at the median"
        )
    assert run.log.count("has been submitted with SLURM jobid") == len(on_slurm)
    assert len(files) >= 50
    assert run.start("all_tables").end(120) == 0
    assert "Nothing to be done" in run.log
