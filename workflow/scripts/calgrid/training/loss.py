"""Label-smoothed cross-entropy fused with the LM head: the logits exist for a few tokens at a time.

For N supervised tokens and a vocabulary of K, the logits would be the largest thing of the whole training (N x K:
4 GB for 4,096 tokens of Gemma2). Here a chunk of them gives its part of the loss and of both gradients, and is
forgotten: three matrix products a chunk, in forward and backward together, whatever the smoothing.
"""

import math
from typing import Any

import torch

from calgrid.models.loading import HEAD_VALUES, logits_of, product


def smoothed_cross_entropy(
    hidden: torch.Tensor,
    head: torch.Tensor,
    labels: torch.Tensor,
    smoothing: float,
    cap: float | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Label-smoothed cross-entropy of the LM head's logits, summed over tokens.

    The target is (1 - smoothing) one-hot + smoothing / K over the whole vocabulary of K tokens (paper, section 3).
    Inside a chunk everything is float32 (float64 for float64 input), and so are the sums over chunks.

    Args:
        hidden: hidden states (N, D) that predict the labels.
        head: the LM head's weight (K, D), of the same dtype.
        labels: token ids (N,).
        smoothing: in [0, 1); one path for every value.
        cap: the model's soft-cap on logits, z -> cap tanh(z / cap).
        chunk: tokens whose logits exist at once; by default as many as fit `loading.HEAD_VALUES`.

    Returns:
        The smoothed loss, and the plain negative log-likelihood (without gradient); scalars, nats, summed over N.
    """
    return _Fused.apply(hidden, head, labels, smoothing, cap, chunk)


def smoothed_loss_floor(smoothing: float, vocabulary: int) -> float:
    """The least smoothed loss there is, nats a token: the entropy of the smoothed target over K tokens."""
    other = smoothing / vocabulary
    label = 1 - smoothing + other
    return -label * math.log(label) - (vocabulary - 1) * other * math.log(other) if smoothing else 0.0


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        labels: torch.Tensor,
        smoothing: float,
        cap: float | None,
        chunk: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_tokens, size = len(head), chunk or max(1, HEAD_VALUES[hidden.device.type] // len(head))
        accurate = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        loss, nll = (torch.zeros((), dtype=torch.float64, device=hidden.device) for _ in range(2))
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        hidden_gradient = torch.empty_like(hidden) if wants_hidden else None
        head_gradient = torch.zeros_like(head, dtype=accurate) if wants_head else None
        for start in range(0, len(hidden), size):
            part, wanted = hidden[start : start + size], labels[start : start + size]
            at = torch.arange(len(part), device=part.device)
            values = logits_of(part, head, cap)  # (C, K)
            slope = 1 - (values / cap) ** 2 if cap else None  # of the soft-cap
            chosen, mean = values[at, wanted], values.mean(-1)
            top = values.amax(-1, keepdim=True)
            weights = values.sub_(top).exp_()
            total = weights.sum(-1, keepdim=True)
            log_normaliser = (top + total.log()).squeeze(-1)
            of_label, of_all = ((log_normaliser - x).double().sum() for x in (chosen, mean))
            nll += of_label
            loss += (1 - smoothing) * of_label + smoothing * of_all
            if hidden_gradient is None and head_gradient is None:
                continue
            gradient = weights.div_(total).sub_(smoothing / n_tokens)  # of the logits: softmax - target
            gradient[at, wanted] -= 1 - smoothing
            if slope is not None:
                gradient *= slope
            gradient = gradient.to(hidden.dtype)
            if hidden_gradient is not None:
                hidden_gradient[start : start + len(part)] = product(gradient, head)
            if head_gradient is not None:
                head_gradient += product(gradient.T, part)
        ctx.gradients = hidden_gradient, head_gradient
        ctx.head_dtype = head.dtype
        nll = nll.to(accurate)
        ctx.mark_non_differentiable(nll)
        return loss.to(accurate), nll

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        hidden, head = ctx.gradients
        return (
            None if hidden is None else (hidden * scale).to(hidden.dtype),
            None if head is None else (head * scale).to(ctx.head_dtype),
            *[None] * 4,
        )
