"""What a model costs on a device: parameters, memory, disk, and the rate that the device reaches."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from calgrid.errors import UserError
from calgrid.models.loading import HEAD_VALUES, device
from calgrid.models.shape import GIB, widths

GPU_SIZES = (24, 40, 48, 80, 96, 141, 192)  # GiB of memory of GPUs that are on the market
STATE_BYTES = 16  # a parameter: float32 weight, gradient, and AdamW's two moments
OVERHEAD = GIB  # of CUDA itself
FRAGMENTED = 1.05
REPEATS = 3  # of the product that is timed


def count_parameters(config: Any) -> int:
    """Parameters of a model with this configuration, tied ones once; no memory is taken."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(weights.numel() for weights in model.parameters())


@dataclass(frozen=True)
class TrainingMemory:
    """What a training takes: an estimate from the model's shape, to be held against a device's memory."""

    config: Any
    train_tokens: int  # of a forward and backward pass
    longest: int  # tokens of the longest conversation
    activation_checkpointing: bool
    compute_bytes: int = 2  # of a number in the forward pass: bfloat16

    @cached_property
    def parameters(self) -> int:
        return count_parameters(self.config)

    def bytes(self, n_processes: int) -> float:
        """Bytes on each of these processes' devices."""
        config, (queries, keys) = self.config, widths(self.config)
        parameters, layers = self.parameters, config.num_hidden_layers
        embedding = config.vocab_size * config.hidden_size
        outside = embedding * (1 if config.tie_word_embeddings else 2)
        layer = (parameters - outside) / layers
        state = STATE_BYTES * parameters / n_processes
        # Weights and gradients as they are computed with: all outside the layers, and two layers at a time.
        whole = 2 * self.compute_bytes * (outside + 2 * layer) if n_processes > 1 or self.compute_bytes < 4 else 0
        # A token in a layer: its input and norms, queries, keys, values and output, and three of the MLP.
        inside = self.train_tokens * (6 * config.hidden_size + 4 * queries + 4 * keys + 4 * config.intermediate_size)
        if getattr(config, "attn_logit_softcapping", None):  # plain products: scores, capped, softmax, dropout
            fitting = max(1, self.train_tokens // self.longest)
            inside += 4 * fitting * config.num_attention_heads * self.longest**2
        kept = self.train_tokens * config.hidden_size
        activations = inside + layers * kept if self.activation_checkpointing else layers * inside
        chunk = min(HEAD_VALUES["cuda"], config.vocab_size * self.train_tokens)
        loss = 4 * 2 * (embedding + chunk)  # the head's gradient, a chunk's part of it, and two arrays of logits
        return FRAGMENTED * (state + whole + self.compute_bytes * activations + loss) + OVERHEAD

    def gpus_needed(self, gpu_bytes: float) -> int | None:
        """The least number of GPUs of this size, a power of two; None where no number is enough."""
        for n in (2**power for power in range(11)):
            if self.bytes(n) <= gpu_bytes:
                return n
        return None

    def check(self, name: str, n_processes: int, available: float) -> None:
        """Refuse to start what can't fit.

        Args:
            name: the model's, for the message.
            n_processes: over which weights and optimiser state are sharded.
            available: bytes of memory of one process's device.

        Raises:
            UserError: names what is needed and the GPUs that would do.
        """
        needed = self.bytes(n_processes)
        if needed <= available:
            return
        fitting = [f"{n} of {size} GiB" for size in GPU_SIZES if (n := self.gpus_needed(0.98 * size * GIB)) and n <= 64]
        raise UserError(
            f"model {name!r}: training takes about {needed / GIB:.0f} GiB on each of {n_processes} device(s), which "
            f"have {available / GIB:.0f} GiB ({STATE_BYTES} bytes a parameter for weights, gradients and optimiser "
            f"state, and rows of {self.train_tokens} tokens); GPUs that do: {', '.join(fitting) or 'none'}. Set "
            "models.<name>.gpus, lower device.train_tokens, or set device.activation_checkpointing: true"
        )


def available_memory(local_processes: int) -> float:
    """Bytes of the device that this process trains on: its GPU's, or its share of the machine's."""
    if device().type == "cuda":
        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / local_processes


def product_rate() -> float:
    """FLOPs a second of a square matrix product on this device, in the dtype that training computes with.

    What a model's own products can reach at best: bfloat16 on a GPU, float32 on a CPU.
    """
    n, dtype = (8192, torch.bfloat16) if device().type == "cuda" else (1024, torch.float32)
    left, right = (torch.randn(n, n, device=device(), dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: left @ right)


def seconds(work: Callable[[], Any]) -> float:
    """Median of a few runs after one that does not count."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        if device().type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
