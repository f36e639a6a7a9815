"""A step whose flow has noise, moved by torchsde: the pieces of a step as its drift and diffusion.

The increment of a stream over the step is the call's: that of every other layer with this seed, or what `noise=` holds.
What the path does inside the step is drawn by the lane's own key (`solvers/on_torch/brownian_torch.py`), so it does not
depend on chunks, on the method or on the solver's steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.discretize.waves import bridge
from neuroode.nn.pieces_torch import Moment, Pieces, Row
from neuroode.solvers.on_torch.brownian_torch import Path, words_of
from neuroode.solvers.on_torch.noisy_torch import CALCULUS, Noisy

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Waves:
    """How torchsde moves the flow of a step: a solver with its method chosen, and the shape of the noise."""

    solver: Noisy
    shape: str

    @property
    def calculus(self) -> str:
        return CALCULUS[str(self.solver.method)]

    def __call__(self, pieces: Pieces, m: Moment, known: Row, y: Tensor) -> Tensor:
        """y at the end of the step, (states, B, *size*); samples that have ended rest."""
        if not y.numel():
            return y
        if self.solver.backsolve:
            m, known = _apart(m, known)
        flow = _Flow(pieces, m, known, self.shape)
        path = flow.path()
        if self.solver.backsolve and path.end.requires_grad:
            raise Unsupported("adjoint='backsolve' gives no gradient to replayed noise, nor to times",
                              hint="write adjoint='checkpointed'")  # fmt: skip
        reads = (*m.coefficients, *known.values())
        end = self.solver(flow.slope, flow.spread, flow.flat(y), path, self.shape, m.length, reads)
        return flow.unflat(end)


def _apart(m: Moment, known: Row) -> tuple[Moment, Row]:
    """What the flow reads, none of it made from the rest: an adjoint finds the gradient of each once."""
    coefficients = [x.view_as(x) for x in m.coefficients]
    return replace(m, coefficients=coefficients), {n: x.view_as(x) for n, x in known.items()}


class _Flow:
    """Drift and diffusion over one step in units of it: lanes come first, as torchsde has them."""

    def __init__(self, pieces: Pieces, m: Moment, known: Row, shape: str) -> None:
        self.pieces, self.m, self.known, self.shape = pieces, m, known, shape
        self.hybrid = pieces.hybrid
        h = m.step_length.expand(m.lanes).reshape(-1, 1)
        live = torch.ones_like(h) if m.live is None else m.live.expand(m.lanes).reshape(-1, 1).to(h.dtype)
        self.root = h.sqrt()
        self.h, self.gain = h * live, self.root * live
        assert self.hybrid.spread is not None
        self.names = [n for n, _ in self.hybrid.spread.outputs]

    def path(self) -> Path:
        """A path of each stream; of diagonal noise one a state, which moves no state without noise."""
        waves = self.hybrid.waves
        if self.shape == "diagonal":
            own = dict(n[2:].split(".dW", 1) for n in self.names)
            waves = tuple(f"dW{own[s]}" if s in own else "" for s in self.hybrid.states)
        end = torch.stack([self._row(w).reshape(-1) for w in waves], 1) / self.root
        keys = [[words_of(self._row(b)).reshape(-1) for b in (bridge(w) if w else ("", ""))] for w in waves]
        return Path(end, (torch.stack([k[0] for k in keys], 1), torch.stack([k[1] for k in keys], 1)))

    def _row(self, name: str) -> Tensor:
        return self.known[name] if name else self.m.inputs[0].new_zeros(self.m.lanes)

    def flat(self, y: Tensor) -> Tensor:
        """(lanes, states)"""
        return y.reshape(len(y), -1).T

    def unflat(self, y: Tensor) -> Tensor:
        return y.T.reshape(-1, *self.m.lanes)

    def slope(self, s: Tensor, y: Tensor) -> Tensor:
        return self.h * self.flat(self.pieces.slope(self.m, self.known, self.unflat(y), s))

    def spread(self, s: Tensor, y: Tensor) -> Tensor:
        at = torch.as_tensor(s, dtype=y.dtype, device=y.device)
        more: dict[str, Any] = self.pieces.with_vector(self.known, self.unflat(y)) | {"fraction": at}
        assert self.hybrid.spread is not None
        rows = self.pieces.evaluate(self.hybrid.spread, self.m, more)
        if self.shape == "diagonal":
            return self.gain * torch.stack([self._of(rows, s) for s in self.hybrid.states], 1)
        found = [[rows.get(f"g.{s}.{w}") for w in self.hybrid.waves] for s in self.hybrid.states]
        none = self.m.inputs[0].new_zeros(self.m.lanes)
        flat = [torch.stack([(none if g is None else g).reshape(-1) for g in row], 1) for row in found]
        return self.gain[..., None] * torch.stack(flat, 1)

    def _of(self, rows: Row, state: str) -> Tensor:
        found = [x for n, x in rows.items() if n.startswith(f"g.{state}.dW")]
        return found[0].reshape(-1) if found else self._row("").reshape(-1)
