"""A training over several processes: weights, gradients and optimiser state sharded (FSDP2), the work shared out.

One process per GPU, started by `accelerate launch` (`training.launch`), which says in the environment who is who. On a
GPU even a single process goes this way, since FSDP2 is what keeps float32 master weights and computes in bfloat16.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import PreTrainedModel

from calgrid.errors import UserError
from calgrid.models.loading import device


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes of this training for the time of the block."""
    on_gpu = device().type == "cuda"
    launched = "WORLD_SIZE" in os.environ
    if not launched and not on_gpu:
        yield
        return
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    alone: dict[str, Any] = {} if launched else {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    dist.init_process_group(backend, **alone)
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def n_processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def local_processes() -> int:
    """Processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def total(values: Sequence[float]) -> list[float]:
    """The sum of each value over all processes."""
    if n_processes() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.tolist()


def on_first(check: Callable[[], None]) -> None:
    """Let the first process check something for all; where it raises UserError, all processes raise one."""
    failure = None
    if rank() == 0:
        try:
            check()
        except UserError as error:
            failure = error
    if total([failure is not None])[0]:
        raise failure or UserError("the first process found a mistake, which it names")


def wait() -> None:
    """Until all processes are here."""
    if n_processes() > 1:
        total([0.0])


def prepare(model: PreTrainedModel, root: torch.nn.Module, compute_dtype: torch.dtype | None = None) -> None:
    """Bring a model's weights to the devices that train it, in float32; sharded where there is a process group.

    Each layer is a unit that is gathered for its own computation; what is left (embeddings, final norm, LM head)
    belongs to `root`, the module that is called. The model may come in another dtype, so that a layer at a time is in
    float32 on the CPU.

    Args:
        model: on the CPU; changed in place.
        root: a module that holds the model.
        compute_dtype: of the forward and backward passes; by default bfloat16 on GPUs, float32 elsewhere. Gradients
            are summed over processes in float32.
    """
    if not dist.is_initialized():
        root.float().to(device())
        return
    if compute_dtype is None and device().type == "cuda":
        compute_dtype = torch.bfloat16
    mesh = dist.init_device_mesh(device().type, (n_processes(),))
    policy = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32 if compute_dtype else None)
    for layer in model.model.layers:
        fully_shard(layer.float(), mesh=mesh, mp_policy=policy)
    fully_shard(root.float(), mesh=mesh, mp_policy=policy)
    root.to(device())  # buffers


def whole_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The weights in full, on the CPU of the first process; empty elsewhere."""
    if not dist.is_initialized():
        return model.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast(dict[str, torch.Tensor], get_model_state_dict(model, options=options))
