"""Jax layers that keep the whole past: against the numpy reference, their gradients against those of torch."""

from __future__ import annotations

from time import process_time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neuroode as no
from neuroode.nn import history_blocks_jax
from neuroode.solvers.on_jax import fractional_jax
from neuroode.solvers.on_numpy import fractional_weights

STEP, STEPS = 0.05, 24
X = np.random.default_rng(0).normal(size=(STEPS, 2, 3)) + 0.5


def neuron(do: str = "v -= v_th", memory: str = "jump", **keys: Any) -> no.Neuron:
    given: dict[str, Any] = {
        "parameters": {
            "alpha": no.Parameter(0.6, domain="interval(0.05, 1)"),
            "tau": no.Parameter(0.5, domain="positive"),
            "v_th": 0.6,
        },
        "equations": "D^alpha v = (-v + I)/tau",
        "states": {"v": 0.3},
        "spike": "v >= v_th",
        "reset": {"do": do, "memory": memory},
    }
    return no.Neuron("f", **{**given, **keys})


def quiet() -> no.Neuron:
    alpha = no.Parameter(0.6, domain="interval(0.05, 1)")
    return no.Neuron("q", parameters={"alpha": alpha, "tau": no.Parameter(0.5, domain="positive")},
                     equations="D^alpha v = (-v + I)/tau", states={"v": 0.3})  # fmt: skip


CASES = {
    "jump": neuron(),
    "impulse": neuron(memory="impulse"),
    "current": neuron(memory="current(0.12)"),
    "restart": neuron("v = 0", "restart"),
    "coupled": neuron("v -= v_th; w += 0.2", equations="D^alpha v = (-v + I - w - v^3)/tau\ndw/dt = v - w"),
}
METHODS = ("gl", "gl(implicit)", "l1", "l1(explicit)", "abm", "flmm2", "flmm2(trapezoidal)")
SLOW = [(c, m) for c in CASES for m in METHODS if not (c == "restart" and m.startswith("flmm2"))]
PAIRS = [
    ("jump", "gl", STEPS),
    pytest.param("restart", "gl", STEPS, marks=pytest.mark.slow),
    *(pytest.param(*p, 15, marks=pytest.mark.slow) for p in SLOW),
]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks and an FFT between them in 24 steps."""
    monkeypatch.setattr(history_blocks_jax, "BLOCK", 7)


def built(n: no.Neuron, method: str) -> Any:
    return n.jax(3, STEP, method=method, key=jax.random.key(0), dtype="float64")


def total(out: Any, carry: Any, w: Any) -> Any:
    return (out * w).sum() + carry["v"].sum() + 0.1 * (carry["past"] ** 2).sum() + 0.3 * carry["memory"].sum()


@pytest.mark.parametrize(("case", "method", "cut"), PAIRS)
def test_a_layer_is_the_reference_and_its_gradient_that_of_torch(case: str, method: str, cut: int) -> None:
    n, w = CASES[case], np.linspace(-1, 1, STEPS)[:, None, None]
    with jax.enable_x64(True):
        layer = built(n, method)
        found, wanted = layer.trace(jnp.asarray(X)), n.simulate(X, STEP, method=method)
        assert np.array_equal(found["s"], wanted["s"])
        assert np.abs(np.asarray(found["v"]) - wanted["v"]).max() < 1e-12

        def loss(given: Any) -> Any:
            layer, x = given
            first, carry = layer(x[:cut])
            second, carry = layer(x[cut:], carry) if cut < STEPS else (x[cut:], carry)
            return total(jnp.concatenate([first, second]), carry, jnp.asarray(w))

        by_layer, by_input = eqx.filter_grad(loss)((layer, jnp.asarray(X)))
        own = [np.asarray(by_input), *map(np.asarray, jax.tree.leaves(by_layer))]
    other = n.torch(3, STEP, method=method, dtype=torch.float64, schedule="eager")
    x = torch.tensor(X, requires_grad=True)
    first, carry = other(x[:cut])
    second, carry = other(x[cut:], carry)
    reference = torch.autograd.grad(total(torch.cat([first, second]), carry, torch.tensor(w)), [x, *other.parameters()])
    for g, t in zip(own, reference, strict=True):
        assert np.abs(g - t.numpy()).max() <= 1e-10 * t.abs().max()


def test_the_propagator_and_samples_that_end() -> None:
    with jax.enable_x64(True):
        layer = built(quiet(), "mittag_leffler")
        v, _ = layer(jnp.asarray(X))
        assert np.abs(np.asarray(v) - quiet().simulate(X, STEP, method="mittag_leffler")["v"]).max() < 1e-12
        propagator = built(quiet(), "mittag_leffler")
        _, carry = propagator(jnp.asarray(X), lengths=jnp.asarray([STEPS, 9]))
        _, own = propagator(jnp.asarray(X[:9, 1:]))
        again, wanted = propagator(jnp.asarray(X), carry)[0], propagator(jnp.asarray(X[:, 1:]), own)[0]
        assert np.abs(again[:, 1:] - wanted).max() < 1e-13
        spiking = built(CASES["jump"], "gl")
        out, carry = spiking(jnp.asarray(X), lengths=jnp.asarray([STEPS, 9]))
        alone, own = spiking(jnp.asarray(X[:9, 1:]))
        assert not np.any(out[9:, 1])
        assert np.array_equal(out[:9, 1:], alone)
        assert np.abs(carry["past"][1, ..., -9:] - own["past"][0]).max() < 1e-13


def test_what_does_not_apply_is_refused() -> None:
    for options, reason in (
        ({"method": "gl", "recurrent": True}, "not recurrent"),
        ({"method": "gl", "schedule": "scan"}, "summed step by step"),
        ({"method": "mittag_leffler"}, "moves all steps at once"),
    ):
        with pytest.raises(no.Unsupported, match=reason):
            CASES["jump"].jax(3, STEP, key=jax.random.key(0), **options)
    with pytest.raises(no.Unsupported, match="double precision"):
        CASES["jump"].jax(3, STEP, key=jax.random.key(0), method="flmm2", dtype=np.float32)(
            jnp.zeros((3, 1, 3), "float32")
        )
    layer = CASES["jump"].jax(3, STEP, key=jax.random.key(0), method="gl")
    with pytest.raises(no.Unsupported, match="steps of one length"):
        layer(jnp.zeros((3, 1, 3)), times=jnp.asarray([0.1, 0.2, 0.4]))


@pytest.mark.parametrize("rule", ["bdf2", pytest.param("trapezoidal", marks=pytest.mark.slow)])
def test_starting_weights_are_those_of_numpy(rule: str) -> None:
    """How many there are is data in a trace: 5, 3, 2 and 8 of at most 8. They are compared by what they sum, as the
    equations for them lose five digits."""
    orders = np.array([0.3, 0.5, 0.995, 0.13])
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(lambda a: fractional_jax.starting_weights(a, 40, rule))(orders))
    for k, alpha in enumerate(orders):
        wanted = fractional_weights.starting_weights(alpha, 40, rule, causal=True)
        count = wanted.shape[1]
        powers = np.array([[float(j) ** g for g in fractional_weights.exponents(alpha)] for j in range(count)])
        assert np.abs((found[:, :count, k] - wanted) @ powers).max() < 1e-10  # of sums that reach 100
        assert not found[:, count:, k].any()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gl", "abm", "flmm2"])
def test_cost_and_compilation_grow_almost_linearly(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of 8 times as many steps in less than 24 times the time (direct sums: 64), equal to torch's."""
    monkeypatch.setattr(history_blocks_jax, "BLOCK", 64)
    times = {}
    for steps in (2048, 16384):
        x = np.random.default_rng(0).normal(size=(steps, 1, 3)) + 0.5
        w = np.random.default_rng(1).normal(size=x.shape)
        with jax.enable_x64(True):
            layer = built(CASES["jump"], method)
            gradient = eqx.filter_jit(eqx.filter_grad(lambda given, w=w: (given[0](given[1])[0] * w).sum()))
            found = jax.tree.leaves(gradient((layer, jnp.asarray(x))))
            start = process_time()
            jax.block_until_ready(gradient((layer, jnp.asarray(x))))
            times[steps] = process_time() - start
        other, y = CASES["jump"].torch(3, STEP, method=method, dtype=torch.float64), torch.tensor(x, requires_grad=True)
        wanted = torch.autograd.grad((other(y)[0] * torch.tensor(w)).sum(), [*other.parameters(), y])
        for g, t in zip(found, wanted, strict=True):
            # starting weights for 16,384 steps lose eight digits, in either framework
            assert np.abs(np.asarray(g) - t.numpy()).max() <= (1e-7 if method == "flmm2" else 1e-8) * t.abs().max()
    assert times[16384] < 24 * times[2048]
