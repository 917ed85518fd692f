"""envs/: the conda environment and the Apptainer image have the versions of requirements.lock, the ones tested."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from support.workflow import ROOT, TINY, Workflow

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
VERSIONS = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEFINITION = (ROOT / "envs/calgrid.def").read_text(encoding="utf-8")
APPTAINER = """#!/bin/sh
# In place of apptainer: notes the call, and runs its command here.
test "$1" = --version && { echo apptainer version 1.3.4; exit; }
echo "$@" >> "$CALLS"
while [ $# -gt 3 ]; do shift; done
exec "$@"
"""


def test_the_conda_environment_is_what_its_program_prints():
    done = subprocess.run([sys.executable, ROOT / "envs/conda.py"], capture_output=True, text=True, check=True)
    text = (ROOT / "envs/calgrid.yaml").read_text(encoding="utf-8")
    assert done.stdout == text, "requirements.lock has changed: python envs/conda.py > envs/calgrid.yaml"


def test_the_conda_environment_has_all_that_rules_need_as_locked():
    environment = yaml.safe_load((ROOT / "envs/calgrid.yaml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]
    assert PROJECT["requires-python"] == ">=3.11"
    pinned = dict(line.split("==") for line in pip["pip"])
    assert pinned.items() <= VERSIONS.items()
    direct = {re.match(r"[\w.-]+", line)[0] for line in PROJECT["dependencies"]}
    assert {name for name in direct if not name.startswith("snakemake")} <= set(pinned)
    assert {"huggingface-hub", "numpy", "pyyaml"} <= set(pinned)  # which the direct ones need
    assert not {"snakemake", "pytest", "ruff"} & set(pinned)


def section(name: str) -> str:
    return re.search(rf"^%{name}\n((?: .*\n|\n)+)", DEFINITION, re.MULTILINE)[1]


def test_the_image_is_defined_as_apptainer_reads_it():
    assert set(re.findall(r"^%(\w+)", DEFINITION, re.MULTILINE)) <= {
        *("arguments", "files", "post", "environment", "test", "runscript", "labels"),
    }
    assert re.search(r"^Bootstrap: docker\nFrom: python:3\.11-slim-bookworm\n", DEFINITION, re.MULTILINE)
    arguments = dict(line.strip().split("=") for line in section("arguments").splitlines() if line.strip())
    assert set(re.findall(r"{{ (\w+) }}", DEFINITION)) == set(arguments)
    source, target = section("files").split()
    assert (ROOT / source).is_file()
    assert f"--requirement {target}\n" in section("post")


@pytest.mark.parametrize(("torch", "index"), [("cuda", ""), ("cpu", "https://download.pytorch.org/whl/cpu")])
def test_the_image_takes_the_lock_file_and_torchs_build(tmp_path, torch, index):
    done = build(tmp_path, torch)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"pip install --no-cache-dir --disable-pip-version-check --requirement /opt/calgrid/requirements.lock [{index}]"
    )


def test_an_unknown_build_of_torch_is_named(tmp_path):
    done = build(tmp_path, "gpu")
    assert done.returncode == 1
    assert "--build-arg torch=gpu: write cuda or cpu" in done.stderr


def build(folder, torch):
    """Run the %post of the image with commands in place of its own, which say what they were called with."""
    for name in ("apt-get", "pip", "rm"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" "[$PIP_EXTRA_INDEX_URL]"\n')
        (folder / name).chmod(0o755)
    script = section("post").replace("{{ torch }}", torch)
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, env={"PATH": str(folder)})


def test_jobs_run_in_the_container_where_one_is_given(tmp_path, monkeypatch):
    """With a command in place of Apptainer: what it is asked to run, and what a change of environment runs again."""
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "apptainer").write_text(APPTAINER)
    (commands / "apptainer").chmod(0o755)
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    monkeypatch.setenv("CALLS", str(calls))
    workflow = Workflow(tmp_path, *TINY)
    (tmp_path / "calgrid.sif").touch()
    settings = {"container": "calgrid.sif"}
    workflow.run("results/demo", "--sdm", "apptainer", "--apptainer-args=--nv", settings=settings)
    (call,) = calls.read_text().splitlines()
    assert re.match(rf"exec --home {re.escape(str(tmp_path))} --nv .*calgrid.sif \w+ -c ", call)
    assert "python $SCRIPTS/make_demo_data.py" in call
    assert workflow.plan("results/demo", "--sdm", "apptainer", settings=settings) == {}
    assert workflow.plan("results/demo") == {"demo_data": ["results/demo"]}
    triggers = ("--rerun-triggers", "mtime", "params", "input", "code")
    assert workflow.plan("results/demo", *triggers) == {}


@pytest.mark.parametrize("image", ["calgrid.sif", "a b.sif", "$(reboot)", "--nv"])
def test_a_container_that_is_none_is_named(tmp_path, image):
    done = Workflow(tmp_path, *TINY).run("--dry-run", settings={"container": image}, check=False)
    assert done.returncode
    assert f"container: {image!r}: " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
