"""Layers whose flow diffrax moves: against discretized steps, scipy, finite differences, and one adjoint another."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.solvers.on_jax import flow_jax

jax.config.update("jax_enable_x64", True)
KEY = jax.random.key(0)
FINE = {"rtol": 1e-10, "atol": 1e-12}

FHN = no.Neuron(
    "fhn", dt="0.5 ms", inputs={"I": "current"},
    parameters={"tau": no.Parameter("1 ms", domain="positive"), "a": 0.7, "b": 0.8, "e": no.Parameter(0.08)},
    equations="dv/dt = (v - v^3/3 - w + I)/tau\ndw/dt = e*(v + a - b*w)/tau", outputs={"v": "v", "w": "w"},
)  # fmt: skip
#: events, a map, a lag, an impulse, a refractory time, a ramp
ODD = no.Neuron(
    "odd", dt="1 ms", inputs={"I": no.Input("current", hold="linear"), "z": "impulse"},
    parameters={"tau": no.Parameter("10 ms", domain="positive"), "v_th": 1.0},
    equations="""
        dv/dt = (-v + 0.1*v^2 + I + 0.3*I[t-2] + 0.1*q[t-1])/tau + 0.5*z
        q[t] = 0.9*q[t-1] + s
    """,
    events={"s": {"when": "v > v_th", "reset": "v -= v_th", "refractory": {"duration": "2 ms", "hold": ["v"]}}},
    outputs={"s": "s", "w": "after(v) + q"},
)  # fmt: skip
SPIRAL = no.Neuron(
    "spiral", dt="1 ms", inputs={"I": "current"}, equations="dz/dt = (-0.2 + 0.5*i - 0.1*abs(z)^2)*z/(1 ms) + I/(1 ms)",
    states={"z": {"type": "complex"}}, outputs={"x": "real(z)", "y": "imag(z)"},
)  # fmt: skip


def drive(layer: Any, steps: int = 6, batch: int = 2, shift: float = 0.5) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(3)
    return {n: draw.normal(shift, 0.4, (steps, batch, *layer.size)) for n in layer.program.inputs}


def _loss(layer: Any, x: Any, carry: Any, lengths: Any) -> Any:
    """Reads every output and the carry, all of them differently."""
    out, after = layer(x, carry, lengths=lengths)
    rows = [*(out.values() if isinstance(out, dict) else [out]), *(after[n] for n in sorted(after))]
    return sum((jnp.sin(r + 0.3 * i) * (1 + 0.1 * jnp.arange(r.shape[-1]))).sum() for i, r in enumerate(rows))


_with_slopes = jax.jit(jax.value_and_grad(_loss, argnums=(0, 1, 2)))


def slopes(layer: Any, x: Any, carry: Any = None, lengths: Any = None) -> Any:
    """A loss, and its gradients by layer, inputs and carry."""
    return _with_slopes(layer, x, layer.init_carry(2) if carry is None else carry, lengths)


def same(one: Any, other: Any, rtol: float) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1e-6, np.abs(b).max()))


def differences(layer: Any, x: Any, size: float = 1e-4) -> tuple[float, float]:
    """The derivative of the loss along one drawn direction of everything: by the layer, and central differences."""
    draw = np.random.default_rng(5)
    here = layer, {n: jnp.asarray(v) for n, v in x.items()}, layer.init_carry(2)
    way = jax.tree.map(lambda a: jnp.asarray(draw.normal(size=a.shape)), here)
    ends = [slopes(*jax.tree.map(lambda a, w, s=s: a + s * size * w, here, way))[0] for s in (1, -1)]
    found = slopes(*here)[1]
    along = sum(float((a * b).sum()) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(way), strict=True))
    return along, float(ends[0] - ends[1]) / (2 * size)


@pytest.mark.parametrize("neuron", [FHN, pytest.param(ODD, marks=pytest.mark.slow)], ids=["fhn", "odd"])
def test_fixed_steps_are_those_of_the_discretized_layer(neuron: no.Neuron) -> None:
    """One step of Heun's method a dt is method heun: values, carries, gradients, padding."""
    solved = neuron.jax(
        2, key=KEY, solver="diffrax", solver_options={"method": "Heun", "step_size": neuron.step_length()}
    )
    stepped = neuron.jax(2, key=KEY, method="heun", schedule="eager")
    x, lengths = drive(solved, 6, shift=6.0 if neuron is ODD else 0.5), np.array([6, 3])
    for row in x.values():
        row[4:, 1] = np.nan
    for n, v in stepped.trace(x, lengths=lengths).items():
        np.testing.assert_allclose(solved.trace(x, lengths=lengths)[n], v, rtol=1e-12, atol=1e-12, err_msg=n)
    mine, wanted = ((v, g[0], g[1], dict(sorted(g[2].items()))) for v, g in
                    (slopes(layer, x, lengths=lengths) for layer in (solved, stepped)))  # fmt: skip
    assert np.isfinite(mine[0])
    same(mine, wanted, 1e-10)


def test_tsit5_against_scipy() -> None:
    layer = FHN.jax(2, key=KEY, solver="diffrax", solver_options=FINE)
    x = drive(layer)
    out, carry = layer(x)

    def field(_: float, y: np.ndarray, current: float) -> list[float]:
        return [y[0] - y[0] ** 3 / 3 - y[1] + current, 0.08 * (y[0] + 0.7 - 0.8 * y[1])]

    for b in range(2):
        y = np.zeros(2)
        for t in range(6):
            y = solve_ivp(field, (0, 0.5), y, args=(x["I"][t, b, 1],), rtol=1e-12, atol=1e-13, method="DOP853").y[:, -1]
            np.testing.assert_allclose([out["v"][t, b, 1], out["w"][t, b, 1]], y, rtol=1e-8, atol=1e-10)
    first, held = layer({"I": x["I"][:2]})
    second, end = layer({"I": x["I"][2:]}, held)
    np.testing.assert_array_equal(np.concatenate([first["v"], second["v"]]), out["v"])
    np.testing.assert_array_equal(end["w"], carry["w"])


@pytest.mark.parametrize(
    "adjoint", [pytest.param(a, marks=() if a == "backsolve" else pytest.mark.slow) for a in flow_jax.ADJOINTS]
)
def test_gradients_against_finite_differences(adjoint: str) -> None:
    """Of parameters, inputs and carry at once."""
    layer = FHN.jax(1, key=KEY, solver="diffrax", adjoint=adjoint, solver_options=FINE | {"max_steps": 64})
    found, wanted = differences(layer, drive(layer, 3))
    assert abs(found - wanted) <= 1e-6 * abs(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("neuron", [ODD, SPIRAL], ids=["odd", "spiral"])
def test_adjoints_agree(neuron: no.Neuron) -> None:
    made = [neuron.jax(2, key=KEY, solver="diffrax", adjoint=a, solver_options=FINE)
            for a in ("none", "checkpointed", "backsolve")]  # fmt: skip
    x = drive(made[0], 5, shift=6.0 if neuron is ODD else 0.5)
    found = [slopes(layer, x) for layer in made]
    for other in found[1:]:
        np.testing.assert_allclose(other[0], found[0][0], rtol=1e-12)
        same(jax.tree.leaves(other[1]), jax.tree.leaves(found[0][1]), 1e-7)


def test_a_complex_state_is_a_pair() -> None:
    """A stiff method on it, against scipy."""
    layer = SPIRAL.jax(1, key=KEY, solver="diffrax", solver_options={"method": "Kvaerno5"} | FINE)
    x = np.full((3, 1, 1), 0.7)
    out, carry = layer(x)

    def field(_: float, z: np.ndarray) -> np.ndarray:
        return (-0.2 + 0.5j - 0.1 * abs(z) ** 2) * z + 0.7

    found = solve_ivp(field, (0, 3), np.zeros(1, complex), rtol=1e-11, atol=1e-12).y[0, -1]
    np.testing.assert_allclose([out["x"][-1, 0, 0], out["y"][-1, 0, 0]], [found.real, found.imag], rtol=1e-7)
    assert set(carry) == {"z.re", "z.im"}


@pytest.mark.parametrize(
    ("error", "options", "text"),
    [
        (Unsupported, {"solver": "torchdiffeq"}, "jax layers know diffrax"),
        (Unsupported, {"adjoint": "exact"}, "choose none, checkpointed, backsolve"),
        (Unsupported, {"recurrent": True}, "lanes know nothing of one another"),
        (Unsupported, {"method": "rk4"}, "a formula for the step"),
        (Unsupported, {"schedule": "scan"}, "step by step"),
        (Unsupported, {"gradient": "event"}, "declare within_step: locate"),
        (RunError, {"solver_options": {"rtoll": 1}}, "did you mean rtol"),
        (RunError, {"solver_options": {"rtol": -1}}, "a positive number"),
        (RunError, {"solver_options": {"max_steps": 0.5}}, "a whole number"),
        (RunError, {"solver_options": {"method": "RK45"}}, "choose Euler, Heun"),
        (RunError, {"solver_options": {"method": "Euler"}}, "step_size"),
    ],
)
def test_refusals(error: type[Exception], options: dict, text: str) -> None:
    with pytest.raises(error, match=text):
        FHN.jax(1, key=KEY, **{"solver": "diffrax", **options})


def test_what_has_no_flow_or_mixes_neurons_is_refused() -> None:
    with pytest.raises(Unsupported, match="no flow"):
        no.load("tc_lif").jax(1, key=KEY, solver="diffrax")
    mixing = no.Neuron(
        "mixing", dt=1, inputs={"I": "current"}, operators={"W": "dense"}, equations="dv/dt = -v + W(v[t-1]) + I"
    )
    with pytest.raises(Unsupported, match="mix neurons"):
        mixing.jax(2, key=KEY, solver="diffrax")


def test_steps_that_do_not_suffice_are_an_error() -> None:
    layer = FHN.jax(1, key=KEY, solver="diffrax", solver_options=FINE | {"max_steps": 2})
    with pytest.raises(Exception, match="maximum number of solver steps"):
        jax.block_until_ready(layer(np.ones((2, 1, 1)))[0])
