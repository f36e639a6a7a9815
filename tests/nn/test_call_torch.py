"""The prologue in C and its reverse, in the call of a layer, against the emitted torch program: levels, transforms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import scatter

import neuroode as no
from neuroode.spec.read_yaml import read_text

F64 = torch.float64

LEVELS = """
neuron: levels_and_maps
dt: 1
axes: {k: 3}
inputs: {I: current}
parameters:
  tau:   {value: 5, domain: positive, per: neuron}
  gain:  {value: 1.5, domain: positive, transform: exp, per: channel}
  keep:  {value: 0.5, domain: unit}
  bound: {value: 0.3, domain: "interval(-1, top)", transform: tanh, per: channel}
  top:   2.0
  c:     {init: "0.2 + 0.1*k", domain: nonnegative, transform: relu, per: [channel, k]}
  w:     {value: "0.4 - 0.3*i", type: complex, per: [neuron, k]}
  v_0:   {value: 0.2, domain: positive, transform: abs, per: %s}
equations: |
  dv/dt = (-v + gain*I + bound)/tau
  a[t] = keep*a[t-1] + sum_k(c[k]*real(w[k])*v[t-k])
outputs: a
states: {v: {init: v_0*gain}}
"""


def pair(level: str, size: Any) -> tuple[Any, Any]:
    neuron = no.Neuron.from_spec(read_text(LEVELS % level))
    torch.manual_seed(0)
    fast = scatter(neuron.torch(size, dtype=F64))
    slow = neuron.torch(size, dtype=F64, schedule="eager")
    slow.load_state_dict(fast.state_dict())
    return fast, slow


def gradients(layer: Any, x: torch.Tensor, g: torch.Tensor, weight: float) -> dict[str, torch.Tensor]:
    x = x.clone().requires_grad_()
    out, carry = layer(x)
    ((out * g).sum() + weight * sum((v**2).sum() for v in carry.values())).backward()
    return {n: p.grad for n, p in layer.named_parameters()} | {"x": x.grad, "out": out.detach()}


@pytest.mark.parametrize("level", ["layer", "channel", "neuron"])
@pytest.mark.parametrize("size", [3, (2, 2, 2)])
def test_levels_and_maps(level: str, size: Any) -> None:
    fast, slow = pair(level, size)
    random = torch.Generator().manual_seed(1)
    x = torch.randn(40, 4, *fast.size, dtype=F64, generator=random)
    g = torch.randn(40, 4, *fast.size, dtype=F64, generator=random)
    found, wanted = gradients(fast, x, g, 0.3), gradients(slow, x, g, 0.3)
    for name, value in wanted.items():
        assert value.abs().max() > 0, name
        torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-12 * float(value.abs().max()), msg=name)
