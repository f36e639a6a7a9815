"""Method `soe`: fractional states as weighted means of ordinary leaks, stepped exactly for inputs held over the step.

D^a v = -lam*v + g: the leak goes into the modes (`soe_kernels.py`), g is what drives them. Where g stands still over
the step, or is a ramp, the step is exact up to the tolerance of the sum. Where it reads states that move, they are
predicted with g of the start of the step, and g runs linearly from its first to its predicted last value: the product
trapezoidal rule for the memory, with the leak exact, of order 1 + a at a fixed time, at most 2.

Sources: Garrappa and Popolizio, J. Comput. Appl. Math. 235 (2011), exponential time differencing for fractional
equations; Cox and Matthews, J. Comput. Phys. 176 (2002), ETD2RK; Diethelm, Ford and Freed, Nonlinear Dyn. 29 (2002).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from neuroode._errors import RunError, Unsupported
from neuroode.analysis.linearity import FRACTION, during, running
from neuroode.analysis.report import analyse
from neuroode.analysis.types import Report
from neuroode.discretize import soe_kernels
from neuroode.discretize.soe_grid import Grid, grid
from neuroode.discretize.soe_kernels import Mode, Stage
from neuroode.discretize.soe_leak import split_leak
from neuroode.discretize.soe_memory import Memory, memory, rewritten, symbol
from neuroode.discretize.soe_terms import in_single_terms
from neuroode.discretize.types import Discretization, Update
from neuroode.expr.functions import phi
from neuroode.system.show import show
from neuroode.system.types import OdeSystem

TOLERANCE = 1e-6
STEPS = 32_768
FINEST, COARSEST = 1e-9, 0.1


@dataclass(frozen=True, slots=True)
class Options:
    tolerance: float = TOLERANCE
    steps: int = STEPS


def options(text: str, horizon: int | None) -> Options:
    """Options in a method's text, `soe(tolerance=1e-6, steps=32768)`; a declared horizon gives the steps.

    Raises:
        RunError: an option that is not there, or a value out of range.
    """
    inside = re.fullmatch(r"\w+\s*(?:\((.*)\))?", text.strip())
    given = dict(p.split("=", 1) for p in (inside.group(1) or "").split(",") if "=" in p) if inside else {}
    numbers = {k.strip(): float(v) for k, v in given.items()}
    found = Options(numbers.get("tolerance", TOLERANCE), int(numbers.get("steps", horizon or STEPS)))
    if not FINEST <= found.tolerance <= COARSEST or found.steps < 1 or numbers.get("steps", 1) % 1:
        raise RunError(
            f"method {text}", hint=f"tolerance is {FINEST:g} to {COARSEST:g}, steps a whole number of at least 1"
        )
    return found


def derive(report: Report, text: str, others: Callable[[Report], Discretization]) -> Discretization:
    """The step of a neuron with fractional states.

    Args:
        others: the discretization of flows that read no fractional state.

    Raises:
        Unsupported: complex fractional states, located events, orders that change from step to step.
    """
    _check(report.system)
    system = in_single_terms(report.system)
    chosen = options(text, system.spec.horizon)
    joint = _joint(system)
    alone = {s: e for s, e in system.flows.items() if s not in joint}
    rest = others(analyse(replace(system, flows=alone, fractional={}))).updates if alone else ()
    step = _Step(system, joint, tuple(alone), grid(chosen.steps, chosen.tolerance), chosen)
    flows = {s: e for s, e in system.flows.items() if s not in system.fractional}
    made = rewritten(system, step.memories, flows | step.mode_flows())
    return Discretization(replace(report, system=made), text, (*rest, *step.updates()), report.degenerate)


def _check(system: OdeSystem) -> None:
    spec = system.spec
    for v, fractional in system.fractional.items():
        if system.is_complex(v) or system.flows[v].has(sp.I):
            raise Unsupported(f"method soe: '{v}' is complex", hint="write its real and imaginary part as two states")
        changing = [show(a) for pair in fractional.terms for a in pair if _varies(system, a)]
        if changing:
            raise Unsupported(f"D^a {v}: {changing[0]} changes from step to step; the memory knows one order")
    if spec.within_step == "locate":
        raise Unsupported("method soe: events inside the step are not located", hint="write within_step: saturate")
    held = {v for e in system.events for v in e.hold}
    joint = _joint(system)
    if noisy := [s for s in joint if s in system.diffusion]:
        raise Unsupported(f"method soe: {noisy[0]} is moved by noise and by a fractional state", hint="separate them")
    read = {x.name for s in joint for x in system.flows[s].free_symbols}
    for v in sorted(held & read):
        if any(v != s and system.flows[s].has(symbol(v)) for s in joint):
            raise Unsupported(f"refractory holds {v}, which a flow with memory reads", hint="leave hold: out")


def _varies(system: OdeSystem, e: sp.Expr) -> bool:
    return any("[" in s.name or s.name in ("step", "t") or s.name in system.flows for s in e.free_symbols)


def _joint(system: OdeSystem) -> tuple[str, ...]:
    """Fractional states, and flow states that read one, or one that reads one."""
    found = set(system.fractional)
    x, grown = running(system), True
    while grown:
        more = {s for s, e in system.flows.items() if any(e.has(x[j]) for j in found)} - found
        found |= more
        grown = bool(more)
    return tuple(s for s in system.flows if s in found)


class _Step:
    """The updates of states that move together with a memory."""

    def __init__(
        self, system: OdeSystem, joint: tuple[str, ...], alone: tuple[str, ...], points: Grid, chosen: Options
    ) -> None:
        self.system, self.joint, self.alone, self.chosen = system, joint, alone, chosen
        self.dt, self.x = system.symbols.setdefault("dt", sp.Symbol("dt", positive=True)), running(system)
        self.split = {v: split_leak(system, v) for v in system.fractional}
        self.memories: dict[str, Memory] = {}
        for v, leak in self.split.items():
            kernel = soe_kernels.of(v, system.fractional[v], leak.lam, self.dt, points)
            self.memories[v] = memory(system, v, kernel)
        self.drive = {v: self._drive(v) for v in joint}
        self.moves = any(self.drive[s].has(*[self.x[j] for j in joint]) for s in joint)
        self.stages: list[Stage] = []

    def _drive(self, s: str) -> sp.Expr:
        """What is held, or runs linearly: the right side without its leak, over the leak where there is one."""
        if s not in self.split:
            return self.system.flows[s] - self._own(s) * self.x[s]
        leak = self.split[s]
        whole = leak.rest + self.memories[s].current
        return sp.Add(*[term / leak.lam for term in sp.Add.make_args(whole)]) if leak.lam != 0 else whole

    def _own(self, s: str) -> sp.Expr:
        """The coefficient of an ordinary state in its own flow, where it stands still over the step."""
        own = sp.diff(self.system.flows[s], self.x[s])
        return sp.S.Zero if own.has(*self.x.values(), *self.system.ramps) else own

    def mode_flows(self) -> dict[str, sp.Expr]:
        """dz/dt of the modes, in running values."""
        found = {}
        for v, m in self.memories.items():
            value = sp.Add(*[k.weight * symbol(n) for k, n in zip(m.kernel.modes, m.names, strict=True)])
            drive = self.drive[v].xreplace({self.x[v]: value})
            for mode, n in zip(m.kernel.modes, m.names, strict=True):
                rate = mode.decay if mode.integrates else mode.decay / self.dt
                found[n] = rate * (drive if mode.integrates else drive - symbol(n))
        return found

    def updates(self) -> list[Update]:
        first = {s: self._named(f"drive({s})", self._at(self.drive[s], 0)) for s in self.joint}
        last = first
        if self.moves:
            end = {self.x[s]: self._named(f"predicted({s})", self._moved(s, first[s], first[s])) for s in self.joint}
            last = {s: self._named(f"last({s})", self._at(self.drive[s], 1, end)) for s in self.joint}
        elif any(self._at(self.drive[s], 0) != self._at(self.drive[s], 1) for s in self.joint):
            last = {s: self._named(f"last({s})", self._at(self.drive[s], 1)) for s in self.joint}
        return [self._update(s, first[s], last[s]) for s in self.joint]

    def _named(self, name: str, value: sp.Expr) -> sp.Expr:
        if value.is_Atom:
            return value
        self.stages.append((symbol(name), value))
        return symbol(name)

    def _at(self, e: sp.Expr, fraction: int, end: Mapping[sp.Symbol, sp.Expr] | None = None) -> sp.Expr:
        """A drive at the start of the step, or at its end."""
        e = during(self.system, e, sp.Integer(fraction))
        if not fraction:
            return e.xreplace({self.x[v]: symbol(f"{v}[t-1]") for v in self.memories})
        after = {self.x[s]: sp.Symbol(f"before end({s})", **self.x[s].assumptions0) for s in self.alone}
        return e.xreplace(after | dict(end or {}))

    def _moved(self, s: str, first: sp.Expr, last: sp.Expr) -> sp.Expr:
        """The state at the end of the step."""
        if s in self.memories:
            m = self.memories[s]
            rows = zip(m.kernel.modes, m.names, strict=True)
            return sp.Add(*[mode.weight * self._mode(m, mode, n, first, last) for mode, n in rows])
        own, x = self._own(s) * self.dt, self.x[s]
        return sp.exp(own) * x + self.dt * (phi(1, own) * first + phi(2, own) * (last - first))

    def _mode(self, m: Memory, mode: Mode, name: str, first: sp.Expr, last: sp.Expr) -> sp.Expr:
        z, d = symbol(name), mode.decay
        if mode.integrates:
            return z + d * m.impulse + d * self.dt * (first + (last - first) / 2)
        rate = d / self.dt if m.kernel.leak == 0 else d / (self.dt * m.kernel.leak)
        decayed = sp.exp(-d) * z + sp.exp(-d) * rate * m.impulse
        return decayed + d * phi(1, -d) * first + d * phi(2, -d) * (last - first)

    def _update(self, s: str, first: sp.Expr, last: sp.Expr) -> Update:
        order = 1 if self.moves or not self._straight(self.drive[s]) else None
        if s not in self.memories:
            return Update((s,), "soe", {s: self._moved(s, first, last)}, False, order, "moves with a fractional state")
        m = self.memories[s]
        values = {n: self._mode(m, k, n, first, last) for k, n in zip(m.kernel.modes, m.names, strict=True)}
        why = self.split[s].why
        return Update(
            m.names, "soe", values, False, order, why, (*m.kernel.stages, *self.stages),
            self._shown(s, m), tolerance=self.chosen.tolerance, of=s,
        )  # fmt: skip

    def _straight(self, drive: sp.Expr) -> bool:
        """Whether a drive is held over the step or a ramp."""
        e = during(self.system, drive, FRACTION)
        bent = sp.diff(e, FRACTION, 2) != 0 if e.has(FRACTION) else False
        return not (bent or e.has(*[self.x[s] for s in self.alone], sp.zoo))

    def _shown(self, s: str, m: Memory) -> str:
        orders = ", ".join(show(a) for _, a in self.system.fractional[s].terms)
        reach = f"order {orders}, {len(m.names)} modes z, for {self.chosen.steps:,} steps and more"
        u = show(self.drive[s])
        if m.kernel.leak == 0:
            form = f"{s} = z_0 + sum_m W_m z_m, dz_0/dt = W_0 u, dz_m/dt = r_m (u - z_m), u = {u}"
        else:
            form = f"{s} = sum_m W_m z_m, dz_m/dt = r_m (u - z_m), u = {u}"
        return f"{form}\n    {reach}"
