"""Verification of a store: what is damaged, stale, missing or orphaned is named, with what mends it."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

import verify_results as program
from calgrid.cell import Cell
from calgrid.config import check
from calgrid.store import files, versions
from calgrid.verify.findings import Finding, grouped, verify
from support.workflow import ROOT, TINY, Workflow

CELL = Cell("tiny-llama", "cldr-alpaca", "0.1", "1e-3", "0").path
OTHER = Cell("tiny-llama", "cldr-alpaca", "0.0", "1e-3", "0").path
SCORES = f"results/scores/benchmark=cldr4/{CELL}/low.parquet"
METRICS = f"results/metrics/benchmark=cldr4/{CELL}/metrics.parquet"
TRAIN = f"results/models/{CELL}/train.json"
WEIGHTS = f"results/models/{CELL}/model/model.safetensors"
PACKED = "results/packed/model=tiny-llama/cldr-alpaca.parquet"
POSTHOC = f"results/posthoc/benchmark=cldr4/{CELL}/posthoc.parquet"
SELECTION = "results/selection.parquet"
TESTS = "results/significance/cldr4.parquet"


@pytest.fixture
def store(finished: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished store, in the working directory."""
    shutil.copytree(finished.folder / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(settings: dict | None = None, *, deep: bool = False) -> list[Finding]:
    paths = [ROOT / "config/config.yaml", *TINY]
    if settings:
        paths.append(Path("extra.yaml"))
        paths[-1].write_text(yaml.safe_dump(settings))
    return verify(check.read(paths), ["snakemake"], deep=deep)[1]


def of(kind: str, findings: list[Finding]) -> dict[str, str]:
    return {finding.path: finding.reason for finding in findings if finding.kind == kind}


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_store_has_no_findings(store, deep):
    count, findings = verify(check.read([ROOT / "config/config.yaml", *TINY]), ["snakemake"], deep=deep)
    assert findings == []
    assert count == 24


def test_what_the_next_run_makes_by_itself_is_one_line(store):
    for folder in ("tables", "figs", "scores", "metrics", "posthoc", "significance", "intervals"):
        shutil.rmtree(f"results/{folder}")
    (finding,) = found()
    stages = ("scores", "metrics", "posthoc", "significance", "intervals")
    assert finding.path == ", ".join(f"results/{stage}" for stage in stages)
    assert (finding.reason, finding.repair) == ("not made yet: 11 of 24", "snakemake -- all_tables")


# Damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def rewritten(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """The rows changed, and everything sealed again: as if a program had done so."""

    def write(path: Path) -> None:
        made_by = files.read_provenance(path)
        files.write_parquet(change(pl.read_parquet(path, hive_partitioning=False)), path, made_by)

    return write


def copy_of(source: str) -> Callable[[Path], None]:
    return lambda path: shutil.copy(source, path)


COUNTS = r"(\d+) artifacts checked .*: (\d+) damaged, (\d+) stale, (\d+) missing"
NOT_WHOLE = "not readable as Parquet|damaged"
DAMAGES = [
    (SCORES, cut, NOT_WHOLE),
    (SCORES, flip, "its bytes are not those that were written"),
    (SCORES, lambda path: path.write_bytes(b""), "it has 0 bytes"),
    (SCORES, copy_of(SCORES.replace(CELL, OTHER)), r"its provenance says cldr4, model=.*smoothing=0\.0"),
    (SCORES, rewritten(lambda rows: rows.head(7)), "it has 7 rows instead of 48"),
    (SCORES, rewritten(lambda rows: rows.drop("logprob_min")), "no column 'logprob_min'"),
    (METRICS, cut, NOT_WHOLE),
    (METRICS, flip, "its bytes are not those that were written"),
    (METRICS, rewritten(lambda rows: rows.filter(pl.col("language") != "yo")), "it has the languages sw, not those"),
    (METRICS, rewritten(lambda rows: rows.head(9)), "a group has not each confidence method"),
    (
        METRICS,
        rewritten(lambda rows: rows.with_columns(ece=pl.lit(float("nan")))),
        "pooled values are missing or not f",
    ),
    (TRAIN, cut, "not readable as JSON"),
    (TRAIN, replace('"validation_loss": ', '"validation_loss": 1'), "its values are not those that were written"),
    (TRAIN, copy_of(TRAIN.replace(CELL, OTHER)), "smoothing=0.0/lr=1e-3/seed=0/model'|the record of other weights"),
    (TRAIN, lambda path: path.write_text("[]"), "holds no record"),
    (WEIGHTS, cut, "it has .* bytes instead of"),
    (WEIGHTS.replace("model.safetensors", "config.json"), cut, "it has .* bytes instead of"),
    ("results/data/benchmarks/cldr4/yo.parquet", flip, "its bytes are not those"),
    ("results/data/benchmarks/cldr4/yo.json", cut, "not readable as JSON"),
    (
        "results/data/benchmarks/cldr4/yo.json",
        copy_of("results/data/benchmarks/cldr4/sw.json"),
        "its config is not the one in",
    ),
    ("results/data/sft/cldr-alpaca.parquet", cut, NOT_WHOLE),
    ("results/packed/model=tiny-llama/cldr-alpaca.parquet", flip, "its bytes are not those"),
    ("results/selection.parquet", flip, "its bytes are not those"),
    ("results/significance/cldr4.parquet", cut, NOT_WHOLE),
    ("results/intervals/cldr4.parquet", flip, "its bytes are not those"),
    ("results/audits/tiny-llama.json", replace('"questions"', '"qestions"'), "its values are not those"),
    ("results/tables/index.html", cut, "its end is missing"),
    ("results/tables/table1.csv", cut, "not readable as CSV"),
    ("results/tables/table1.tex", cut, "its end is missing"),
    ("results/figs/figure1.svg", cut, "its end is missing"),
    ("results/pretrained/tiny-llama/model.safetensors", cut, "not whole safetensors"),
]


def asked(path: str) -> str:
    """What Snakemake is asked for, where a damaged file lies beside it."""
    if path.startswith(WEIGHTS.rsplit("/", 1)[0]):
        return TRAIN
    if path.startswith("results/pretrained"):
        return str(Path(path).parent)
    return path.replace(".json", ".parquet") if path.startswith("results/data") else path


@pytest.mark.parametrize(("path", "damage", "reason"), DAMAGES, ids=[f"{i}-{d[0]}" for i, d in enumerate(DAMAGES)])
def test_damage_is_named(store, path, damage, reason):
    damage(Path(path))
    findings = [finding for finding in found() if finding.kind == "damaged"]
    named = {finding.path: finding for finding in findings}
    assert asked(path) in named
    assert re.search(reason, named[asked(path)].reason)
    others = {*named} - {asked(path)}
    assert others <= {f"results/models/{Cell('tiny-llama').path}/base.json"}  # of the pretrained weights
    assert named[asked(path)].repair.startswith("rm -r -- ")
    assert named[asked(path)].repair.endswith(f" && snakemake -- {asked(path)}")


@pytest.mark.parametrize(
    ("path", "damage", "reason"),
    [
        (WEIGHTS, flip, "its bytes are not those that were written"),
        (
            "results/pretrained/tiny-llama/model.safetensors",
            flip,
            "its files are not those that .*base.json was made from",
        ),
        (
            SCORES,
            rewritten(lambda rows: rows.with_columns(logprob_min=pl.col("logprob_min") * float("nan"))),
            "logprob_min is .*nan.*, expected finite values",
        ),
        (SCORES, rewritten(lambda rows: pl.concat([rows.head(1), rows.head(len(rows) - 1)])), "occurs more than once"),
        (
            SCORES,
            rewritten(lambda rows: rows.with_columns(question_id=pl.col("question_id") + "x")),
            "no row for .*, a question of results/tokens/",
        ),
    ],
)
def test_deep_damage_is_named_where_it_is_looked_for(store, path, damage, reason):
    damage(Path(path))
    assert "damaged" not in {finding.kind for finding in found()}
    assert any(re.search(reason, text) for text in of("damaged", found(deep=True)).values())


def test_garbage_everywhere_is_named_without_a_traceback(store, capsys, monkeypatch):
    every = [path for path in Path("results").rglob("*") if path.is_file() and path.suffix in (".parquet", ".json")]
    for number, path in enumerate(path for path in every if "results/demo" not in str(path)):
        path.write_bytes(
            [b"", b"\0" * 99, b"[]", b"{}", b'{"a": {"sha256": 1}}', b"PAR1" + b"\xff" * 20 + b"PAR1"][number % 6]
        )
    assert program.main(["--configfile", *map(str, TINY)]) == 1
    lines = capsys.readouterr().out.splitlines()
    checked, damaged, stale, missing = map(int, re.search(COUNTS, lines[-2]).groups())
    assert damaged >= 20
    assert damaged + stale == checked - missing  # without a selection, what is compared is not known either


# Staleness


@pytest.mark.parametrize(
    ("settings", "stale", "reason"),
    [
        ({"training": {"epochs": 2}}, TRAIN, "training.epochs: made with 1, now 2"),
        ({"training": {"max_length": 99}}, PACKED, "training.max_length"),
        ({"evaluation": {"other_bins": [7]}}, METRICS, "numbers of bins: made with 10, 15, 30, now 7, 10"),
        ({"evaluation": {"resamples": 500}}, TESTS, "resamples: made with 1000, now 500"),
        ({"evaluation": {"posthoc_share": 0.4}}, POSTHOC, "posthoc_share"),
        ({"selection": {"lr": "1e-3"}}, SELECTION, "made with validation_loss, now 1e-3"),
        ({"sft_datasets": {"cldr-alpaca": {"max_rows": 50}}}, "results/data/sft/cldr-alpaca.parquet", "max_rows"),
        ({"data": {"validation_share": 0.2}}, "results/data/sft/cldr-alpaca.parquet", "made with 0.1, now 0.2"),
        ({"benchmarks": {"cldr4": {"max_questions": 9}}}, "results/data/benchmarks/cldr4/yo.parquet", "12, now 9"),
        ({"models": {"tiny-llama": {"pretrain": {"steps": 9}}}}, "results/pretrained/tiny-llama", "pretrain.steps"),
        ({"tiers": {"low": ["yo"]}}, METRICS, "tiers.low: made with"),
        ({"grid": {"languages": ["yo"]}}, METRICS, "grid.languages: made with sw, yo, now yo"),
    ],
)  # fmt: skip
def test_what_the_configuration_made_stale_is_named(store, settings, stale, reason):
    findings = [finding for finding in found(settings) if finding.kind == "stale"]
    named = {finding.path: finding for finding in findings}
    assert reason in named[stale].reason
    assert named[stale].repair == f"snakemake --forcerun {stale} -- {stale}"


def test_what_is_stale_for_the_same_reason_is_one_command(store):
    (finding,) = grouped(found({"training": {"epochs": 2}}), ["snakemake"])
    both = [f"results/models/{cell}/train.json" for cell in (OTHER, CELL)]
    assert finding.repair == f"snakemake --forcerun {' '.join(both)} -- {' '.join(both)}"
    assert "epochs: made with 1, now 2; mending it trains a model again; and 1 more of " in finding.reason


def test_stages_are_mended_in_the_order_in_which_they_are_made(store):
    settings = {"data": {"validation_share": 0.2}, "evaluation": {"other_bins": [7]}, "training": {"max_length": 99}}
    stages = [Path(finding.path).parts[1] for finding in found(settings)]
    assert [*dict.fromkeys(stages)] == ["data", "packed", "models", "metrics"]


@pytest.mark.parametrize(
    ("version", "stale"),
    [("TRAIN_VERSION", TRAIN), ("SCORE_VERSION", SCORES), ("PREPARE_VERSION", "results/data/sft/")],
)
def test_code_that_was_raised_makes_stale(store, monkeypatch, version, stale):
    monkeypatch.setattr(versions, version, getattr(versions, version) + 1)
    reasons = of("stale", found())
    assert any(path.startswith(stale) and version in reason for path, reason in reasons.items())


def test_another_prompt_makes_the_scores_stale_and_the_tokens_missing(store):
    findings = found({"scoring": {"prompt": "{question}\n{answer_word}:"}})
    assert any(path.startswith("results/tokens") for path in of("missing", findings))  # each of this prompt
    assert "scoring.prompt: made with {question}\n{options}" in of("stale", findings)[SCORES]
    assert any(path.startswith("results/tokens") for path in of("orphaned", findings))


def test_what_was_made_of_something_that_changed_since_is_stale(store):
    record = files.read_json(TRAIN)
    files.write_json(TRAIN, {**record, "seconds": 1.0})
    stale = of("stale", found())
    assert f"made with another model than {TRAIN} says" in stale[SCORES]
    assert f"{TRAIN} has changed since" in stale["results/selection.parquet"]
    made_by = files.read_provenance(SCORES)
    files.write_parquet(pl.read_parquet(SCORES, hive_partitioning=False), SCORES, {**made_by, "device": "other"})
    assert f"{SCORES} has changed since" in of("stale", found())[METRICS]


# Missing and orphaned


def test_what_is_missing_is_named_with_the_command_that_makes_it(store):
    Path(METRICS).unlink()
    (finding,) = found()
    assert (finding.kind, finding.path, finding.repair) == ("missing", METRICS, f"snakemake -- {METRICS}")


def test_cells_that_the_grid_has_now_too_are_made_by_the_next_run(store):
    missing = of("missing", found({"grid": {"smoothing": ["0.0", "0.1", "0.3"]}}))
    (reason,) = missing.values()
    assert reason.startswith("not made yet: ")


@pytest.mark.parametrize("folder", ["packed", "audits", "tokens", "scores", "significance"])
def test_what_lies_between_others_is_asked_for_by_name(store, folder):
    every = sorted(map(str, Path("results", folder).rglob("*.json" if folder == "audits" else "*.parquet")))
    shutil.rmtree(f"results/{folder}")
    (finding,) = grouped(found(), ["snakemake"])
    assert (finding.kind, finding.path, finding.count) == ("missing", every[0], len(every))
    assert finding.reason.startswith("not there, while later stages are")
    words = shlex.split(finding.repair)
    assert (words[:2], sorted(words[2:])) == (["snakemake", "--"], every)


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (TRAIN, "train.json, of the same job, is not there"),
        (WEIGHTS, "model.safetensors: no such file"),
        (str(Path(WEIGHTS).parent), "model, of the same job, is not there"),
    ],
)
def test_a_part_of_a_model_that_is_not_there_is_missing(store, lost, reason):
    shutil.rmtree(lost) if Path(lost).is_dir() else Path(lost).unlink()
    (finding,) = found()
    assert (finding.kind, finding.path, finding.is_fault) == ("missing", TRAIN, True)
    assert reason in finding.reason
    assert finding.reason.endswith("; mending it trains a model again")
    assert finding.repair.startswith("rm -r -- ")
    assert finding.repair.endswith(f" && snakemake -- {TRAIN}")


def test_a_store_of_another_configuration_is_left_alone(store):
    findings = verify(check.read([ROOT / "config/config.yaml"]), ["snakemake"])[1]
    assert not any("rm -r" in finding.repair for finding in findings)
    assert findings[0].path == "results"
    assert "of another configuration (3 trained models with it)" in findings[0].reason
    assert "was CONFIG= (--configfile) forgotten?" in findings[0].reason
    (other,) = of("orphaned", found({"grid": {"lr": ["2e-3"]}})).items()  # the same data
    assert other[0] == "results"


def test_cells_that_the_grid_has_no_more_are_orphans(store):
    findings = found({"grid": {"smoothing": [0.0]}, "evaluation": {"smoothing": [0.0]}})
    orphans = of("orphaned", findings)
    folders = {str(Path(path).parent.parent.parent) for path in (METRICS, SCORES, TRAIN)}
    assert folders <= {*orphans}
    assert any(reason.endswith("(a trained model with it)") for reason in orphans.values())
    assert not any(OTHER.split("/lr")[0] in path for path in orphans)


def test_what_killed_processes_left_is_an_orphan_and_what_is_being_written_is_not(store):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = platform.node()
    left = Path(f"results/scores/.tmp-{host}-{dead.pid}-low.parquet.part")
    left.touch()
    Path(f"results/scores/.tmp-{host}-{os.getpid()}-low.parquet.part").touch()
    leases = {pid: Path(f"results/scores/.running-{pid}.parquet.lease") for pid in (dead.pid, os.getpid())}
    for pid, path in leases.items():
        path.write_text(json.dumps({"host": host, "pid": pid}))
    reason = "left behind by a process that is no more"
    assert of("orphaned", found()) == {str(left): reason, str(leases[dead.pid]): reason}


def test_damaged_checkpoints_are_named(store):
    folder = Path(f"results/checkpoints/models/{CELL}/tag/step-000000009")
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{")
    partial = Path(f"results/checkpoints/scores/benchmark=cldr4/{CELL}/low/yo.parquet")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"PAR1")
    findings = found()
    assert {*of("damaged", findings)} == {str(folder), str(partial)}
    assert {finding.repair for finding in findings} >= {f"rm -r -- {folder}", f"rm -- {partial}"}


# The program, and its commands


def test_the_program_prints_a_line_and_a_command_each_and_ends_by_what_it_found(store, capsys):
    flags = ["--configfile", *map(str, TINY)]
    assert program.main(flags) == 0
    assert (
        "24 artifacts checked (--deep: each row and the weights too): 0 damaged, 0 stale, 0 missing"
        in capsys.readouterr().out
    )
    Path(METRICS).unlink()
    assert program.main(flags) == 0
    capsys.readouterr()
    flip(Path(SCORES))
    assert program.main(flags) == 1
    note, first, repair, *_, last = capsys.readouterr().out.splitlines()
    assert note.startswith("On a cluster put --profile profiles/slurm")
    assert last.endswith("-n --quiet rules reason -- all")
    assert first.startswith(f"damaged: {SCORES}: damaged (its bytes are not those that were written)")
    assert repair.strip().startswith(f"rm -r -- {SCORES} && snakemake --configfile ")


def test_the_command_repairs(finished, copied, tmp_path, capsys):
    flip(tmp_path / METRICS)
    flags = ["--directory", str(tmp_path), "--configfile", *map(str, TINY)]
    code = "import sys, verify_results; sys.exit(verify_results.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *flags]
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "PATH": ""}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert shown.returncode == 1, shown.stderr
    repair = shown.stdout.splitlines()[2].strip()
    remove, make = repair.split(" && ")
    subprocess.run(shlex.split(remove), check=True, cwd=tmp_path)
    words = shlex.split(make)
    assert words[0] == "snakemake"
    copied.run(words[words.index("--") + 1])
    ours, expected = (pl.read_parquet(root / METRICS, hive_partitioning=False) for root in (tmp_path, finished.folder))
    assert ours.equals(expected)
