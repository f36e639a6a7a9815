"""A neuron with noise of both kinds, one of them with an axis."""

from __future__ import annotations

import numpy as np
import torch

import neuroode as no
from neuroode.spec.read_yaml import read_text

ESCAPE = """
neuron: escape
dt: 0.5
axes: {k: 2}
inputs: {I: current}
noise: {U: uniform, Z: {kind: normal, axes: [k]}}
parameters: {tau: {value: 5, domain: positive}}
equations: |
  dv/dt = (-v + I + sum_k(Z[k]))/tau
spike: clip(v, 0, 1) > U
reset: v -= 0.1
outputs: {s: s, v: v}
"""


def escape() -> no.Neuron:
    return no.Neuron.from_spec(read_text(ESCAPE))


def drive(*shape: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(0).normal(0.4, 0.5, shape))
