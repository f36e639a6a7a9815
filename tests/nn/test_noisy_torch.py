"""Layers whose noisy flow torchsde moves: against exact solutions, our own steps on its path, differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.solvers.on_torch.brownian_torch import LEAVES, Path, words_of
from neuroode.solvers.on_torch.noisy_torch import CALCULUS

DOUBLE: dict[str, Any] = {"dtype": torch.float64, "solver": "torchsde"}


def gbm(calculus: str = "ito") -> no.Neuron:
    """Geometric Brownian motion."""
    numbers = {"a": no.Parameter(0.4, trainable=True), "s": no.Parameter(0.6, trainable=True)}
    return no.Neuron(f"gbm_{calculus}", dt=0.25, states={"v": 1.0}, parameters=numbers, calculus=calculus,
                     equations="dv = a*v*dt + s*v*dW", outputs={"v": "v"})  # fmt: skip


OU = no.Neuron("ou", dt=0.5, states={"v": 2.0}, parameters={"tau": 0.8, "s": 0.7}, inputs={"I": "current"},
               equations="dv = (I - v)/tau*dt + s*dW", outputs={"v": "v"})  # fmt: skip
# two streams that no shape but `general` covers, and a reset: nothing here has a closed form
MIXED = no.Neuron(
    "mixed", dt=0.2, states={"v": 0.5, "w": 0.1}, inputs={"I": "current"},
    parameters={"k": no.Parameter(0.8, trainable=True, per="neuron"), "g": no.Parameter(0.3, trainable=True)},
    equations="dv = (v - v^3 - w + I)*dt + g*(1 + 0.3*w)*dW_a + 0.2*v*dW_b\ndw = k*(v - w)*dt + 0.1*v*dW_a",
    spike="v > 0.9", reset="v = v - 1", outputs={"v": "v", "w": "w"},
)  # fmt: skip


@pytest.mark.parametrize(("calculus", "methods"), [("ito", list(CALCULUS)), ("stratonovich", ["euler", "heun", "srk"])])
def test_strong_orders_on_geometric_brownian_motion(calculus: str, methods: list[str]) -> None:
    neuron, batch, T = gbm(calculus), 300, 4
    dW = 0.5 * torch.randn(T, batch, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drift = 0.4 - (0.6**2 / 2 if calculus == "ito" else 0)
    exact = torch.exp(drift * 0.25 * T + 0.6 * dW.sum(0))

    def error(method: str, parts: int) -> float:
        layer = neuron.torch(1, **DOUBLE, solver_options={"method": method, "step_size": 0.25 / parts})
        with torch.no_grad():
            out, _ = layer(steps=T, batch=batch, noise={"dW": dW}, seed=1)
        return (out[-1] - exact).square().mean().sqrt().item()

    orders = {m: math.log2(error(m, 2) / error(m, 8)) / 2 for m in methods}
    wanted = {"euler": 0.5, "srk": 1.5}
    for method, order in orders.items():
        assert abs(order - wanted.get(method, 1.0)) < 0.2, (method, order)


def test_ou_moments_by_adaptive_steps() -> None:
    layer, count = OU.torch(1, **DOUBLE), 4000
    with torch.no_grad():
        out, _ = layer(torch.ones(3, count, 1, dtype=torch.float64), seed=3)
    x, tau, s = out[:, :, 0], 0.8, 0.7
    t = 0.5 * torch.arange(1, 4, dtype=torch.float64)
    variance = s**2 * tau / 2
    mean = 1 + (2 - 1) * torch.exp(-t / tau)
    cov = variance * (torch.exp(-(t[:, None] - t).abs() / tau) - torch.exp(-(t[:, None] + t) / tau))
    found = (x - mean[:, None]) @ (x - mean[:, None]).T / count
    error = ((cov.diag()[:, None] * cov.diag() + cov**2) / count).sqrt()
    assert ((x.mean(1) - mean).abs() < 4 * (cov.diag() / count).sqrt()).all()
    assert ((found - cov).abs() < 4 * error).all()


def test_the_path_of_a_discretized_layer() -> None:
    """Euler-Maruyama over the same path in 64 parts of a step, and srk on it, meet; so do 128 parts, twice as near."""
    neuron, T = gbm(), 4
    dW = 0.5 * torch.randn(T, 50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.rand(2, T, 50, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    srk = neuron.torch(1, **DOUBLE, solver_options={"step_size": 0.25 / 32})
    with torch.no_grad():
        best, _ = srk(steps=T, batch=50, noise={"dW": dW, "bridge.dW": u.permute(1, 2, 3, 0)})
    errors = []
    for parts in (32, 128):
        key = tuple(words_of(x).reshape(T, -1).T for x in u)
        path = Path(dW.reshape(T, -1).T / 0.5, key)
        w = torch.stack([path.at(j * LEAVES // parts)[0] for j in range(parts + 1)]).diff(dim=0) * 0.5
        fine = neuron.torch(1, dt=0.25 / parts, method="heun_stratonovich", dtype=torch.float64)
        with torch.no_grad():
            out, _ = fine(steps=T * parts, batch=50, noise={"dW": w.permute(2, 0, 1).reshape(-1, 50, 1)})
        errors.append((out[-1] - best[-1]).square().mean().sqrt().item())
    assert errors[0] < 0.05
    assert errors[1] < errors[0] / 2.5


@pytest.mark.parametrize("neuron", [MIXED, gbm()], ids=lambda n: n.spec.name)
def test_two_calls_are_one_and_a_seed_is_a_path(neuron: no.Neuron) -> None:
    layer = neuron.torch(2, **DOUBLE)
    x = {} if not neuron.spec.inputs else {"x": torch.ones(6, 3, 2, dtype=torch.float64)}
    how = {} if x else {"batch": 3}

    def call(a: int, b: int, carry: Any = None, **more: Any) -> Any:
        return layer(*[v[a:b] for v in x.values()], carry=carry, **({} if x else {"steps": b - a}), **how, **more)

    with torch.no_grad():
        whole, end = call(0, 6, seed=7)
        first, carry = call(0, 2, seed=7)
        second, last = call(2, 6, carry)
        other, _ = call(0, 6, seed=8)
    if not isinstance(whole, dict):
        whole, first, second, other = ({"v": r} for r in (whole, first, second, other))
    for n in whole:
        assert torch.equal(whole[n], torch.cat([first[n], second[n]]))
        assert (whole[n] - other[n]).abs().max() > 1e-3
    assert all(torch.equal(end[n], last[n]) for n in end)


def gradients(adjoint: str, method: str, layer_of: no.Neuron = MIXED) -> list[torch.Tensor]:
    layer = layer_of.torch(2, **DOUBLE, adjoint=adjoint, solver_options={"method": method, "step_size": 0.05})
    x = torch.full((5, 2, 2), 0.2, dtype=torch.float64, requires_grad=True)
    out, _ = layer(x, seed=2)
    (out["v"].square().sum() + out["w"].sum()).backward()
    return [x.grad, *(p.grad for p in layer.parameters())]  # type: ignore[list-item]


@pytest.mark.parametrize("method", ["heun", "euler"])
def test_gradients_are_those_of_a_fixed_path(method: str) -> None:
    neuron = MIXED.replace(spike="v > 100000")  # neither jumps nor a surrogate's slope
    layer = neuron.torch(1, **DOUBLE, solver_options={"method": method, "step_size": 0.05})
    x = torch.full((4, 1, 1), 0.2, dtype=torch.float64)
    made = torch.Generator().manual_seed(0)
    dW = [0.4 * torch.randn(4, 1, 1, generator=made, dtype=torch.float64) for _ in range(2)]

    def loss(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out, _ = layer(x, noise={"dW_a": a, "dW_b": b}, seed=0)
        return out["v"].sum() + out["w"].square().sum()

    assert torch.autograd.gradcheck(loss, [v.requires_grad_() for v in (x, *dW)], atol=1e-7)
    loss(x, *dW).backward()
    for p in layer.parameters():
        found = p.grad.item()  # type: ignore[union-attr]
        with torch.no_grad():
            rows = []
            for step in (1e-6, -1e-6):
                p += step
                rows.append(loss(x, *dW).item())
                p -= step
        assert abs((rows[0] - rows[1]) / 2e-6 - found) < 1e-7 * max(1, abs(found))


def test_adjoints_agree() -> None:
    plain = gradients("none", "reversible_heun")
    for adjoint in ("checkpointed", "backsolve"):
        for found, wanted in zip(gradients(adjoint, "reversible_heun"), plain, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


def test_times_and_lengths() -> None:
    layer = OU.torch(1, **DOUBLE, solver_options={"step_size": 0.125})
    x = torch.ones(4, 3, 1, dtype=torch.float64)
    with torch.no_grad():
        plain, _ = layer(x, seed=1)
        even, _ = layer(x, seed=1, times=0.5 * torch.arange(1.0, 5, dtype=torch.float64))
        cut, stopped = layer(x, seed=1, lengths=torch.tensor([4, 2, 0]))
    torch.testing.assert_close(plain, even, rtol=1e-12, atol=1e-13)
    assert torch.equal(cut[:2, :2], plain[:2, :2])
    assert (cut[2:, 1] == 0).all()
    assert torch.equal(stopped["v"][:, 0], torch.stack([plain[3, 0, 0], plain[1, 1, 0], torch.tensor(2.0).double()]))


def test_both_precisions_see_the_same_path() -> None:
    with torch.no_grad():
        rows = [MIXED.torch(2, dtype=d, solver="torchsde", solver_options={"step_size": 0.05})
                (torch.zeros(4, 2, 2, dtype=d), seed=4)[0]["v"] for d in (torch.float32, torch.float64)]  # fmt: skip
    assert (rows[0].double() - rows[1]).abs().max() < 1e-4


REFUSED = {
    "no noise": (no.load("li"), {}, "no differential with dW"),
    "shape": (MIXED, {"solver_options": {"method": "srk"}}, "takes noise that is additive, of one stream, or diagonal"),
    "adaptive euler": (gbm(), {"solver_options": {"method": "euler"}}, "may converge to another solution"),
    "unknown": (OU, {"solver_options": {"method": "rk4"}}, "not one that steps of a neuron are moved by"),
    "adjoint": (OU, {"adjoint": "backsolve", "solver_options": {"method": "srk"}}, "that of reversible_heun"),
    "ode solver": (OU, {"solver": "torchdiffeq"}, "has noise in v"),
    "events": (MIXED.add(within_step="locate"), {}, "has noise, and no slope at which a time"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    neuron, options, text = REFUSED[case]
    with pytest.raises(Unsupported, match=text) as caught:
        neuron.torch(1, **DOUBLE | options)
    assert "hint" in str(caught.value)


def test_bad_options_and_tolerances_out_of_reach() -> None:
    for options, text in (({"dt": 0.1}, "no option of torchsde"), ({"rtol": 0}, "expected a positive number")):
        with pytest.raises(RunError, match=text):
            OU.torch(1, **DOUBLE, solver_options=options)
    layer = gbm().torch(1, **DOUBLE, solver_options={"rtol": 1e-6, "atol": 1e-8, "max_num_steps": 20})
    with pytest.raises(RunError, match="too many steps within one dt"):
        layer(steps=1, batch=1, seed=0)
    stiff = OU.torch(1, **DOUBLE, solver_options={"rtol": 1e-6}).set(tau=1e-7)
    with pytest.raises(RunError, match="needs steps below"):
        stiff(torch.ones(1, 1, 1, dtype=torch.float64), seed=0)
