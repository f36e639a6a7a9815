"""Jax layers that keep the whole past: against the numpy reference, their gradients against those of torch."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neuroode as no

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
SLOW = [(c, m) for c in CASES for m in ("gl", "gl(implicit)", "l1", "l1(explicit)", "abm")]
PAIRS = [("restart", "gl", STEPS), *(pytest.param(*p, 15, marks=pytest.mark.slow) for p in SLOW)]


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
        spiking = built(CASES["jump"], "gl")
        out, carry = spiking(jnp.asarray(X), lengths=jnp.asarray([STEPS, 9]))
        alone, own = spiking(jnp.asarray(X[:9, 1:]))
        assert not np.any(out[9:, 1])
        assert np.array_equal(out[:9, 1:], alone)
        assert np.abs(carry["past"][1, ..., -9:] - own["past"][0]).max() < 1e-13


def test_what_does_not_apply_is_refused() -> None:
    for options, reason in (
        ({"method": "flmm2"}, "which a trace does not know"),
        ({"method": "gl", "recurrent": True}, "not recurrent"),
        ({"method": "gl", "schedule": "scan"}, "summed step by step"),
        ({"method": "mittag_leffler"}, "moves all steps at once"),
    ):
        with pytest.raises(no.Unsupported, match=reason):
            CASES["jump"].jax(3, STEP, key=jax.random.key(0), **options)
    layer = CASES["jump"].jax(3, STEP, key=jax.random.key(0), method="gl")
    with pytest.raises(no.Unsupported, match="steps of one length"):
        layer(jnp.zeros((3, 1, 3)), times=jnp.asarray([0.1, 0.2, 0.4]))
