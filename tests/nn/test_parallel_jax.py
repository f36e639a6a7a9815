"""Jax layers over whole sequences against the interpreter and against themselves step by step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from jax.sharding import Mesh
from jax_oracles import KEY, as_jax, by_jax, given, with_numbers_of
from oracles import DRIVE, INVENTED, ZOO, assert_same, by_interpreter, by_layer, distance, drive, neuron, scatter

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.nn import newton_jax

#: no part of them composes over time
REFUSED = {
    "adex", "izhikevich", "lif_refractory", "channels", "qif", "lnm", "eif", "fitzhugh_nagumo", "hodgkin_huxley",
    "morris_lecar", "cfc",
}  # fmt: skip
SLOW = pytest.mark.slow
QUICK = {"prf", "sliding_psn", "levels"}  # `cuba_lif` runs in sharded_jax.py
ALL = [pytest.param(n, marks=() if n in QUICK else SLOW) for n in [*ZOO, *INVENTED] if n in DRIVE and n not in REFUSED]


def layers(name: str, schedule: str, size: int = 3, dtype: torch.dtype = torch.float64) -> tuple:
    """A torch layer that runs eagerly, and the jax layer with its numbers."""
    torch.manual_seed(0)
    declared = neuron(name)
    one = scatter(declared.torch(size, dtype=dtype, schedule="eager"))
    name = str(dtype).removeprefix("torch.")
    return one, with_numbers_of(one, declared.jax(size, key=KEY, dtype=name, schedule=schedule))


@pytest.mark.parametrize("name", ALL)
def test_a_scan_equals_the_interpreter(name: str) -> None:
    torch_layer, layer = layers(name, "scan")
    x = drive(torch_layer, 13, 2)
    assert_same(by_jax(layer, x), by_interpreter(torch_layer, x), values=1e-12, grads=1e-11)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_does_not_compose_is_refused(name: str) -> None:
    with pytest.raises(Unsupported, match="composes over time, so there is nothing to scan"):
        neuron(name).jax(3, key=KEY, schedule="scan")


@pytest.mark.parametrize("name", ["prf", *(pytest.param(n, marks=SLOW) for n in ("rc_ladder", "drf", "alpha_synapse"))])
def test_a_convolution_equals_the_interpreter(name: str) -> None:
    torch_layer, layer = layers(name, "fft")
    x = drive(torch_layer, 21, 2)
    assert_same(by_jax(layer, x), by_interpreter(torch_layer, x), values=1e-12, grads=1e-11)


@pytest.mark.parametrize(
    "name", ["lif", *(pytest.param(n, marks=SLOW) for n in ("izhikevich", "brf", "channels", "lif_refractory"))]
)
def test_newton_equals_the_interpreter(name: str) -> None:
    torch_layer, layer = layers(name, "newton")
    x = drive(torch_layer, 40, 2)
    assert_same(by_jax(layer, x), by_interpreter(torch_layer, x), values=1e-10, grads=1e-9)
    (count,) = layer.iterations(as_jax(x["I"])).values()
    assert 1 <= int(count) < 40


def test_newton_says_where_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_layer, layer = layers("izhikevich", "newton")
    x = drive(torch_layer, 41, 2)
    monkeypatch.setattr(newton_jax, "LIMIT", 3)
    with pytest.warns(RuntimeWarning, match="newton did not settle on v, u within 3 iterations: it runs step by step"):
        out, carry = jax.block_until_ready(layer(as_jax(x["I"])))
    wanted = by_interpreter(torch_layer, x)
    assert distance(out, wanted.outputs["s"]) == 0
    assert all(distance(carry[n], v) <= 1e-10 for n, v in wanted.carry.items())


@pytest.mark.slow
def test_a_moebius_scan_equals_the_loop() -> None:
    """The theta neuron: spikes are inside the scan, the state passes infinity; alone: tests/solvers."""
    theta = no.load("qif", compat="theta")
    x = 0.4 + 0.2 * jax.random.normal(KEY, (60, 2, 3), "float64")

    def loss(layer, x):
        out, carry = layer(x)
        return (out * x).sum() + jax.numpy.arctan(carry["v"]).sum(), out

    rows = []
    for schedule in ("scan", "eager"):
        slopes, out = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(theta.jax(3, key=KEY, schedule=schedule), x)
        rows.append([np.asarray(v) for v in (out, *jax.tree.leaves(slopes))])
    assert rows[0][0].sum() > 5
    assert np.array_equal(rows[0][0], rows[1][0])
    assert all(distance(f, w) <= 1e-9 for f, w in zip(*rows, strict=True))


def test_more_states_than_a_scan_is_written_for() -> None:
    """They run step by step, forward and in the adjoint; newton says so. A synapse before them is scanned."""
    ring = "\n".join(f"v{i}[t] = 0.5*v{i}[t-1] + 0.4*tanh(v{(i + 1) % 5}[t-1]) + w*g[t]" for i in range(5))
    declared = no.Neuron(
        "ring", equations=f"g[t] = a*g[t-1] + I\n{ring}", outputs={"v": "v0 - 2*v3"},
        parameters={"a": no.Parameter(0.7, per="neuron"), "w": no.Parameter(0.3)},
    )  # fmt: skip
    one = scatter(declared.torch(3, dt=1.0, dtype=torch.float64, schedule="eager"))
    x = {"I": torch.randn((13, 2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)}
    scanned, iterated = (with_numbers_of(one, declared.jax(3, dt=1.0, key=KEY, schedule=s)) for s in ("scan", "newton"))
    assert_same(by_jax(scanned, x), by_interpreter(one, x))
    with pytest.warns(RuntimeWarning, match="newton is written for up to 4 states, not 5"):
        out, _ = iterated(as_jax(x["I"]))
    assert distance(out, scanned(as_jax(x["I"]))[0]) <= 1e-13


def test_lengths_and_carries() -> None:
    """Padding of nan enters nothing, two calls are one, and the gradient reaches the carry."""
    torch_layer, layer = layers("two_inputs", "scan")
    x = drive(torch_layer, 20, 4)
    _, carry = torch_layer(given({n: v[:6] for n, v in x.items()}))
    rest = {n: v[6:].clone() for n, v in x.items()}
    lengths = torch.tensor([14, 0, 7, 1])
    for v in rest.values():
        for b, n in enumerate(lengths):
            v[int(n) :, b] = torch.nan
    held = type(layer.init_carry(4))({n: as_jax(v) for n, v in carry.items()}, carry.digest)
    found = by_jax(layer, rest, held, lengths=as_jax(lengths))
    assert_same(found, by_layer(torch_layer, rest, carry, lengths=lengths), grads=1e-11)


def test_float32_and_the_numbers_of_steps() -> None:
    """0 and 1 steps; 300 in float32 within rounding of torch's loop; jit and vmap."""
    torch_layer, layer = layers("li", "scan", dtype=torch.float32)
    for steps in (0, 1, 300):
        x = drive(torch_layer, steps, 2)
        assert_same(by_jax(layer, x), by_layer(torch_layer, x), 1e-5, 1e-5)
    whole = layer(as_jax(x["I"]))[0]
    mapped = jax.jit(jax.vmap(lambda one: layer(one[:, None])[0][:, 0], in_axes=1, out_axes=1))(as_jax(x["I"]))
    assert distance(mapped, whole) <= 1e-6


def test_tables_over_time() -> None:
    """A parameter per time step makes the matrix another one in each step; the second call goes on where one ended."""
    declared = no.Neuron(
        "leak_by_time", equations="v[t] = a[t]*v[t-1] + I", horizon=8,
        parameters={"a": no.Parameter(init="uniform(0.5, 1)", per=["neuron", "time"])}, outputs={"v": "v"},
    )  # fmt: skip
    one, other = (declared.jax(3, key=KEY, schedule=s) for s in ("scan", "eager"))
    x = jax.random.normal(KEY, (8, 2, 3))

    def loss(layer, x):
        first, carry = layer(x[:4])
        second, _ = layer(x[4:], carry)
        return (first**2).sum() + (second**2).sum()

    found, wanted = (jax.tree.leaves(jax.grad(loss, (0, 1))(m, x)) for m in (one, other))
    assert all(distance(f, w) <= 1e-12 for f, w in zip(found, wanted, strict=True))
    assert len(found) == 2


def test_what_a_scan_refuses() -> None:
    lif = neuron("lif")
    with pytest.raises(Unsupported, match="recurrent weights mix them"):
        lif.jax(3, key=KEY, schedule="scan", recurrent=True)
    with pytest.raises(Unsupported, match="does not run on a mesh"):
        lif.jax(3, key=KEY, schedule="eager", mesh=Mesh(jax.devices()[:1], ("time",)))
    with pytest.raises(RunError, match="the mesh has no axis 'time'"):
        lif.jax(3, key=KEY, schedule="scan", mesh=Mesh(jax.devices()[:1], ("samples",)))
    with pytest.raises(RunError, match="these are explicit"):
        lif.jax(3, key=KEY, schedule="scan", mesh=jax.make_mesh((1,), ("time",)))
    with pytest.raises(RunError, match="mesh is a int"):
        lif.jax(3, key=KEY, schedule="scan", mesh=8)
    layer, x = neuron("li").jax(3, key=KEY, schedule="scan"), jax.numpy.ones((4, 2, 3))
    with pytest.raises(Unsupported, match="second derivative"):
        jax.grad(lambda x: (jax.grad(lambda x: (layer(x)[0] ** 2).sum())(x) ** 2).sum())(x)


@pytest.mark.slow
def test_over_devices_is_one_device() -> None:
    """In a process with 8 devices: values and gradients, lengths that 8 does not divide, a mesh with a second axis."""
    run = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).parent / "sharded_jax.py")], capture_output=True, text=True,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_ENABLE_X64": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["8", "devices"]
