"""The plan: its jobs are Snakemake's own, its costs those of a reckoning by hand, and reruns have their reasons."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from calgrid.plan import estimate
from calgrid.plan import jobs as plan_jobs
from calgrid.plan import page as plan_page
from calgrid.plan import text as plan_text
from calgrid.plan.sizes import Sizes
from calgrid.scoring.prompts import questions_of
from calgrid.scoring.trie import lay_out
from support.plan import jobs, made
from support.workflow import ROOT, TINY, Workflow, checkout

POSTHOC = {"paper": 2 * 3 * (1 + 3 * 2), "tiny": 1 * 1 * (1 + 1 * 2)}


def dry_run(workflow: Workflow, *targets: str) -> Counter:
    """How many jobs of each rule a dry run counts, without the targets themselves."""
    text = workflow.run(*targets, "--dry-run", "--quiet", "rules").stdout
    if "Nothing to be done" in text:
        return Counter()
    table = text[text.index("Job stats:") :].split("\n\n")[0]
    counts = Counter({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)})
    assert counts.pop("total") == counts.total()
    return Counter({name: n for name, n in counts.items() if name not in targets})


# Jobs


@pytest.mark.parametrize(("name", "configfiles"), [("tiny", TINY), ("paper", ())], ids=["tiny", "paper"])
def test_jobs_are_those_of_a_dry_run(tmp_path, monkeypatch, name, configfiles):
    monkeypatch.chdir(tmp_path)
    found = jobs(*configfiles)
    assert all(job.to_do and not job.again for job in found)
    assert Counter(job.rule for job in found if not job.assumed) == dry_run(
        Workflow(tmp_path, *configfiles), "all_tables"
    )
    assert Counter(job.rule for job in found if job.assumed) == {"posthoc": POSTHOC[name]}


def test_cells_that_are_scored_once_selected_are_in_the_plan_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Counter((job.rule, job.assumed) for job in jobs(settings={"scoring": {"cells": "selected"}}))
    assert found["score", True] + found["score", False] == 180
    assert found["train", False] == 108


def test_done_work_is_counted_as_done(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    found = jobs(*TINY, targets=("all",))
    assert not any(job.to_do or job.assumed for job in found)
    more = jobs(*TINY, targets=("all",), settings={"grid": {"lr": ["1e-3", "2e-3"]}})
    assert {job.wildcards["lr"] for job in more if job.rule == "train" and job.to_do} == {"2e-3"}
    assert sum(job.rule == "train" for job in more) == 4
    assert not any(job.again for job in more if job.rule in estimate.EXPENSIVE)
    assert dry_run(finished, "all") == {}


# Why jobs would run again


@pytest.fixture
def changed(copied, monkeypatch):
    """A finished grid whose results may change, as the working directory."""
    monkeypatch.chdir(copied.folder)
    return copied.folder


def causes(*configfiles: Path, settings: dict | None = None) -> list[tuple[str, int, str]]:
    return [(each.what, each.jobs, each.why) for each in made(*configfiles, settings=settings).causes]


def test_a_changed_setting_is_one_line_a_kind_of_job(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    found = causes(*TINY, settings={"training": {"epochs": 2, "batch_size": 8}})
    why = "parameter `settings` changed: --epochs 1 -> --epochs 2, --batch-size 16 -> --batch-size 8"
    assert found == [("trainings", 2, why), ("scorings", 2, f"`train` runs again: {why}")]
    text = plan_text.terminal(made(*TINY, settings={"training": {"epochs": 2, "batch_size": 8}}), "plan.html")
    assert re.search(rf"^  2 trainings, \d+ GPU (seconds|minutes): {re.escape(why)}$", text, re.MULTILINE)
    assert "jobs that cost little: metrics 2, posthoc " in text


def test_a_cause_far_up_is_named_down_to_the_scores(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    found = causes(*TINY, settings={"models": {"tiny-llama": {"pretrain": {"steps": 13}}}})
    why = "parameter `settings` changed: --steps 12 -> --steps 13"
    assert ("pretrainings", 1, why) in found
    assert ("tokenized shards", 1, f"`pretrain` runs again: {why}") in found
    assert ("trainings", 2, f"`pretrain` runs again: {why}") in found
    assert ("scorings", 3, f"`pretrain` runs again: {why}") in found
    assert len(found) == 4


def test_what_was_deleted_is_named(changed):
    for folder in ("models", "scores/benchmark=cldr4", "metrics/benchmark=cldr4"):
        shutil.rmtree(changed / "results" / folder / "model=tiny-llama/sft=cldr-alpaca/smoothing=0.1")
    assert causes(*TINY) == []  # nothing that is missing asks for them
    (changed / "results/tables/table1.csv").unlink()
    deleted = "deleted: results/models/<cell>/model, results/models/<cell>/train.json"
    scores = "deleted: results/scores/benchmark={benchmark}/<cell>/{shard}.parquet"
    assert causes(*TINY) == [
        ("trainings", 1, deleted),
        ("scorings", 1, f"`train` runs again: {deleted} and {scores}"),
    ]


def test_a_raised_version_and_a_changed_command_are_named(changed, tmp_path_factory):
    copy = checkout(tmp_path_factory.mktemp("checkout"))
    rules = copy / "workflow/rules/train.smk"
    rules.write_text(rules.read_text().replace("versions.TRAIN_VERSION", "versions.TRAIN_VERSION + 1"))
    scoring = copy / "workflow/rules/score.smk"
    scoring.write_text(scoring.read_text().replace("score_shard.py --model", "score_shard.py  --model"))
    flags = ["--snakefile", str(copy / "Snakefile"), "--configfile", *map(str, TINY)]
    _, found = plan_jobs.jobs(flags, ["all_tables"])
    by_rule = {job.rule: job.causes for job in found if job.again and job.wildcards.get("sft") != "base"}
    assert by_rule["train"] == ("parameter `version` changed: 2 -> 3",)
    assert by_rule["score"] == ("`train` runs again: parameter `version` changed: 2 -> 3",)
    base = {job.causes for job in found if job.again and job.rule == "score" and job.wildcards["sft"] == "base"}
    assert base == {("the command of rule `score` changed",)}


# Sizes


def test_tokens_are_counted_where_data_are_prepared(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.folder)
    found = made(*TINY)
    packed = json.loads((finished.folder / "results/packed/model=tiny-llama/cldr-alpaca.json").read_text())
    tokens = packed["counts"]["train"]["tokens"]
    path = "results/packed/model=tiny-llama/cldr-alpaca.json"
    assert found.sources["sft_datasets.cldr-alpaca, tiny-llama"] == f"{tokens:,} tokens, of {path}"
    assert re.match(r"[\d,]+ tokens in results/tokens/prompt=", found.sources["benchmarks.cldr4, tiny-llama"])
    assert not found.unknown
    sizes = Sizes(found.config, {})
    assert sizes.training("tiny-llama", "cldr-alpaca")["train"].tokens == tokens
    monkeypatch.chdir(tmp_path)
    assert Sizes(found.config, {}).training("tiny-llama", "cldr-alpaca")["train"].tokens != tokens


def test_tokens_of_a_shard_are_those_of_its_questions(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    [path] = Path("results/tokens").rglob("low.parquet")
    prompt = path.parts[2].removeprefix("prompt=")
    sizes = Sizes(made(*TINY).config, {("cldr4", "low"): prompt})
    work = sizes.scoring("cldr4", "tiny-llama", "low")
    rows = [lay_out([question]) for question in questions_of(pl.read_parquet(path))]
    least = sum(map(len, rows))
    assert least <= work.tokens <= 1.2 * least


def test_the_bytes_of_a_finished_grid_are_near(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    lines = {line.stage: line for line in made(*TINY).lines}
    weights = sum(
        path.stat().st_size for path in Path("results/models").glob("**/sft=cldr-alpaca/**/model/model.safetensors")
    )
    assert lines["train"].bytes - 2 * 5e6 == pytest.approx(weights, rel=0.02)


# After a run


def test_errors_are_those_of_the_benchmark_files(changed):
    found = made(*TINY)
    files = sorted(Path("results/benchmarks/train").rglob("*.tsv"))
    assert len(files) == 2
    seconds = sum(float(file.read_text().splitlines()[1].split("\t")[0]) for file in files)
    [train] = [error for error in found.errors if error.stage == "train"]
    assert (train.model, train.jobs) == ("tiny-llama", 2)
    assert train.measured == pytest.approx(seconds)
    assert train.share == train.predicted / seconds - 1
    assert {error.stage for error in found.errors} >= {"data", "models", "tokenize", "pack", "train", "score", "tables"}
    assert "Predicted and measured seconds of what has run:" in plan_text.terminal(found, "plan.html")
    files[0].write_text("s\th:m:s\n")
    found = made(*TINY)
    assert found.unreadable == [str(files[0])]
    assert next(error.jobs for error in found.errors if error.stage == "train") == 1


def test_what_is_left_is_reckoned_by_the_pace_so_far(changed):
    for stage, seconds in (("train", 1000), ("score", 100)):
        for file in Path(f"results/benchmarks/{stage}").rglob("*.tsv"):
            file.write_text(f"s\th:m:s\n{seconds}\t0:00:00\n")
    found = made(*TINY, settings={"grid": {"smoothing": [0.0, 0.1, 0.2]}})
    [train] = [line for line in found.lines if line.stage == "train"]
    assert (train.jobs, train.done) == (3, 2)
    assert found.gpu_hours_left_at_pace == pytest.approx(1100 / 3600, rel=0.01)
    assert "At the pace measured so far: 18 GPU minutes left." in plan_text.terminal(found, "plan.html")


def test_benchmark_files_do_not_decide_what_runs(changed):
    assert dry_run(Workflow(changed, *TINY), "all") == {}
    shutil.rmtree(changed / "results/benchmarks")
    assert dry_run(Workflow(changed, *TINY), "all") == {}


# The target


def test_the_target_prints_a_table_and_writes_a_page_each_time(changed):
    workflow = Workflow(changed, *TINY)
    page = changed / "results/plan.html"
    for _ in range(2):
        page.unlink(missing_ok=True)
        done = workflow.run("plan")
        assert "Plan of all_tables: 2 GPUs" in done.stdout
        assert re.search(r"^train +tiny-llama +2 +2 +1 ", done.stdout, re.MULTILINE)
        assert re.search(r"^All \d+ jobs are done.$", done.stdout, re.MULTILINE)
        assert "Nothing would run again." in done.stdout
        assert page.is_file()
    assert max(map(len, done.stdout.splitlines())) <= 130
    assert not [line for line in done.stderr.splitlines() if re.match(r"(local)?rule (?!plan)", line)]


def test_the_target_runs_nothing_and_takes_the_configuration_of_its_command(tmp_path):
    workflow = Workflow(tmp_path, *TINY)
    done = workflow.run("plan", "--config", "plan={gpus: 3, targets: [results/figs/reliability_yo.svg]}")
    assert "Plan of results/figs/reliability_yo.svg: 3 GPUs" in done.stdout
    assert re.search(r"^train +tiny-llama +2 +0 +1 ", done.stdout, re.MULTILINE)
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["logs", "plan.html"]


def test_the_target_works_beside_a_running_snakemake(changed):
    """Which holds a lock on every file, and is in the middle of a training."""
    locks = changed / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    files = [str(path.relative_to(changed)) for path in (changed / "results").rglob("*") if path.is_file()]
    (locks / "0.output.lock").write_text("\n".join(files))
    record = "results/models/model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0/train.json"
    incomplete = changed / ".snakemake/incomplete" / base64.b64encode(record.encode()).decode()
    incomplete.write_text("")
    done = Workflow(changed, *TINY).run("plan")
    assert "1 trainings, " in done.stdout
    assert "interrupted before, or under way in another Snakemake" in done.stdout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plan": {"gpus": 0}}, "plan.gpus: 0: input should be greater than or equal to 1"),
        ({"plan": {"gpus": True}}, "write a number"),
        ({"plan": {"training_share": 30}}, "plan.training_share: 30: input should be less than or equal to 1"),
        ({"plan": {"mfu": 0.3}}, "plan.mfu: unknown key"),
        ({"plan": {"targets": ["results/figs/reliability_xx.svg"]}}, "language 'xx' is not in benchmark 'cldr4'"),
        ({"plan": {"targets": ["all_tabels"]}}, "all_tabels"),
        (
            {"plan": {"gpus": 2}, "models": {"tiny-llama": {"gpus": 4}}},
            "plan.gpus: 2: a job takes 4 GPUs (models.<name>.gpus); give at least 4",
        ),
    ],
)
def test_mistakes_are_messages(tmp_path, settings, message):
    done = Workflow(tmp_path, *TINY).run("plan", settings=settings, check=False)
    assert done.returncode
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_papers_plan_takes_seconds_and_neither_torch_nor_a_network(tmp_path):
    program = (
        "import runpy, socket, sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "def refuse(*_): raise AssertionError('the network was asked')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, str(ROOT / "workflow/scripts/plan_grid.py"), "all_tables"),
            *("--output", "plan.html", "--", "--snakefile", str(ROOT / "Snakefile")),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT / "workflow/scripts")},
    )
    assert time.monotonic() - started < 60  # 10 s on an idle machine
    assert not done.returncode, done.stderr
    assert re.search(r"^ +llama3.1-8b +36 +0 +4 ", done.stdout, re.MULTILINE)
    assert "Not known" not in done.stdout


# The page


def test_the_page_says_what_the_terminal_says(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    found = made(*TINY, settings={"training": {"epochs": 2}})
    html = plan_page.page(found)
    assert "<script" not in html and "http" not in html.replace('http-equiv="Content', "")
    for text in (
        "parameter `settings` changed: --epochs 1 -&gt; --epochs 2",
        '<th scope="col" class=label>stage</th>',
        "Predicted and measured",
        "plan.training_share",
        "tokens, of results/packed/model=tiny-llama/cldr-alpaca.json",
    ):
        assert text in html
