"""Runs over whole sequences, stage by stage, against the float64 interpreter: values and every gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import INVENTED, ZOO, assert_same, by_interpreter, by_layer, drive, neuron, scatter

import neuroode as no
from neuroode.nn import newton_torch
from neuroode.program.partition import partition
from neuroode.spec.read_yaml import read_text

ALL = [*ZOO, *INVENTED]
F64 = torch.float64
#: those whose states cannot be scanned even with their spikes known; their gradients can
NONLINEAR = [n for n in ALL if all(s.kind == "loop" for s in partition(neuron(n).program(1.0)).stages if s.slots)]
#: gradients of inputs in pA through a numeric exponential of a block of 4 cancel, in every target
WIDE = {"glif_5": 1e-6}
REFUSED = "schedule 'scan' .*recurrent weights mix them"


def build(name: str, schedule: str = "scan", size: int = 5, **options):
    torch.manual_seed(0)
    if name not in NONLINEAR:
        return scatter(neuron(name).torch(size, schedule=schedule, dtype=F64, **options))
    layer = scatter(neuron(name).torch(size, dtype=F64, **options))
    layer.schedule = schedule  # refused to users, yet the gradient must be right: it is what newton uses
    return layer


def as_given(rows):
    return rows if len(rows) > 1 else next(iter(rows.values()))


def key(out):
    return out if isinstance(out, dict) else {"": out}


def made(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text("neuron: made\ndt: 1\n" + text))


@pytest.mark.parametrize("name", ALL)
def test_equal_to_the_interpreter(name: str) -> None:
    layer = build(name)
    x = drive(layer, 67, 2)
    carry = layer.init_carry(2)
    start = type(carry)({k: v + 0.01 for k, v in carry.items()}, carry.digest) if "step" not in carry else None
    found, wanted = by_layer(layer, x, start), by_interpreter(layer, x, start)
    assert_same(found, wanted, values=1e-11, grads=WIDE.get(name, 1e-10))


@pytest.mark.parametrize("name", NONLINEAR)
def test_a_neuron_that_is_not_linear_is_refused(name: str) -> None:
    with pytest.raises(no.Unsupported, match="composes over time, so there is nothing to scan"):
        neuron(name).torch(3, schedule="scan")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("v[t] = 0.9*v[t-1] + 1e-9*v[t-1]^2 + I", "a product of states"),
        ("v[t] = 0.9*v[t-1] + 1e-9*v[t-1]*w[t-1] + I; w[t] = 0.5*w[t-1] + v[t-1]", "a product of states"),
        ("v[t] = 0.9*max(v[t-1], -1e9) + I", "max of a state"),
        ("v[t] = v[t-1]*(1 - 1e-9*tanh(v[t-1])) + I", "a product of states|tanh of a state"),
        ("v[t] = where(v[t-1] > -1e9, 0.9, 0.8)*v[t-1] + I", "a comparison of a state"),
    ],
)
def test_almost_linear_is_not_linear(line: str, reason: str) -> None:
    with pytest.raises(no.Unsupported, match=reason):
        made(f"equations: {line}\noutputs: v\n").torch(3, schedule="scan")


LINEAR = {
    "time-varying": "v[t] = sigmoid(g)*v[t-1] + I; w[t] = cos(I)*w[t-1] + v*g",
    "a rotation by an input": "u[t] = exp(i*g)*u[t-1] + I : complex\n  v = real(u)",
    "a gated pair": "dv/dt = (v*g - 2*v + w + I)/5; dw/dt = (v - w*(1 + g^2))/3",
    "three in a ring": "v[t] = 0.5*w[t-1] + I; w[t] = 0.9*u[t-1] - g; u[t] = -v[t-1] + 0.3*u[t-1]",
    "lags": "v[t] = 0.3*v[t-1] - 0.4*v[t-3] + I[t-2]*g",
    "a detached past": "v[t] = 0.3*detach(v[t-1]) + 0.4*v[t-1] + I*g",
    "the step": "v[t] = 0.9*v[t-1] + I*cos(0.1*step)*g",
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_parts_of_every_kind(name: str) -> None:
    n = made(f"inputs: {{I: current, g: current}}\nequations: |\n  {LINEAR[name]}\noutputs: v\n")
    layer = n.torch(3, schedule="scan", dtype=F64)
    assert partition(layer.program).parallel
    x = {k: torch.tensor(np.random.default_rng(i).normal(0, 0.5, (70, 2, 3))) for i, k in enumerate("Ig")}
    assert_same(by_layer(layer, x), by_interpreter(layer, x), values=1e-12, grads=1e-11)


@pytest.mark.parametrize("name", ["drf", "lif", "cuba_lif", "levels", "two_inputs", "glif_5"])
def test_chunks_and_lengths(name: str) -> None:
    """Two calls equal one; a sample that ends early equals itself alone."""
    layer = build(name)
    x = drive(layer, 60, 3)
    whole, end = layer(as_given(x))
    first, carry = layer(as_given({k: v[:23] for k, v in x.items()}))
    second, after = layer(as_given({k: v[23:] for k, v in x.items()}), carry)
    for k, v in key(whole).items():
        torch.testing.assert_close(torch.cat([key(first)[k], key(second)[k]]), v, rtol=1e-10, atol=1e-12)
    for k, v in end.items():
        torch.testing.assert_close(after[k], v, rtol=1e-10, atol=1e-12)
    lengths = torch.tensor([60, 0, 31])
    nan = {k: v.clone() for k, v in x.items()}
    for v in nan.values():
        v[31:, 2], v[:, 1] = torch.nan, torch.nan
        v.requires_grad_()
    out, ends = layer(as_given(nan), lengths=lengths)
    total = sum(v.sum() for v in key(out).values()) + sum(v.sum() for v in ends.values())
    grads = torch.autograd.grad(total, [*nan.values(), *layer.parameters()], allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in grads)
    alone, last = layer(as_given({k: v[:31, 2:] for k, v in x.items()}))
    for k, v in key(alone).items():
        torch.testing.assert_close(key(out)[k][:31, 2:], v, rtol=1e-10, atol=1e-12)
        assert not key(out)[k][31:, 2].any()
    for k, v in last.items():
        torch.testing.assert_close(ends[k][2:], v, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_short_sequences(steps: int) -> None:
    for name in ("drf", "lif", "two_inputs"):
        layer = build(name)
        x = drive(layer, steps, 2)
        assert_same(by_layer(layer, x), by_interpreter(layer, x))


def test_several_axes_of_size_and_a_table_over_time() -> None:
    for name in ("channels", "drf"):
        layer = build(name, size=(2, 3))
        x = drive(layer, 55, 2)
        assert_same(by_layer(layer, x), by_interpreter(layer, x), values=1e-11, grads=1e-10)
    one, two = (no.load("ce_lif").torch(4, dtype=F64, schedule=s) for s in ("eager", "scan"))
    two.load_state_dict(one.state_dict())
    x = torch.randn(10, 2, 4, dtype=F64)
    torch.testing.assert_close(two(x)[0], one(x)[0])


def test_what_does_not_apply_is_refused() -> None:
    with pytest.raises(no.Unsupported, match=REFUSED):
        no.load("lif").torch(3, schedule="scan", recurrent=True)
    layer = no.load("prf").torch(3, schedule="scan", dtype=F64)
    x = torch.randn(5, 1, 3, dtype=F64, requires_grad=True)
    (g,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    with pytest.raises(no.Unsupported, match="second derivative"):
        torch.autograd.grad(g.sum(), x)


def test_no_gradient_is_computed_where_none_is_wanted() -> None:
    layer = build("drf")
    with torch.no_grad():
        out, carry = layer(next(iter(drive(layer, 60, 2).values())))
    assert not any(v.requires_grad for v in (out, *carry.values()))


@pytest.mark.parametrize("name", ["prf", "drf", "rc_ladder", "cuba_lif", "alpha_synapse"])
def test_invariant_parts_by_fourier_transforms(name: str) -> None:
    layer = build(name, "fft")
    x = drive(layer, 67, 2)
    carry = layer.init_carry(2)
    start = type(carry)({k: v + 0.01 for k, v in carry.items()}, carry.digest)
    assert_same(by_layer(layer, x, start), by_interpreter(layer, x, start), values=1e-11, grads=1e-10)


@pytest.mark.parametrize("name", ["lif", "brf", "izhikevich", "channels", "lif_refractory", "levels"])
def test_newton_finds_the_trajectory_of_the_loop(name: str) -> None:
    layer = build(name, "newton")
    x = drive(layer, 90, 2)
    assert_same(by_layer(layer, x), by_interpreter(layer, x), values=1e-10, grads=1e-9)
    (count,) = layer.iterations.values()
    assert 1 <= count < 90


def test_newton_says_where_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = build("izhikevich", "newton")
    x = drive(layer, 90, 2)
    monkeypatch.setattr(newton_torch, "LIMIT", 3)
    with pytest.warns(RuntimeWarning, match="newton did not settle on v, u within 3 iterations: it runs step by step"):
        found = by_layer(layer, x)
    assert_same(found, by_interpreter(layer, x), values=1e-10, grads=1e-9)
    assert layer.iterations == {"v, u": 3}


def test_newton_has_nothing_to_do_for_a_linear_neuron() -> None:
    with pytest.raises(no.Unsupported, match="'prf' has a closed form over time, so there is nothing to iterate"):
        neuron("prf").torch(3, schedule="newton")


def test_transforms_of_functions_are_refused_by_name() -> None:
    layer = no.load("prf").torch(3, schedule="scan", dtype=F64)
    x = torch.randn(5, 2, 3, dtype=F64)
    with pytest.raises(no.Unsupported, match=r"knows no torch\.func\.vmap"):
        torch.func.vmap(lambda x: layer(x)[0])(x[None])
    with pytest.raises(no.Unsupported, match=r"schedule=.eager."):
        torch.func.grad(lambda x: layer(x)[0].sum())(x)


#: a linear neuron of one's own: two coupled states, one behind them, a complex one, a window, no reset
OWN = """
dt: 0.5
inputs: {I: current, K: impulse}
parameters:
  tau: {value: 7, domain: positive, per: neuron}
  w: {value: 0.4, per: channel}
  omega: {value: 0.9, per: neuron}
equations: |
  dv/dt = (-v + w*u + I)/tau
  du/dt = -w*v - u/9 + K
  dz/dt = (-0.1 + i*omega)*z + v : complex
  h = real(z) + 0.3*v[t-2] - 0.1*u
spike: h > 0.4
outputs: {s: s, h: h}
"""


def test_a_linear_neuron_of_ones_own_is_equal_on_every_schedule() -> None:
    n = no.Neuron.from_spec(read_text("neuron: own\n" + OWN))
    x = {k: torch.tensor(np.random.default_rng(i).normal(0.3, 1, (150, 3, 4))) for i, k in enumerate("IK")}
    found = {}
    for schedule in ("eager", "auto", "sequential", "scan", "fft"):
        layer = n.torch(4, schedule=schedule, dtype=F64)
        found[schedule] = by_layer(layer, x)
    wanted = by_interpreter(layer, x)
    assert 0.1 < wanted.outputs["s"].mean() < 0.9
    for rows in found.values():
        assert_same(rows, wanted, values=1e-12, grads=1e-11)


@pytest.mark.parametrize("name", ["li", "prf", "drf", "rc_ladder", "double_exponential"])
@pytest.mark.parametrize("steps", [1024, 32768])
def test_single_precision_over_long_sequences(name: str, steps: int) -> None:
    """Against float64: a scan rounds no more than the loop does, whatever the length (coefficients round alike)."""
    torch.manual_seed(0)
    x = torch.randn(steps, 1, 2)
    of = no.load(name)
    dt = None if of.spec.dt else 1.0
    layers = [of.torch(2, dt, schedule=s, dtype=d) for s, d in (("auto", F64), ("auto", None), ("scan", None))]
    for layer in layers:
        layer.load_state_dict(layers[1].state_dict())
    with torch.no_grad():
        exact, loop, scan = (layer(x.to(layer._like))[1] for layer in layers)
    for k, value in exact.items():
        if "[t-" not in k:  # spikes at a tie may differ
            errors = [float((found[k] - value).abs().max() / value.abs().max()) for found in (loop, scan)]
            assert errors[1] <= max(3 * errors[0], 2e-6), (k, errors)


def test_a_jacobian_that_reads_derivatives_of_an_exponential() -> None:
    """A 2 x 2 block whose matrix reads a state that reads the block: d/dq of its closed form, as text."""
    text = "dv/dt = -v - (1 + 0.2*q[t-1])*w + I\n  dw/dt = v - 0.5*w\n  q[t] = 0.5*q[t-1] + tanh(v)"
    layer = made(f"equations: |\n  {text}\noutputs: v\n").torch(3, dtype=F64)
    layer.schedule = "scan"
    x = {"I": torch.randn(20, 2, 3, dtype=F64, generator=torch.Generator().manual_seed(0))}
    assert any(a.op == "pair" and a.value[1] == "T" for s in partition(layer.program).stages for a in s.jacobian.body)
    assert_same(by_layer(layer, x), by_interpreter(layer, x), values=1e-12, grads=1e-11)
