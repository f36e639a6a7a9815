"""Choosing a method for differentials: the exact Gaussian transition, a Langevin splitting, or a general scheme."""

from __future__ import annotations

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis.linearity import coupled, running
from neuroode.analysis.types import Block, Report
from neuroode.discretize import gaussian, ito, langevin
from neuroode.discretize.types import Update

STOCHASTIC = (*langevin.METHODS, *ito.MAKERS)  # by name
TAKEN = ("auto", "exact", *STOCHASTIC)
States = tuple[str, ...]


def groups(report: Report) -> list[States]:
    """Flow states that are coupled in any way, by what they read or by a common noise."""
    system, x = report.system, running(report.system)
    rows: dict[str, dict[str, sp.Expr]] = {}
    for s, flow in system.flows.items():
        own = system.diffusion.get(s, {})
        read = [j for j in x if flow.has(x[j]) or any(g.has(x[j]) for g in own.values())]
        shared = [j for j, waves in system.diffusion.items() if own.keys() & waves.keys()]
        rows[s] = dict.fromkeys([*read, *shared], sp.S.One)
    return coupled(list(system.flows), rows)


def is_noisy(report: Report, states: States) -> bool:
    return any(s in report.system.diffusion for s in states)


def updates(report: Report, states: States, method: str, dt: sp.Symbol) -> list[Update]:
    """Updates of one group of states, some of which have noise.

    Raises:
        Unsupported: the method does not apply, with the reason.
    """
    if method in ito.MAKERS:
        return [ito.MAKERS[method](report, states, dt, "as declared")]
    if method in langevin.METHODS:
        verdict = langevin.applies(report, states)
        if not verdict.applies:
            raise _refused(method, states, verdict.reason, "euler_maruyama and heun_stratonovich take any differential")
        return [langevin.derive(report, states, method, dt, "as declared")]
    if method not in TAKEN:
        raise _refused(method, states, "it is for flows without noise", "choose among " + ", ".join(TAKEN))
    whole = _joined(report, states)
    if isinstance(whole, Block) and gaussian.applies(report, whole).applies:
        return [_transition(report, whole, dt)]
    why = gaussian.applies(report, whole).reason if isinstance(whole, Block) else whole
    if method == "exact":
        raise _refused(method, states, why, "method: auto says what it takes elsewhere")
    return _without_transition(report, states, dt, f"no exact transition: {why}")


def _refused(method: str, states: States, reason: str, hint: str) -> Unsupported:
    return Unsupported(f"method '{method}' does not apply to {', '.join(states)}: {reason}", hint=hint)


def _transition(report: Report, block: Block, dt: sp.Symbol) -> Update:
    return gaussian.derive(report, block, dt)


def _joined(report: Report, states: States) -> Block | str:
    """One linear block of some states that are linear together; or why they are none."""
    blocks = [b for b in report.blocks if set(b.states) <= set(states)]
    bent = [s for b in blocks if not b.is_linear for s in b.states]
    if bent:
        return _bent(report, bent)
    if len(blocks) == 1:
        return blocks[0]
    order = tuple(s for b in blocks for s in b.states)
    A, drive = sp.diag(*[b.A for b in blocks]), sp.Matrix([e for b in blocks for e in b.drive])  # type: ignore[union-attr]
    kinds = {b.kind for b in blocks}
    return Block(order, "switched" if "switched" in kinds else "affine", A, drive)


def _bent(report: Report, states: list[str]) -> str:
    """Why states are not linear: those with a derivative that moves, before those that read them."""
    facts = [f for f in report.facts if f.subject in states and f.evidence == "proved"]
    first = [f for f in facts if f.detail.startswith("d/d")] or facts
    return "; ".join(f"{f.subject} is {f.claim}, {f.detail}" for f in first)


def _without_transition(report: Report, states: States, dt: sp.Symbol, why: str) -> list[Update]:
    """A Langevin splitting of all; else linear parts by their transitions, and what is left by a general scheme."""
    verdict = langevin.applies(report, states)
    if verdict.applies:
        return [langevin.derive(report, states, "baoab", dt, f"{why}; {verdict.reason}")]
    apart = [b for b in report.blocks if set(b.states) < set(states) and _stands_alone(report, b, states)]
    left = tuple(s for s in states if not any(s in b.states for b in apart))
    method = "euler_maruyama" if report.system.calculus == "ito" else "heun_stratonovich"
    found = [_transition(report, b, dt) for b in apart]
    text = f"{why}; no Langevin splitting: {verdict.reason}; {report.system.calculus.title()}"
    return [*found, ito.MAKERS[method](report, left, dt, text)]


def _stands_alone(report: Report, block: Block, states: States) -> bool:
    """Whether a linear part has its own transition: its noise enters no other state."""
    if not block.is_linear or not gaussian.applies(report, block).applies:
        return False
    diffusion = report.system.diffusion
    own = {w for s in block.states for w in diffusion.get(s, {})}
    return not any(own & diffusion.get(s, {}).keys() for s in states if s not in block.states)
