"""The complete declarations of the language, word by word, as layers: they are built, stepped and trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuroode as no

GOOD = Path(__file__).parents[1] / "spec" / "good"
QUICK = ("brf", "drf", "qif", "sliding_psn", "tc_lif")
LONG = ("f_lif", "hodgkin_huxley", "langevin")
NAMES = (*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in LONG))


@pytest.mark.parametrize("name", NAMES)
def test_a_declaration_is_a_layer(name: str) -> None:
    neuron = no.load(str(GOOD / f"{name}.yaml"))
    axes = [16] if name == "langevin" else []
    unit: dict[str, Any] = {} if neuron.spec.dt is not None else {"dt": 0.1 if name == "langevin" else 1.0}
    torch.manual_seed(0)
    layer = neuron.torch(2, dtype=torch.float64, schedule="eager", **unit)
    x = torch.ones(3, 2, 2, *axes, dtype=torch.float64)
    seed: dict[str, Any] = {"seed": 3} if name == "langevin" else {}
    out, carry = layer(x, **seed)
    rows = out if isinstance(out, dict) else {neuron.spec.outputs[0][0]: out}
    values = {k: v.detach().numpy() for k, v in layer.values.items()}
    found = neuron.simulate(x.numpy(), parameters=values, **unit, **seed)
    for key, value in rows.items():
        assert value.shape == (3, 2, 2, *axes)
        np.testing.assert_allclose(value.detach(), found[key], rtol=1e-9, atol=1e-11)
    total = sum(v.sum() for v in (*rows.values(), *carry.values()))
    assert total.requires_grad == any(p.requires_grad for p in layer.parameters())
    if total.requires_grad:
        slopes = torch.autograd.grad(total.real, list(layer.parameters()), allow_unused=True)
        assert all(bool(torch.isfinite(g).all()) for g in slopes if g is not None)


def test_langevin_starts_from_its_law() -> None:
    neuron = no.load(str(GOOD / "langevin.yaml")).with_axes({"k": 2})
    start = neuron.torch(300, 0.1, schedule="eager").init_carry(4, seed=1)
    assert start["q"].shape == (4, 300, 2)
    assert float(start["q"].mean()) == pytest.approx(0, abs=0.03)
    assert float(start["q"].std()) == pytest.approx(1, abs=0.03)
    assert abs(float((start["q"] * start["p"]).mean())) < 0.03
