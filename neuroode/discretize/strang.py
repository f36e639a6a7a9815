"""Strang splitting: a flow as a sum of parts that each have an exact step, composed symmetrically. Order 2.

By states: each part is a set of states that move while all others are held: what is linear together, a Riccati or a
separable flow. By terms: the linear terms of all states together, and what is left of each single state. A step is half
a step of each part, a whole one of the costliest, and the halves back in reverse order. Inputs that run through the
step are taken at its middle, and so are states that the parts read and other blocks move.

A state that an event resets is seen by the other parts at its threshold at most: it stops there, so that what an
upstroke makes of it in the rest of the step enters no other state. Where several parts move that state, it stays
where the first of them has brought it, and they start from its threshold; but not where events are located, whose
times need a step that is smooth in its length.

Sources: Strang, SIAM J. Numer. Anal. 5 (1968); Hairer, Lubich and Wanner, Geometric Numerical Integration (2006),
section II.5; Chen, Raman and Stern, SIAM J. Sci. Comput. 42 (2020) for Hodgkin-Huxley neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis import linearity
from neuroode.analysis.linearity import STEPS, during, running
from neuroode.analysis.types import Block, Report
from neuroode.discretize import exact, real_form, riccati, separable
from neuroode.discretize.runge_kutta import order_left
from neuroode.discretize.threshold import Bound, bounds
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import peak, phi, pick
from neuroode.system.types import OdeSystem

LENGTH = sp.Symbol("(length)", positive=True)  # of one move of a part
MAX_STATES = 32
Flows = dict[str, sp.Expr]
Maker = Callable[[Report, tuple[str, ...], sp.Symbol], Update]


@dataclass(frozen=True, slots=True)
class Part:
    """A vector field over some states, and its exact step over LENGTH; other states stand in it as held symbols."""

    updates: tuple[Update, ...]
    way: str

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(s for u in self.updates for s in u.states)

    @property
    def rows(self) -> list[sp.Expr]:
        return [e for u in self.updates for e in (*[e for _, e in u.stages], *u.values.values())]

    @property
    def cost(self) -> int:
        """Of one move: 20 for each function that every step must evaluate, 1 for each read of what varies."""
        calls = {f for e in self.rows for f in e.atoms(sp.Function) if any(self._varies(s) for s in f.free_symbols)}
        reads = sum(self._varies(s) for e in self.rows for s in sp.preorder_traversal(e) if s.is_Symbol)
        return 20 * len(calls) + reads

    def _varies(self, s: sp.Symbol) -> bool:
        return s.name in self.states or ("(" in s.name and s != LENGTH) or "[" in s.name

    def reads(self, state: sp.Symbol) -> bool:
        return any(e.has(state) for e in self.rows)


@dataclass(frozen=True, slots=True)
class Splitting:
    """Parts in the order of their first moves; the last one is the whole step in the middle."""

    parts: tuple[Part, ...]
    by: str  # states, terms
    exact: bool = True


def held(system: OdeSystem, state: str) -> sp.Symbol:
    """A state that stands still while a part moves others."""
    return sp.Symbol(f"{state}[held]", **({} if system.is_complex(state) else {"real": True}))


def split(report: Report, states: tuple[str, ...], approximate: bool = False) -> Splitting | None:
    """The splitting of the flows of some states, by states if there is one, else by terms; None if there is none.

    approximate: where no part has an exact step, take the exponential Rosenbrock-Euler step of single states, order 2.
    """
    if len(states) > MAX_STATES:
        return None
    flows = {s: during(report.system, report.system.flows[s], sp.S.Half) for s in states}
    found = _by_states(report, flows) or _by_terms(report, flows)
    return found or (_by_states(report, flows, approximate=True) if approximate else None)


def applies(report: Report, states: tuple[str, ...], approximate: bool = False) -> Verdict:
    found = split(report, states, approximate)
    if found is not None:
        return Verdict(True, _text(found))
    if len(states) > MAX_STATES:
        return Verdict(False, f"{len(states)} states, more than the {MAX_STATES} for which a splitting is looked for")
    return Verdict(False, "no splitting into parts with exact steps, by states or by terms, was found")


def derive(report: Report, states: tuple[str, ...], dt: sp.Symbol, why: str = "", approximate: bool = False) -> Update:
    """The update of states to which `applies` said yes."""
    found = split(report, states, approximate)
    assert found is not None
    step = _Composition(report, found, dt)
    order, rough = order_left(report, states, 2)
    reason = "; ".join(filter(None, (why, _text(found), step.note()))) + rough
    return Update(states, "strang", step.values(), False, order, reason, tuple(step.stages), guards=step.guards)


def beside(report: Report, states: tuple[str, ...], maker: Maker, dt: sp.Symbol) -> Update:
    """A step of some states by another method; what they read and other blocks move is taken at the middle of the step.

    Raises:
        Unsupported: what they read has no exact step.
    """
    flows = {s: during(report.system, report.system.flows[s], sp.S.Half) for s in states}
    read = [s for s, x in running(report.system).items() if s not in states and any(f.has(x) for f in flows.values())]
    if not read:
        return maker(report, states, dt)
    inner = maker(alone(report, flows), states, LENGTH)
    step = _Composition(report, Splitting((Part((inner,), ""),), "states"), dt)
    order = inner.convergence_order and min(2, inner.convergence_order)
    why = f"{inner.why}; {', '.join(read)} taken at the middle of the step"
    return Update(states, inner.method, step.values(), False, order, why, tuple(step.stages), guards=step.guards)


def _text(s: Splitting) -> str:
    rows = [f"{', '.join(p.states)} {'whole' if p is s.parts[-1] else 'half'} ({p.way})" for p in s.parts]
    back = [f"{', '.join(p.states)} half" for p in reversed(s.parts[:-1])]
    return f"split by {s.by}: " + ", ".join(rows + back)


# parts


def _by_states(report: Report, flows: Flows, approximate: bool = False) -> Splitting | None:
    """Each state joins the first part that keeps an exact step with it."""
    groups: list[tuple[str, ...]] = []
    for s in flows:
        joined = next((g for g in groups if _together(report, flows, (*g, s))), None)
        groups = [(*g, s) if g is joined else g for g in groups] if joined else [*groups, (s,)]
    parts = [_part(report, {s: flows[s] for s in g}, approximate) for g in groups]
    return _splitting(report, parts, "states", not approximate)


def _together(report: Report, flows: Flows, states: tuple[str, ...]) -> bool:
    """Whether states are linear together, or one reads nothing of the others."""
    system, x = report.system, [running(report.system)[s] for s in states]
    rows = linearity.jacobian(replace(system, flows={s: flows[s] for s in states}))
    new = states[-1]
    if not any(new in rows[s] or s in rows[new] for s in states[:-1]):
        return True
    linear = all(a is not None and not a.has(*x) for row in rows.values() for a in row.values())
    return linear and _part(report, {s: flows[s] for s in states}) is not None


def _by_terms(report: Report, flows: Flows) -> Splitting | None:
    """The linear terms of all states as one part, the rest of each state as one of its own."""
    x = [running(report.system)[s] for s in flows]
    linear: Flows = {}
    rest: Flows = {}
    for s, f in flows.items():
        terms = sp.Add.make_args(sp.expand_mul(f))
        plain = [t for t in terms if _is_linear(t, x)]
        linear[s] = sp.Add(*plain)
        if len(plain) < len(terms):
            rest[s] = sp.Add(*[t for t in terms if t not in plain])
    if not rest or all(e == 0 for e in linear.values()):
        return None
    parts = [_part(report, linear), *[_part(report, {s: e}) for s, e in rest.items()]]
    return _splitting(report, parts, "terms")


def _is_linear(term: sp.Expr, x: list[sp.Symbol]) -> bool:
    if any(p.has(*x) for kind in (*STEPS, *linearity.NOT_HOLOMORPHIC) for p in term.atoms(kind)):
        return False
    return all(not sp.diff(term, s).has(*x) for s in x)


def alone(report: Report, flows: Flows) -> Report:
    """Some states as a system of their own; the others stand in their flows as held symbols."""
    system = report.system
    others = {x: held(system, s) for s, x in running(system).items() if s not in flows}
    sub = replace(system, flows={s: e.xreplace(others) for s, e in flows.items()}, impulses=(), ramps={})
    rows = linearity.jacobian(sub)
    classes = linearity.classify(sub, rows)
    return Report(sub, classes, linearity.blocks(sub, rows, classes), linearity.components(rows), (), ())


def _part(report: Report, flows: Flows, approximate: bool = False) -> Part | None:
    """A field over some states with the exact step of each of its blocks; None where one has none."""
    found = alone(report, flows)
    steps = [_step(found, block, approximate) for block in real_form.blocks(found)]
    if any(step is None for step in steps):
        return None
    return Part(tuple(step[0] for step in steps if step), "; ".join(dict.fromkeys(step[1] for step in steps if step)))


def _step(report: Report, block: Block, approximate: bool) -> tuple[Update, str] | None:
    """The step of a block over LENGTH, and its name."""
    if exact.applies(report, block).applies:
        return exact.derive(report, block, LENGTH), "linear"
    if riccati.applies(report, block).applies:
        return riccati.derive(report, block, LENGTH), "Riccati"
    if (verdict := separable.applies(report, block)).applies:
        return separable.derive(report, block, LENGTH), verdict.reason
    return _rosenbrock(report, block) if approximate else None


def _rosenbrock(report: Report, block: Block) -> tuple[Update, str] | None:
    """v + h phi_1(h f'(v)) f(v): order 2, exact where f is linear (Hochbruck and Ostermann, Acta Numerica 2010)."""
    if len(block.states) > 1 or report.system.is_complex(block.states[0]):
        return None
    (s,) = block.states
    x, f = running(report.system)[s], report.system.flows[s]
    slope = linearity.jacobian(report.system)[s].get(s, sp.S.Zero)
    if slope is None:
        return None
    value = x + LENGTH * phi(1, LENGTH * slope) * f
    name = "exponential Rosenbrock-Euler, order 2"
    return Update((s,), "rosenbrock", {s: value}, False, 2, name), name


def _ordered(parts: list[Part], whole: set[str]) -> tuple[Part, ...] | None:
    """The costliest last: it makes one move, the others two. What passes through infinity (`whole`) must be last."""
    cost = [(bool(whole & set(p.states)), p.cost, -k) for k, p in enumerate(parts)]
    middle = parts[max(range(len(parts)), key=lambda k: cost[k])]
    return (*[p for p in parts if p is not middle], middle) if whole <= set(middle.states) else None


def _through_infinity(system: OdeSystem, parts: list[Part]) -> set[str] | None:
    """States that an event meets at infinity; None if another part would read them there."""
    names = {j.state for e in system.events for j in e.jumps if j.value in (sp.oo, -sp.oo)}
    peaks = [t.margin for e in system.events for t in riccati.tests(e.condition) if isinstance(t.margin, peak)]
    names |= {s for s in system.flows for m in peaks if system.symbols.get(f"{s}[t]") in m.free_symbols}
    moved = [s for p in parts for s in p.states if s in names]
    read = any(p.reads(held(system, s)) for p in parts for s in moved)
    return None if read or len(set(moved)) < len(moved) else set(moved)


def _splitting(report: Report, parts: list[Part | None], by: str, exact: bool = True) -> Splitting | None:
    found = [p for p in parts if p is not None]
    whole = _through_infinity(report.system, found) if len(found) == len(parts) else None
    ordered = None if whole is None else _ordered(found, whole)
    return Splitting(ordered, by, exact) if ordered else None


# composition


class _Composition:
    """Moves the parts one after another; every result is a stage with a name of its own."""

    def __init__(self, report: Report, found: Splitting, dt: sp.Symbol) -> None:
        self.report, self.system, self.dt = report, report.system, dt
        self.x = running(self.system)
        self.states = [s for s in self.system.flows if any(s in p.states for p in found.parts)]
        self.now: dict[str, sp.Expr] = {s: self.x[s] for s in self.system.flows}
        self.stages: list[tuple[sp.Symbol, sp.Expr]] = []
        self.guards: dict[sp.Expr, sp.Expr] = {}
        self.shared = {s for p in found.parts for q in found.parts if p is not q for s in p.states if s in q.states}
        self.bounds, self.stopped = bounds(self.system), set[str]()
        if self.system.spec.within_step == "locate":  # the step ends at the event, and must be smooth up to it
            self.bounds = {s: b for s, b in self.bounds.items() if s not in self.shared}
        self.count = 0
        self._drive(found)
        *halves, middle = found.parts
        for part in (*halves, middle, *reversed(halves)):
            self._move(part, sp.S.One if part is middle else sp.S.Half)

    def values(self) -> dict[str, sp.Expr]:
        return {s: self.now[s] for s in self.states}

    def note(self) -> str:
        rows = [f"{s} at its threshold {'at most' if self.bounds[s].up else 'at least'}" for s in sorted(self.stopped)]
        return f"the other parts see {', '.join(rows)}" if rows else ""

    def _drive(self, found: Splitting) -> None:
        """States that the parts read and other blocks move: their values at the middle of the step."""
        read = [s for s in self.x if s not in self.states and any(p.reads(held(self.system, s)) for p in found.parts)]
        done: set[str] = set()
        for s in read:
            if s not in done:
                part = _part(self.report, {n: self._middle(n) for n in self.report.block_of(s).states})
                if part is None:
                    raise Unsupported(
                        f"method 'strang' reads {s}, which has no exact step", hint="choose rk4 for all states"
                    )
                done |= set(part.states)
                self._move(part, sp.S.Half)

    def _middle(self, state: str) -> sp.Expr:
        return during(self.system, self.system.flows[state], sp.Rational(1, 4))

    def _move(self, part: Part, fraction: sp.Expr) -> None:
        self.count += 1
        inside = {self.x[s]: self._start(s) for s in part.states}
        outside = {held(self.system, s): self._seen(s) for s in self.x if part.reads(held(self.system, s))}
        here = inside | outside | {LENGTH: fraction * self.dt}
        before = dict(self.now)
        for u in part.updates:
            own = {s: self._named(s.name, real=s.is_real) for s, _ in u.stages}
            self.stages += [(own[s], e.xreplace(own | here)) for s, e in u.stages]
            self.guards |= {m: e.xreplace(own | here) for m, e in u.guards.items()}
            for s, e in u.values.items():
                self.now[s] = self._named(s, real=not self.system.is_complex(s))
                self.stages.append((self.now[s], self._moved(s, e.xreplace(own | here), before[s])))

    def _moved(self, state: str, value: sp.Expr, before: sp.Expr) -> sp.Expr:
        """A state that another part has brought to its threshold stays there."""
        bound = self._bound(state) if state in self.shared else None
        return value if bound is None else pick(bound.passed(before), before, value)

    def _named(self, name: str, real: bool | None) -> sp.Symbol:
        return sp.Symbol(f"{name} {self.count}", **({"real": True} if real else {}))

    def _start(self, state: str) -> sp.Expr:
        """A state that several parts move starts at its threshold at most."""
        return self._seen(state) if state in self.shared else self.now[state]

    def _seen(self, state: str) -> sp.Expr:
        bound = self._bound(state)
        return self.now[state] if bound is None else bound.seen(self.now[state])

    def _bound(self, state: str) -> Bound | None:
        """The threshold of a state, where this step reads it."""
        bound = self.bounds.get(state)
        if bound is None:
            return None
        self.stopped.add(state)
        ends = {self.system.symbols[f"{s}[t]"]: self.now[s] for s in self.x if f"{s}[t]" in self.system.symbols}
        return replace(bound, at=bound.at.xreplace(ends))


def groups(report: Report, blocks: Iterable[Block]) -> list[tuple[str, ...]]:
    """States of blocks that read each other, together; in the order of the neuron."""
    states = [s for b in blocks for s in b.states]
    x = running(report.system)
    rows = {
        s: {n: sp.S.One for n in states if report.system.flows[s].has(x[n])} for s in report.system.flows if s in states
    }
    return [tuple(sorted(g, key=list(rows).index)) for g in linearity.coupled(list(rows), rows)]
