"""Events inside the steps of layers that diffrax moves: their times, what follows, and exact gradients."""

from __future__ import annotations

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

import neuroode as no
from neuroode._errors import Unsupported

jax.config.update("jax_enable_x64", True)
KEY = jax.random.key(0)
FINE = {"rtol": 1e-9, "atol": 1e-11}

LIF = no.Neuron(
    "lif_at", dt="20 ms", inputs={"I": "current", "z": "impulse"},
    parameters={"tau": no.Parameter("10 ms", domain="positive"), "v_th": no.Parameter(1.0)},
    equations="dv/dt = (-v + I)/tau + z", events={"s": {"when": "v > v_th", "reset": "v -= v_th"}},
    outputs={"s": "s", "v": "v"}, within_step="locate",
)  # fmt: skip
#: several spikes a step, two states, a second event that reads the other state
BURST = no.Neuron(
    "burst", dt="10 ms", inputs={"I": "current"},
    parameters={"tau": no.Parameter("1 ms", domain="positive"), "b": no.Parameter(0.6), "a": 0.3, "peak": 2.0},
    equations="dv/dt = (v^2 - w + I)/tau\ndw/dt = (a*v - w)/(8*tau)",
    events={
        "s": {"when": "v > peak", "reset": "v = -1 + 0.1*w; w += b"}, "r": {"when": "w > 1.5", "reset": "w -= 0.75"},
    },
    outputs={"s": "s", "r": "r"}, within_step="locate",
)  # fmt: skip


def moved(neuron: no.Neuron, size: int = 1, dt: Any = None, **options: Any) -> Any:
    more = {"gradient": "event", **options}
    more["solver_options"] = FINE | more.get("solver_options", {})
    return neuron.jax(size, dt, key=KEY, solver="diffrax", **more)


def _loss(layer: Any, x: Any, carry: Any) -> Any:
    """Reads the carry, every first spike time and the outputs."""
    times, after = layer.spike_times(x, carry)
    rows = times.values() if isinstance(times, dict) else [times]
    seen = sum(jnp.where(jnp.isfinite(t), jnp.sin(t * (1 + 0.1 * i)), 0).sum() for i, t in enumerate(rows))
    return seen + sum(jnp.cos(1 + i + after[n]).sum() for i, n in enumerate(sorted(after)))


_with_slopes = jax.jit(jax.value_and_grad(_loss, argnums=(0, 1, 2)))


def differences(layer: Any, x: Any, size: float = 1e-5) -> tuple[float, float]:
    """The derivative of the loss along one drawn direction of everything: by the layer, and central differences."""
    draw = np.random.default_rng(5)
    here = layer, {n: jnp.asarray(v) for n, v in x.items()}, layer.init_carry(2)
    way = jax.tree.map(lambda a: jnp.asarray(draw.normal(size=a.shape)), here)
    ends = [_with_slopes(*jax.tree.map(lambda a, w, s=s: a + s * size * w, here, way))[0] for s in (1, -1)]
    found = _with_slopes(*here)[1]
    along = sum(float((a * b).sum()) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(way), strict=True))
    return along, float(ends[0] - ends[1]) / (2 * size)


def test_the_first_spike_of_a_lif() -> None:
    """I = 1.5, v_th = 1: t* = 1.0986123 tau, dt*/dI = -1.3333333 tau."""
    layer = moved(LIF)
    x = {"I": jnp.full((1, 1, 1), 1.5), "z": jnp.zeros((1, 1, 1))}

    def first(layer: Any, x: Any) -> Any:
        return layer.spike_times(x)[0].sum()

    time, (slope, drive) = jax.jit(jax.value_and_grad(first, argnums=(0, 1)))(layer, x)
    np.testing.assert_allclose(time, 10 * np.log(3), rtol=1e-9)
    np.testing.assert_allclose(drive["I"], -10 * 4 / 3, rtol=1e-8)
    np.testing.assert_allclose(slope.parameters_of_neuron.raw["v_th"], 20.0, rtol=1e-8)


def oracle(current: float, end: float) -> list[tuple[str, float]]:
    """Events of `BURST`, batch of one, by diffrax.Event and restarts."""
    found, time, y = [], 0.0, jnp.zeros(2)
    event = diffrax.Event([lambda t, y, args, **k: y[0] - 2.0, lambda t, y, args, **k: y[1] - 1.5],
                          optimistix.Newton(1e-12, 1e-12), direction=[True, True])  # fmt: skip

    def field(t: Any, y: Any, args: Any) -> Any:
        return jnp.stack([y[0] ** 2 - y[1] + current, (0.3 * y[0] - y[1]) / 8])

    @jax.jit
    def move(time: Any, y: Any) -> Any:
        done = diffrax.diffeqsolve(diffrax.ODETerm(field), diffrax.Tsit5(), time, end, 0.01, y, event=event,
                                   stepsize_controller=diffrax.PIDController(1e-11, 1e-13, dtmax=0.05))  # fmt: skip
        return done.ts[-1], done.ys[-1], jnp.stack(done.event_mask)

    while True:
        at, y, mask = move(time, y)
        if not bool(mask.any()):
            return found
        time = float(at)
        if mask[0]:
            found.append(("s", time))
            y = jnp.stack([-1 + 0.1 * y[1], y[1] + 0.6])
        if mask[1] or y[1] > 1.5:  # a guard that a reset makes true acts at once
            found.append(("r", time))
            y = y.at[1].add(-0.75)


@pytest.mark.slow
def test_diffrax_events_are_an_oracle_for_one_lane() -> None:
    """First times of both events in each of three steps, with several in a step."""
    layer = moved(BURST, 2)
    x = np.stack([np.full((3, 1), 2.0), np.full((3, 1), 1.2)], -1)
    times, _ = layer.spike_times(x)
    assert max(len(oracle(2.0, 10.0)), 1) > 3
    for lane, current in enumerate((2.0, 1.2)):
        wanted = oracle(current, 30.0)
        for name in "sr":
            rows = [[t for n, t in wanted if n == name and 10 * k < t <= 10 * k + 10] for k in range(3)]
            first = [min(row, default=np.inf) for row in rows]
            np.testing.assert_allclose(times[name][:, 0, lane], first, rtol=1e-6)


@pytest.mark.slow  # the quick one: the first spike of a LIF, and torch's of several
@pytest.mark.parametrize("adjoint", ["backsolve", "none", "checkpointed"])
def test_gradients_behind_several_spikes(adjoint: str) -> None:
    """Of parameters, inputs and carry; two lanes with different events; finite differences of the whole."""
    layer = moved(BURST, adjoint=adjoint)
    x = {"I": np.array([2.0, 1.2, 1.6, 1.9]).reshape(2, 2, 1)}
    assert layer.trace(x["I"])["s"].sum() > 2
    found, wanted = differences(layer, x)
    assert abs(found - wanted) <= 1e-5 * abs(wanted)


@pytest.mark.slow
def test_equals_the_step_that_is_located_in_closed_form() -> None:
    """Values, times and gradients; an impulse above the threshold acts at once."""
    solved, exact = moved(LIF, adjoint="none"), LIF.jax(1, key=KEY, schedule="eager")
    x = {"I": jnp.array([1.5, 2.2, 0.2, 1.8]).reshape(2, 2, 1), "z": jnp.array([0.0, 0.0, 1.3, 0.4]).reshape(2, 2, 1)}
    mine, wanted = solved.trace(x), exact.trace(x)
    for name in ("s", "v", "s.time"):
        np.testing.assert_allclose(mine[name], wanted[name], rtol=1e-7, err_msg=name)
    assert float(mine["s.time"][1, 0, 0]) == 0
    carry = [layer.init_carry(2) for layer in (solved, exact)]
    for a, b in zip(*(jax.tree.leaves(_with_slopes(m, x, c)) for m, c in zip((solved, exact), carry, strict=True)),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_surrogates_have_a_slope_and_events_none() -> None:
    x = {"I": jnp.full((1, 1, 1), 1.5), "z": jnp.zeros((1, 1, 1))}
    for gradient, flat in (("event", True), ("surrogate", False)):
        layer = moved(LIF, gradient=gradient)
        count, slope = jax.jit(jax.value_and_grad(lambda layer: layer(x)[0]["s"].sum()))(layer)
        assert float(count) == 1
        assert (float(slope.parameters_of_neuron.raw["v_th"]) == 0) == flat


@pytest.mark.slow
def test_more_events_than_are_allowed_are_an_error() -> None:
    layer = moved(LIF, solver_options={"max_events": 1})
    with pytest.raises(Exception, match="more than max_events=1"):
        jax.block_until_ready(layer({"I": jnp.full((1, 1, 1), 5.0), "z": jnp.zeros((1, 1, 1))})[0])


@pytest.mark.slow
def test_chunks_and_times() -> None:
    """Two calls are one; steps of other lengths move no spike."""
    layer = moved(LIF)
    x = {"I": jnp.full((2, 1, 1), 1.7), "z": jnp.zeros((2, 1, 1))}
    whole, end = layer.spike_times(x)
    _, held = layer.spike_times({n: v[:1] for n, v in x.items()}, layer.init_carry(1))
    second, after = layer.spike_times({n: v[1:] for n, v in x.items()}, held)
    np.testing.assert_allclose(second + 20, whole[1:], rtol=1e-12)
    np.testing.assert_allclose(after["v"], end["v"], rtol=1e-12)
    parts, last = layer.spike_times(x, times=np.array([12.0, 40.0]))
    np.testing.assert_allclose(last["v"], end["v"], rtol=1e-7)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"events": {"s": {"when": "v > v_th and I > 0", "reset": "v = 0"}}}, "combines comparisons"),
        ({"events": {"s": {"when": "v > v_th", "reset": {"do": "v = 0", "when": "next_step"}}}}, "in the next step"),
        ({"events": {"s": {"when": "v > v_th", "reset": "v = 0", "refractory": "2 ms"}}}, "a refractory time"),
        ({"inputs": {"I": "current", "z": no.Input("impulse", at="end")}}, "acts at the end of the step"),
        ({"events": {"s": {"when": "I > v_th", "reset": "v = 0"}}}, "compares a state that flows"),
        (
            {"equations": "dv/dt = (-v + I)/tau + z\nq[t] = 0.9*q[t-1]",
             "events": {"s": {"when": "v > v_th", "reset": "v = 0; q += 1"}}},
            "assigns q, a map",
        ),
    ],
)  # fmt: skip
def test_what_has_no_time_inside_the_step(changes: dict, text: str) -> None:
    keys = {
        "dt": "20 ms", "inputs": {"I": "current", "z": "impulse"}, "parameters": {"tau": "10 ms", "v_th": 1.0},
        "equations": "dv/dt = (-v + I)/tau + z", "events": {"s": {"when": "v > v_th", "reset": "v = 0"}},
        "within_step": "locate",
    }  # fmt: skip
    with pytest.raises(Unsupported, match=text):
        no.Neuron("odd", **(keys | changes)).jax(1, key=KEY, solver="diffrax")
