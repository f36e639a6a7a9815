"""Maps from stored numbers into domains, and back, for numpy and for what has its names: `xp` is the module.

The text of this file is pasted into emitted jax sources, so it imports nothing.
"""

from __future__ import annotations


def sigmoid(xp, raw):
    """1/(1 + e^-raw), with finite gradients and without loss of small values."""
    return xp.exp(-xp.logaddexp(0.0, -raw))


def squash(share, low, high):
    """A number between 0 and 1 as one between the bounds."""
    return low + (high - low) * share


def share(xp, value, low, high):
    """Where the value lies between the bounds; kept off the ends, whose stored numbers would be infinite."""
    return xp.clip((value - low) / (high - low), 1e-12, 1 - 1e-12)


def logit(xp, value):
    """The inverse of `sigmoid`."""
    return xp.log(value) - xp.log1p(-value)


#: name -> function of (xp, stored, low, high)
FORWARD = {
    "none": lambda xp, raw, low, high: raw,
    "project": lambda xp, raw, low, high: raw,
    "softplus": lambda xp, raw, low, high: xp.logaddexp(raw, 0.0),
    "abs": lambda xp, raw, low, high: xp.abs(raw),
    "relu": lambda xp, raw, low, high: xp.where(raw >= 0, raw, 0.0),
    "exp": lambda xp, raw, low, high: xp.exp(raw),
    "sigmoid": lambda xp, raw, low, high: squash(sigmoid(xp, raw), low, high),
    "tanh": lambda xp, raw, low, high: squash((xp.tanh(raw) + 1) / 2, low, high),
}

#: name -> function of (xp, constrained, low, high)
INVERSE = {
    "none": lambda xp, value, low, high: value,
    "project": lambda xp, value, low, high: value,
    "softplus": lambda xp, value, low, high: value + xp.log(-xp.expm1(-value)),
    "abs": lambda xp, value, low, high: value,
    "relu": lambda xp, value, low, high: value,
    "exp": lambda xp, value, low, high: xp.log(value),
    "sigmoid": lambda xp, value, low, high: logit(xp, share(xp, value, low, high)),
    "tanh": lambda xp, value, low, high: xp.arctanh(2 * share(xp, value, low, high) - 1),
}
