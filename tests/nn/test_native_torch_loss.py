"""The loss kernel against torch's cross entropy."""

from __future__ import annotations

import pytest
import torch
from kernels import closeness

from neuroode._errors import RunError
from neuroode.nn.native_loss_torch import nll_sequence

F32, F64 = torch.float32, torch.float64


def make(steps, batch, classes, dtype):
    torch.manual_seed(0)
    return (torch.randn(steps, batch, classes, dtype=dtype) * 3).requires_grad_()


@pytest.mark.parametrize("shape", [(300, 16, 6), (7, 3, 1), (5, 1, 10), (20, 9, 130), (1, 1, 2)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (F32, 1e-5)], ids=["float64", "float32"])
def test_labels_of_every_step_some_of_them_masked(shape, dtype, tolerance):
    steps, batch, classes = shape
    x = make(*shape, dtype)
    y = torch.randint(0, classes, (batch, steps))
    y[torch.rand(batch, steps) < 0.2] = -1
    y[0, 0] = 0
    loss, (right, counted) = nll_sequence(x, y)
    flat, labels = x.reshape(-1, classes), y.T.reshape(-1)
    expected = torch.nn.functional.cross_entropy(flat, labels, ignore_index=-1)
    assert abs(loss - expected) <= tolerance * (1 + abs(expected))
    assert right == ((x.argmax(-1) == y.T) & (y.T >= 0)).sum()
    assert counted == (y >= 0).sum()
    (found,), (grad,) = torch.autograd.grad(2 * loss, x), torch.autograd.grad(2 * expected, x)
    assert closeness(found, grad) <= 10 * tolerance or not grad.any()


def test_one_label_a_sample_over_a_range_of_steps():
    x = make(20, 4, 5, F64)
    y = torch.tensor([0, 4, 2, 2], dtype=torch.uint8)
    loss, (_, counted) = nll_sequence(x, y, first=5, last=12, over_time="sum")
    part = x[5:12].reshape(-1, 5)
    expected = torch.nn.functional.cross_entropy(part, y.long().expand(7, 4).reshape(-1), reduction="sum") / 4
    assert abs(loss - expected) <= 1e-12 * expected
    assert counted == 28
    (found,), (grad,) = torch.autograd.grad(loss, x), torch.autograd.grad(expected, x)
    assert closeness(found, grad) <= 1e-12


def test_nothing_counts():
    loss, counts = nll_sequence(make(3, 2, 4, F32), torch.full((2,), -1))
    assert (loss.item(), counts.tolist()) == (0.0, [0, 0])


def test_large_logits_do_not_overflow():
    x = torch.tensor([[[1e4, -1e4, 0.0]]], dtype=F32, requires_grad=True)
    loss, _ = nll_sequence(x, torch.tensor([1]))
    assert loss.item() == pytest.approx(2e4)
    assert torch.autograd.grad(loss, x)[0].tolist() == [[[1.0, -1.0, 0.0]]]


def test_threads_do_not_change_the_loss():
    x, y = make(700, 40, 10, F32), torch.randint(0, 10, (40, 700))
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            loss, _ = nll_sequence(x, y)
            found.append((loss, torch.autograd.grad(loss, x)[0]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_wrong_arguments_are_refused():
    x = make(3, 2, 4, F32)
    with pytest.raises(RunError, match="not below the number of classes, 4"):
        nll_sequence(x, torch.tensor([0, 4]))
    with pytest.raises(RunError, match="labels of shape"):
        nll_sequence(x, torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(RunError, match="labels of shape"):
        nll_sequence(x, torch.zeros(2))
    with pytest.raises(RunError, match="logits of shape"):
        nll_sequence(x[0], torch.zeros(2, dtype=torch.int64))
    with pytest.raises(RunError, match="over_time"):
        nll_sequence(x, torch.zeros(2, dtype=torch.int64), over_time="max")
