"""Input signals of `neuroode simulate`, from texts such as `sine(2, 0.5)` or `I=poisson(0.1)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from neuroode._errors import RunError
from neuroode.spec.types import NeuronSpec

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of the samples: the middle of each step, in the neuron's unit; how many neurons; random numbers."""

    steps: int
    dt: float
    size: int
    rng: np.random.Generator
    impulses: bool = False

    @property
    def times(self) -> Array:
        return (np.arange(self.steps)[:, None] + 0.5) * self.dt

    def at(self, time: float) -> int:
        """The step that holds a time."""
        return int(np.floor(time / self.dt + 1e-9))


def _constant(c: Clock, value: float = 1.0) -> Array:
    return np.full((c.steps, 1), value)


def _step(c: Clock, value: float, start: float = 0.0, stop: float = np.inf) -> Array:
    return np.where((c.times >= start) & (c.times < stop), value, 0.0)


def _ramp(c: Clock, first: float, last: float) -> Array:
    return np.linspace(first, last, c.steps)[:, None]


def _sine(c: Clock, amplitude: float, omega: float, offset: float = 0.0) -> Array:
    return offset + amplitude * np.sin(omega * c.times)


def _noise(c: Clock, mean: float, std: float) -> Array:
    return c.rng.normal(mean, std, (c.steps, c.size))


def _poisson(c: Clock, rate: float, weight: float = 1.0) -> Array:
    counts = weight * c.rng.poisson(rate * c.dt, (c.steps, c.size))
    return counts if c.impulses else counts / c.dt


def _impulse(c: Clock, area: float, at: float = 0.0) -> Array:
    found = np.zeros((c.steps, 1))
    if not 0 <= c.at(at) < c.steps:
        raise RunError(f"impulse at {at:g}: the run covers 0 to {c.steps * c.dt:g}", hint="--steps N makes it longer")
    found[c.at(at)] = area if c.impulses else area / c.dt
    return found


#: name -> signal, names of its numbers, how many of them must be given
KINDS: dict[str, tuple[Callable[..., Array], tuple[str, ...], int]] = {
    "constant": (_constant, ("value",), 1),
    "step": (_step, ("value", "start", "stop"), 1),
    "ramp": (_ramp, ("first", "last"), 2),
    "sine": (_sine, ("amplitude", "omega", "offset"), 2),
    "noise": (_noise, ("mean", "std"), 2),
    "poisson": (_poisson, ("rate", "weight"), 1),
    "impulse": (_impulse, ("area", "at"), 1),
}
ALLOWED = ", ".join(f"{k}({', '.join(names)})" for k, (_, names, _) in KINDS.items())


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind with its numbers, of one input or (None) of all."""

    kind: str
    numbers: tuple[float, ...]
    input: str | None = None

    def __call__(self, clock: Clock) -> Array:
        """(steps, size), broadcast over the neurons."""
        return np.broadcast_to(KINDS[self.kind][0](clock, *self.numbers), (clock.steps, clock.size))

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{n:g}' for n in self.numbers)})"


def parse(text: str) -> Signal:
    """A signal from its text.

    Raises:
        RunError: an unknown kind, or other numbers than it takes.
    """
    match = re.fullmatch(r"\s*(?:(?P<input>\w+)\s*=)?\s*(?P<kind>\w+)\s*\((?P<numbers>[^()]*)\)\s*", text)
    if match is None or match["kind"] not in KINDS:
        raise RunError(f"--input is '{text}'", hint=f"one of {ALLOWED}; NAME= before it for one of several inputs")
    names, least = KINDS[match["kind"]][1:]
    parts = [p.strip() for p in match["numbers"].split(",") if p.strip()]
    try:
        numbers = tuple(float(p) for p in parts)
    except ValueError:
        numbers = (np.nan,)
    if not np.all(np.isfinite(numbers)) or not least <= len(numbers) <= len(names):
        what = f"{match['kind']}({', '.join(names)})"
        raise RunError(f"--input is '{text}'", hint=f"{what} takes {_count(least, len(names))}")
    return Signal(match["kind"], numbers, match["input"])


def _count(least: int, most: int) -> str:
    return f"{least} number{'s' if least > 1 else ''}" if least == most else f"{least} to {most} numbers"


def by_input(spec: NeuronSpec, signals: list[Signal]) -> dict[str, Signal]:
    """Which signal drives which input.

    Raises:
        RunError: a name that is no input, or an input with two signals.
    """
    names = [i.name for i in spec.inputs]
    found: dict[str, Signal] = {}
    for s in signals:
        for name in names if s.input is None else [s.input]:
            if name not in names or name in found:
                what = f"'{name}' has two signals" if name in found else f"'{name}' is no input of '{spec.name}'"
                raise RunError(f"--input: {what}", hint=f"inputs: {', '.join(names) or 'none'}")
            found[name] = s
    return found


def sampled(
    spec: NeuronSpec, signals: Mapping[str, Signal], steps: int, dt: float, size: int, seed: int
) -> dict[str, Array]:
    """Input name -> (steps, 1, size, *axes of the input*); an input without a signal is silent.

    Raises:
        RunError: an input of spikes that is no whole number.
    """
    rng = np.random.default_rng(seed)
    axes = {a.name: a.size for a in spec.axes}
    found = {}
    for i in spec.inputs:
        clock = Clock(steps, dt, size, rng, i.kind != "current")
        x = signals[i.name](clock) if i.name in signals else np.zeros((steps, size))
        if i.kind == "spike" and np.any((x != np.round(x)) | (x < 0)):
            raise RunError(f"input '{i.name}' takes whole numbers of spikes", hint="poisson(rate), impulse(1, at)")
        wide = x[:, None, :].reshape(steps, 1, size, *[1] * len(i.axes))
        found[i.name] = np.array(np.broadcast_to(wide, (steps, 1, size, *(_size(axes, a) for a in i.axes))))
    return found


def _size(axes: Mapping[str, int | str], name: str) -> int:
    size = axes[name]
    return size if isinstance(size, int) else _size(axes, str(size))
