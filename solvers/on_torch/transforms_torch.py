"""Maps from stored numbers into domains, and back: name -> function of (number, (low, high)).

The text of this file is pasted into emitted sources, so it imports torch only.
"""

from __future__ import annotations

import torch


def squash(fraction, low, high):
    """A number between 0 and 1 as one between the bounds."""
    return low + (high - low) * fraction


def fraction(value, low, high):
    """Where the value lies between the bounds; kept off the ends, whose stored numbers would be infinite."""
    return ((value - low) / (high - low)).clamp(1e-12, 1 - 1e-12)


FORWARD = {
    "none": lambda raw, bounds: raw,
    "project": lambda raw, bounds: raw,
    "softplus": lambda raw, bounds: torch.logaddexp(raw, torch.zeros_like(raw)),
    "abs": lambda raw, bounds: raw.abs(),
    "relu": lambda raw, bounds: raw.clamp(min=0),
    "exp": lambda raw, bounds: raw.exp(),
    "sigmoid": lambda raw, bounds: squash(torch.sigmoid(raw), *bounds),
    "tanh": lambda raw, bounds: squash((torch.tanh(raw) + 1) / 2, *bounds),
}

INVERSE = {
    "none": lambda value, bounds: value,
    "project": lambda value, bounds: value,
    "softplus": lambda value, bounds: value + torch.log(-torch.expm1(-value)),
    "abs": lambda value, bounds: value,
    "relu": lambda value, bounds: value,
    "exp": lambda value, bounds: value.log(),
    "sigmoid": lambda value, bounds: torch.logit(fraction(value, *bounds)),
    "tanh": lambda value, bounds: torch.atanh(2 * fraction(value, *bounds) - 1),
}
