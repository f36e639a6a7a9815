"""How fast the rates of a flow are beside a step, and beside each other: an estimate at declared values.

The Jacobian at the inits of the states, with inputs 0 and no events; parameters as declared, of drawn ones the median.
Numbers at one point: a fact that is sampled, never proved. One file always gives one estimate: draws have a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from neuroode.analysis import linearity
from neuroode.analysis.numbers import evaluate as numbers
from neuroode.analysis.symbols import HELD
from neuroode.analysis.types import Fact
from neuroode.expr.evaluate import evaluate
from neuroode.expr.units import scale_and_dimension
from neuroode.spec.rules_units import is_bare
from neuroode.spec.types import NeuronSpec, ParameterDecl
from neuroode.system.types import OdeSystem

Array = np.ndarray
MAX_STATES = 16
DRAWS = 101
STIFF = 1.0  # |Re lambda| dt from which explicit steps are no longer small beside the fastest decay


@dataclass(frozen=True, slots=True)
class Stiffness:
    """`fastest` is the largest |Re lambda| (per unit of dt), `step` that times dt (None: no dt is declared),
    `ratio` the fastest over the slowest rate that is not 0."""

    states: tuple[str, ...]
    fastest: float
    step: float | None
    ratio: float

    @property
    def is_stiff(self) -> bool:
        return self.step is not None and self.step > STIFF

    def __str__(self) -> str:
        step = "" if self.step is None else f"largest |Re lambda|*dt = {self.step:.3g}, "
        return f"{step}fastest over slowest rate {self.ratio:.3g}"


def stiffness(system: OdeSystem, states: tuple[str, ...]) -> Stiffness | None:
    """The estimate for some flow states, others standing still; None where a number is missing or not finite."""
    rows = linearity.jacobian(system)
    if len(states) > MAX_STATES or any(a is None for s in states for a in rows[s].values()):
        return None
    J = sp.Matrix(len(states), len(states), lambda i, j: rows[states[i]].get(states[j], sp.S.Zero))
    values = declared(system.spec)
    try:
        found = numbers(_at_the_start(system, J), values)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not np.isfinite(found).all():
        return None
    rates = np.abs(np.linalg.eigvals(found).real)
    fastest, slowest = float(rates.max()), float(min((r for r in rates if r > 1e-12 * rates.max()), default=0.0))
    dt = values.get("dt")
    return Stiffness(
        states, fastest, None if dt is None else fastest * float(dt), fastest / slowest if slowest else 1.0
    )


def stiffness_facts(system: OdeSystem, states: tuple[str, ...]) -> list[Fact]:
    """The estimate as a fact of a report."""
    found = stiffness(system, states) if states else None
    if found is None:
        return []
    detail = "of the Jacobian at the inits, parameters as declared, inputs 0"
    claim = "rates" if found.step is None else "stiff" if found.is_stiff else "not stiff"
    return [Fact(f"{claim}: {found}", ", ".join(states), "sampled", detail)]


def _at_the_start(system: OdeSystem, M: sp.Matrix) -> sp.Matrix:
    """States at their inits, ramps at their start, nothing held but past states."""
    M = M.applyfunc(lambda e: linearity.during(system, e, sp.S.Zero))
    inits = {s.name: s.init for s in system.states}
    at = {x: inits[n] for n, x in linearity.running(system).items()}
    for s in M.free_symbols:
        match = HELD.match(s.name)
        if match:
            at[s] = inits.get(match["name"], sp.S.Zero)
    for _ in range(4):  # an init may read other inits
        M = M.xreplace({**at, sp.Symbol("step", nonnegative=True): sp.S.Zero})
    return M


def declared(spec: NeuronSpec) -> dict[str, Array]:
    """Parameters and dt in their declared units, one number each: declared values, medians of draws."""
    base: dict[str, Array] = {}
    if spec.dt is not None:
        base["dt"] = np.asarray(float(spec.dt.value) * _scale(spec.dt.unit))
    waiting = list(spec.parameters)
    for _ in range(len(waiting)):
        waiting = [p for p in waiting if not _known(p, base)]
    units = {p.name: p.unit for p in spec.parameters} | {"dt": spec.dt.unit if spec.dt else None}
    return {n: v / _scale(units[n]) for n, v in base.items()}


def _known(p: ParameterDecl, base: dict[str, Array]) -> bool:
    """Add the parameter, in base units, if all that it reads is there."""
    node = p.init if p.value is None else p.value
    if node is None or isinstance(node, tuple):
        return False
    try:
        found = evaluate(node, base, np.random.default_rng(0), (DRAWS,))
    except (KeyError, TypeError, ValueError):
        return False
    value = np.median(np.real(found)) + (1j * np.median(np.imag(found)) if np.iscomplexobj(found) else 0)
    base[p.name] = np.asarray(value * _scale(p.unit) if is_bare(node) else value)
    return True


def _scale(unit: str | None) -> float:
    return float(scale_and_dimension(unit)[0]) if unit else 1.0
