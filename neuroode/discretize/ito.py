"""Methods for any differential: Euler-Maruyama (Ito) and Heun (Stratonovich), each converting the other calculus.

An Ito drift is the Stratonovich one plus 1/2 sum_k sum_j g_jk dg_ik/dx_j, over increments k and states j.

Sources: Kloeden and Platen, Numerical Solution of Stochastic Differential Equations (1992), eq. 4.9.11 for the
conversion, sections 10.2 and 15.1 for Euler-Maruyama; Ruemelin, SIAM J. Numer. Anal. 19 (1982) for Heun's scheme.
"""

from __future__ import annotations

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis.linearity import NOT_HOLOMORPHIC, STEPS, during, running
from neuroode.analysis.types import Report
from neuroode.discretize.types import Update
from neuroode.system.types import OdeSystem

States = tuple[str, ...]


def wave(system: OdeSystem, name: str) -> sp.Symbol:
    """The Wiener increment of this step."""
    return system.symbols[f"{name}[t]"]


def noise_of(system: OdeSystem, states: States) -> dict[str, str]:
    """The streams that the diffusion of some states reads."""
    return {w: "wiener" for s in states for w in system.diffusion.get(s, {})}


def is_additive(system: OdeSystem, states: States) -> bool:
    """Whether the noise of some states stands still while the states move: then both calculi mean the same."""
    x = {*running(system).values(), *system.ramps}
    return not any(g.has(*x) for s in states for g in system.diffusion.get(s, {}).values())


def drift(system: OdeSystem, state: str, calculus: str) -> sp.Expr:
    """The drift of a state in the calculus that a method needs.

    Raises:
        Unsupported: the noise has no derivative in a state.
    """
    if calculus == system.calculus:
        return system.flows[state]
    half = sp.Rational(1 if calculus == "ito" else -1, 2)
    return system.flows[state] + half * _correction(system, state)


def _correction(system: OdeSystem, state: str) -> sp.Expr:
    x, total = running(system), sp.S.Zero
    for name, g in system.diffusion.get(state, {}).items():
        for other in (s for s in system.diffusion if g.has(x[s])):
            total += system.diffusion[other].get(name, sp.S.Zero) * _slope(g, x[other], state)
    return total


def _slope(g: sp.Expr, x: sp.Symbol, state: str) -> sp.Expr:
    kinds = STEPS if x.is_real else NOT_HOLOMORPHIC + STEPS
    if any(part.has(x) for kind in kinds for part in g.atoms(kind)):
        raise Unsupported(
            f"the noise of {state} has no derivative in {x.name}, so Ito and Stratonovich cannot be converted",
            hint="calculus: ito with euler_maruyama, or stratonovich with heun_stratonovich, needs no conversion",
        )
    return sp.diff(g, x)


def euler_maruyama(report: Report, states: States, dt: sp.Symbol, why: str) -> Update:
    """x + dt f(x) + g(x) dW with the Ito drift. Weak order 1; strong order 1/2, or 1 where the noise is additive."""
    system, x = report.system, running(report.system)
    values = {
        s: x[s] + dt * _at(system, drift(system, s, "ito"), sp.S.Zero) + _pushed(system, s, sp.S.Zero) for s in states
    }
    strong = "1, as the noise is additive" if is_additive(system, states) else "1/2"
    return Update(
        states, "euler_maruyama", values, False, 1, f"{why}; {_sense(system, states, 'ito')}strong order {strong}",
        noise=noise_of(system, states),
    )  # fmt: skip


def heun_stratonovich(report: Report, states: States, dt: sp.Symbol, why: str) -> Update:
    """Trapezium of drift and noise over an Euler step, with the Stratonovich drift.

    Weak order 1 and strong order 1/2 (1 where the noise terms commute); weak order 2 and strong order 1 for additive
    noise.
    """
    system, x = report.system, running(report.system)
    f = {s: drift(system, s, "stratonovich") for s in states}
    first = {s: x[s] + dt * _at(system, f[s], sp.S.Zero) + _pushed(system, s, sp.S.Zero) for s in states}
    guess = {s: sp.Symbol(f"predicted({s})", **x[s].assumptions0) for s in states}
    there = {x[s]: guess[s] for s in states}
    last = {
        s: x[s] + dt * _at(system, f[s], sp.S.One).xreplace(there) + _pushed(system, s, sp.S.One).xreplace(there)
        for s in states
    }
    values = {s: (guess[s] + last[s]) / 2 for s in states}
    additive = is_additive(system, states)
    strong = "1, as the noise is additive" if additive else "1/2, 1 where the noise terms commute"
    return Update(
        states, "heun_stratonovich", values, False, 2 if additive else 1,
        f"{why}; {_sense(system, states, 'stratonovich')}strong order {strong}",
        tuple((guess[s], first[s]) for s in states), noise=noise_of(system, states),
    )  # fmt: skip


MAKERS = {"euler_maruyama": euler_maruyama, "heun_stratonovich": heun_stratonovich}


def _at(system: OdeSystem, e: sp.Expr, fraction: sp.Expr) -> sp.Expr:
    return during(system, e, fraction)


def _pushed(system: OdeSystem, state: str, fraction: sp.Expr) -> sp.Expr:
    """g dW, with g at a fraction of the step."""
    rows = system.diffusion.get(state, {}).items()
    return sp.Add(*[during(system, g, fraction) * wave(system, w) for w, g in rows])


def _sense(system: OdeSystem, states: States, calculus: str) -> str:
    if system.calculus == calculus or is_additive(system, states):
        return ""
    sign = "+" if calculus == "ito" else "-"
    return f"the drift {sign} 1/2 g g' is that of {calculus.title()}; "
