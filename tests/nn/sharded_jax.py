"""Run by test_parallel_jax.py with 8 devices: a scan cut over time is that of one device, in values and gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import neuroode as no
from neuroode.solvers.on_jax.parallel_jax import scan


def compose(later, earlier):
    return later[0] * earlier[0], later[0] * earlier[1] + later[1]


def apply(element, state):
    return (element[0] * state[0] + element[1],)


def run(a, b, start, **options):
    (states,) = scan(compose, apply, (1.0, 0.0), (a, b), (start,), **options)
    return states


def loss(given, options):
    states = run(*given, **options)
    return (states * jnp.cos(jnp.arange(states.size).reshape(states.shape))).sum(), states


def both(mesh: Mesh, steps: int, reverse: bool, tree: bool) -> tuple[list, list]:
    """(values and gradients) over the mesh and on one device."""
    random = np.random.default_rng(steps)
    given = random.uniform(-1, 1, (steps, 1, 3)), random.normal(size=(steps, 4, 3)), random.normal(size=(4, 3))
    rows = []
    for options in ({"mesh": mesh, "axis": "time", "tree": tree}, {}):
        here = {"reverse": reverse, **options}
        differentiated = jax.jit(jax.grad(lambda g, here=here: loss(g, here), has_aux=True))
        rows.append(jax.tree.leaves(differentiated(given)))
    return rows[0], rows[1]


def near(mesh: Mesh, steps: int, reverse: bool, tree: bool) -> bool:
    found, wanted = both(mesh, steps, reverse, tree)
    pairs = zip(found, wanted, strict=True)
    return all(np.allclose(f, w, rtol=0, atol=1e-12 * float(jnp.abs(w).max(initial=1))) for f, w in pairs)


def layers_agree(mesh: Mesh, steps: int) -> None:
    """A layer on the mesh against one that is whole: outputs, carry, gradients of parameters, inputs and the carry."""
    key = jax.random.key(0)
    neuron = no.load("cuba_lif")
    x = jax.random.normal(key, (steps, 2, 3)) + 0.3
    rows = []
    for options in ({"mesh": mesh}, {}):
        layer = neuron.jax(3, key=key, schedule="scan", **options)
        start = layer.init_carry(2)

        def loss(layer, x, start):
            out, after = layer(x, start)
            return sum((v * v).sum() for v in after.values()) + (out * x).sum(), (out, after)

        differentiated = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
        slopes, (out, after) = differentiated(layer, x, start)
        rows.append([np.asarray(v) for v in jax.tree.leaves((slopes, out, after))])
        if options:
            assert {s.data.shape for s in out.addressable_shards} == {(steps // 8, 2, 3)}
    for found, wanted in zip(*rows, strict=True):
        assert np.allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max(initial=1e-300))


devices = np.array(jax.devices())
assert len(devices) == 8
assert near(Mesh(devices.reshape(2, 4), ("samples", "time")), 21, True, True)
layers_agree(Mesh(devices, ("time",)), 16)
print(len(devices), "devices")
