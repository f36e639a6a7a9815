"""Initial values of states: expressions of parameters, and those that are drawn, as a small system of their own.

A draw is written over standard numbers, one for each occurrence, element, lane and sample: uniform(a, b) is
a + (b - a)*U and normal(m, s) is m + s*N, those of the log are exp of that. So a draw has gradients to parameters in
its arguments. The step itself knows only the middle of each draw (U = 1/2, N = 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.expr.nodes import Call, Ref, walk
from neuroode.spec.rules_units import is_bare
from neuroode.spec.sections import DRAWS
from neuroode.system.symbols import Reader, SymbolTable
from neuroode.system.types import OdeSystem

STREAM = "init"  # init.q is the first draw of q's init, init2.q its second
MIDDLE = {"uniform": sp.Rational(1, 2), "normal": sp.S.Zero}


@dataclass
class Draws:
    """The standard numbers that inits read: symbol -> kind."""

    kinds: dict[sp.Symbol, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def new(self, state: str, kind: str) -> sp.Symbol:
        """One more number of the init of a state."""
        self.counts[state] = count = self.counts.get(state, 0) + 1
        symbol = sp.Symbol(f"{STREAM}{count if count > 1 else ''}.{state}[t]", real=True)
        self.kinds[symbol] = kind
        return symbol

    def middle(self, e: sp.Expr) -> sp.Expr:
        return e.xreplace({s: MIDDLE[kind] for s, kind in self.kinds.items()})


@dataclass
class _InitReader(Reader):
    """Reads the init of one state; what reads another state's init means the same number."""

    draws: Draws = field(default_factory=Draws)
    state: str = ""

    def _call(self, node: Call) -> sp.Expr:
        if node.name not in DRAWS:
            return super()._call(node)
        a, b = (self.expr(x) for x in node.args)
        log, kind = node.name.startswith("log_"), node.name.removeprefix("log_")
        number = self.draws.new(self.state, kind)
        if kind == "normal":
            drawn = a + b * number
        else:
            a, b = (sp.log(a), sp.log(b)) if log else (a, b)
            drawn = a + (b - a) * number
        return sp.exp(drawn) if log else drawn


def initial_values(table: SymbolTable, states: list[str]) -> tuple[dict[str, sp.Expr], Draws]:
    """Init of each state in base units, as an expression of parameters and of the draws."""
    declared = {s.name: s.init for s in table.spec.states if s.init is not None}
    done: dict[str, sp.Expr] = {s: sp.S.Zero for s in states if s not in declared}
    draws = Draws()

    def init(name: str) -> sp.Expr:
        if name not in done:
            reads = {r.name + "'" * r.primes for r in walk(declared[name]) if isinstance(r, Ref)}
            known = {r: init(r) for r in reads if r in states}
            value = _InitReader(table, surrogate=known, draws=draws, state=name).expr(declared[name])
            done[name] = value * table.scale(name) if is_bare(declared[name]) else value
        return done[name]

    return {s: init(s) for s in states}, draws


def with_start(system: OdeSystem, inits: dict[str, sp.Expr], draws: Draws) -> OdeSystem:
    """The system with those of its initial values that are drawn, in declared units, as its `start`.

    Raises:
        Unsupported: a state is drawn where the past is remembered from its initial value on.
    """
    drawn = {n: e for n, e in inits.items() if e.free_symbols & draws.kinds.keys()}
    if not drawn:
        return system
    if system.fractional:
        names = ", ".join(sorted(drawn))
        what = f"'{system.spec.name}': the init of {names} is drawn, and D^alpha remembers its initial value"
        raise Unsupported(what, hint="give init a number or a parameter, and add a drawn offset to the input")
    spec = replace(system.spec, states=(), equations=(), events=(), inputs=(), noise=(), operators=(), outputs=())
    noise = {s.name.removesuffix("[t]"): kind for s, kind in draws.kinds.items()}
    start = OdeSystem(
        spec=spec, states=(), parameters=system.parameters, inputs=(), flows={}, maps={}, impulses=(), events=(),
        definitions={}, outputs=tuple(row for n, e in drawn.items() for row in _parts(system, n, e)),
        complex=frozenset(system.complex & set(system.parameters)),
        symbols={**system.symbols, **{s.name: s for s in draws.kinds}}, noise=noise,
    )  # fmt: skip
    return replace(system, start=start)


def _parts(system: OdeSystem, name: str, e: sp.Expr) -> list[tuple[str, sp.Expr]]:
    if not system.is_complex(name):
        return [(name, e)]
    return [(f"{name}.re", sp.re(e)), (f"{name}.im", sp.im(e))]
