"""Runs over whole sequences at their edges: samples that end, batches of none, counts, and powers that grow."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from jax_oracles import KEY, as_jax, with_numbers_of
from oracles import by_interpreter, neuron, scatter

import neuroode as no
from neuroode._errors import RunError
from neuroode.nn import costs
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
#: infinite slopes and values at 0, where a padded step must not be computed; linear and nonlinear states
SINGULAR = """
neuron: singular
dt: 1
states: {v: 1, r: 1, w: 2}
parameters: {a: {value: 0.8, domain: unit, per: neuron}}
equations: |
  v[t] = a*v[t-1] + 0.5 + 0.1*I^2
  r[t] = 0.5*r[t-1] + sqrt(v) + log(v[t-1]) + 1/v[t-3] + 0.1*s[t-1]
  w[t] = a*sqrt(w[t-1]) + 1/r
spike: w > 1.1
outputs: {s: s, r: r, w: w}
"""


def made(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text(text))


def pulled(layer, x: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Values, and gradients of the input and of all parameters."""
    x = x.clone().requires_grad_()
    out, carry = layer(x, lengths=lengths)
    values = [*out.values(), *carry.values()]
    loss = sum((v * torch.cos(torch.arange(v.numel(), dtype=F64)).reshape(v.shape)).sum() for v in values)
    return [*values, *torch.autograd.grad(loss, [x, *layer.parameters()])]


@pytest.mark.parametrize("schedule", ["scan", "newton", "fft"])
def test_nothing_is_computed_behind_the_end_of_a_sample(schedule: str) -> None:
    lengths = torch.tensor([40, 0, 17, 1])
    x = torch.tensor(np.random.default_rng(0).normal(0.3, 1, (40, 4, 2)))
    x[17:, 2], x[:, 1], x[1:, 3] = torch.nan, torch.nan, torch.nan
    found = {}
    for name in ("eager", schedule):
        torch.manual_seed(0)
        found[name] = pulled(scatter(made(SINGULAR).torch(2, schedule=name, dtype=F64)), x, lengths)
    for a, b in zip(found[schedule], found["eager"], strict=True):
        assert b.isfinite().all()
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_nothing_is_computed_behind_the_end_of_a_sample_in_jax() -> None:
    lengths = torch.tensor([20, 0, 9, 1])
    x = torch.tensor(np.random.default_rng(0).normal(0.3, 1, (20, 4, 2)))
    one = made(SINGULAR).torch(2, schedule="eager", dtype=F64)
    other = with_numbers_of(one, made(SINGULAR).jax(2, key=KEY, dtype="float64", schedule="scan"))

    def loss(x):
        out, carry = other(x, lengths=as_jax(lengths))
        return sum(v.sum() for v in out.values()) + sum(v.sum() for v in carry.values())

    value, slope = jax.value_and_grad(loss)(as_jax(x))
    x.requires_grad_()
    out, carry = one(x, lengths=lengths)
    total = sum(v.sum() for v in out.values()) + sum(v.sum() for v in carry.values())
    (wanted,) = torch.autograd.grad(total, x)
    np.testing.assert_allclose(value, total.item(), rtol=1e-12)
    np.testing.assert_allclose(slope, wanted, rtol=1e-9, atol=1e-12)


COUNTS = """
neuron: counts
dt: 1
equations: |
  v[t] = 0.9*v[t-1] + I*where(step >= 300, 1, 0.2) + floor(step/7)
  n[t] = n[t-1] + p
events:
  p: {when: I > 0}
  s: {when: n >= 50}
outputs: {s: s, n: n, v: v}
"""


def test_counts_stay_whole() -> None:
    """A transform rounds them, and a comparison with a whole number would come too late."""
    layer = made(COUNTS).torch(3, schedule="fft", dtype=F64)
    x = {"I": torch.randn(700, 1, 3, dtype=F64)}
    out, carry = layer(x["I"])
    wanted = by_interpreter(layer, x).outputs
    assert np.array_equal(out["s"], wanted["s"])
    assert np.array_equal(out["n"].detach(), wanted["n"])
    np.testing.assert_allclose(out["v"].detach(), wanted["v"], rtol=1e-10, atol=1e-10)
    assert set(carry["step"].flatten().tolist()) == {700.0}
    assert any("counts stay whole: no transform" in r.reason for r in layer.program.plan.rows)


@pytest.mark.parametrize(("name", "schedule"), [("lif", "scan"), ("prf", "fft"), ("izhikevich", "newton")])
def test_batches_of_no_sample(name: str, schedule: str) -> None:
    layer = neuron(name).torch(3, 1.0, schedule=schedule)
    for shape in ((5, 0, 3), (0, 2, 3), (0, 0, 3)):
        out, carry = layer(torch.randn(shape))
        assert out.shape == shape
        assert all(v.shape == (shape[1], 3) for v in carry.values())
    out, carry = layer(torch.randn(5, 0, 3))
    (out.sum() + sum(v.sum() for v in carry.values())).backward()


def test_batches_of_no_sample_in_jax() -> None:
    for name, schedule in (("lif", "scan"), ("prf", "fft"), ("lif", "newton")):
        out, carry = no.load(name).jax(3, key=KEY, dtype="float64", schedule=schedule)(np.zeros((5, 0, 3)))
        assert out.shape == (5, 0, 3)
        assert all(v.shape == (0, 3) for v in carry.values())


def test_auto_of_jax_takes_no_transform() -> None:
    """Whether it loses digits is known when it runs, and a compiled call cannot take something else then."""
    program = no.load("drf").program()
    rows = costs.chosen(program, 8192, 1, framework="jax", kernel=False)
    assert {"eager", "scan"} == {r.schedule for r in rows}


def test_elements_are_named_as_the_language_writes_them() -> None:
    text = (
        "neuron: ring\ndt: 1\naxes: {k: 2}\noutputs: h\n"
        "equations: y[k, t] = tanh(y[1, t-1] + y[0, t-1] + k*I); h = sum_k(y[k])\n"
    )
    layer = made(text).torch(1, schedule="newton", dtype=F64)
    layer(torch.randn(9, 1, 1, dtype=F64))
    assert list(layer.iterations) == ["y[0], y[1]"]


def test_auto_takes_no_transform_that_would_lose_digits(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost model knows no numbers; what it takes must work for all of them."""
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path))
    costs.save({"torch": {"sequential": {"call": 10.0}, "scan": {"stages": 10.0}, "fft": {"stages": 1e-9}}})
    text = "neuron: grows\ndt: 1\nparameters: {a: 1.08}\nequations: v[t] = a*v[t-1] + I\noutputs: v\n"
    x = torch.randn(1000, 1, 1, dtype=F64)
    forced, free, eager = (made(text).torch(1, schedule=s, dtype=F64) for s in ("fft", "auto", "eager"))
    assert costs.chosen(free.program, 1000, 1)[0].schedule == "fft"
    with pytest.raises(RunError, match="multipliers grow to"):
        forced(x)
    torch.testing.assert_close(free(x)[0], eager(x)[0], rtol=1e-12, atol=0)
    costs._measured_here.cache_clear()
    costs._choices.clear()
