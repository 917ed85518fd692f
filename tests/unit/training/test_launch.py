"""The launch command."""

import sys

import pytest

import launch_training as launch_program
from calgrid.errors import UserError
from calgrid.training import launch


def test_one_gpu_is_started_plainly():
    assert launch.command(["train.py", "--lr", "1e-3"], 1, 1, 8, {}) == [sys.executable, "train.py", "--lr", "1e-3"]


def test_several_gpus_are_started_by_accelerate():
    command = launch.command(["train.py"], 4, 1, 8, {})
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert command[command.index("--num_processes") + 1] == "4"
    assert command[-1] == "train.py"


def test_several_machines_are_started_by_slurm(monkeypatch):
    monkeypatch.setattr(launch, "first_host", lambda job: f"gpu-of-{job}")
    command = launch.command(["train.py"], 16, 2, 8, {"SLURM_JOB_ID": "123456"})
    assert command[:8] == ["srun", "--overlap", "--nodes", "2", "--ntasks", "2", "--ntasks-per-node", "1"]
    assert command[command.index("--num_machines") + 1] == "2"
    assert command[command.index("--main_process_ip") + 1] == "gpu-of-123456"
    assert command[command.index("--cpus-per-task") + 1] == "8"


@pytest.mark.parametrize(("gpus", "nodes"), [(0, 1), (-1, 1), (1, 2), (3, 2), (2, 0)])
def test_numbers_of_gpus_and_machines_must_go_together(gpus, nodes):
    with pytest.raises(UserError, match=f"--gpus {gpus} --nodes {nodes}: give at least one of each, and as many GPUs"):
        launch.command(["train.py"], gpus, nodes, 8, {"SLURM_JOB_ID": "1"})


def test_several_machines_need_slurm(capsys):
    with pytest.raises(UserError, match=r"--nodes 2: several machines need a job of Slurm; set models.<name>.nodes: 1"):
        launch_program.main(["--gpus", "2", "--nodes", "2", "--result", "train.json", "--", "train.py"])
