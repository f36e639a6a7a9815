"""Losses and predictions of sequence outputs, time first: out (T, B, K), labels (B,) or (T, B)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroode.train.options import Settings


def loss(out: Tensor, labels: Tensor, settings: Settings) -> Tensor:
    """Batch mean of the negative log-likelihood; `every_step` sums it over the steps, as the scripts of BRF do."""
    out = out[settings.skip :]
    if settings.loss == "last_step":
        return F.cross_entropy(out[-1], _final(labels))
    if settings.loss == "mean_output":
        return F.cross_entropy(out.mean(0), _final(labels))
    return nll_sum(out, _every(labels, out, settings.skip))


def nll_sum(out: Tensor, labels: Tensor) -> Tensor:
    """Sum over time of the batch mean of -log softmax(out)[label]; labels (T, B)."""
    return F.cross_entropy(out.flatten(0, 1), labels.flatten(), reduction="sum") / out.shape[1]


def terms(settings: Settings, steps: int) -> int:
    """By how many terms a loss is divided to be a figure per step."""
    return steps - settings.skip if settings.loss == "every_step" else 1


@torch.no_grad()
def correct(out: Tensor, labels: Tensor, settings: Settings) -> float:
    """Right predictions, counted in sequences: where every step has a label, each step counts 1/T."""
    return float(
        (predict(out, labels.ndim, settings) == _seen(labels, settings.skip)).float().mean() * labels.shape[-1]
    )


def predict(out: Tensor, label_axes: int, settings: Settings) -> Tensor:
    """The class at each step (T, B) if labels have two axes; else one a sequence (B,): by what the loss trained."""
    out = out[settings.skip :]
    if label_axes == 2:
        return out.argmax(-1)
    return out[-1].argmax(-1) if settings.loss == "last_step" else out.mean(0).argmax(-1)


def _seen(labels: Tensor, skip: int) -> Tensor:
    return labels[skip:] if labels.ndim == 2 else labels


def _final(labels: Tensor) -> Tensor:
    return labels[-1] if labels.ndim == 2 else labels


def _every(labels: Tensor, out: Tensor, skip: int) -> Tensor:
    return labels[skip:] if labels.ndim == 2 else labels.expand(out.shape[0], -1)
