"""Gradients of method soe: kernels and scans against autograd, autograd against closed forms and differences."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.special import erfcx

import neuroode as no
from tests.fractional_oracles import relaxation, relaxation_slope

F64 = torch.float64
STEPS, DT = 40, 0.05


def neuron(**keys: object) -> no.Neuron:
    given: dict = {"equations": "D^alpha v = (-v + I)/tau", "outputs": "v", "spike": "v > 0.4", "reset": "v -= 0.5"}
    parameters = {
        "alpha": no.Parameter([0.5, 0.8], domain="interval(0.05, 1)", per="neuron"),
        "tau": no.Parameter([0.7, 1.5], domain="positive", per="neuron"),
        "v_0": no.Parameter([0.3, -0.2], per="neuron"),
    }
    return no.Neuron("f", parameters=parameters, states={"v": "v_0"}, method="soe(tolerance=0.01, steps=64)",
                     **{**given, **keys})  # fmt: skip


def gradients(schedule: str, found: no.Neuron) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    layer = found.torch(2, dt=DT, schedule=schedule, dtype=F64)
    x = torch.rand(STEPS, 3, 2, dtype=F64).requires_grad_()
    out, _ = layer(x)
    (out * torch.randn(out.shape, dtype=F64)).sum().backward()
    return {"out": out.detach(), "x": x.grad} | {n: p.grad for n, p in layer.named_parameters()}


MEMORIES = ["jump", *(pytest.param(m, marks=pytest.mark.slow) for m in ("impulse", "restart", "current(2*dt)"))]


@pytest.mark.parametrize("memory", MEMORIES)
def test_kernels_have_the_gradients_of_autograd(memory: str) -> None:
    """Of the order, the leak, the initial value and the inputs, through surrogates and resets."""
    found = neuron(reset={"do": "v = 0.1" if memory == "restart" else "v -= 0.5", "memory": memory})
    wanted, kernel = gradients("eager", found), gradients("sequential", found)
    for name, g in wanted.items():
        assert abs(kernel[name] - g).max() <= 1e-10 * (1 + abs(g).max()), name
        assert abs(g).max() > 0


@pytest.mark.slow
def test_a_scan_has_the_gradients_of_autograd() -> None:
    found = no.Neuron(
        "f", parameters={"alpha": no.Parameter(0.6, domain="interval(0.05, 1)"),
                         "tau": no.Parameter(1.5, domain="positive")},
        equations="D^alpha v = (-v + I)/tau", outputs="v", method="soe(tolerance=0.01, steps=64)",
    )  # fmt: skip
    wanted, scan = gradients("eager", found), gradients("scan", found)
    for name, g in wanted.items():
        assert abs(scan[name] - g).max() <= 1e-10 * (1 + abs(g).max()), name


def test_slopes_in_order_leak_and_start_are_those_of_the_closed_form() -> None:
    """v = v_0 E + I (1 - E): d/dv_0, d/dI, d/dlam by erfcx, d/dalpha by differences of the inverse transform."""
    made = no.Neuron(
        "f", parameters={"alpha": no.Parameter(0.5, domain="interval(0.05, 1)"),
                         "lam": no.Parameter(0.8, domain="positive", transform="none"),
                         "v_0": no.Parameter(0.3)},
        states={"v": "v_0"}, equations="D^alpha v = -lam*(v - I)", outputs="v", method="soe(tolerance=1e-6, steps=64)",
    )  # fmt: skip
    layer = made.torch(1, dt=DT, dtype=F64, schedule="eager")
    x = torch.full((STEPS, 1, 1), 1.2, dtype=F64).requires_grad_()
    layer(x)[0][-1].sum().backward()
    t, lam = STEPS * DT, 0.8
    root = lam * np.sqrt(t)
    E = erfcx(root)
    slope = np.sqrt(t) * (2 * root * E - 2 / np.sqrt(np.pi))  # dE/dlam
    by_order = float(mp.diff(lambda a: relaxation(float(a), lam, t), 0.5, h=1e-4))
    raw = dict(layer.named_parameters())
    find = {n: next(p.grad for k, p in raw.items() if k.endswith(n)) for n in ("lam", "v_0", "alpha")}
    inside = 0.95 * (0.45 / 0.95) * (0.5 / 0.95)  # of the sigmoid that keeps alpha in (0.05, 1)
    assert float(x.grad.sum()) == pytest.approx(1 - E, abs=2e-6)
    assert float(find["v_0"]) == pytest.approx(E, abs=2e-6)
    assert float(find["lam"]) == pytest.approx((0.3 - 1.2) * slope, abs=1e-5)
    assert float(find["alpha"]) == pytest.approx((0.3 - 1.2) * by_order * inside, abs=1e-5)


def from_one(transform: str) -> no.Neuron:
    order = no.Parameter(1.0, domain="interval(0.05, 1)", transform=transform)
    return no.Neuron("f", parameters={"alpha": order}, states={"v": 1.0}, equations="D^alpha v = -v + I", outputs="v",
                     method="soe(tolerance=1e-4, steps=64)")  # fmt: skip


def test_an_order_that_starts_at_one_learns() -> None:
    """Projected: the value is 1, the layer the ordinary leak, the slope that of E_a; a fit leads to where it should."""
    layer = from_one("project").torch(1, dt=0.2, dtype=F64, schedule="eager")
    silence, t = torch.zeros(10, 1, 1, dtype=F64), 0.2 * np.arange(1, 11)
    v, _ = layer(silence)
    assert abs(v.detach().numpy().ravel() - np.exp(-t)).max() < 3e-15
    (slope,) = torch.autograd.grad(v[-1].sum(), list(layer.parameters()))
    assert float(slope) == pytest.approx(relaxation_slope(1.0, 1.0, 2.0), abs=5e-3)
    wanted = torch.tensor(erfcx(np.sqrt(t)), dtype=F64)
    optimiser = torch.optim.Adam(layer.parameters(), 0.04)
    for _ in range(20):
        optimiser.zero_grad()
        ((layer(silence)[0].ravel() - wanted) ** 2).sum().backward()
        optimiser.step()
        layer.project()
        assert layer.values["alpha"].item() <= 1
    assert 0.3 < layer.values["alpha"].item() < 0.7


def test_an_end_that_does_not_train_says_so() -> None:
    with pytest.warns(no.SaturatedWarning, match=r"alpha.* starts at 1.*sigmoid is flat.*transform: project"):
        from_one("sigmoid").torch(1, dt=DT)
    layer = from_one("project").torch(1, dt=DT)
    assert float(layer.values["alpha"].detach()) == 1
