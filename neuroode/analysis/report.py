"""The report of a system: classes, blocks, facts."""

from __future__ import annotations

import sympy as sp

from neuroode.analysis import linearity
from neuroode.analysis.types import Block, Fact, Report
from neuroode.system.types import OdeSystem


def analyse(system: OdeSystem) -> Report:
    """Find what is linear, what is coupled, what is stable, and where closed forms degenerate."""
    rows = linearity.jacobian(system)
    classes = linearity.classify(system, rows)
    blocks = linearity.blocks(system, rows, classes)
    degenerate = tuple(dict.fromkeys(e for b in blocks for e in _degenerate(b)))
    facts = (*_class_facts(system, classes, rows), *(f for b in blocks for f in _stability(b)), *_reset_facts(system))
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


def _culprits(system: OdeSystem, row: dict[str, sp.Expr]) -> str:
    x = set(linearity.running(system).values())
    bad = [f"d/d{j} = {a}" for j, a in row.items() if a is not None and a.has(*x)]
    bad += [f"{_opaque(system, j)} of {j} is read" for j, a in row.items() if a is None]
    return ", ".join(bad) or "it reads a state that is not linear"


def _opaque(system: OdeSystem, state: str) -> str:
    return "a real part, absolute value or step" if system.is_complex(state) else "a step or detached value"


def _eigenvalues(b: Block) -> list[sp.Expr]:
    """Diagonal of a triangular block; other blocks up to 2 x 2 by formula."""
    assert b.A is not None
    if b.A.is_lower or b.A.is_upper:
        return list(b.A.diagonal())
    if b.A.rows == 2:
        half, det = b.A.trace() / 2, b.A.det()
        root = sp.sqrt(half**2 - det)
        return [half + root, half - root]
    return []


def _stability(b: Block) -> list[Fact]:
    if b.A is None or b.kind == "switched":
        return []
    subject = ", ".join(b.states)
    values = _eigenvalues(b)
    if not values:
        return [Fact("stability not decided", subject, "proved", "the block is larger than the symbolic budget")]
    signs = [sp.re(v).is_negative for v in values]
    listed = ", ".join(map(str, values))
    if all(signs):
        return [
            Fact(
                "stable",
                subject,
                "proved",
                f"eigenvalues {listed} have negative real part for all parameters in their domains",
            )
        ]
    if any(sp.re(v).is_positive for v in values):
        return [Fact("unstable", subject, "proved", f"eigenvalues {listed}")]
    return [Fact("stability depends on parameters", subject, "proved", f"eigenvalues {listed}")]


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
            what = ", ".join(f"{j.state} {j.op} {j.value}" for j in event.jumps)
            facts.append(Fact(f"resets {when}", event.name, "proved", what))
        else:
            facts.append(Fact("assigns nothing", event.name, "proved"))
    return facts
