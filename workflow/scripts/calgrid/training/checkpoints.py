"""Checkpoints of a training under way: sharded, whole or not there, the last good one kept until the next is complete.

They lie in <folder>/<tag>/step-<steps done>/, where no rule declares them and Snakemake so deletes none. The tag is a
hash of everything that shapes the training: a checkpoint of another configuration is neither read nor overwritten.
"""

import shutil
import warnings
from collections import ChainMap
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as distributed_checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from calgrid.errors import UserError
from calgrid.models.shape import human
from calgrid.store import files, seals
from calgrid.training.sharding import n_processes, rank, total, wait

STATE = "state.json"  # written last
SUMS = "sums-"  # a file a process: size and hash of each file that it looked at

warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process is as good


class Checkpoints:
    """The checkpoints of one training, all of whose processes call each method together."""

    def __init__(self, folder: str | Path, tag: str) -> None:
        self.folder = Path(folder)
        self.steps = self.folder / tag

    def check_room(self, needed: int) -> None:
        """Refuse to start, unless there is a checkpoint to go on from, where the disk has less than these bytes free.

        Raises:
            UserError: names both.
        """
        folder = next(path for path in [self.folder, *self.folder.absolute().parents] if path.exists())
        free = shutil.disk_usage(folder).free
        if self.last() is None and free < needed:
            raise UserError(
                f"{folder}: this disk has {human(free)} free, and the training writes up to {human(needed)} (two "
                "checkpoints for a moment, and the model); free space, or put results/ on another disk"
            )

    def last(self) -> Path | None:
        """The last complete checkpoint, which is the same for all processes."""
        found = sorted(self.steps.glob(f"step-*/{STATE}")) if rank() == 0 else []
        steps_done = [int(path.parent.name.removeprefix("step-")) for path in found]
        step = int(total([steps_done[-1] if steps_done else 0])[0])
        return self._path(step) if step else None

    def save(
        self, step: int, root: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]
    ) -> None:
        """Write weights, optimiser state and `progress` after `step` steps; then remove older checkpoints.

        Raises:
            UserError: it can't be written, the disk being full, say; the one before is kept.
        """
        target = self._path(step)
        unfinished = target.with_name(f".tmp-{target.name}")
        if rank() == 0:
            shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
        wait()
        failure = None
        try:
            distributed_checkpoint.save(_state(root, optimizer), checkpoint_id=unfinished)
            ours = [path for number, path in enumerate(_parts(unfinished)) if number % n_processes() == rank()]
            files.write_json(unfinished / f"{SUMS}{rank()}.json", seals.sums_of(ours))
        except (OSError, RuntimeError, distributed_checkpoint.CheckpointException) as error:
            failure = _cause(error)
        parts_are_there = not total([failure is not None])[0]
        if parts_are_there and rank() == 0:
            try:
                sums = [files.read_json(path) for path in unfinished.glob(f"{SUMS}*")]
                files.write_json(unfinished / STATE, {"progress": progress, "files": dict(ChainMap(*sums))})
                shutil.rmtree(target, ignore_errors=True)
                unfinished.rename(target)
            except OSError as error:
                failure = _cause(error)
        if not parts_are_there or total([failure is not None])[0]:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise UserError(
                f"{target}: the checkpoint can't be written ({failure or 'by another process'}); free space on this "
                "disk and run again: the checkpoint before it is kept, and training goes on from there"
            )
        if rank() == 0:
            for older in self.steps.glob("step-*"):
                if older != target:
                    shutil.rmtree(older)

    def load(self, path: Path, root: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Read weights and optimiser state into their places; returns `progress` as it was saved.

        Raises:
            UserError: the checkpoint is damaged.
        """
        state, failure = _state(root, optimizer), None
        try:
            record = _record(path)
        except UserError as error:
            failure = error
        if total([failure is not None])[0]:
            raise failure or UserError(f"{path}: another process found this checkpoint damaged, and names how")
        try:
            distributed_checkpoint.load(state, checkpoint_id=path)
        except (OSError, ValueError, KeyError, RuntimeError, distributed_checkpoint.CheckpointException) as error:
            raise _unreadable(path, _cause(error)) from None
        set_state_dict(root, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        return record["progress"]

    def remove(self) -> None:
        """Remove all checkpoints of this cell; its training is complete."""
        if rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self.steps / f"step-{step:09d}"


def _record(path: Path) -> dict[str, Any]:
    """The record of a checkpoint, whose files are those that were written; each process looks at its share.

    Checked before they are read: there is an index among them that torch unpickles. Raises UserError.
    """
    try:
        record = files.read_record(path / STATE, "progress", "files")
        written = sorted(record["files"].items())
        seals.check_sums(path, dict(written), bytes_too=False)
        seals.check_sums(path, dict(written[rank() :: n_processes()]))
    except (OSError, TypeError, AttributeError, UserError) as error:
        raise _unreadable(path, str(error)) from None
    return record


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: this checkpoint can't be read ({reason}); delete it, and training starts anew")


def _parts(folder: Path) -> list[Path]:
    """The files that torch wrote."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((SUMS, ".tmp-")))


def _state(root: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    weights, moments = get_state_dict(root, optimizer)
    return {"model": weights, "optimizer": moments}


def _cause(error: BaseException) -> str:
    """The first line of what happened, on whichever process."""
    if isinstance(error, distributed_checkpoint.CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return str(error).splitlines()[0]
