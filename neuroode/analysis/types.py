"""What analysis finds out: facts with the evidence they rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sympy as sp

from neuroode._errors import readable
from neuroode.analysis.boundary import Boundary
from neuroode.analysis.region import StabilityFunction
from neuroode.expr.alike import MANY, listed, said_once
from neuroode.system.show import show
from neuroode.system.types import OdeSystem

if TYPE_CHECKING:
    from neuroode.analysis.dynamics import Dynamics
    from neuroode.analysis.figures import Figures
    from neuroode.analysis.fixed_points import FixedPoint

EVIDENCE = ("proved", "assumed", "sampled")


@dataclass(frozen=True, slots=True)
class Fact:
    """A claim about a subject; evidence is proved (symbolically), assumed (from declared domains) or sampled."""

    claim: str
    subject: str
    evidence: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.claim} ({self.evidence})" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Block:
    """States whose flows belong together: one linear component, or one strongly connected set of nonlinear ones.

    kind: linear (constant coefficients and no drive), affine (drive or bias too), switched (linear while held values
    such as inputs stand still), conditional (each state linear in itself), nonlinear.
    `A` and `drive` with dx/dt = A x + drive are given for the first three.
    """

    states: tuple[str, ...]
    kind: str
    A: sp.Matrix | None = None
    drive: sp.Matrix | None = None

    @property
    def is_linear(self) -> bool:
        return self.A is not None


@dataclass(frozen=True, slots=True)
class Report:
    """Classes per flow state, blocks in order of dependency, strongly connected sets, facts.

    `boundaries`: of the step, by block; `regions`: the stability function of each method that has one; `figures`:
    numbers at one dt; `dynamics`: fixed points and more of the flow with held inputs. Empty where only the flow was
    looked at.
    """

    system: OdeSystem
    classes: dict[str, str]
    blocks: tuple[Block, ...]
    components: tuple[tuple[str, ...], ...]
    degenerate: tuple[sp.Eq, ...]
    facts: tuple[Fact, ...]
    boundaries: tuple[Boundary, ...] = ()
    regions: dict[str, StabilityFunction] = field(default_factory=dict)
    figures: Figures | None = None
    dynamics: Dynamics | None = None

    @property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """Of the flow with held inputs; empty where it has none, or where none was looked for (`dynamics.refusal`)."""
        return self.dynamics.fixed_points if self.dynamics else ()

    @property
    def is_linear(self) -> bool:
        """Whether every flow is linear, at least while held values stand still."""
        return all(kind in ("linear", "switched") for kind in self.classes.values())

    def block_of(self, state: str) -> Block:
        return next(b for b in self.blocks if state in b.states)

    def to_json(self) -> dict[str, object]:
        return {
            "neuron": self.system.spec.name,
            "classes": self.classes,
            "blocks": [_block_json(b) for b in self.blocks],
            "components": [list(c) for c in self.components],
            "degenerate": [f"{show(e.lhs)} = {show(e.rhs)}" for e in self.degenerate],
            "facts": [
                {"claim": f.claim, "subject": f.subject, "evidence": f.evidence, "detail": f.detail} for f in self.facts
            ],
            "boundaries": [b.to_json() for b in self.boundaries],
            "regions": {m: str(r) for m, r in self.regions.items()},
            "figures": self.figures.to_json() if self.figures else None,
            "dynamics": self.dynamics.to_json() if self.dynamics else None,
        }

    def __str__(self) -> str:
        rows = said_once(f"block {listed(b.states)}: {b.kind}" + _matrices(b) for b in self.blocks)
        rows += said_once(map(str, self.facts))
        rows += said_once(f"boundary of {b}" for b in self.boundaries)
        rows += [f"stability region of {method}: {region}" for method, region in self.regions.items()]
        rows += [str(self.dynamics)] if self.dynamics and (self.dynamics.inputs or not self.is_linear) else []
        return readable("\n".join([*rows, *([str(self.figures)] if self.figures and self.figures.modes else [])]))


def _matrices(b: Block) -> str:
    if b.A is None or b.drive is None:
        return ""
    if len(b.states) > MANY:
        return f"; dx/dt = A x + u, A of {len(b.states)} x {len(b.states)}"
    rows = [f"[{', '.join(map(_short, row))}]" for row in b.A.tolist()]
    return f"; A = [{', '.join(rows)}], drive = [{', '.join(map(_short, b.drive))}]"


def _short(e: sp.Expr) -> str:
    """The shorter of the expression and its sum: factors of units cancel in the latter."""
    return min(show(e), show(sp.expand(e)), key=len)


def _block_json(b: Block) -> dict[str, object]:
    numbers = (
        {"A": [[show(x) for x in row] for row in b.A.tolist()], "drive": [show(x) for x in b.drive]}
        if b.A is not None and b.drive is not None
        else {}
    )
    return {"states": list(b.states), "kind": b.kind, **numbers}
