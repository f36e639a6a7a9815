"""BAOAB and OBABO: splittings of dq = p*dt, dp = (F(q) - gamma*p)*dt + sigma*dW, mass 1.

B is a kick p + h F(q) of half a step, A a drift q + h p, O the exact Ornstein-Uhlenbeck step of p:

    BAOAB: B(h/2) A(h/2) O(h) A(h/2) B(h/2)          OBABO: O(h/2) B(h/2) A(h) B(h/2) O(h/2)

With one increment dW a step, O adds sqrt(phi_1(-2 gamma h)) sigma dW. OBABO has two O steps a step and takes two
increments of half a step each: (dW + xi sqrt(h))/2 and (dW - xi sqrt(h))/2 with a normal stream xi of its own, which
are independent and of variance h/2 each.

Source: Leimkuhler and Matthews, "Rational construction of stochastic numerical methods for molecular sampling", Appl.
Math. Res. Express 2013; Bussi and Parrinello, Phys. Rev. E 75 (2007) for OBABO.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from neuroode.analysis.linearity import STEPS, during, running
from neuroode.analysis.types import Report
from neuroode.discretize.ito import is_additive, noise_of, wave
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import phi
from neuroode.system.show import show
from neuroode.system.types import OdeSystem

States = tuple[str, ...]
METHODS = ("baoab", "obabo")


@dataclass(frozen=True, slots=True)
class Structure:
    """Pairs of position and velocity; of each velocity the force, which reads positions alone, and the friction."""

    pairs: tuple[tuple[str, str], ...]
    force: dict[str, sp.Expr]
    gamma: dict[str, sp.Expr]

    @property
    def states(self) -> States:
        return (*(q for q, _ in self.pairs), *(p for _, p in self.pairs))


def structure(report: Report, states: States) -> Structure | str:
    """The Langevin structure of some states, or the reason why they have none."""
    system, x = report.system, running(report.system)
    pairs = [(q, p) for q in states for p in states if q != p and q not in system.diffusion
             and sp.expand(system.flows[q] - x[p]) == 0]  # fmt: skip
    left = [s for s in states if s not in {n for pair in pairs for n in pair}]
    if left or len({p for _, p in pairs}) != len(pairs):
        return f"{', '.join(left) or 'a velocity of two positions'}: no pair dq = p*dt, dp = (F(q) - gamma*p)*dt + ..."
    if any(system.is_complex(s) for s in states):
        return "its states are complex"
    found = Structure(tuple(pairs), {}, {})
    for _, p in pairs:
        why = _split(system, found, p)
        if why:
            return why
    return found


def _split(system: OdeSystem, found: Structure, p: str) -> str:
    """Force and friction of one velocity into `found`; or why there are none."""
    x, flow = running(system), system.flows[p]
    own, velocities = x[p], {x[v] for _, v in found.pairs}
    if any(part.has(own) for kind in STEPS for part in flow.atoms(kind)):
        return f"the friction of {p} is not linear in it"
    slope = sp.diff(flow, own)
    moving = {*x.values(), *system.ramps}
    if slope.has(*moving):
        return f"the friction of {p} is {show(-slope)}, which moves within the step"
    force = sp.expand(flow - slope * own)
    others = sorted(s.name for s in force.free_symbols & (set(x.values()) - {x[q] for q, _ in found.pairs}))
    if force.has(*velocities) or others:
        return f"the force on {p} reads {', '.join(others)}, not positions alone"
    if not is_additive(system, (p,)):
        return f"the noise of {p} reads states"
    found.force[p], found.gamma[p] = flow.subs(own, 0), -slope
    return ""


def applies(report: Report, states: States) -> Verdict:
    found = structure(report, states)
    if isinstance(found, str):
        return Verdict(False, found)
    return Verdict(True, "positions and velocities with a force that reads positions alone and linear friction")


def derive(report: Report, states: States, method: str, dt: sp.Symbol, why: str) -> Update:
    """The update of states to which `applies` said yes. Weak order 2."""
    found = structure(report, states)
    assert isinstance(found, Structure)
    step = _Splitting(report.system, found, dt)
    step.baoab() if method == "baoab" else step.obabo()
    values = {s: step.at[s] for s in found.states}
    noise = noise_of(report.system, states) | dict.fromkeys(step.halves, "normal")
    worth = "the law of q is exact at equilibrium where the potential is quadratic" if method == "baoab" else (
        "the law of p is exact at equilibrium where the potential is quadratic"
    )  # fmt: skip
    return Update(
        found.states,
        method,
        values,
        False,
        2,
        f"{why}; splitting of weak order 2, {worth}",
        tuple(step.stages),
        noise=noise,
    )


class _Splitting:
    """Values of the states so far in a step, by stages."""

    def __init__(self, system: OdeSystem, found: Structure, dt: sp.Symbol) -> None:
        self.system, self.found, self.dt = system, found, dt
        self.x = running(system)
        self.at: dict[str, sp.Expr] = {s: self.x[s] for s in found.states}
        self.stages: list[tuple[sp.Symbol, sp.Expr]] = []
        self.halves: list[str] = []
        self.count = 0

    def baoab(self) -> None:
        self.kick(sp.S.Zero)
        self.move(self.dt / 2)
        self.relax(self.dt, {w: wave(self.system, w) for w in noise_of(self.system, self.found.states)})
        self.move(self.dt / 2)
        self.kick(sp.S.One)

    def obabo(self) -> None:
        waves = {w: wave(self.system, w) for w in noise_of(self.system, self.found.states)}
        self.halves = [f"xi.{w}" for w in waves]
        split = {w: self.system.symbols.setdefault(f"xi.{w}[t]", sp.Symbol(f"xi.{w}[t]", real=True)) for w in waves}
        root = sp.sqrt(self.dt)
        self.relax(self.dt / 2, {w: (dW + root * split[w]) / 2 for w, dW in waves.items()})
        self.kick(sp.S.Zero)
        self.move(self.dt)
        self.kick(sp.S.One)
        self.relax(self.dt / 2, {w: (dW - root * split[w]) / 2 for w, dW in waves.items()})

    def kick(self, fraction: sp.Expr) -> None:
        """p + dt/2 F(q), inputs that run through the step at a fraction of it."""
        there = {self.x[q]: self.at[q] for q, _ in self.found.pairs}
        forces = {p: during(self.system, f, fraction).xreplace(there) for p, f in self.found.force.items()}
        self.set({p: self.at[p] + self.dt / 2 * f for p, f in forces.items()}, "kicked")

    def move(self, length: sp.Expr) -> None:
        self.set({q: self.at[q] + length * self.at[p] for q, p in self.found.pairs}, "moved")

    def relax(self, length: sp.Expr, waves: dict[str, sp.Expr]) -> None:
        """The exact step of dp = -gamma p dt + sigma dW: sigma dW has the variance sigma^2 length phi_1(-2 gamma l)."""
        new: dict[str, sp.Expr] = {}
        for p, gamma in self.found.gamma.items():
            rows = self.system.diffusion.get(p, {}).items()
            push = sp.sqrt(phi(1, -2 * gamma * length)) * sp.Add(*[g * waves[w] for w, g in rows])
            new[p] = sp.exp(-gamma * length) * self.at[p] + (push if rows else 0)
        self.set(new, "relaxed")

    def set(self, new: dict[str, sp.Expr], what: str) -> None:
        """Name the new values, so that what follows reads them by name."""
        self.count += 1
        for s, e in new.items():
            name = sp.Symbol(f"{what} {self.count}({s})", real=True)
            self.stages.append((name, e))
            self.at[s] = name
