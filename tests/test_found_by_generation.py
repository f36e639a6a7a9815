"""Faults that the generated models found (`gen_models.py`), each as small as it gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same, by_interpreter, by_layer

import neuroode as no
from neuroode.expr.alike import said_once
from neuroode.program import interpret
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])


def made(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text("neuron: made\n" + text))


def inputs(steps: int = 6, size: tuple[int, ...] = (3,)) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).normal(0.5, 1, (steps, 2, *size)))


@BOTH
@pytest.mark.parametrize("size", [(3,), (2, 2)])
def test_one_number_for_all_lanes_beside_one_per_lane(schedule: str, size: tuple[int, ...]) -> None:
    """The gradient of tau: through a coefficient of the layer and one per channel, each counted once."""
    layer = made(
        "dt: 1\nparameters: {tau: {value: 3}, a: {value: 0.4, per: channel}, b: {value: 0.2, per: neuron}}\n"
        "equations: |\n  dv/dt = (-v + a*w + I)/tau\n  dw/dt = (-2*w - v)/tau\n"
        "  q[t] = q[t-1]*tau/9 + b*tau*v\noutputs: q\n"
    ).torch(size, schedule=schedule, dtype=F64)
    x = {"I": inputs(size=size)}
    assert_same(by_layer(layer, x), by_interpreter(layer, x))


@pytest.mark.parametrize(
    "text",
    [
        "v[t] = I*(1.5 + tanh(0.5))^-2",
        "v[t] = where(0.1 > 0.2, I, 0.3*v[t-1]) + detach(0.5)*I",
        "v[t] = I/sigmoid(1.5) + softplus(2)^2 - round(2.5)",
        "v[t] = I + (1/sigmoid(-500))*0.1 - max(detach(2), 3)*I",
    ],
)
def test_expressions_of_numbers(text: str) -> None:
    neuron = made(f"dt: 1\nequations: {text}\noutputs: v\n")
    compare_expressions(neuron)
    neuron.emit("c")
    neuron.emit("torch")


def test_an_infinite_number_runs_but_gives_no_reference_values() -> None:
    """1/sigmoid(-1000) overflows: every step is inf, in every target, and an emitted module could compare nothing."""
    neuron = made("dt: 1\nequations: v[t] = I + (1/sigmoid(-1000))*0.1 - max(detach(2), 3)*I\noutputs: v\n")
    compare_expressions(neuron)
    neuron.emit("c")  # a file of C holds no reference values
    for target in ("torch", "jax"):
        with pytest.raises(no.Unsupported, match="no run on reference inputs stays finite"):
            neuron.emit(target)


def compare_expressions(neuron: no.Neuron) -> None:
    x = inputs()
    wanted = neuron.simulate(x.numpy())["v"]
    for schedule in ("auto", "eager"):
        out, _ = neuron.torch(3, schedule=schedule, dtype=F64)(x)
        np.testing.assert_allclose(out.numpy(), wanted, rtol=1e-14)


@BOTH
def test_relu_of_an_event_that_is_silent_has_no_gradient(schedule: str) -> None:
    layer = made("dt: 1\nequations: v[t] = I + relu(s[t-1])\nspike: v > 50\noutputs: v\n").torch(
        3, schedule=schedule, dtype=F64
    )
    x = inputs(2).requires_grad_()
    out, _ = layer(x)
    (g,) = torch.autograd.grad(out[1].sum(), x)
    assert not g[0].any()


@BOTH
@pytest.mark.parametrize("text", ["max(I, 0)", "max(0, I)", "min(I, 0)", "min(0, I)", "relu(I)", "clip(I, -1, 1)"])
def test_nan_goes_through_max_and_min(text: str, schedule: str) -> None:
    x = torch.full((1, 1, 3), float("nan"), dtype=F64)
    neuron = made(f"dt: 1\nequations: v[t] = {text}\noutputs: v\n")
    assert np.isnan(neuron.simulate(x.numpy())["v"]).all()
    assert neuron.torch(3, schedule=schedule, dtype=F64)(x)[0].isnan().all()


def test_a_parameter_without_influence_in_the_stand_alone_text() -> None:
    text = made(
        "dt: 1\nparameters: {a: {value: 1}, b: {value: 2}}\nequations: |\n  v[t] = 0.5*v[t-1] + a*K\n  w[t] = b*I\n"
        "inputs: {K: current, I: current}\nspike: v > 1\n"
    ).emit("torch")
    space = {"__name__": "emitted"}
    exec(compile(text, "<emitted>", "exec"), space)
    rows = space["compare"]()
    assert len(rows) == 20
    assert max(r[-1] for r in rows) < 1e-12


@pytest.mark.parametrize(
    ("guard", "unit"), [("v/(10 mV) > 0.5", 0.1), ("v > 5 mV", 1.0), ("5 mV < v", 1.0), ("v/(1 V) > 0.005", 1e-3)]
)
def test_a_margin_counts_in_the_unit_of_its_own_dimension(guard: str, unit: float) -> None:
    """d(spike)/dI of a map v = I: the surrogate at the margin in that unit, times the unit."""
    neuron = made(
        f"dt: 1 ms\ninputs: {{I: {{kind: current, unit: mV}}}}\nstates: {{v: {{unit: mV}}}}\nequations: v[t] = I\n"
        f"spike: {guard}\nsurrogate: {{kind: atan, width: 0.5}}\n"
    )
    x = 5 + 3 * inputs(1).numpy()
    program = neuron.program()
    run = interpret.run(program, {"dt": np.asarray(1.0)}, {"I": x})
    found = interpret.gradients(program, {"dt": np.asarray(1.0)}, run, {"s": np.ones_like(x)}).inputs["I"]
    m = (x - 5) * unit
    np.testing.assert_allclose(found, unit / (1 + (m / 0.5) ** 2), rtol=1e-12)


@pytest.mark.parametrize("text", ["tanh(v)/(exp(tanh(v)) - 1)", "v^2/(exp(v^2) - 1)", "g*sin(v)/(1 - exp(g*sin(v)))"])
def test_a_removable_quotient_of_a_function(text: str) -> None:
    """x/(exp(x) - 1) for any x, not a linear one alone."""
    neuron = made(f"dt: 1\nparameters: {{g: 0.7}}\nequations: v[t] = 0.5*v[t-1] + I + 0*g\noutputs: '{text} + 0*g'\n")
    x = inputs(3).numpy()
    x[0] = 0
    out = next(v for k, v in neuron.simulate(x).items() if k != "v")
    assert np.isfinite(out).all()
    assert abs(abs(out[0, 0, 0]) - 1) < 1e-12


def test_the_slope_of_abs_at_zero_in_jax() -> None:
    """0, as everywhere else; jnp.abs says 1."""
    jax = pytest.importorskip("jax")
    layer = made("dt: 1\nequations: v[t] = I + abs(s[t-1])\nspike: v > 50\noutputs: v\n").jax(1, key=jax.random.key(0))
    g = jax.grad(lambda x: layer(x)[0][1].sum())(jax.numpy.ones((2, 1, 1)))
    assert not g[0].any()


def test_arrays_whose_name_ends_in_an_underscore() -> None:
    """Elements of `s_[k]` are s___0 ...: its events scale the inputs of emitted modules, and texts are said once."""
    text = (
        "dt: 1\naxes: {{k: 6}}\nequations: {0}[k] = 0.3*I + 0.01*k\n"
        "events: {{{1}: {{when: '{0}[k] > 0.5', axes: [k]}}}}\noutputs: {{first: '{1}[0]'}}\n"
    )
    emitted = [made(text.format(*names)).emit("torch") for names in (("v_", "s_"), ("v", "s"))]
    given = [e.partition("INPUTS = ")[2].partition("REFERENCE")[0] for e in emitted]
    assert given[0]
    assert given[0] == given[1]
    assert len(said_once([f"v___{k} rests" for k in range(6)])) == 1
