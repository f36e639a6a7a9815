"""Monoids as text: `compose(later, earlier)` and `apply(element, state)` of a scan, in the dialects of programs."""

from __future__ import annotations

from neuroode.emit.python import Dialect, formula_text
from neuroode.program.monoid import Monoid

DOCS = {
    "compose": "The element of both steps.",
    "apply": "The state after the step.",
    "apply_line": "The state after the step, as a point x : y of the projective line.",
}


def monoid_text(monoid: Monoid, dialect: Dialect) -> str:
    """The functions, tuples of arrays in and out; they need `number` of the dialect's support text.

    `apply_line` is there for monoids that have one.
    """
    parts = [formula_text("compose", ("later", "earlier"), monoid.compose, DOCS["compose"], dialect)]
    for name, formula in (("apply", monoid.apply), ("apply_line", monoid.apply_line)):
        if formula is not None:
            parts.append(formula_text(name, ("element", "state"), formula, DOCS[name], dialect))
    return "\n\n\n".join(parts) + "\n"
