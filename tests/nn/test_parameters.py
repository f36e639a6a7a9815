"""Parameters of a layer: domains, transforms, writing, projection, units, names."""

from __future__ import annotations

import keyword

import numpy as np
import pytest
import torch
from oracles import distance, neuron

import neuroode as no
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
DOMAINS = {
    "real": ("none",),
    "positive": ("softplus", "abs", "exp", "relu", "project", "none"),
    "nonnegative": ("softplus", "abs", "exp", "relu", "project", "none"),
    "unit": ("sigmoid", "abs", "relu", "project", "none"),
    "interval(1, 9)": ("sigmoid", "tanh", "abs", "relu", "project", "none"),
    "interval(lo, 2*hi)": ("sigmoid", "tanh", "abs", "none"),
    "interval(-2, 0.5)": ("sigmoid", "tanh", "project", "none"),
    "interval(0, 1/dt)": ("sigmoid", "abs", "project", "none"),
}
LIMITS = {
    "real": (-np.inf, np.inf), "positive": (0, np.inf), "nonnegative": (0, np.inf), "unit": (0, 1),
    "interval(1, 9)": (1, 9), "interval(lo, 2*hi)": (1, 10), "interval(-2, 0.5)": (-2, 0.5),
    "interval(0, 1/dt)": (0, 1 / 0.7),
}  # fmt: skip
PAIRS = [(d, t) for d, ts in DOMAINS.items() for t in ts]


def declare(parameters, text="dv/dt = -v + I*tau", dt="0.7", **keys):
    lines = "\n".join(f"  {n}: {v}" for n, v in parameters.items())
    more = "\n".join(f"{k}: {v}" for k, v in keys.items())
    yaml = f"neuron: m\ndt: {dt}\nparameters:\n{lines}\nequations: |\n  {text}\noutputs: v\n{more}"
    return no.Neuron.from_spec(read_text(yaml))


def one(domain, transform, value, **more):
    """A neuron whose parameter has this domain and transform; others are read by bounds."""
    mapping = f'{{value: {value}, domain: "{domain}", transform: {transform}, per: neuron}}'
    others = {"lo": 1, "hi": 5}
    return declare({"tau": mapping, **others}, "dv/dt = -v + I*tau + lo + hi", **more)


def samples(domain):
    low, high = LIMITS[domain]
    low, high = max(low, -30.0), min(high, 30.0)
    return torch.tensor([low + (high - low) * f for f in (0.01, 0.1, 0.37, 0.5, 0.77, 0.99)], dtype=F64)


# transforms


@pytest.mark.parametrize(("domain", "transform"), PAIRS)
def test_a_transform_and_its_inverse(domain, transform):
    values = samples(domain)
    layer = one(domain, transform, float(values[3])).torch(6, dtype=F64)
    layer.set(tau=values)
    assert distance(layer.values["tau"].detach(), values) < 1e-12
    raw = layer.parameters_of_neuron.raw_tau
    (g,) = torch.autograd.grad(layer.values["tau"].sum(), raw)
    assert torch.isfinite(g).all()
    assert (g != 0).all()
    h = 1e-6
    with torch.no_grad():
        raw += h
        above = layer.values["tau"].clone()
        raw -= 2 * h
        below = layer.values["tau"].clone()
    assert distance(g, (above - below) / (2 * h)) < 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(("domain", "transform"), PAIRS)
def test_any_stored_number_is_inside_after_projection(domain, transform, dtype):
    value = float(samples(domain)[2])
    layer = one(domain, transform, value).torch(9, dtype=dtype)
    raw = layer.parameters_of_neuron.raw_tau
    with torch.no_grad():
        raw.copy_(torch.tensor([-1e6, -80.0, -2.5, -1e-3, 0.0, 0.4, 3.0, 80.0, 1e6]).to(dtype))
        raw.copy_(raw.clamp(max=80) if transform == "exp" else raw)
    before = raw.detach().clone()
    inside = one(domain, transform, value).torch(9, dtype=dtype)
    layer.project()
    low, high = LIMITS[domain]
    exact = layer.parameters_of_neuron.constrained(layer.neuron.spec.parameters[0]).detach()
    assert torch.isfinite(exact).all()
    assert (exact >= low).all()
    assert (exact <= high).all()
    assert domain != "positive" or (exact > 0).all()
    once = raw.detach().clone()
    layer.project()
    assert torch.equal(raw, once)
    shown = layer.values["tau"].detach()
    if transform in ("none", "project"):
        kept = (before >= low) & (before <= high) & (before > 0 if domain == "positive" else True)
        assert torch.equal(raw[kept], before[kept])
        assert torch.isfinite(shown).all()
    inside.project()
    assert distance(inside.values["tau"].detach(), np.full(9, value)) < 1e-6


def test_a_dead_relu_of_a_nonnegative_parameter_stays_where_it_is():
    layer = one("nonnegative", "relu", 0.3).torch(2)
    with torch.no_grad():
        layer.parameters_of_neuron.raw_tau.copy_(torch.tensor([-0.5, 0.0]))
    layer.project()
    assert layer.parameters_of_neuron.raw_tau.tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("dt", ["0.7", "0.3", "0.01", "0.1", "0.007"])
def test_a_bound_that_float32_rounds_up_is_not_passed(dt):
    layer = one("interval(0, 1/dt)", "abs", 0.5, dt=dt).torch(2)
    with torch.no_grad():
        layer.parameters_of_neuron.raw_tau.fill_(1e4)
    layer.project()
    assert (layer.parameters_of_neuron.raw_tau.double() * float(dt) <= 1).all()
    layer.set(tau=1 / float(dt))
    assert (layer.parameters_of_neuron.raw_tau.double() * float(dt) <= 1).all()


@pytest.mark.parametrize(("domain", "transform", "value"), [
    ("interval(-2, 2)", "abs", -1), ("interval(-2, 2)", "relu", -1),
    ("nonnegative", "softplus", 0), ("nonnegative", "exp", 0),
])  # fmt: skip
def test_a_value_that_the_transform_does_not_reach_is_refused(domain, transform, value):
    with pytest.raises(no.RunError, match=f"transform {transform} does not reach {value}\nhint: "):
        one(domain, transform, value).torch(2)


# values, set


def test_shapes():
    neuron_ = declare(
        {
            "a": "{value: 2}",
            "b": "{value: 3, per: channel}",
            "c": "{value: 1 + 2i, type: complex, per: neuron}",
            "d": "4",
        },
        "dv/dt = -a*v*b + I*abs(c) + d",
    )
    layer = neuron_.torch((3, 5))
    shapes = {n: tuple(v.shape) for n, v in layer.values.items()}
    assert shapes == {"a": (), "b": (3,), "c": (3, 5), "d": ()}
    assert layer.values["c"].dtype == torch.complex64
    assert neuron_.torch((3, 5), dtype=F64).values["c"].dtype == torch.complex128
    assert len(layer.values) == 4
    assert "a" in layer.values
    assert "v" not in layer.values
    assert repr(layer.values).startswith("Values(a: (), b: (3,)")
    trained = {n.removeprefix("parameters_of_neuron.raw_"): tuple(p.shape) for n, p in layer.named_parameters()}
    assert trained == {"a": (), "b": (3,), "c": (3, 5, 2)}
    layer.set(b=[1, 2, 3], c=np.full((3, 5), 1j), d=torch.tensor(7.0))
    assert layer.values["b"].tolist() == [1, 2, 3]
    assert (layer.values["c"] == 1j).all()
    assert layer.values["d"] == 7


def test_set_and_read():
    layer = no.load("lif").torch(3)
    assert layer.set(tau=10.0) is layer
    assert torch.allclose(layer.tau, torch.full((3,), 10.0))
    layer.set(tau=torch.tensor([5.0, 6, 7], requires_grad=True), v_th=2)
    assert torch.allclose(layer.values["tau"], torch.tensor([5.0, 6, 7]))
    assert layer.v_th == 2
    assert layer.tau.requires_grad
    assert not layer.v_th.requires_grad
    with pytest.raises(AttributeError, match="tua"):
        layer.tua
    with pytest.raises(no.RunError, match=r"'tau' is a parameter of the neuron\nhint: write layer\.set\(tau="):
        layer.tau = 3.0
    layer.note = "free names are free"
    layer.schedule = "eager"
    assert layer.train(False).training is False


@pytest.mark.parametrize(("values", "message"), [
    ({"tua": 3}, "'tua' is not a parameter of 'lif'\nhint: parameters: tau, v_th"),
    ({"v": 3}, "'v' is not a parameter"),
    ({"tau": [1, 2]}, r"'tau' has shape \(3,\), found \(2,\)"),
    ({"v_th": [1, 2]}, r"'v_th' has shape \(\), found \(2,\)"),
    ({"tau": -1}, "'tau': -1 is not positive"),
    ({"tau": [1, 0, 1]}, "'tau': 0 is not positive"),
    ({"tau": float("nan")}, "'tau': nan is not finite"),
    ({"v_th": float("inf")}, "'v_th': inf is not finite"),
    ({"tau": "fast"}, "'tau': 'fast' is not made of real numbers"),
    ({"tau": 1j}, "'tau': 1j is not made of real numbers"),
    ({"tau": None}, "'tau': "),
    ({"tau": [[1, 2], [3]]}, "'tau': "),
])  # fmt: skip
def test_wrong_values_are_refused_and_nothing_is_written(values, message):
    layer = no.load("lif").torch(3)
    before = {n: v.clone() for n, v in layer.state_dict().items()}
    with pytest.raises(no.NeuroodeError, match=message):
        layer.set(**values)
    with pytest.raises(no.NeuroodeError, match=message):
        layer.set(**{"v_th": 7, "tau": 3} | values)
    assert all(torch.equal(v, before[n]) for n, v in layer.state_dict().items())


def test_bounds_follow_constants_and_values_stay():
    layer = one("interval(lo, 2*hi)", "sigmoid", 3).torch(2, dtype=F64)
    layer.set(hi=50)
    assert distance(layer.tau.detach(), np.full(2, 3.0)) < 1e-12
    layer.set(tau=90)
    layer.set(tau=150, hi=100)
    layer.set(hi=80, tau=120)
    assert distance(layer.tau.detach(), np.full(2, 120.0)) < 1e-12
    with pytest.raises(no.SpecError, match=r"'tau': 120 is not in interval\(lo, 2\*hi\)"):
        layer.set(hi=40)
    assert layer.hi == 80
    with torch.no_grad():
        layer.parameters_of_neuron.raw_tau.fill_(1000.0)
    assert (layer.tau == 160).all()


# init


def test_init_replaces_value_and_init():
    layer = no.load("brf").torch(200, init={"omega": "uniform(3, 4)", "theta_c": 2, "b_0": [0.5] * 200})
    assert ((layer.omega >= 3) & (layer.omega <= 4)).all()
    assert layer.omega.unique().numel() > 100
    assert layer.theta_c == 2
    assert torch.allclose(layer.b_0, torch.tensor(0.5))
    assert layer.neuron.spec.parameters[0].init is not None
    torch.manual_seed(3)
    first = no.load("brf").torch(20).omega
    torch.manual_seed(3)
    assert torch.equal(no.load("brf").torch(20).omega, first)
    assert not torch.equal(no.load("brf").torch(20).omega, first)


def test_init_of_other_parameters_and_units():
    layer = no.load("alif").torch(3, init={"tau": "uniform(5 ms, 10 ms)", "tau_a": "3*tau"})
    assert torch.allclose(layer.tau_a, 3 * layer.tau)
    assert ((layer.tau > 5) & (layer.tau < 10)).all()
    assert torch.allclose(no.load("alif").torch(1, init={"tau": "2000 us"}).tau, torch.tensor([2.0]))
    assert no.load("alif").torch(1, init={"tau": torch.tensor([4.0])}).tau == 4


@pytest.mark.parametrize(("init", "message"), [
    ({"tua": 3}, "init names 'tua'.*\nhint: parameters: tau, v_th"),
    ({"tau": "uniform(-2, -1)"}, "1000 draws in a row fall outside its domain positive"),
    ({"tau": "q + 1"}, "unknown name 'q'"),
    ({"tau": "v + 1"}, "reads v, which is a state"),
    ({"tau": "2*tau"}, "circle"),
    ({"tau": "uniform(1"}, "never closed"),
    ({"tau": -3}, "-3 is not positive"),
    ({"tau": "1/0"}, "not finite"),
    ({"tau": [1, 2]}, r"shape \(3,\), found \(2,\)"),
    ({"v_th": [1, 2]}, "list"),
    ({"tau": None}, "NoneType"),
])  # fmt: skip
def test_wrong_inits_are_refused(init, message):
    with pytest.raises(no.NeuroodeError, match=message):
        no.load("lif").torch(3, init=init)


def test_draws_lie_in_the_domain():
    rows = {"tau": '{init: "normal(0, 1)", domain: positive, per: neuron}', "k": '{init: "normal(0, 3)", domain: unit}'}
    layer = declare(rows, "dv/dt = -v/tau + k*I").torch(2000)
    assert (layer.tau > 0).all()
    assert (layer.tau.mean() - np.sqrt(2 / np.pi)).abs() < 0.06
    assert 0 <= layer.k <= 1


def test_an_init_reads_a_parameter_of_each_channel():
    rows = {"c": "{value: 1, per: channel}", "tau": "{init: 2*c, per: neuron}"}
    for size in ((3, 5), (4, 4)):
        n = declare({**rows, "c": '{init: "uniform(1, 2)", per: channel}'}, "dv/dt = -v/tau + c*I")
        layer = n.torch(size)
        assert torch.allclose(layer.tau, 2 * layer.c[:, None].expand(size))
    wrong = declare({"c": "{value: 1, per: neuron}", "tau": "{init: 2*c}"}, "dv/dt = -v/tau + c*I")
    with pytest.raises(no.SpecError, match="init of parameter 'tau' varies with more"):
        wrong.torch(3)


# units


SAME = {
    "{value: 20 ms}": 20, "{value: 0.02 s}": 0.02, "{value: 20, unit: ms}": 20, "{value: 0.02 s, unit: ms}": 20,
    "{value: 0.02, unit: s}": 0.02, '{init: "uniform(0.02 s, 0.02 s)", unit: ms}': 20,
    '{init: "uniform(20, 20)", unit: ms}': 20, "{init: 2*t_0, unit: ms}": 20, "{init: t_0 + 10 ms, unit: s}": 0.02,
    '{value: 20 ms, domain: "interval(0.001 s, 1 s)"}': 20, '{value: 0.02 s, domain: "interval(2*dt, 99*dt)"}': 0.02,
    '{value: 20, unit: ms, domain: "interval(1, 100)"}': 20, '{value: 20 ms, domain: "interval(t_0, 0.1 s)"}': 20,
}  # fmt: skip


@pytest.mark.parametrize(("tau", "shown"), SAME.items())
def test_values_in_any_unit_of_time_mean_the_same(tau, shown):
    n = declare({"t_0": "0.01 s", "tau": tau}, "dv/dt = (-v + I)/tau + 0*t_0/(1 s)/(1 s)", dt="1 ms")
    layer = n.torch(1, dtype=F64)
    assert distance(layer.values["tau"].detach(), shown) < 1e-12
    out, _ = layer(torch.ones(3, 1, 1, dtype=F64))
    wanted = 1 - np.exp(-np.arange(1, 4) / 20)
    assert distance(out.detach().flatten(), wanted) < 1e-12
    assert distance(n.simulate(np.ones((3, 1, 1)))["v"].ravel(), wanted) < 1e-12


@pytest.mark.parametrize("init", [
    "-65 mV", "-0.065 V", "{init: -65, unit: mV}", "{init: -0.065 V, unit: mV}", "{init: v_0, unit: mV}",
    "{init: 2*v_0 + 65 mV, unit: mV}", "{init: -30 - 35, unit: mV}",
])  # fmt: skip
def test_inits_of_states_in_any_unit_mean_the_same(init):
    n = declare({"v_0": "{value: -65 mV}"}, "dv/dt = (-v + I)/(20 ms) + 0*v_0/(1 s)", dt="1 ms",
                states=f"{{v: {init}}}", inputs="{I: {kind: current, unit: mV}}")  # fmt: skip
    scale = 1e-3 if init == "-0.065 V" else 1.0
    assert distance(n.torch(1, dtype=F64).init_carry(1)["v"].detach().flatten(), -65 * scale) < 1e-12


# names

NAMES = [
    "training", "forward", "weight", "lambda", "T_destination", "values", "dt_", "class", "self", "raw_a", "value_a",
    "a", "parameters", "state_dict", "W_rec", "set", "spec", "stored", "gamma", "E", "N", "torch", "int", "double", "k",
    "c", "x", "p", "carry", "inputs", "reset", "event", "number", "step_", "import", "None", "name", "weights",
]  # fmt: skip


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_any_name_works(schedule):
    assert any(keyword.iskeyword(n) for n in NAMES)
    rows = {n: f"{{value: {i + 1}}}" if i % 2 else f"{i + 1}" for i, n in enumerate(NAMES)}
    layer = declare(rows, "dv/dt = -v + I*(" + " + ".join(NAMES) + ")").torch(2, schedule=schedule, dtype=F64)
    total = len(NAMES) * (len(NAMES) + 1) / 2
    out, _ = layer(torch.ones(1, 1, 2, dtype=F64))
    assert distance(out.detach(), np.full((1, 1, 2), total * -np.expm1(-0.7))) < 1e-12
    for i, n in enumerate(NAMES):
        assert layer.values[n] == i + 1
        layer.set(**{n: 2.0})
        assert layer.values[n] == 2
    assert layer.training is True
    assert layer.gamma == 2
    other = declare(rows, "dv/dt = -v + I*(" + " + ".join(NAMES) + ")").torch(2, schedule=schedule, dtype=F64)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(torch.ones(1, 1, 2, dtype=F64))[0], layer(torch.ones(1, 1, 2, dtype=F64))[0])


def test_states_inputs_and_events_may_have_any_name_too():
    n = no.Neuron.from_spec(
        read_text("""
neuron: class
dt: 1
inputs: {lambda: current, carry: current}
equations: |
  dforward/dt = -forward + lambda + carry
  int[t] = 0.5*int[t-1] + double
events:
  double: {when: forward > 0.5, reset: forward -= 0.5}
outputs: {return: forward, if: double + int}
""")
    )
    x = torch.rand(20, 2, 3, dtype=F64)
    layers = [n.torch(3, dtype=F64, schedule=s) for s in ("auto", "eager")]
    (a, c), (b, _) = (layer({"lambda": x, "carry": 2 * x}) for layer in layers)
    assert list(a) == ["return", "if"]
    assert sorted(c) == ["forward", "int"]
    assert all(distance(a[k], b[k]) < 1e-12 for k in a)
    assert a["if"].any()


@pytest.mark.parametrize("name", ["spiral", "levels", "two_inputs", "channels"])
def test_representation(name):
    assert name in repr(neuron(name).torch((2, 3)))
    assert "size=(2, 3)" in repr(neuron(name).torch((2, 3)))
