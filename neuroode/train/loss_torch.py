"""Losses and predictions of sequence outputs: out (T, B, K), targets (B,) or (B, T), classes or numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroode._errors import Unsupported
from neuroode.nn.native_loss_torch import nll_sequence
from neuroode.train.options import Settings


def measure(out: Tensor, targets: Tensor, settings: Settings) -> tuple[Tensor, float]:
    """The loss, and how well the predictions do, summed over the sequences.

    The loss is the batch mean of the negative log-likelihood of classes, or of the squared error of numbers (K = 1);
    `every_step` sums it over the steps, as the scripts of BRF do. The second figure is the number of right
    predictions, or their squared error; a sequence with a target at every step counts by its mean.
    """
    if settings.loss == "every_step":
        value, right = _sum_steps(out, targets, settings.skip)
        if right is not None:
            return value, right * len(targets)
    else:
        value = _one_answer(out, targets, settings)
    with torch.no_grad():
        found, wanted = predict(out, targets, settings), _counted(targets, settings)
        each = (found - wanted).square() if targets.is_floating_point() else (found == wanted).float()
        return value, float(each.mean() * len(targets))


def _one_answer(out: Tensor, targets: Tensor, settings: Settings) -> Tensor:
    final = targets[:, -1] if targets.ndim == 2 else targets
    answer = _answer(out, settings)
    return F.mse_loss(answer[:, 0], final) if targets.is_floating_point() else F.cross_entropy(answer, final)


def _answer(out: Tensor, settings: Settings) -> Tensor:
    """What one answer a sequence is read from, (B, K)."""
    return out[-1] if settings.loss == "last_step" else out[settings.skip :].mean(0)


def _sum_steps(out: Tensor, targets: Tensor, skip: int) -> tuple[Tensor, float | None]:
    """The loss summed over the steps, and the share of right steps where it comes for free."""
    if targets.is_floating_point():
        return squared_sum(out, targets, skip), None
    if (found := _by_kernel(out, targets, skip)) is not None:
        return found[0], int(found[1][0]) / int(found[1][1]) if targets.ndim == 2 else None
    return nll_sum_plain(out, targets, skip), None


def nll_sum(out: Tensor, labels: Tensor, skip: int) -> Tensor:
    """Sum over the steps from `skip` on of the batch mean of -log softmax(out)[label].

    The kernel and torch's own functions give the same number and gradient up to rounding; the kernel is ten times
    faster, because torch's softmax is slow on rows of few classes.
    """
    found = _by_kernel(out, labels, skip)
    return nll_sum_plain(out, labels, skip) if found is None else found[0]


def _by_kernel(out: Tensor, labels: Tensor, skip: int) -> tuple[Tensor, Tensor] | None:
    """The loss and (right, counted); None where there is no compiler or the outputs are not on the CPU."""
    if out.device.type != "cpu":
        return None
    try:
        return nll_sequence(out, labels, first=skip, over_time="sum")
    except Unsupported:
        return None


def nll_sum_plain(out: Tensor, labels: Tensor, skip: int) -> Tensor:
    """`nll_sum` in torch's own functions."""
    rows = _rows(labels, len(out))[skip:]
    return F.cross_entropy(out[skip:].flatten(0, 1), rows.flatten(), reduction="sum") / out.shape[1]


def squared_sum(out: Tensor, targets: Tensor, skip: int) -> Tensor:
    """Sum over the steps from `skip` on of the batch mean of (out - target)^2."""
    return (out[skip:, :, 0] - _rows(targets, len(out))[skip:]).square().sum() / out.shape[1]


def _rows(targets: Tensor, steps: int) -> Tensor:
    """(T, B); one target a sequence counts at every step."""
    return targets.T if targets.ndim == 2 else targets.expand(steps, -1)


def _counted(targets: Tensor, settings: Settings) -> Tensor:
    return targets[:, settings.skip :] if targets.ndim == 2 else targets


def predict(out: Tensor, targets: Tensor, settings: Settings) -> Tensor:
    """The class or number at each step (B, T - skip) if targets have two axes; else one a sequence (B,), from what
    the loss reads."""
    answer = out[settings.skip :] if targets.ndim == 2 else _answer(out, settings)
    found = answer[..., 0] if targets.is_floating_point() else answer.argmax(-1)
    return found.T if targets.ndim == 2 else found
