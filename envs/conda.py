"""Print envs/calgrid.yaml: what the rules need, in the versions of requirements.lock.

    python envs/conda.py > envs/calgrid.yaml    # as `make lock` does

What a package needs stands in the comments of the lock file (`# via ...`).
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """\
# The rules' environment for `snakemake --sdm conda`: docs/environments.md. Made by `python envs/conda.py` from
# requirements.lock. torch is the build that PyPI serves, on Linux with CUDA, which computes on CPUs too.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def environment(lock: str, dependencies: list[str]) -> str:
    """The environment, as YAML.

    Args:
        lock: text of requirements.lock.
        dependencies: of the project; Snakemake and its plugins run outside.
    """
    lines = re.findall(r"^([\w.-]+)==(\S+)\s+# via (.*)$", lock, re.MULTILINE)
    needed = {re.split(r"[^\w.-]", name, maxsplit=1)[0] for name in dependencies if not name.startswith("snakemake")}
    while more := {name for name, _, by in lines if needed & set(by.split(", "))} - needed:
        needed |= more
    return HEAD + "".join(f"      - {name}=={version}\n" for name, version, _ in lines if name in needed)


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    print(environment((ROOT / "requirements.lock").read_text(encoding="utf-8"), project["dependencies"]), end="")
