"""Random and hostile configurations, data rows and damaged artifacts: what the library makes of each.

A case is a kind and a number, from which it is made again. Each mutation knows whether what it makes must be refused,
may be accepted, or must be; what is accepted is looked at. A UserError refuses a configuration or an artifact, and a
row is counted as rejected. Anything else that is raised would have been a traceback.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from support.fuzz.artifacts import Artifacts
from support.fuzz.cases import Case, Tally
from support.fuzz.configurations import configuration, yaml_text
from support.fuzz.rows import data_set, row


def cases(folder: Path) -> dict[str, tuple[Callable[[random.Random], Case], float]]:
    """How the cases of each kind are made, and their share of all."""
    artifacts = Artifacts(folder / "artifacts")
    return {
        "configurations": (configuration, 0.3),
        "YAML": (lambda rng: yaml_text(rng, folder), 0.1),
        "rows": (row, 0.25),
        "data sets": (data_set, 0.05),
        "artifacts": (artifacts.case, 0.3),
    }


def fuzz(total: int, folder: Path, seed: int = 0) -> Tally:
    """Run `total` cases; `folder` is for files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tally = Tally()
    for kind, (make, share) in cases(folder).items():
        for number in range(round(share * total)):
            tally.add(make(random.Random(f"{kind} {seed} {number}")).run(), number)
    return tally
