"""Losses and predictions of sequence outputs: out (T, B, K), targets (B,) or (B, T), classes or numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from neuroode.train.options import Settings

Array = jax.Array


def measure(out: Array, targets: Array, settings: Settings) -> tuple[Array, Array]:
    """The loss, and how well the predictions do, summed over the sequences.

    The loss is the batch mean of the negative log-likelihood of classes, or of the squared error of numbers (K = 1);
    `every_step` sums it over the steps, as the scripts of BRF do. The second figure is the number of right
    predictions, or their squared error; a sequence with a target at every step counts by its mean.
    """
    if settings.loss == "every_step":
        rows = targets.T if targets.ndim == 2 else jnp.broadcast_to(targets, out.shape[:2])
        value = _each(out[settings.skip :], rows[settings.skip :]).sum() / out.shape[1]
    else:
        value = _each(_answer(out, settings), targets[:, -1] if targets.ndim == 2 else targets).mean()
    found = predict(out, targets, settings)
    wanted = targets[:, settings.skip :] if targets.ndim == 2 else targets
    each = jnp.square(found - wanted) if _numbers(targets) else (found == wanted).astype(out.dtype)
    return value, jax.lax.stop_gradient(each.mean() * len(targets))


def predict(out: Array, targets: Array, settings: Settings) -> Array:
    """The class or number at each step (B, T - skip) if targets have two axes; else one a sequence (B,), from what
    the loss reads."""
    answer = out[settings.skip :] if targets.ndim == 2 else _answer(out, settings)
    found = answer[..., 0] if _numbers(targets) else answer.argmax(-1)
    return found.T if targets.ndim == 2 else found


def _each(out: Array, targets: Array) -> Array:
    """Squared error, or -log softmax(out)[target], of each row."""
    if _numbers(targets):
        return jnp.square(out[..., 0] - targets)
    picked = jnp.take_along_axis(out, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(out, axis=-1) - picked


def _answer(out: Array, settings: Settings) -> Array:
    """What one answer a sequence is read from, (B, K)."""
    return out[-1] if settings.loss == "last_step" else out[settings.skip :].mean(0)


def _numbers(targets: Array) -> bool:
    return bool(jnp.issubdtype(targets.dtype, jnp.floating))
