"""Run by test_parallel_jax.py with 8 devices: a scan cut over time is that of one device, in values and gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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


def both(mesh: Mesh, steps: int, reverse: bool) -> tuple[list, list]:
    """(values and gradients) over the mesh and on one device."""
    random = np.random.default_rng(steps)
    given = random.uniform(-1, 1, (steps, 1, 3)), random.normal(size=(steps, 4, 3)), random.normal(size=(4, 3))
    rows = []
    for options in ({"mesh": mesh, "axis": "time"}, {}):
        here = {"reverse": reverse, **options}
        differentiated = jax.jit(jax.grad(lambda g, here=here: loss(g, here), has_aux=True))
        rows.append(jax.tree.leaves(differentiated(given)))
    return rows[0], rows[1]


def near(mesh: Mesh, steps: int, reverse: bool) -> bool:
    found, wanted = both(mesh, steps, reverse)
    pairs = zip(found, wanted, strict=True)
    return all(np.allclose(f, w, rtol=0, atol=1e-12 * float(jnp.abs(w).max(initial=1))) for f, w in pairs)


devices = np.array(jax.devices())
assert len(devices) == 8
time = Mesh(devices, ("time",))
assert all(near(time, steps, reverse) for steps, reverse in ((16, False), (21, True)))
assert near(Mesh(devices.reshape(2, 4), ("samples", "time")), 3, False)
placed = jax.device_put(jnp.ones((64, 4, 3)), NamedSharding(time, PartitionSpec("time")))
states = jax.jit(lambda b: run(0.5 * b, b, b[0], mesh=time))(placed)
assert len({s.device for s in states.addressable_shards}) == 8
assert states.addressable_shards[0].data.shape == (8, 4, 3)
print(len(devices), "devices")
