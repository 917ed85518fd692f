"""The fused loss against the formula, and against PyTorch's own with the full logits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from calgrid.training.loss import smoothed_cross_entropy, smoothed_loss_floor


def inputs(n: int = 7, vocabulary: int = 11, width: int = 5, dtype: torch.dtype = torch.float64, scale: float = 1.0):
    generator = torch.Generator().manual_seed(0)
    hidden, head = (torch.randn(size, width, generator=generator, dtype=dtype) * scale for size in (n, vocabulary))
    labels = torch.randint(0, vocabulary, (n,), generator=generator)
    return hidden.requires_grad_(), head.requires_grad_(), labels


def formula(hidden, head, labels, smoothing, cap=None):
    """- sum of target x log-softmax, with the target of the paper written out."""
    logits = hidden @ head.T
    logits = cap * torch.tanh(logits / cap) if cap else logits
    vocabulary = len(head)
    target = torch.full_like(logits, smoothing / vocabulary)
    target[torch.arange(len(labels)), labels] += 1 - smoothing
    return -(target * logits.log_softmax(-1)).sum()


@given(
    st.sampled_from([0.0, 0.1, 0.2, 0.9]),
    st.sampled_from([None, 0.5, 30.0]),
    st.integers(1, 9),
    st.integers(1, 10),
    st.integers(2, 40),
)
@settings(max_examples=60, deadline=None)
def test_loss_and_gradients_equal_the_formula_in_float64(smoothing, cap, n, chunk, vocabulary):
    hidden, head, labels = inputs(n, vocabulary)
    loss, nll = smoothed_cross_entropy(hidden, head, labels, smoothing, cap, chunk)
    expected = formula(hidden, head, labels, smoothing, cap)
    assert torch.allclose(loss, expected, rtol=1e-12, atol=1e-12)
    assert torch.allclose(nll, formula(hidden, head, labels, 0.0, cap), rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(loss * 3, (hidden, head)), torch.autograd.grad(expected * 3, (hidden, head)), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cap", [None, 5.0])
def test_gradient_is_the_losss_by_finite_differences(cap):
    hidden, head, labels = inputs(3, 6, 4)
    assert torch.autograd.gradcheck(lambda h, w: smoothed_cross_entropy(h, w, labels, 0.1, cap, 2)[0], (hidden, head))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
def test_float32_equals_pytorchs_own(smoothing):
    hidden, head, labels = inputs(200, 1000, 32, torch.float32, 0.3)
    loss, nll = smoothed_cross_entropy(hidden, head, labels, smoothing, chunk=64)
    logits = hidden @ head.T
    expected = cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert nll.item() == pytest.approx(cross_entropy(logits, labels, reduction="sum").item(), rel=1e-6)
    gradients, expected_gradients = (torch.autograd.grad(value, (hidden, head)) for value in (loss, expected))
    for one, other in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=2e-6)


def test_bfloat16_is_computed_in_float32_inside():
    hidden, head, labels = (value.detach() for value in inputs(50, 300, 16, torch.bfloat16))
    hidden, head = hidden.requires_grad_(), head.requires_grad_()
    loss, _ = smoothed_cross_entropy(hidden, head, labels, 0.1, chunk=7)
    accurate = [value.detach().double().requires_grad_() for value in (hidden, head)]
    expected = formula(*accurate, labels, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients, expected_gradients = torch.autograd.grad(loss, (hidden, head)), torch.autograd.grad(expected, accurate)
    for one, other in zip(gradients, expected_gradients, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_extreme_logits_stay_finite():
    hidden, head, labels = inputs(scale=100.0, dtype=torch.float32)
    loss, _ = smoothed_cross_entropy(hidden, head, labels, 0.1)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (hidden, head)))
    assert math.isfinite(loss.item())


def test_nothing_supervised_is_a_loss_of_zero():
    hidden, head, labels = inputs(0)
    loss, nll = smoothed_cross_entropy(hidden, head, labels, 0.1)
    assert (loss.item(), nll.item()) == (0.0, 0.0)
    assert torch.autograd.grad(loss, head)[0].abs().sum() == 0


@pytest.mark.parametrize(("smoothing", "vocabulary"), [(0.0, 7), (0.1, 7), (0.2, 32_000)])
def test_floor_is_the_loss_of_the_target_itself(smoothing, vocabulary):
    target = torch.full((1, vocabulary), smoothing / vocabulary, dtype=torch.float64)
    target[0, 0] += 1 - smoothing
    logits = target.log().clamp_min(-1e3)
    expected = cross_entropy(logits, torch.tensor([0]), label_smoothing=smoothing).item()
    assert smoothed_loss_floor(smoothing, vocabulary) == pytest.approx(expected, abs=1e-9)
