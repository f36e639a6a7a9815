"""The divergence boundary of one block of a step: for which parameters no mode grows from step to step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from neuroode.analysis import algebra
from neuroode.analysis.conditions import in_the_disc, in_the_half_plane, on_the_real_axis
from neuroode.analysis.inequality import Bounds, normal, plain, solve
from neuroode.analysis.region import StabilityFunction
from neuroode.analysis.symbols import assumed, at_rest, held, in_definitions
from neuroode.system.types import OdeSystem

MAX_SHOWN = 200  # characters of a condition in a text; to_json() has all of it


@dataclass(frozen=True, slots=True)
class Amplification:
    """What one step does to a set of coupled states: x[t] = M x[t-1] + what is read from elsewhere.

    Where the step multiplies by a function of A, M = R(A dt), `rate` is A and `R` the function.
    """

    states: tuple[str, ...]
    method: str
    M: sp.Matrix
    rate: sp.Matrix | None = None
    R: StabilityFunction | None = None

    @property
    def decided(self) -> sp.Matrix:
        """The matrix whose entries decide."""
        return self.M if self.rate is None else self.rate

    def conditions(self, decided: sp.Matrix, dt: sp.Symbol) -> list[sp.Expr] | None:
        """Of all |multipliers| <= 1, for that matrix in any form; None beyond the size budget."""
        if self.R is None:
            return in_the_disc(decided)
        if self.R.is_half_plane:
            return in_the_half_plane(decided)
        if (decided.is_lower or decided.is_upper) and all(a.is_real for a in decided.diagonal()):
            return on_the_real_axis(decided, self.R.real_interval, dt)
        return in_the_disc(self.R.of(decided * dt)) if self.R.is_polynomial else in_the_disc(self.M)


@dataclass(frozen=True, slots=True)
class Boundary:
    """All |multipliers| <= 1 exactly where every condition is at least 0; no conditions: everywhere in the domains.

    `conditions` is None where the block exceeds the symbolic budget. `solved` gives them for single symbols; `given`
    says what they are written in: definitions of the neuron, or its parameters while it is at rest. `defined`:
    radicands of the neuron's own square roots. `known`: bounds that are definitions of the neuron, such as `p`.
    """

    states: tuple[str, ...]
    method: str
    conditions: tuple[sp.Expr, ...] | None
    solved: tuple[Bounds, ...] = ()
    given: str = ""
    defined: tuple[sp.Expr, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return ", ".join(self.states)

    def __str__(self) -> str:
        head = f"{self.subject} under {self.method}{f' ({self.given})' if self.given else ''}: "
        if self.conditions is None:
            return head + "larger than the symbolic budget"
        if not self.conditions:
            return head + "no boundary: stable for all parameters in their domains and every dt"
        if self.conditions == (sp.S.NegativeOne,):
            return head + "unstable for all parameters in their domains"
        rows = ["stable where " + " and ".join(map(_shown, self.conditions)), *map(str, self.solved)]
        rows += [f"defined where {plain(e)} >= 0" for e in self.defined]
        rows += self.known
        return head + "\n    ".join(rows)

    def to_json(self) -> dict[str, object]:
        known = self.conditions is not None
        return {
            "states": list(self.states),
            "method": self.method,
            "evidence": "proved" if known else "none",
            "conditions": [f"{plain(c)} >= 0" for c in self.conditions or ()] if known else None,
            "solved": {b.symbol.name: str(b) for b in self.solved},
            "given": self.given,
            "defined": [f"{plain(e)} >= 0" for e in self.defined],
            "known": list(self.known),
        }


def _shown(c: sp.Expr) -> str:
    text = f"{plain(c)} >= 0"
    if len(text) <= MAX_SHOWN:
        return text
    return f"a polynomial of {len(sp.Add.make_args(c))} terms in {', '.join(sorted(map(str, c.free_symbols)))} is >= 0"


def boundaries(system: OdeSystem, block: Amplification) -> list[Boundary]:
    """The boundary in terms of the neuron's definitions where that is simpler, then in its parameters."""
    decided = block.decided
    named, rest = in_definitions(decided, system), at_rest(decided, system)
    forms = [(named, _written_in(named, system))] if named is not None else []
    if rest is not None:
        forms.append((rest, "at rest"))
    elif named is None or not held(decided):
        forms.append((decided, ""))
    return [_boundary(system, block, M, given) for M, given in forms]


def _written_in(M: sp.Matrix, system: OdeSystem) -> str:
    used = sorted(s.name for s in M.free_symbols if s.name in system.definitions)
    return f"in {', '.join(used)}" if used else ""


def _boundary(system: OdeSystem, block: Amplification, M: sp.Matrix, given: str) -> Boundary:
    M = M.subs(assumed(system))
    found = block.conditions(M, system.symbols.get("dt", sp.Symbol("dt", positive=True)))
    if found is None:
        return Boundary(block.states, block.method, None, (), given)
    symbols = sorted(set().union(*(c.free_symbols for c in found)), key=lambda s: (s.name in system.parameters, s.name))
    solved = tuple(bounds for s in symbols if (bounds := solve(found, s)) is not None)
    known = tuple(_known(system, solved))
    return Boundary(block.states, block.method, tuple(found), solved, given, _radicands(M), known)


def _radicands(M: sp.Matrix) -> tuple[sp.Expr, ...]:
    """What the square roots of the neuron itself are of, where it may be negative."""
    halves = {p.base for p in M.atoms(sp.Pow) if p.exp.is_Rational and p.exp.q == 2}
    return tuple(e for base in sorted(halves, key=str) if (e := normal(base)) not in (sp.true, sp.false))


def _known(system: OdeSystem, solved: tuple[Bounds, ...]) -> Iterator[str]:
    """Which definitions of the neuron are a bound of another one."""
    stronger = assumed(system)
    for bounds in (b for b in solved if b.symbol.name in system.definitions):
        for side, edges in (("lower", bounds.lower), ("upper", bounds.upper)):
            for name, e in system.definitions.items():
                if any(algebra.simplify(edge - e.subs(stronger)) == 0 for edge in edges):
                    yield f"{name} is the {side} bound of {bounds.symbol.name}"
