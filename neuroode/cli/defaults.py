"""A drive with which a neuron does something worth looking at, when nobody asked for another.

Impulses come as Poisson trains; a resonator gets a sine at its own frequency, anything else a step. The strength is
the smallest of a geometric row with which the last event occurs often enough, found by one run of all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuroode._errors import NeuroodeError
from neuroode.cli.drive import Signal, sampled

if TYPE_CHECKING:
    from neuroode.analysis.figures import Figures
    from neuroode.neuron import Neuron

STRENGTHS = 2.0 ** np.arange(-8, 17, 0.5)
EVENTS = 8  # in a run
MOST = 0.34  # of the steps


def figures_of(neuron: Neuron, dt: float, method: str | None) -> Figures | None:
    """The neuron's time scales; None where they are not known."""
    try:
        return neuron.analyse(dt, method).figures
    except NeuroodeError:
        return None


def steps_of(figures: Figures | None) -> int:
    """Ten of the longest time constants or periods, 200 to 1000 steps; 1000 where nothing is known."""
    scales = []
    for m in figures.modes if figures else ():
        columns = m.columns()
        for name, factor in (("time constant of the step", 1.0), ("frequency of the step", None)):
            value = columns[name]
            middle = float(np.median(value)) if value is not None else np.inf
            scales.append(middle if factor else 2 * np.pi / middle if middle > 1e-9 else 0.0)
    scales = [s for s in scales if np.isfinite(s) and s > 0]
    if not scales or figures is None:
        return 1000
    return int(np.clip(round(10 * max(scales) / figures.dt, -1), 200, 1000))


def signals_of(neuron: Neuron, steps: int, dt: float, method: str | None, figures: Figures | None) -> dict[str, Signal]:
    """A signal for each input."""
    omega = _resonance(figures)
    strength = _strength(neuron, steps, dt, method, omega) if neuron.spec.events else 1.0
    return _signals(neuron, strength, steps, dt, omega)


def _signals(neuron: Neuron, strength: float, steps: int, dt: float, omega: float | None) -> dict[str, Signal]:
    if not neuron.spec.states:  # what remembers nothing but its inputs answers a constant with all or nothing
        return {i.name: Signal("noise", (0.0, float(f"{strength:.3g}"))) for i in neuron.spec.inputs}
    return {i.name: _signal(i.kind, strength, steps, dt, omega) for i in neuron.spec.inputs}


def _resonance(figures: Figures | None) -> float | None:
    """The frequency of the least damped oscillation that is worth the name."""
    found = []
    for m in figures.modes if figures else ():
        turn, size = np.median(np.abs(np.angle(m.multiplier))), np.median(np.abs(m.multiplier))
        if turn > 2 * abs(np.log(max(size, 1e-300))) and turn > 1e-6:
            found.append((size, turn / m.dt))
    return max(found)[1] if found else None


def _signal(kind: str, strength: float, steps: int, dt: float, omega: float | None) -> Signal:
    """Impulses: trains of about one in eight steps, of unit spikes or of that area each; weak ones rarer."""
    if kind == "spike":
        return Signal("poisson", (float(f"{min(strength, 8.0) / (8 * dt):.3g}"),))
    if kind == "impulse":
        return Signal("poisson", (float(f"{1 / (8 * dt):.3g}"), float(f"{strength:.3g}")))
    if omega is not None:
        return Signal("sine", (float(f"{strength:.3g}"), float(f"{omega:.4g}")))
    return Signal("step", (float(f"{strength:.3g}"), float(f"{0.05 * steps * dt:.3g}")))


def _strength(neuron: Neuron, steps: int, dt: float, method: str | None, omega: float | None) -> float:
    """The smallest strength with enough events of the first kind in one neuron; 1 if none has."""
    rows = [sampled(neuron.spec, _signals(neuron, s, steps, dt, omega), steps, dt, 1, 0) for s in STRENGTHS]
    if not rows[0]:
        return 1.0
    x = {name: np.concatenate([r[name] for r in rows], axis=1) for name in rows[0]}
    trace = neuron.simulate(x, dt, method=method)
    counts = trace[neuron.spec.events[-1].name].reshape(steps, len(STRENGTHS), -1).sum(axis=0).max(axis=1)
    fine = np.flatnonzero((counts >= min(EVENTS, steps // 10)) & (counts <= MOST * steps))
    some = np.flatnonzero((counts > 0) & (counts <= MOST * steps))
    return float(STRENGTHS[fine[0] if len(fine) else some[-1] if len(some) else len(STRENGTHS) // 2])
