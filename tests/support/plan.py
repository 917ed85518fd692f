"""Plans of grids in the working directory, and a small configuration whose costs are reckoned by hand."""

from pathlib import Path

import yaml

from calgrid.config.check import load
from calgrid.plan import estimate
from calgrid.plan import jobs as plan_jobs
from calgrid.plan.jobs import Job
from support.workflow import ROOT

CELL = {"model": "m", "sft": "tulu3", "smoothing": "0.0", "lr": "1e-5", "seed": "0"}


def jobs(*configfiles: Path, targets: tuple[str, ...] = ("all_tables",), settings: dict | None = None) -> list[Job]:
    """Jobs of the working directory's grid."""
    files = list(configfiles)
    if settings is not None:
        files.append(Path("settings.yaml"))
        files[-1].write_text(yaml.safe_dump(settings), encoding="utf-8")
    flags = ["--configfile", *map(str, files)] if files else []
    return plan_jobs.jobs(["--snakefile", str(ROOT / "Snakefile"), *flags], targets)[1]


def made(*configfiles: Path, settings: dict | None = None, targets: tuple[str, ...] = ("all_tables",)) -> estimate.Plan:
    """The plan of the working directory's grid."""
    found = jobs(*configfiles, settings=settings, targets=targets)
    raw: dict = {}
    for file in (ROOT / "config/config.yaml", *configfiles):
        _merge(raw, yaml.safe_load(file.read_text(encoding="utf-8")))
    _merge(raw, settings or {})
    return estimate.make(targets, load(raw), found)


def _merge(into: dict, other: dict) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def small(**changes) -> dict:
    """A configuration of one model and one small SFT set and benchmark."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    raw["models"] = {"m": {"hub": "no/such-model", "revision": 40 * "0", "parameters": 1e9, "gpus": 2}}
    raw["sft_datasets"]["tulu3"] |= {"conversations": 1000, "conversation_tokens": 100}
    raw["benchmarks"]["global_mmlu"] |= {"questions": 50, "question_tokens": 200}
    raw["grid"] |= {"models": ["m"], "sft_datasets": ["tulu3"]}
    raw["training"] |= {"epochs": 3}
    raw["data"]["validation_share"] = 0.1
    raw["plan"] |= {"gpu_tflops": 100, "training_share": 0.5, "scoring_share": 0.2, "start_seconds": 10}
    _merge(raw, changes)
    return raw


def job(rule: str, **wildcards: str) -> Job:
    return Job(rule, wildcards, 1, True, False, (), (), None, False)
