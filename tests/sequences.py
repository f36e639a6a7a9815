"""A neuron with every kind of sum over the whole sequence."""

from __future__ import annotations

import torch

import neuroode as no
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
RICH = """
neuron: rich
dt: 0.5
horizon: 12
axes: {tau: time, k: 2}
inputs: {x: current, y: {kind: current, axes: [k]}}
parameters:
  W: {init: "normal(0, 0.3)", per: [tau, time]}
  V: {init: "normal(0, 0.3) + 0.01*tau", per: [channel, tau, k, time]}
  C: {init: "normal(0, 0.3) + i*normal(0, 0.3)", type: complex, per: [neuron, tau, time]}
  G: {init: "normal(0, 0.3)", per: [channel, tau]}
  E: {init: "normal(0, 0.3)", per: time}
  a: {init: "uniform(0.5, 1)", domain: positive, per: neuron}
  lam: 0.3
equations: |
  b = tanh(x) + 0.5*x[t-1] + E[t]
  h = sum_tau((W[tau, t]*(lam*where(tau <= step, 1, 0) + 1 - lam) - 0.1*E[t])*b[tau])
  g = sum_tau(sum_k(V[tau, k, t]*y[k, tau]) + a*G[tau]*h[tau])/2
  z = sum_tau(C[tau, t]*x[tau])
  dv/dt = -v/4 + g + real(z)
spike: v > 0.3 + 0.1*h
reset: v -= 0.3 + 0.1*imag(z)
surrogate: none
outputs: {v: v, h: h, s: s}
"""


def rich() -> no.Neuron:
    return no.Neuron.from_spec(read_text(RICH))


def drive(steps: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn((steps, 2, 3, 2, *k), generator=random, dtype=F64) for k in ((), (2,)))
    return x.requires_grad_(), y.requires_grad_()
