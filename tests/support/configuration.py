"""The paper's configuration, and changes of it."""

import copy

import yaml

from support.workflow import ROOT


def paper() -> dict:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def changed(path: str, value) -> dict:
    raw = copy.deepcopy(paper())
    *parents, last = path.split("/")
    section = raw
    for part in parents:
        section = section[part]
    section[last] = value
    return raw
