"""The figures of a linear neuron at a step: modes of its flow and of its step, resonances of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from neuroode.analysis.response import Peak, StateSpace, peak

Array = np.ndarray
MAX_CHANNELS = 64
INSIDE = 1 + 1e-12  # a multiplier on the unit circle, up to rounding


@dataclass(frozen=True, slots=True)
class Mode:
    """One mode of a set of coupled states for each drawn neuron: eigenvalue of the flow (None: a map), multiplier."""

    states: tuple[str, ...]
    method: str
    eigenvalue: Array | None
    multiplier: Array
    dt: float

    def columns(self) -> dict[str, Array | None]:
        """Time constants and angular frequencies in the neuron's unit of time; None where there is no such number."""
        found: dict[str, Array | None] = {"eigenvalue": self.eigenvalue}
        with np.errstate(all="ignore"):
            if self.eigenvalue is not None:
                found |= _of_eigenvalue(self.eigenvalue)
            size = np.abs(self.multiplier)
            found["multiplier"] = size
            found["time constant of the step"] = np.where(np.abs(size - 1) <= 1e-12, np.inf, -self.dt / np.log(size))
            found["frequency of the step"] = np.abs(np.angle(self.multiplier)) / self.dt
        return found


def _of_eigenvalue(e: Array) -> dict[str, Array | None]:
    oscillates = bool(np.any(np.abs(e.imag) > 1e-12 * np.abs(e)))
    return {
        "time constant": -1 / e.real,
        "frequency": np.abs(e.imag),
        "quality": np.abs(e) / (2 * np.abs(e.real)) if oscillates else None,
    }


def modes(states: tuple[str, ...], method: str, A: Array | None, M: Array, dt: float) -> list[Mode]:
    """Pair the eigenvalues of A (neurons, n, n) with those of M; of a conjugate pair only one is kept."""
    multipliers = np.linalg.eigvals(M)
    multipliers = np.take_along_axis(multipliers, np.argsort(-np.abs(multipliers) - 1e-9 * multipliers.imag), axis=1)
    if A is None:
        return [Mode(states, method, None, multipliers[:, k], dt) for k in _upper(M, multipliers)]
    values = np.linalg.eigvals(A)
    values = np.take_along_axis(values, np.argsort(-values.real - 1e-9 * values.imag), axis=1)
    if multipliers.shape[1] > 1:
        multipliers = np.stack([_paired(np.exp(v * dt), m) for v, m in zip(values, multipliers, strict=True)])
    return [Mode(states, method, values[:, k], multipliers[:, k], dt) for k in _upper(A, values)]


def _upper(matrix: Array, values: Array) -> list[int]:
    """Indices without those that are the conjugate of the one before for every neuron."""
    kept: list[int] = []
    for k in range(values.shape[1]):
        twin = kept and np.allclose(values[:, kept[-1]], values[:, k].conj(), rtol=1e-9, atol=0)
        if not (twin and np.isrealobj(matrix) and np.all(values[:, k].imag != 0)):
            kept.append(k)
    return kept


def _paired(wanted: Array, found: Array) -> Array:
    distance = np.abs(wanted[:, None] - found[None, :])
    _, order = linear_sum_assignment(np.where(np.isfinite(distance), distance, 1e300))
    return found[order]


@dataclass(frozen=True, slots=True)
class Channel:
    """The response of one row to one input, of the flow and of the step; `unit` is what frequencies are per."""

    input: str
    row: str
    flow: Peak | None
    step: Peak


@dataclass(frozen=True)
class Figures:
    """What a neuron does at one step: `drawn` neurons for the modes, the one with median parameters for the responses.

    `shares`: states -> (neurons without a multiplier outside the unit circle, drawn), the same for points of the
    domains. `flow` and `step` are the linear systems of the median neuron.
    """

    dt: float
    unit: str
    seconds: float
    drawn: int
    parameters: Mapping[str, Array]
    modes: tuple[Mode, ...]
    shares: Mapping[tuple[str, ...], tuple[int, int, int, int]]
    flow: StateSpace | None
    step: StateSpace | None

    def channels(self) -> list[Channel]:
        """Every channel that is not silent, up to 64."""
        if self.step is None:
            return []
        found: list[Channel] = []
        for name in self.step.inputs:
            for row in self.step.rows:
                one = self.step.channel(row, name)
                if np.abs(one.at(np.array([0.1, 1.0]) / self.dt)).max() > 0:
                    flow = self.flow.channel(row, name) if self.flow and row in self.flow.rows else None
                    if len(found) == MAX_CHANNELS:
                        return found
                    found.append(Channel(name, row, peak(flow) if flow else None, peak(one)))
        return found

    def __str__(self) -> str:
        from neuroode.analysis.figures_text import text

        return text(self)

    def to_json(self) -> dict[str, object]:
        return {
            "dt": self.dt,
            "unit": self.unit,
            "drawn": self.drawn,
            "parameters": {n: _spread(v) for n, v in self.parameters.items()},
            "modes": [
                {"states": list(m.states), "method": m.method, **{n: _spread(v) for n, v in m.columns().items()}}
                for m in self.modes
            ],
            "inside": [_share(s, n) for s, n in self.shares.items()],
            "responses": [_channel(c) for c in self.channels()],
        }


def _spread(v: Array | None) -> object:
    if v is None:
        return None
    if np.iscomplexobj(v):
        return {"real": _spread(v.real), "imag": _spread(v.imag)}
    if v.size == 1:
        return _plain(float(v.ravel()[0]))
    return {"median": _plain(np.median(v)), "least": _plain(v.min()), "largest": _plain(v.max())}


def _plain(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def _share(states: tuple[str, ...], n: tuple[int, int, int, int]) -> dict[str, object]:
    return {"states": list(states), "neurons": n[0], "of": n[1], "points": n[2], "of points": n[3]}


def _channel(c: Channel) -> dict[str, object]:
    return {"input": c.input, "row": c.row, "flow": _peak(c.flow), "step": _peak(c.step)}


def _peak(p: Peak | None) -> dict[str, object] | None:
    if p is None:
        return None
    found = {"dc": p.dc, "frequency": p.frequency, "gain": p.gain, "low": p.band[0], "high": p.band[1]}
    return {n: None if v is None else _plain(v) for n, v in found.items()}
