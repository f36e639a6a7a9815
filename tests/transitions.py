"""One step of a linear neuron with noise as numbers, by running its program on a basis; and Van Loan's formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import expm

import neuroode as no
from neuroode.program.interpret import run
from neuroode.program.values import initial_values, slots

Array = np.ndarray


def transition(
    neuron: no.Neuron, dt: float, method: str | None = None, parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, float] | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """A, b, S with E[x'] = A x + b and Cov[x'] = S, in the order of the states."""
    program = neuron.program(dt, method=method)
    states, noise = [s.name for s in neuron.system().states], program.noise
    given = initial_values(neuron.spec, dt, (1,), np.random.default_rng(0), dict(parameters or {}))
    values = slots(neuron.spec, given, (1,)) | {"dt": np.asarray(dt)}
    basis = np.eye(1 + len(states) + len(noise))[1:]  # column 0 is the origin
    start = {s: basis[i][:, None] for i, s in enumerate(states)}
    start |= {s.name: np.zeros((basis.shape[1], 1)) for s in program.carry if s.name not in start}
    x = {n: np.full((1, basis.shape[1], 1), (inputs or {}).get(n, 0.0)) for n in program.given}
    drawn = {n.name: basis[len(states) + j][None, :, None] for j, n in enumerate(noise)}
    end = np.stack([run(program, values, x | drawn, start).carry[s][:, 0] for s in states])
    b = end[:, 0]
    moved = end[:, 1:] - b[:, None]
    std = np.array([np.sqrt(dt) if n.kind == "wiener" else 1.0 for n in noise])
    L = moved[:, len(states) :] * std
    return moved[:, : len(states)], b, L @ L.T


def van_loan(B: Array, Q: Array, h: float) -> tuple[Array, Array]:
    """e^(B h), and the covariance of dx = B x dt + noise of rate Q over h (Van Loan 1978)."""
    n = len(B)
    whole = expm(h * np.block([[-B, Q], [np.zeros((n, n)), B.T]]))
    return whole[n:, n:].T, whole[n:, n:].T @ whole[:n, n:]


def stationary(A: Array, S: Array) -> Array:
    """Solution of V = A V A' + S by its own linear system."""
    n = len(A)
    return np.linalg.solve(np.eye(n * n) - np.kron(A, A), S.ravel()).reshape(n, n)
