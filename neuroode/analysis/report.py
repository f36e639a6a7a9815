"""The report of a system: classes, blocks, facts."""

from __future__ import annotations

import sympy as sp

from neuroode.analysis import algebra, linearity, memory
from neuroode.analysis.riccati import riccati_facts
from neuroode.analysis.stiffness import stiffness_facts
from neuroode.analysis.types import Block, Fact, Report
from neuroode.system.show import show
from neuroode.system.types import OdeSystem


def analyse(system: OdeSystem) -> Report:
    """Find what is linear, what is coupled, what is stable, and where closed forms degenerate."""
    rows = linearity.jacobian(system)
    classes = linearity.classify(system, rows)
    blocks = linearity.blocks(system, rows, classes)
    plain = tuple(b for b in blocks if not system.fractional.keys() & set(b.states))
    degenerate = tuple(dict.fromkeys(e for b in plain for e in _degenerate(b)))
    facts = (
        *_class_facts(system, classes, rows),
        *memory.facts(system, blocks),
        *_noise_facts(system),
        *(f for b in plain for f in _stability(b)),
        *(f for b in plain for f in riccati_facts(system, b)),
        *stiffness_facts(system, tuple(s for b in plain if not b.is_linear for s in b.states)),
        *(_degenerate_fact(e) for e in degenerate),
        *_reset_facts(system),
        *_removed(system),
    )
    return Report(system, classes, blocks, linearity.components(rows), degenerate, facts)


def _class_facts(system: OdeSystem, classes: dict[str, str], rows: dict[str, dict[str, sp.Expr]]) -> list[Fact]:
    text = {
        "linear": "linear with constant coefficients",
        "switched": "linear while held values stand still; the coefficients change from step to step",
        "conditional": "linear in itself while the other states are held",
        "nonlinear": "nonlinear",
    }
    facts = []
    for name, kind in classes.items():
        culprits = _culprits(system, rows[name]) if kind in ("conditional", "nonlinear") else ""
        facts.append(Fact(text[kind], name, "proved", culprits))
    return facts


def _noise_facts(system: OdeSystem) -> list[Fact]:
    """Which states noise moves; what else is said of them concerns the drift."""
    x, found = linearity.moving(system), []
    for name, row in system.diffusion.items():
        kind = "multiplicative" if any(g.has(*x) for g in row.values()) else "additive"
        terms = " + ".join(f"({show(g)})*{dW}" for dW, g in row.items())
        found.append(
            Fact("moved by noise", name, "proved", f"{kind}, {terms}; stability and rates are the drift's alone")
        )
    return found


def _culprits(system: OdeSystem, row: dict[str, sp.Expr]) -> str:
    x = linearity.moving(system)
    bad = [f"d/d{j} = {show(a)}" for j, a in row.items() if a is not None and a.has(*x)]
    bad += [f"{_opaque(system, j)} of {j} is read" for j, a in row.items() if a is None]
    return ", ".join(bad) or "it reads a state that is not linear"


def _opaque(system: OdeSystem, state: str) -> str:
    return "a real part, absolute value or step" if system.is_complex(state) else "a step or detached value"


def _stability(b: Block) -> list[Fact]:
    """Signs of the eigenvalues of a triangular block, of trace and determinant of a full 2 x 2 one."""
    if b.A is None or b.kind == "switched":
        return []
    subject = ", ".join(b.states)
    if b.A.is_lower or b.A.is_upper:
        values = list(b.A.diagonal())
        signs, detail = [sp.re(v) for v in values], f"eigenvalues {', '.join(map(show, values))}"
    elif b.A.rows == 2 and all(x.is_real for x in b.A):
        trace, det = algebra.factor(b.A.trace()), algebra.factor(b.A.det())
        signs, detail = [trace, -det], f"trace {show(trace)} and determinant {show(det)}"
    else:
        return [Fact("stability not decided", subject, "proved", "the block is larger than the symbolic budget")]
    if all(v.is_negative for v in signs):
        return [Fact("stable", subject, "proved", f"{detail}, for all parameters in their domains")]
    if any(v.is_positive for v in signs):
        return [Fact("unstable", subject, "proved", f"{detail}, for all parameters in their domains")]
    return [Fact("stability depends on parameters", subject, "proved", detail)]


def _degenerate_fact(e: sp.Eq) -> Fact:
    where = f"{show(e.lhs)} = {show(e.rhs)}"
    detail = "the step uses divided differences, finite and exact there"
    return Fact("eigenvalues may coincide", where, "proved", detail)


def _degenerate(b: Block) -> list[sp.Eq]:
    """Where eigenvalues of a block meet each other or zero: bare quotients would be 0/0 there."""
    if b.A is None or not (b.A.is_lower or b.A.is_upper):
        return []
    d = [v for v in b.A.diagonal() if v != 0]
    pairs = [(x, y) for i, x in enumerate(d) for y in d[i + 1 :] if x != y]
    return [e for x, y in pairs if isinstance(e := sp.Eq(x, y), sp.Eq)]


def _reset_facts(system: OdeSystem) -> list[Fact]:
    facts = []
    for event in system.events:
        if event.jumps:
            when = "in the next step" if event.late else "in the same step"
            what = ", ".join(f"{j.state} {j.op} {show(j.value)}" for j in event.jumps)
            facts.append(Fact(f"resets {when}", event.name, "proved", what))
        else:
            facts.append(Fact("assigns nothing", event.name, "proved"))
    return facts


def _removed(system: OdeSystem) -> list[Fact]:
    claim = "a removable 0/0 is written through exprel"
    rows = system.removable.items()
    return [Fact(claim, system.spec.name, "proved", f"{show(old)} = {show(new)}") for old, new in rows]
