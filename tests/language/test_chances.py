"""Gradients of stochastic spikes: expected against the derivative of the probability, reinforce against enumeration."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax_oracles import KEY

import neuroode as no
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
ONE = """
neuron: one
inputs: {{I: current}}
noise: {{U: {kind}, W: uniform}}
parameters: {{g: {{value: 0.8, domain: positive}}, c: 1}}
equations: |
  p = g*I
events: {{s: {{when: "{when}", gradient: {gradient}}}, e: {{when: c > W}}}}
outputs: {{s: s, e: e}}
"""


def one(when: str, kind: str = "uniform", gradient: str = "expected") -> no.Neuron:
    return no.Neuron.from_spec(read_text(ONE.format(when=when, kind=kind, gradient=gradient)))


def spikes(neuron: no.Neuron, x: torch.Tensor, seed: int, **options: Any) -> torch.Tensor:
    return neuron.torch(x.shape[2], dtype=F64, **options)(x, seed=seed)[0]["s"]


def phi(x: torch.Tensor) -> torch.Tensor:
    return torch.special.ndtr(x)


@pytest.mark.parametrize(
    ("when", "kind", "chance"),
    [
        ("p > U", "uniform", lambda p: p.clamp(0, 1)),
        ("U < p", "uniform", lambda p: p.clamp(0, 1)),
        ("U > 1 - p", "uniform", lambda p: p.clamp(0, 1)),
        ("clip(p, 0, 1) > U", "uniform", lambda p: p.clamp(0, 1)),
        ("U >= exp(-p)", "uniform", lambda p: 1 - torch.exp(-p).clamp(0, 1)),
        ("2*p - 4*U > 0", "uniform", lambda p: (p / 2).clamp(0, 1)),
        ("p + 0.3*U > 0.5", "normal", lambda p: phi((p - 0.5) / 0.3)),
        ("0.5 < p - (0.1 + p^2)*U", "normal", lambda p: phi((p - 0.5) / (0.1 + p**2))),
        ("p > U or p > 0.9", "uniform", None),
    ],
)
def test_expected_is_the_derivative_of_the_probability(when: str, kind: str, chance: Any) -> None:
    x = torch.linspace(-0.5, 2, 60, dtype=F64)[:, None, None].repeat(1, 1, 3).requires_grad_()
    out = spikes(one(when, kind), x, 5, schedule="eager")
    assert torch.equal(out, spikes(one(when, kind, "surrogate"), x, 5, schedule="eager"))
    (found,) = torch.autograd.grad(out.sum(), x)
    for schedule in ("eager", "scan") if kind == "uniform" else ("sequential",):
        again = spikes(one(when, kind), x, 5, schedule=schedule)
        torch.testing.assert_close(torch.autograd.grad(again.sum(), x)[0], found, rtol=1e-12, atol=1e-12)
    if chance is not None:
        p = 0.8 * x
        (wanted,) = torch.autograd.grad(chance(p).sum(), x)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
        many = spikes(one(when, kind), x[:, :, :1].detach().expand(60, 1, 4000), 1, schedule="eager")
        error = (many.mean(-1) - chance(p[..., 0])).abs()
        assert (error <= 4.5 * (chance(p[..., 0]) * (1 - chance(p[..., 0])) / 4000).sqrt() + 1e-9).all()


REFUSED = {
    "U^2 < p": "is not linear in U",
    "p > U*W": "reads 2 streams",
    "p > c*U": "whether U raises or lowers the margin is not known",
    "p > U or p > U + 1": "U is read by another comparison of the guard",
}


@pytest.mark.parametrize("when", REFUSED)
def test_probabilities_that_are_not_known_are_refused(when: str) -> None:
    with pytest.raises(no.Unsupported, match=REFUSED[when]):
        one(when).program()


def test_a_stream_that_something_else_reads_is_refused() -> None:
    text = ONE.format(when="v > U", kind="uniform", gradient="expected").replace("p = g*I", "dv/dt = -v + U + I*g")
    with pytest.raises(no.Unsupported, match=r"U is read by the equation of v too"):
        no.Neuron.from_spec(read_text(text)).program(0.1)
    with pytest.raises(no.Unsupported, match=r"U is read by the equation of v too"):
        no.Neuron.from_spec(read_text(text.replace("expected", "reinforce"))).program(0.1)
    with pytest.raises(no.Unsupported, match="combines comparisons"):
        one("p > U or p > W", gradient="reinforce").program()
    with pytest.raises(no.Unsupported, match="has no event whose gradient is reinforce"):
        one("p > U").torch(1).sample(torch.zeros(1, 1, 1))


@pytest.mark.parametrize(
    ("equation", "reset", "output"), [("dv/dt = -v + I", "v = 0.2*U", "s"), ("dv = (I - v)*dt + U*dW", "v = 0", "s"),
                                      ("dv/dt = -v + I", "v = 0", "s + U")]
)  # fmt: skip
def test_a_number_that_decides_an_event_decides_nothing_else(equation: str, reset: str, output: str) -> None:
    n = no.Neuron("chosen", dt=0.1, inputs={"I": "current"}, noise={"U": "uniform"}, equations=equation, outputs=output,
                  events={"s": {"when": "v > U", "reset": reset, "gradient": "reinforce"}})  # fmt: skip
    with pytest.raises(no.Unsupported, match=r"U is read by the equation of (v|output|s|out) too"):
        n.program()


LEAKY = """
neuron: leaky
inputs: {I: current}
noise: {U: uniform}
parameters: {beta: {value: 0.7, domain: unit}, r: {value: 0.3, domain: positive}}
equations: |
  v[t] = beta*v[t-1] + I
events:
  s: {when: sigmoid(2*v - 1) > U, gradient: GRADIENT, reset: v -= r}
"""
DRIVE = [0.6, 0.9, -0.2, 0.5, 0.8]


def leaky(gradient: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text(LEAKY.replace("GRADIENT", gradient)))


def reward(s: torch.Tensor) -> torch.Tensor:
    """Of trains (T, ...), not linear in the spikes."""
    weight = torch.tensor([1.0, -0.5, 2.0, 0.3, 1.2], dtype=s.dtype).reshape(-1, *[1] * (s.dim() - 1))
    return ((weight * s).sum(0) - 1) ** 2


def exactly(beta: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """The expected reward, a sum over every train."""
    total = torch.zeros((), dtype=F64)
    for bits in product((0.0, 1.0), repeat=len(DRIVE)):
        v, chance = torch.zeros((), dtype=F64), torch.ones((), dtype=F64)
        for x, bit in zip(DRIVE, bits, strict=True):
            v = beta * v + x
            p = torch.sigmoid(2 * v - 1)
            chance = chance * (p if bit else 1 - p)
            v = v - r * bit
        total = total + chance * reward(torch.tensor(bits, dtype=F64))
    return total


def estimates(gradient: str, chunks: int, size: int) -> np.ndarray:
    """(chunks, 2): gradients in beta and r of the mean reward of `size` runs."""
    layer = leaky(gradient).torch(size, 1.0, dtype=F64)
    x = torch.tensor(DRIVE, dtype=F64)[:, None, None].expand(len(DRIVE), 1, size)
    rows, inner = [], dict(layer.named_parameters())
    for seed in range(chunks):
        if gradient == "reinforce":
            s, log_prob, _ = layer.sample(x, seed=seed)
            gain = reward(s).detach()
            loss = ((gain - gain.mean()) * log_prob.sum(0)).mean() * size / (size - 1)  # the mean as baseline
        else:
            loss = reward(layer(x, seed=seed)[0]).mean()
        rows.append([float(g) for g in torch.autograd.grad(loss, list(inner.values()))])
    assert [n.rsplit(".", 1)[-1] for n in inner] == ["raw_beta", "raw_r"]
    return np.array(rows)


def exact_slopes() -> list[float]:
    layer = leaky("expected").torch(1, 1.0, dtype=F64)
    values = [layer.beta, layer.r]
    raw = list(layer.parameters())
    return [float(g) for g in torch.autograd.grad(exactly(*values), raw)]


def test_reinforce_is_unbiased() -> None:
    exact, found = exact_slopes(), estimates("reinforce", 40, 1000)
    error = np.abs(found.mean(0) - exact)
    assert (error <= 4 * found.std(0, ddof=1) / np.sqrt(len(found))).all()
    assert (np.abs(exact) > 20 * found.std(0) / np.sqrt(len(found))).any()  # the test sees something


def test_the_three_gradients_trade_bias_against_variance() -> None:
    """Of one run, in the direction of r: deviations about 1.5, 0.9, 0.5; biases none, 5 %, 47 % of the gradient."""
    exact = np.array(exact_slopes())
    rows = {g: estimates(g, 40, 250) for g in ("reinforce", "expected", "surrogate")}
    spread = {g: found.std(0, ddof=1).sum() for g, found in rows.items()}
    bias = {g: np.abs(found.mean(0) - exact) / np.abs(exact) for g, found in rows.items()}
    assert spread["reinforce"] > spread["expected"] > spread["surrogate"]
    assert (bias["expected"] < 0.2).all()
    assert (bias["surrogate"] > 0.4).all()
    standard_error = rows["expected"].std(0, ddof=1) / np.sqrt(40)
    assert (np.abs(rows["expected"].mean(0) - exact) > 4 * standard_error).any()  # not linear in the spikes


def test_the_logarithms_are_those_of_the_trace_and_of_every_schedule() -> None:
    layer, x = leaky("reinforce").torch(6, 1.0, dtype=F64), torch.rand(30, 3, 6, dtype=F64)
    lengths = torch.tensor([30, 7, 0])
    s, log_prob, carry = layer.sample(x, seed=2, lengths=lengths)
    rows = layer.trace(x, seed=2, lengths=lengths)
    torch.testing.assert_close(rows["s.log_prob"], log_prob, rtol=1e-12, atol=1e-12)
    p = torch.sigmoid(2 * rows["v.before"] - 1)
    by_hand = torch.where(s > 0, p, 1 - p).log()
    live = torch.arange(30)[:, None, None] < lengths[:, None]
    torch.testing.assert_close(log_prob, by_hand * live, rtol=1e-10, atol=1e-12)
    (slope,) = torch.autograd.grad(log_prob.sum(), next(layer.parameters()))
    for schedule in ("eager", "newton"):
        other = leaky("reinforce").torch(6, 1.0, dtype=F64, schedule=schedule)
        again = other.sample(x, seed=2, lengths=lengths)[1]
        torch.testing.assert_close(again, log_prob, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad(again.sum(), next(other.parameters()))[0], slope)
    _, more, _ = layer.sample(x, carry)
    assert more.shape == x.shape
    in_jax = leaky("reinforce").jax(6, 1.0, key=KEY, dtype=jnp.float64)
    found = jax.jit(lambda x: in_jax.sample(x, seed=2, lengths=lengths.numpy())[1])(x.numpy())
    np.testing.assert_allclose(found, log_prob.detach(), rtol=1e-10, atol=1e-12)


def test_a_refractory_step_has_no_logarithm() -> None:
    text = LEAKY.replace("GRADIENT", "reinforce").replace("reset:", "refractory: 2, reset:")
    layer, x = no.Neuron.from_spec(read_text(text)).torch(6, 1.0, dtype=F64), torch.rand(30, 3, 6, dtype=F64)
    s, log_prob, _ = layer.sample(x, seed=0)
    after = torch.zeros_like(s)
    after[1:] += s[:-1]
    after[2:] += s[:-2]
    assert after.sum() > 20
    assert ((log_prob == 0) == (after > 0)).all()
