"""A discretization: for each block one update, what it is worth, and why it was chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from neuroode.analysis.types import Report
from neuroode.expr.alike import MANY, listed, said_once
from neuroode.system.show import show

LONGEST = 300  # characters of a formula that is printed


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a method applies to a set of states, and why (not)."""

    applies: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Update:
    """New value of each state, in the running symbols (their values at the start of the flow) and held ones.

    `exact`: equals the flow for inputs as they are held over the step (zero or linear), up to rounding.
    `convergence_order` is for smooth flows and inputs as they are held; None for exact steps. `stages` are values that
    `values` and later stages read, by symbol. `guards`: margins of events that this step computes otherwise.
    `noise`: streams of random numbers that it reads, by kind; then `exact` is meant in law, and the order is the
    weak one.
    """

    states: tuple[str, ...]
    method: str
    values: dict[str, sp.Expr]
    exact: bool
    convergence_order: int | None
    why: str
    stages: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    shown: str = ""  # the formula to print, where the entries of `values` are too long to read
    guards: dict[sp.Expr, sp.Expr] = field(default_factory=dict)
    noise: dict[str, str] = field(default_factory=dict)
    tolerance: float | None = None  # of a step that approximates a memory by a sum; its stages are not printed
    of: str | None = None  # the state that such a memory belongs to


@dataclass(frozen=True, slots=True)
class Beside:
    """Updates of the states that move otherwise while some are held, and the stages that these read."""

    values: dict[str, sp.Expr]
    stages: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    noise: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Discretization:
    """All updates of one system; `degenerate` is where a naive closed form would divide by zero (ours does not).

    `beside_held` gives, for each set of states that refractory times may hold at once, the updates that differ then.
    """

    report: Report
    method: str
    updates: tuple[Update, ...]
    degenerate: tuple[sp.Eq, ...] = ()
    beside_held: dict[frozenset[str], Beside] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        return all(u.exact for u in self.updates)

    @property
    def convergence_order(self) -> int | None:
        orders = [u.convergence_order for u in self.updates if u.convergence_order is not None]
        return min(orders) if orders else None

    @property
    def noise(self) -> dict[str, str]:
        """Streams that a step reads, by kind: those of the declaration, and what the updates ask for."""
        declared = {n: kind for n, kind in self.report.system.noise.items() if kind != "wiener"}
        asked = [u.noise for u in self.updates] + [b.noise for b in self.beside_held.values()]
        return declared | {n: kind for noise in asked for n, kind in noise.items()}

    def __str__(self) -> str:
        if not self.updates:
            return "maps only: nothing to discretize"
        return "\n".join(said_once(_row(u) for u in self.updates))

    def to_json(self) -> list[dict[str, object]]:
        return [
            {
                "states": list(u.states), "method": u.method, "exact": u.exact,
                "convergence_order": u.convergence_order, "why": u.why,
                "stages": {s.name: show(e) for s, e in u.stages},
                "update": {s: show(e) for s, e in u.values.items()},
            }
            for u in self.updates
        ]  # fmt: skip


def _short(e: sp.Expr) -> str:
    """The formula of a stage; of a long one only its size."""
    text = show(e)
    return text if len(text) <= LONGEST else f"(a formula of {e.count_ops()} operations)"


def _worth(u: Update) -> str:
    if u.tolerance is not None:
        worth = "exact for held inputs" if u.convergence_order is None else "convergence order 1 + order, at most 2,"
        return f"{worth} up to {u.tolerance:g} of a sum of exponentials"
    if u.exact:
        return "exact in law for held inputs" if u.noise else "exact for held inputs"
    return f"weak order {u.convergence_order}" if u.noise else f"convergence order {u.convergence_order}"


def _row(u: Update) -> str:
    subject = listed(u.states) if u.of is None else u.of
    lines = [f"{subject}: {u.method}, {_worth(u)}; {u.why}"]
    formulas = [f"{s.name} = {_short(e)}" for s, e in u.stages if u.tolerance is None]
    formulas += [u.shown] if u.shown else [f"{s}[t] = {show(e)}" for s, e in u.values.items()]
    shown = said_once(formulas) if len(u.states) > MANY and not u.shown else formulas
    return "\n".join(lines + [f"    {f}" for f in shown])
