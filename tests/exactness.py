"""How exact the exact steps are: every case of `exact_cases`, values and gradients, in each backend.

`python tests/exactness.py` prints the table of docs/exactness.md, `--write` puts it there. An error is relative to the
largest number of its lane and divided by max(1, |A dt|) in float64, by max(1, |A dt|/10) in float32 (1-norm). float64
is measured against mpmath, float32 against the float64 interpreter at the same rounded parameters; its gradients in
lanes with |A dt| up to 100, beyond which they are differences of numbers that float32 rounds away.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from exact_cases import CASES, Case, reference, size
from references import distance, neuron

from neuroode.neuron import Neuron
from neuroode.program import interpret

PAGE = Path(__file__).resolve().parents[1] / "docs" / "exactness.md"
HEAD = (
    "| case | form | lanes | float64 value | float64 gradient | float32 value | float32 gradient |\n"
    "|---|---|---|---|---|---|---|\n"
)
TOLERANCES = (1e-12, 1e-10, 1e-5, 1e-5)
STIFF = 100.0

Found = tuple[np.ndarray, np.ndarray]  # (real numbers of the state, lanes), (parameters, lanes)


@dataclass(frozen=True)
class Row:
    """The worst errors over lanes and backends: float64 value and gradient, float32 value and gradient."""

    case: str
    form: str
    lanes: int
    errors: tuple[float, float, float, float]

    def __str__(self) -> str:
        return f"| {self.case} | {self.form} | {self.lanes} | " + " | ".join(f"{e:.0e}" for e in self.errors) + " |"


@cache
def _made(text: str) -> Neuron:
    return neuron(text)


def made(case: Case) -> Neuron:
    return _made(case.yaml())


def weights(case: Case) -> np.ndarray:
    return np.cos(np.arange(len(case.outputs())))


def interpreted(case: Case, values: dict[str, np.ndarray]) -> Found:
    program = made(case).program(1.0)
    slots = {f"p.{n}": v for n, v in values.items()} | {"dt": np.asarray(1.0)}
    run = interpret.run(program, slots, {n: x[:, None] for n, x in case.samples().items()})
    names = [n for n, _ in case.outputs()]
    seeds = {n: np.zeros_like(run.outputs[n]) for n in names}
    for n, w in zip(names, weights(case), strict=True):
        seeds[n][-1] = w
    found = interpret.gradients(program, slots, run, seeds).parameters
    lanes = len(case.lanes)
    slopes = [np.broadcast_to(found.get(f"p.{n}", 0.0), (lanes,)) for n in case.parameters]
    return np.stack([run.outputs[n][-1, 0] for n in names]), np.stack(slopes)


def layered(case: Case, dtype: torch.dtype, schedule: str) -> Found:
    """A torch layer: its eager program, or its C kernel."""
    layer = made(case).torch(len(case.lanes), dt=1.0, dtype=dtype, schedule=schedule)
    layer.set(**case.values())
    x = {n: torch.tensor(v[:, None], dtype=dtype) for n, v in case.samples().items()}
    out, _ = layer(x if len(x) > 1 else next(iter(x.values())))
    rows = [out[n] for n, _ in case.outputs()] if isinstance(out, dict) else [out]
    last = torch.stack([r[-1, 0] for r in rows])
    (last * torch.tensor(weights(case), dtype=dtype)[:, None]).sum().backward()
    raw = {name.rpartition(".raw_")[2]: value.grad for name, value in layer.named_parameters()}
    slopes = [raw[n] for n in case.parameters]
    zero = torch.zeros(len(case.lanes))
    return last.detach().double().numpy(), np.stack([(zero if s is None else s).double().numpy() for s in slopes])


def errors(case: Case, found: Found, wanted: Found, slack: float) -> tuple[float, float]:
    """Worst value and gradient error over lanes, each per max(1, |A dt|/slack)."""
    sizes = [size(case, k) for k in range(len(case.lanes))]
    rows = [
        [distance(f[:, k], w[:, k]) / max(1.0, s / slack) for k, s in enumerate(sizes)]
        for f, w in zip(found, wanted, strict=True)
    ]
    kept = [e for e, s in zip(rows[1], sizes, strict=True) if slack == 1 or s <= STIFF]
    return max(rows[0]), max(kept)


def exact(case: Case) -> Found:
    """In many digits, rounded once."""
    rows = [reference(case, k, weights(case)) for k in range(len(case.lanes))]
    return np.stack([v for v, _ in rows], axis=1), np.stack([s for _, s in rows], axis=1)


def measure(case: Case) -> Row:
    wanted = exact(case)
    double = [interpreted(case, case.values())] + [layered(case, torch.float64, s) for s in ("eager", "sequential")]
    rounded = {n: v.astype(np.float32).astype(float) for n, v in case.values().items()}
    single = [layered(case, torch.float32, s) for s in ("eager", "sequential")]
    rows = (
        [errors(case, f, wanted, 1) for f in double],
        [errors(case, f, interpreted(case, rounded), 10) for f in single],
    )
    worst = [max(r[k] for r in group) for group in rows for k in (0, 1)]
    why = made(case).discretize().updates[0].why
    return Row(case.name, why.partition(": ")[2].partition(",")[0].partition(" of ")[0], len(case.lanes), tuple(worst))


def page_rows() -> dict[str, tuple[float, ...]]:
    """Case -> the errors that the page shows."""
    rows = PAGE.read_text(encoding="utf-8").partition(HEAD)[2].partition("\n\n")[0].splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows]
    return {c[0]: tuple(float(e) for e in c[3:]) for c in cells}


def write(rows: list[str]) -> None:
    before, head, rest = PAGE.read_text(encoding="utf-8").partition(HEAD)
    PAGE.write_text(before + head + "\n".join(rows) + rest[rest.index("\n\n") :], encoding="utf-8")


if __name__ == "__main__":
    measured = [str(measure(c)) for c in CASES]
    print(HEAD + "\n".join(measured))
    if "--write" in sys.argv[1:]:
        write(measured)
