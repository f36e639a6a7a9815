"""What `neuroode check` reports of a right declaration: its own statements (`checks`), and notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from neuroode._errors import NeuroodeError
from neuroode.cli.reads import Names, direct, lag
from neuroode.expr.evaluate import DRAWS, evaluate
from neuroode.expr.nodes import Call, Expr, walk
from neuroode.expr.show import show
from neuroode.program.values import in_base, initial_values
from neuroode.spec.types import Equation, NeuronSpec
from neuroode.system.axes import unrolled, unrolled_checks

NEURONS = 1000  # drawn, where an init draws at all


@dataclass(frozen=True, slots=True)
class Verdict:
    """For how many of the drawn neurons a statement holds; `why` says why it could not be evaluated."""

    text: str
    holds: int = 0
    of: int = 0
    why: str = ""

    @property
    def ok(self) -> bool:
        return bool(self.why) or self.holds == self.of

    def __str__(self) -> str:
        if self.why:
            return f"{self.text}: not evaluated, {self.why}"
        if self.of == 1:
            return f"{self.text}: {'holds' if self.holds else 'does not hold'}"
        return f"{self.text}: holds for {self.holds} of {self.of} drawn neurons"


def verdicts(spec: NeuronSpec) -> list[Verdict]:
    """Evaluate the statements of a model for its declared values, at its step, with its inits drawn (seed 0)."""
    texts = [show(c) for c in spec.checks]
    if spec.checks and spec.dt is None:
        return [Verdict(text, why="the model declares no dt") for text in texts]
    try:
        with np.errstate(all="ignore"):
            values = _values(unrolled(spec)) if spec.checks else {}
            found = [_everywhere([evaluate(c, values) for c in each]) for each in unrolled_checks(spec)]
    except NeuroodeError as error:
        return [Verdict(text, why=error.what) for text in texts]
    return [Verdict(text, int(f.sum()), f.size) for text, f in zip(texts, found, strict=True)]


def _everywhere(rows: list[np.ndarray]) -> np.ndarray:
    """For which neurons a statement holds at every index."""
    return np.logical_and.reduce(np.broadcast_arrays(*rows))


def _values(spec: NeuronSpec) -> dict[str, np.ndarray]:
    """Parameters, dt and the definitions that read nothing else, for a row of drawn neurons."""
    step = float(spec.dt.value) if spec.dt else 1.0
    size = (NEURONS,) if draws(spec) else ()
    drawn = initial_values(spec, step, size, np.random.default_rng(0)) | {"dt": np.asarray(step)}
    values = in_base(spec, drawn)
    names = Names(spec)
    for name, reads in names.inside.items():  # in order of dependency
        if not reads:
            values[name] = evaluate(names.definitions[name].rhs, values)
    return values


def draws(spec: NeuronSpec) -> bool:
    """Whether inits of parameters draw numbers."""
    return _drawing(p.init for p in spec.parameters)


def starts_drawn(spec: NeuronSpec) -> bool:
    """Whether inits of states draw numbers."""
    return _drawing(s.init for s in spec.states)


def _drawing(inits: Iterable[Expr | None]) -> bool:
    nodes = (node for init in inits if init is not None for node in walk(init))
    return any(isinstance(node, Call) and node.name in DRAWS for node in nodes)


def notes(spec: NeuronSpec) -> list[str]:
    """What a user may want to know of a right model."""
    names = Names(spec)
    through: set[str] = set()
    for name in names.inside:
        if _read_by(names.definitions[name]) & (through | {"dt"}):
            through.add(name)
    tied = [e.name for e in names.flows if e.kind != "differential" and _read_by(e) & (through | {"dt"})]
    text = "the flow of {} reads dt: it belongs to one discretization, method {}"
    return [text.format(", ".join(tied), spec.method)] if tied else []


def _read_by(equation: Equation) -> set[str]:
    return {ref.name for ref, _ in direct(equation.rhs) if not lag(ref)}
