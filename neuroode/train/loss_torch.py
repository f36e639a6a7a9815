"""Losses and predictions of sequence outputs: out (T, B, K), labels (B,) or (B, T)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroode._errors import Unsupported
from neuroode.nn.native_loss_torch import nll_sequence
from neuroode.train.options import Settings


def loss(out: Tensor, labels: Tensor, settings: Settings) -> Tensor:
    """Batch mean of the negative log-likelihood; `every_step` sums it over the steps, as the scripts of BRF do."""
    if settings.loss == "every_step":
        return nll_sum(out, labels, settings.skip)
    final = labels[:, -1] if labels.ndim == 2 else labels
    return F.cross_entropy(out[-1] if settings.loss == "last_step" else out[settings.skip :].mean(0), final)


def nll_sum(out: Tensor, labels: Tensor, skip: int) -> Tensor:
    """Sum over the steps from `skip` on of the batch mean of -log softmax(out)[label].

    The kernel and torch's own functions give the same number and gradient up to rounding; the kernel is ten times
    faster, because torch's softmax is slow on rows of few classes.
    """
    if out.device.type == "cpu":
        try:
            return nll_sequence(out, labels, first=skip, over_time="sum")[0]
        except Unsupported:  # no compiler here
            pass
    return nll_sum_plain(out, labels, skip)


def nll_sum_plain(out: Tensor, labels: Tensor, skip: int) -> Tensor:
    """`nll_sum` in torch's own functions."""
    rows = labels.T[skip:] if labels.ndim == 2 else labels.expand(len(out) - skip, -1)
    return F.cross_entropy(out[skip:].flatten(0, 1), rows.flatten(), reduction="sum") / out.shape[1]


def terms(settings: Settings, steps: int) -> int:
    """By how many terms a loss is divided to be a figure per step."""
    return steps - settings.skip if settings.loss == "every_step" else 1


@torch.no_grad()
def correct(out: Tensor, labels: Tensor, settings: Settings) -> float:
    """Right predictions, counted in sequences: where every step has a label, a sequence counts by its share."""
    right = predict(out, labels.ndim, settings) == (labels[:, settings.skip :] if labels.ndim == 2 else labels)
    return float(right.float().mean() * len(labels))


def predict(out: Tensor, label_axes: int, settings: Settings) -> Tensor:
    """The class at each step (B, T) if labels have two axes; else one a sequence (B,), from what the loss reads."""
    if label_axes == 2:
        return out[settings.skip :].argmax(-1).T
    return (out[-1] if settings.loss == "last_step" else out[settings.skip :].mean(0)).argmax(-1)
