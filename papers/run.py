"""Claims against figures: computes ours, compares, gives each claim its verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from numbers import Integral
from typing import Any

from neuroode._errors import LoweringError, Unsupported
from neuroode.papers.claims import Claim, Paper

CONFIRMED, NOT_CONFIRMED, ERRATUM, NOT_RUN = "confirmed", "not confirmed", "erratum", "not run"


@dataclass(frozen=True, slots=True)
class Result:
    """One claim with our figures; `seconds` of CPU time of its check."""

    claim: Claim
    figures: Mapping[str, float]
    verdict: str
    seconds: float

    @property
    def ok(self) -> bool:
        """The claim holds, or the error that we say it has is shown. What was not run has not failed."""
        wanted = ERRATUM if self.claim.instead else CONFIRMED
        return self.verdict in (wanted, NOT_RUN)

    def to_json(self) -> dict[str, Any]:
        c = self.claim
        return {
            "id": c.id, "claim": c.claim, "source": c.source, "mark": c.mark, "paper": c.paper,
            "figures": {n: v if isfinite(v) else None for n, v in self.figures.items()},
            "holds": {r.figure: str(r) for r in c.holds},
            "instead": {r.figure: str(r) for r in c.instead}, "right": c.right or None, "verdict": self.verdict,
            "ok": self.ok, "seconds": self.seconds,
        }  # fmt: skip


def run(paper: Paper, slow: bool = False) -> Iterator[Result]:
    """Results in the order of the file.

    Raises:
        Unsupported: a check needs a package that is not installed.
    """
    for claim in paper.claims:
        if claim.slow and not slow:
            yield Result(claim, {}, NOT_RUN, 0.0)
            continue
        start = time.process_time()
        figures = _figures(paper, claim)
        yield Result(claim, figures, verdict(claim, figures), time.process_time() - start)


def _figures(paper: Paper, claim: Claim) -> dict[str, float]:
    module, name = claim.check.split(".")
    try:
        check = getattr(import_module(f"neuroode.papers.{paper.name}.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "neuroode":
            raise
        raise Unsupported(f"the check {claim.check} needs {error.name}", hint="pip install 'neuroode[torch]'") from None
    return {key: int(value) if isinstance(value, Integral) else float(value) for key, value in check().items()}


def verdict(claim: Claim, figures: Mapping[str, float]) -> str:
    """`confirmed`, `erratum` where all of `instead` is met, else `not confirmed`.

    Raises:
        LoweringError: a relation names a figure that the check does not return.
    """
    for relation in (*claim.holds, *claim.instead):
        if relation.figure not in figures:
            known = ", ".join(figures)
            raise LoweringError(f"claim '{claim.id}': {claim.check} returns no '{relation.figure}' but {known}")
    if all(r.met(figures) for r in claim.holds):
        return CONFIRMED
    shown = bool(claim.instead) and all(r.met(figures) for r in claim.instead)
    return ERRATUM if shown else NOT_CONFIRMED
