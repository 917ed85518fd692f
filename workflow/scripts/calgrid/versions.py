"""What makes a stage run again when code changes.

Expensive stages, and those whose outputs expensive ones read, have a declared version: a change of code does not by
itself run a hundred trainings again. Raise a version when the stage's results would change, with a line of why.
Cheap stages take a hash of their code. Both are parameters of the rules, which Snakemake compares.
"""

import ast
from functools import cache
from pathlib import Path

from calgrid.files import content_hash

DEMO_VERSION = 2  # 2: a split of examples, dev; 1: first version
PREPARE_VERSION = 1  # 1: first version
CONTENT_FREE_VERSION = 1  # 1: first version
PRETRAIN_VERSION = 1  # 1: first version
PACK_VERSION = 1  # 1: first version
TRAIN_VERSION = 2  # 2: packed rows, dropout drawn by seed and step, weights written in bfloat16; 1: first version
TOKENIZE_VERSION = 1  # 1: first version
SCORE_VERSION = 2  # 2: byte counts, greedy flags, letter mass, boundary merges; 1: first version


def program_hash(program: Path) -> str:
    """A hash of a program and of every calgrid module that it imports, directly or not."""
    files = {program}
    pending = [program]
    while pending:
        found = _imported(pending.pop()) - files
        files |= found
        pending += found
    return content_hash(*sorted(files))  # as paths: a program and a module may share a name


@cache  # each start of Snakemake asks for twenty programs, which share most of their modules
def _imported(file: Path) -> frozenset[Path]:
    """The calgrid modules that a file imports itself, anywhere in it."""
    library = Path(__file__).parent
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "calgrid":
            inside = node.module.split(".")[1:] if node.module else []
            found |= {library / f"{name}.py" for name in inside or [alias.name for alias in node.names]}
    return frozenset(found)
