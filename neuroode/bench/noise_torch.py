"""Measured orders of stochastic methods: the same Brownian paths in 8 to 64 steps, against the exact solution or srk.

Strong: the root mean square error of the first output at the end. Weak: the error of the mean of its square; it is
given where the coarsest and the finest error are above three standard errors. obabo draws one more stream and
the exact transition of several states draws other numbers, so neither has a path to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neuroode._errors import Unsupported
from neuroode.neuron import Neuron, load
from neuroode.solvers.on_torch.brownian_torch import LEAVES, Path, words_of

Tensor = torch.Tensor
PATHS = 20_000
COUNTS = (8, 16, 32, 64)
FINEST = 512
FORMULAS = ("exact", "euler_maruyama", "heun_stratonovich", "baoab")
SOLVERS = ("euler", "milstein", "srk", "heun", "reversible_heun")


@dataclass(frozen=True, slots=True)
class Case:
    """A neuron over a time, its noise of shape (steps, paths, *lanes*); `exact` gives its end by that of the path."""

    name: str
    neuron: Neuron
    time: float
    lanes: tuple[int, ...] = (1,)
    options: tuple[tuple[str, Any], ...] = ()
    exact: Callable[[Tensor], Tensor] | None = None


def _gbm(calculus: str) -> Neuron:
    return Neuron("gbm", dt=1.0, states={"v": 1.0}, calculus=calculus, equations="dv = 0.4*v*dt + 0.6*v*dW",
                  outputs={"v": "v"})  # fmt: skip


def cases() -> tuple[Case, ...]:
    wells = load("langevin", compat="double_well")
    return (
        Case("gbm, Ito", _gbm("ito"), 1.0, exact=lambda w: torch.exp(0.4 - 0.18 + 0.6 * w)),
        Case("gbm, Stratonovich", _gbm("stratonovich"), 1.0, exact=lambda w: torch.exp(0.4 + 0.6 * w)),
        Case("ou", load("ou"), 0.04),
        Case("langevin, double well", wells, 2.0, (1, 1), (("axes", {"k": 1}),)),
    )


def rows(paths: int = PATHS) -> Iterator[tuple[str, str, float, float]]:
    """Case, method, strong and weak order; nan where there is none to measure."""
    for case in cases():
        run = _Run(case, paths)
        for method, end in run.methods():
            errors = [end(n) - run.wanted for n in COUNTS]
            strong = [e.square().mean().sqrt().item() for e in errors]
            weak = [((e + run.wanted) ** 2 - run.wanted**2) for e in errors]
            yield case.name, method, _slope(strong), _weak(weak)


def _slope(errors: list[float]) -> float:
    return float(-np.polyfit(np.log2(COUNTS), np.log2(errors), 1)[0]) if max(errors) > 1e-11 else float("nan")


def _weak(errors: list[Tensor]) -> float:
    clear = [abs(e.mean()) > 3 * e.std() / len(e) ** 0.5 for e in (errors[0], errors[-1])]
    return _slope([abs(e.mean().item()) for e in errors]) if all(clear) else float("nan")


class _Run:
    """A case on fixed paths: those of a tree, which every method and every number of steps share."""

    def __init__(self, case: Case, paths: int) -> None:
        self.case, made = case, torch.Generator().manual_seed(0)
        self.end = torch.randn(paths, 1, generator=made, dtype=torch.float64)
        self.u = torch.rand(2, paths, 1, generator=made, dtype=torch.float64)
        self.path = Path(self.end, (words_of(self.u[0]), words_of(self.u[1])))
        self.path.cut(FINEST)
        exact = case.exact
        whole = self.end[:, 0] * case.time**0.5
        self.wanted = exact(whole) if exact else self.solved("srk", FINEST)

    def methods(self) -> Iterator[tuple[str, Callable[[int], Tensor]]]:
        for method in FORMULAS:
            try:
                self.case.neuron.discretize(self.case.time, method)
            except Unsupported:
                continue
            yield method, lambda n, m=method: self.stepped(m, n)  # type: ignore[misc]
        for method in SOLVERS:
            yield f"torchsde {method}", lambda n, m=method: self.solved(m, n)  # type: ignore[misc]

    def stepped(self, method: str, count: int) -> Tensor:
        """By a formula, in steps of its own."""
        w = torch.stack([self.path.at(k * LEAVES // count)[0] for k in range(count + 1)]).diff(dim=0)
        noise = (w * self.case.time**0.5).reshape(count, -1, *self.case.lanes)
        layer = self._layer(self.case.time / count, method=method)
        return self._ended(layer, count, {"dW": noise})

    def solved(self, method: str, count: int) -> Tensor:
        """By torchsde, in one step of the layer."""
        options = {"method": method, "step_size": self.case.time / count}
        layer = self._layer(self.case.time, solver="torchsde", solver_options=options)
        whole = (self.end * self.case.time**0.5).reshape(1, -1, *self.case.lanes)
        bridge = self.u.reshape(2, 1, -1, *self.case.lanes).movedim(0, -1)
        return self._ended(layer, 1, {"dW": whole, "bridge.dW": bridge})

    def _layer(self, dt: float, **options: Any) -> Any:
        return self.case.neuron.torch(1, dt=dt, dtype=torch.float64, **dict(self.case.options), **options)

    def _ended(self, layer: Any, steps: int, noise: dict[str, Tensor]) -> Tensor:
        batch = self.end.shape[0]
        with torch.no_grad():
            if layer.neuron.spec.inputs:
                shape = (steps, batch, *self.case.lanes)
                out, _ = layer(torch.full(shape, 0.5, dtype=torch.float64), noise=noise, seed=0)
            else:
                out, _ = layer(steps=steps, batch=batch, noise=noise, seed=0)
        return (next(iter(out.values())) if isinstance(out, dict) else out)[-1].reshape(-1)


LEGEND = """\
Errors at the end on {paths:,} paths, of which every method and step has the increments; slopes over {counts} steps.
strong: of their root mean square. weak: of the error of the mean square; "-" where that of the first or the last is
below three standard errors of these paths, so that a slope would be that of chance.
exact: has the right law at every step, so its weak error is chance alone; its strong order is that of one increment a
step, which does not say how the path went inside."""


def text(quick: bool = False) -> str:
    """The table, and what its cells mean."""
    paths = PATHS // 10 if quick else PATHS
    lines = ["| neuron | method | strong order | weak order |", "|---|---|---|---|"]
    for name, method, strong, weak in rows(paths):
        shown = ("-" if np.isnan(x) else f"{x:.2f}" for x in (strong, weak))
        lines.append(f"| {name} | {method} | {' | '.join(shown)} |")
    legend = LEGEND.format(paths=paths, counts=", ".join(map(str, COUNTS)))
    return "\n".join([*lines, "", legend])
