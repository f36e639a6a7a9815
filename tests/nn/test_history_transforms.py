"""Layers that keep the whole past under torch.func and torch.compile."""

from __future__ import annotations

import pytest
import torch

import neuroode as no
from tests.nn.test_history_torch import CASES, DOUBLE, STEP, drive, quiet


@pytest.mark.parametrize("method", ["gl", "abm"])
def test_torch_func_sees_through_explicit_steps(method: str) -> None:
    x, layer = drive(12), CASES["restart"].torch(3, STEP, method=method, dtype=DOUBLE)
    (wanted,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
    found = torch.func.vmap(torch.func.grad(lambda y: layer(y)[0].square().sum()))(torch.stack([x, x]))
    assert (found - wanted).abs().max() < 1e-12
    implicit = CASES["jump"].torch(3, STEP, method="l1", dtype=DOUBLE)
    with pytest.raises(no.Unsupported, match=r"torch\.func"):
        torch.func.vmap(lambda y: implicit(y)[0])(x[None])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*grad attribute of a Tensor")
def test_a_compiled_network_leaves_the_layer_out() -> None:
    x = drive(20)
    net = torch.nn.ModuleList([torch.nn.Linear(3, 3, dtype=DOUBLE), quiet().torch(3, STEP, method="gl", dtype=DOUBLE)])

    def run(x: torch.Tensor) -> torch.Tensor:
        return net[1](net[0](x))[0]

    found, wanted = torch.compile(run)(x), run(x)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    g, h = (torch.autograd.grad(v.square().sum(), x)[0] for v in (found, wanted))
    assert torch.allclose(g, h, rtol=0, atol=1e-12)
