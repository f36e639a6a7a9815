"""schedule="auto" runs what the cost model takes, and every schedule gives the same numbers."""

from __future__ import annotations

import pytest
import torch
from oracles import scatter

import neuroode as no
from neuroode.nn import costs, parallel_torch
from neuroode.program.cost import KINDS


def test_auto_runs_what_is_predicted_to_be_fastest(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each way, by made-up costs, on one layer."""
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path))
    torch.manual_seed(0)
    layer = scatter(no.load("prf").torch(3, dtype=torch.float64))
    x = torch.randn(50, 2, 3, dtype=torch.float64, requires_grad=True)
    ran = []
    original = parallel_torch.run
    monkeypatch.setattr(parallel_torch, "run", lambda *a, **k: ran.append(k["schedule"]) or original(*a, **k))
    found = {}
    for best in ("sequential", "scan", "fft"):
        table = {s: {"stages": 1.0, "call": 10.0} for s in ("sequential", "scan", "fft")}
        costs.save({"torch": {s: {k: v for k, v in row.items() if k in KINDS[s]} for s, row in table.items()}
                    | {best: {"lane ops": 1e-12}}})  # fmt: skip
        carry = layer(x)[1]
        found[best] = torch.stack(list(carry.values()))
        (grad,) = torch.autograd.grad(found[best].sum(), x)
        found[best] = torch.cat([found[best].flatten(), grad.flatten()])
    assert ran == ["scan", "fft"]
    for value in found.values():
        torch.testing.assert_close(value, found["sequential"], rtol=1e-10, atol=1e-12)
    costs._measured_here.cache_clear()
    costs._choices.clear()


def test_transforms_and_recurrence_get_the_loop(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path))
    costs.save({"torch": {"sequential": {"call": 1.0}, "scan": {"stages": 1e-9}}})
    x, layer, other = torch.randn(2, 10, 1, 3), no.load("prf").torch(3), no.load("prf").torch(3, schedule="sequential")
    other.load_state_dict(layer.state_dict())
    rows = torch.func.vmap(lambda x: layer(x)[0])(x)
    assert torch.equal(rows[1], other(x[1])[0])
    no.load("prf").torch(3, recurrent=True)(x[0])
    costs._measured_here.cache_clear()
    costs._choices.clear()
