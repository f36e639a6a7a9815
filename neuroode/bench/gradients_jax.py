"""The same gradients by JAX layers, and the memory of their adjoints."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import neuroode as no
from neuroode.bench.gradients import ADJOINTS, CURRENT, END, LANES, TARGET, TAU
from neuroode.bench.gradients_torch import LONG_STEP, TIGHT, neuron
from neuroode.bench.memory import _kilobytes


def _solved(adjoint: str) -> dict[str, Any]:
    return {"solver": "diffrax", "adjoint": adjoint, "gradient": "event", "solver_options": TIGHT}


def _layer(dt: float = 1.0, **options: Any) -> Any:
    return neuron().jax(1, dt=dt, key=jax.random.key(0), dtype=jnp.float64, init={"tau": TAU}, **options)


def spike_time() -> Iterator[tuple[str, tuple[float, ...]]]:
    """First spike and its derivative for I."""
    for name, options in (("JAX, located", {"gradient": "event"}), ("JAX, Tsit5", _solved("none"))):
        with jax.enable_x64(True):
            layer = _layer(**options)
            first = eqx.filter_value_and_grad(lambda i, f=layer: f.spike_times(jnp.ones((40, 1, 1)) * i)[0].min())
            yield name, tuple(float(x) for x in first(jnp.asarray(CURRENT)))


def end_of_window() -> Iterator[tuple[str, tuple[float, ...]]]:
    """The loss and its derivatives for I and tau."""
    yield "JAX, event, located", _loss(gradient="event")
    for adjoint in ADJOINTS:
        yield f"JAX, Tsit5, {adjoint}", _loss(LONG_STEP, **_solved(adjoint))


def _loss(dt: float = 1.0, **options: Any) -> tuple[float, ...]:
    with jax.enable_x64(True):

        def loss(pair: tuple[Any, Any]) -> Any:
            v = pair[1](jnp.ones((round(END / dt), 1, 1)) * pair[0])[1]["v"].sum()
            return (v - TARGET) ** 2 / 2

        layer = _layer(dt, **options)
        at, (by_current, slopes) = eqx.filter_value_and_grad(loss)((jnp.asarray(CURRENT), layer))
        raw = layer.parameters_of_neuron.raw["tau"]
        by_tau = (slopes.parameters_of_neuron.raw["tau"] / jax.nn.sigmoid(raw)).sum()
        return float(at), float(by_current), float(by_tau)


def _last(layer: Any, x: Any) -> Any:
    return layer(x)[0][-1].sum()


def measure(adjoint: str, steps: int) -> None:
    """Print the peak in MiB of a gradient over so many steps; one of the same length has compiled everything before."""
    options = {"method": "Euler", "step_size": 1e-3}
    layer = no.load("li").jax(
        LANES, dt=1e-3, key=jax.random.key(0), solver="diffrax", adjoint=adjoint, solver_options=options
    )
    gradient: Any = eqx.filter_jit(eqx.filter_grad(_last))
    x = jnp.ones((steps, 1, LANES))
    compiled = gradient.lower(layer, x).compile()
    jax.block_until_ready(gradient(layer, jnp.ones((4, 1, LANES))))
    gc.collect()
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    jax.block_until_ready(eqx.filter(compiled(layer, x), eqx.is_array))
    print((_kilobytes("VmHWM") - before) / 1024)
