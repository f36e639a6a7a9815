"""Candidates of the grid in JAX: `lax.scan` and `associative_scan` as a user would write them, jitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.bench.cases import Peer, Problem, Run
from neuroode.bench.scans_jax import STEPS, _run, _spike, layer, scan

atan = _spike(lambda m: 1 / (1 + (jnp.pi * m) ** 2))
CASES = ("leaky", "lif", "prf", "drf", "sliding_psn")
LIF = next(step for name, step, _ in STEPS if name == "lif")


def _leaky(p: Any) -> tuple[Any, Any]:
    alpha = jnp.exp(-1 / p["tau"])
    return alpha, 1 - alpha


def _prf(p: Any) -> tuple[Any, Any]:
    rate = -0.5 + 1j * p["theta"]
    return jnp.exp(rate * p["delta"]), jnp.expm1(rate * p["delta"]) / rate


def _read_leaky(v: Any) -> Any:
    return v


def _read_prf(u: Any) -> Any:
    return atan(u.real - 1)


def looped(keep: Any, drive: Any) -> Any:
    def step(v: Any, b: Any) -> tuple[Any, Any]:
        v = keep * v + b
        return v, v

    return jax.lax.scan(step, jnp.zeros_like(drive[0]), drive)[1]


def scanned(keep: Any, drive: Any) -> Any:
    def compose(a: Any, b: Any) -> tuple[Any, Any]:
        return a[0] * b[0], b[0] * a[1] + b[1]

    return jax.lax.associative_scan(compose, (jnp.broadcast_to(keep, drive.shape), drive))[1]


def linear(
    p: Problem, gains: Callable[[Any], Any], read: Callable[[Any], Any], solve: Callable[[Any, Any], Any]
) -> Run:
    """A linear neuron whose states `solve` finds and `read` turns into outputs."""

    def make(x: Any, g: Any) -> tuple[Callable[..., Any], Any]:
        def loss(both: Any) -> tuple[Any, Any]:
            values, x = both
            keep, gain = gains(values)
            out = read(solve(keep, gain * x))
            return (out * g).sum(), out

        return jax.jit(jax.value_and_grad(loss, has_aux=True)), ({k: jnp.asarray(v) for k, v in p.values.items()}, x)

    return _run(p, make)


PEERS = (
    *(
        Peer(case, "neuroode, JAX layer", "jax", layer, "", {})
        for case in ("leaky", "lif", "prf", "drf", "sliding_psn")
    ),
    *(
        Peer(case, name, "jax", partial(linear, gains=gains, read=read, solve=solve), "", {})
        for case, gains, read in (("leaky", _leaky, _read_leaky), ("prf", _prf, _read_prf))
        for name, solve in (("JAX lax.scan", looped), ("JAX associative_scan", scanned))
    ),
    Peer("lif", "JAX lax.scan", "jax", partial(scan, step=LIF, states=1), "", {}),
)
