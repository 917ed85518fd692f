"""One side of the comparison of the loss's memory, in a process of its own (see `training.py`).

python benchmarks/loss_memory.py fused VOCABULARY TOKENS WIDTH result.npz
"""

import sys
from pathlib import Path

import numpy as np
import torch

from calgrid.training.loss import smoothed_cross_entropy
from lines import memory

SMOOTHING = 0.1


def main(side: str, vocabulary: int, n_tokens: int, width: int, output: Path) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(n_tokens, width, requires_grad=True)
    head = (torch.randn(vocabulary, width) / width**0.5).requires_grad_()
    labels = torch.randint(0, vocabulary, (n_tokens,))
    smoothed_cross_entropy(hidden[:1], head[:100], labels[:1] % 100, SMOOTHING)[0].backward()  # what loads at first use
    hidden.grad = head.grad = None
    before = memory()["now"]
    if side == "fused":
        loss = smoothed_cross_entropy(hidden, head, labels, SMOOTHING)[0] / n_tokens
    else:
        loss = torch.nn.functional.cross_entropy(hidden @ head.T, labels, label_smoothing=SMOOTHING)
    loss.backward()
    assert hidden.grad is not None
    assert head.grad is not None
    np.savez(
        output,
        bytes=memory()["peak"] - before,
        loss=loss.item(),
        hidden=hidden.grad.numpy(),
        head=head.grad[:: max(1, vocabulary // 1000)].numpy(),
    )


if __name__ == "__main__":
    vocabulary, n_tokens, width = map(int, sys.argv[2:5])
    main(sys.argv[1], vocabulary, n_tokens, width, Path(sys.argv[5]))
