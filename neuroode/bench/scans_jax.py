"""The neurons as a JAX user would write them: `lax.scan` over time, the gradient by `jax.value_and_grad`, jitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuroode.bench.cases import Array, Peer, Problem, Run

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def _spike(shape: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @jax.custom_jvp
    def spike(m: Any) -> Any:
        return (m > 0).astype(m.dtype)

    @spike.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (m,), (dm,) = primals, tangents
        return spike(m), shape(m) * dm

    return spike


fast_sigmoid = _spike(lambda m: 1 / (1 + 2 * jnp.abs(m)) ** 2)
double_gaussian = _spike(lambda m: 0.45878361744 * jnp.exp(-2 * m * m) - 0.019947114020 * jnp.exp(-m * m / 18))


def _lif(p: Any, z: Any, x: Any) -> tuple[Any, Any]:
    alpha = jnp.exp(-1 / p["tau"])
    v = alpha * z[0] + (1 - alpha) * x
    s = fast_sigmoid(v - 1)
    return (v - s,), s


def _alif(p: Any, z: Any, x: Any) -> tuple[Any, Any]:
    alpha = jnp.exp(-1 / p["tau"])
    v, a = alpha * z[0] + (1 - alpha) * x, jnp.exp(-1 / p["tau_a"]) * z[1]
    s = fast_sigmoid(v - 1 - 1.8 * a)
    return (v - s, a + s), s


def _brf(p: Any, z: Any, x: Any) -> tuple[Any, Any]:
    u, v, q, out = z
    if "W_rec" in p:
        x = x + out @ p["W_rec"].T
    omega = jnp.abs(p["omega"])
    b = (-1 + jnp.sqrt(1 - (0.01 * omega) ** 2)) / 0.01 - jnp.abs(p["b_0"]) - q
    u, v = u + 0.01 * (b * u - omega * v + x), v + 0.01 * (omega * u + b * v)
    s = double_gaussian(u - 1 - q)
    return (u, v, 0.9 * q + s, s), s


def _run(p: Problem, make: Callable[[Any, Any], tuple[Callable[..., Any], Any]]) -> Run:
    """A candidate from what makes a jitted function and its argument; float64 only where the problem is of it."""
    wide = p.x.dtype == np.float64
    with jax.enable_x64(wide):
        run, given = make(jnp.asarray(p.x), jnp.asarray(p.g))

    def step() -> Any:
        with jax.enable_x64(wide):
            return jax.block_until_ready(run(given))

    def result() -> tuple[Array, Array]:
        (_, spikes), (_, by_x) = step()
        return np.asarray(spikes), np.asarray(by_x)

    return Run(step, result)


def scan(p: Problem, step: Step, states: int) -> Run:
    def make(x: Any, g: Any) -> tuple[Callable[..., Any], Any]:
        def loss(both: Any) -> tuple[Any, Any]:
            values, x = both
            start = (jnp.zeros_like(x[0]),) * states
            _, spikes = jax.lax.scan(lambda z, now: step(values, z, now), start, x)
            return (spikes * g).sum(), spikes

        values = {k: jnp.asarray(v) for k, v in p.values.items()}
        return jax.jit(jax.value_and_grad(loss, has_aux=True)), (values, x)

    return _run(p, make)


def layer(p: Problem) -> Run:
    """Our own JAX layer."""
    import equinox as eqx

    import neuroode as no

    def make(x: Any, g: Any) -> tuple[Callable[..., Any], Any]:
        def loss(both: Any) -> tuple[Any, Any]:
            spikes = both[0](both[1])[0]
            return (spikes * g).sum(), spikes

        model, options = no.load(p.case.model), {"recurrent": True} if p.case.recurrent else {}
        made = model.jax(p.x.shape[2], key=jax.random.key(0), dtype=p.x.dtype, **options)
        values = {k: jnp.asarray(v) for k, v in p.values.items()}
        weights = values.pop("W_rec", None)
        made = made.set(**values)
        if weights is not None:
            made = eqx.tree_at(lambda m: m.weights.weight, made, weights)
        return eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True)), (made, x)

    return _run(p, make)


STEPS = (("lif", _lif, 1), ("alif", _alif, 2), ("brf", _brf, 4), ("brf recurrent", _brf, 4))
PEERS = (
    *(Peer(case, "neuroode, JAX layer, jitted", "jax", layer, "ours", {}) for case, _, _ in STEPS),
    *(
        Peer(case, "JAX lax.scan, jitted", "jax", partial(scan, step=step, states=n), "the same formulas", {})
        for case, step, n in STEPS
    ),
)
