"""One run of a model for the command line, and what is printed of it."""

from __future__ import annotations

import argparse
import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroode._errors import RunError
from neuroode.cli import defaults, drive
from neuroode.cli.declaration import noise
from neuroode.cli.statements import draws, starts_drawn
from neuroode.cli.table import table
from neuroode.program.finite import require_finite

if TYPE_CHECKING:
    from neuroode.neuron import Neuron

NEURONS = 20  # where inits or steps draw


@dataclass(frozen=True, slots=True)
class Run:
    """What happened: `inputs` and `trace` name -> (steps, neurons, *axes*); `signals` say what drove it."""

    neuron: Neuron
    dt: float
    unit: str
    signals: dict[str, str]
    inputs: dict[str, np.ndarray]
    trace: dict[str, np.ndarray]

    @property
    def steps(self) -> int:
        return len(next(iter(self.trace.values())))

    @property
    def times(self) -> np.ndarray:
        """Ends of the steps."""
        return (np.arange(self.steps) + 1) * self.dt

    @property
    def events(self) -> list[str]:
        return [e.name for e in self.neuron.spec.events]


def simulated(neuron: Neuron, args: argparse.Namespace) -> Run:
    """Run with the inputs that were asked for, or with some that make the neuron do something.

    Raises:
        RunError: counts that are not positive, wrong inputs.
    """
    for name in ("steps", "neurons"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise RunError(f"--{name} is {getattr(args, name)}", hint="a positive whole number")
    dt, spec = neuron.step_length(args.dt), neuron.spec
    asked = drive.by_input(spec, [drive.parse(text) for text in args.input])
    figures = defaults.figures_of(neuron, dt, args.method) if args.steps is None or not asked else None
    steps = args.steps or min(defaults.steps_of(figures), spec.horizon or 1000)
    signals = asked or defaults.signals_of(neuron, steps, dt, args.method, figures)
    size = args.neurons or (NEURONS if draws(spec) or starts_drawn(spec) or noise(spec) else 1)
    inputs = drive.sampled(spec, signals, steps, dt, size, args.seed)
    extra: dict[str, Any] = {} if spec.inputs else {"steps": steps, "batch": 1, "size": size}
    trace = neuron.simulate(inputs or None, dt, method=args.method, seed=args.seed, **extra)
    unit = (spec.dt.unit if spec.dt else None) or ""
    shown = {name: str(s) for name, s in signals.items()}
    first = {name: x[:, 0] for name, x in inputs.items()}
    return Run(neuron, dt, unit, shown, first, {name: x[:, 0] for name, x in trace.items()})


def blown_up(r: Run) -> str:
    """Where a run left the numbers for good: the first step, the lane and the name; empty where it did not.

    A reset to -inf is passed through in one step, so infinity counts where a neuron stays there.
    """
    lost = {n: x for n, x in r.trace.items() if np.isnan(x).any() or (~np.isfinite(x[-2:])).all(axis=0).any()}
    try:
        require_finite(r.neuron.spec.name, lost)
    except RunError as error:
        return str(error)
    return ""


def text(r: Run) -> str:
    unit = f" {r.unit}" if r.unit else ""
    size = next(iter(r.trace.values())).shape[1]
    head = f"{r.neuron.spec.name}: {r.steps} steps of {r.dt:g}{unit}, {size} neuron{'s' if size > 1 else ''}"
    lines = [head, *(f"  input {name}: {s}" for name, s in r.signals.items())]
    for name in r.events:
        spikes = r.trace[name].reshape(r.steps, size, -1)
        counts = spikes.sum(axis=(0, 2))
        first = np.flatnonzero(spikes.any(axis=(1, 2)))
        when = f", the first at {r.times[first[0]]:g}{unit}" if len(first) else ""
        each = f" ({counts.min():g} to {counts.max():g} a neuron)" if size > 1 else ""
        lines.append(f"  event {name}: {counts.sum():g}{each}{when}")
    rows = [_row(name, x) for name, x in r.trace.items() if name not in r.events and not name.endswith(".before")]
    if rows:
        lines.append(table(("name", "least", "mean", "largest", "last"), rows, indent="  "))
    return "\n".join(lines)


def _row(name: str, x: np.ndarray) -> list[str]:
    """Figures of the first neuron; of a complex number those of its real part."""
    first = x[:, 0].real
    shown = f"real({name})" if np.iscomplexobj(x) else name
    return [shown, *(f"{v:.4g}" for v in (first.min(), first.mean(), first.max(), first[-1].ravel()[0]))]


def as_json(r: Run) -> str:
    data: dict[str, Any] = {"neuron": r.neuron.spec.name, "dt": r.dt, "unit": r.unit, "steps": r.steps}
    data |= {"signals": r.signals, "events": {name: int(r.trace[name].sum()) for name in r.events}}
    data |= {"inputs": {n: _plain(x) for n, x in r.inputs.items()}, "trace": {n: _plain(x) for n, x in r.trace.items()}}
    return json.dumps(data)


def _plain(x: np.ndarray) -> Any:
    """Nested lists (steps, neurons, *axes*); numbers that are not finite as null."""
    if np.iscomplexobj(x):
        return {"real": _plain(x.real), "imag": _plain(x.imag)}
    if np.all(np.isfinite(x)):
        return x.tolist()
    found = x.astype(object)
    found[~np.isfinite(x)] = None
    return found.tolist()


def as_csv(r: Run) -> str:
    """time, inputs and traces of the first neuron; one column a real number."""
    columns: dict[str, np.ndarray] = {"time": r.times}
    for name, x in (*r.inputs.items(), *r.trace.items()):
        columns |= _columns(name, x[:, 0])
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(c.tolist() for c in columns.values()), strict=True))
    return target.getvalue().rstrip("\n")


def _columns(name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    if np.iscomplexobj(x):
        return _columns(f"real({name})", x.real) | _columns(f"imag({name})", x.imag)
    flat = x.reshape(len(x), -1)
    if x.ndim == 1:
        return {name: x}
    labels = [", ".join(map(str, at)) for at in np.ndindex(*x.shape[1:])]
    return {f"{name}[{label}]": flat[:, i] for i, label in enumerate(labels)}
