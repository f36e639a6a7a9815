"""One neuron through the whole line: interpreter, eager program, C kernel, stand-alone text, chunks, gradients."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from references import distance

from neuroode.neuron import Neuron

F64 = torch.float64


class Drive:
    """What runs a neuron: x (T, B, *size*), a dict of such, or (T, B, *size*) as a shape where it has no input."""

    def __init__(self, n: Neuron, x: Any) -> None:
        self.shape = x if isinstance(x, tuple) else None
        named = {} if self.shape else x if isinstance(x, Mapping) else {n.spec.inputs[0].name: x}
        self.leaves = {k: torch.tensor(np.asarray(v, float), requires_grad=True) for k, v in named.items()}
        first = self.shape or next(iter(self.leaves.values())).shape
        self.steps, self.batch, self.size = first[0], first[1], tuple(first[2:])

    def call(self, layer: Any, carry: Any = None, start: int = 0, end: int | None = None) -> tuple[list[Any], Any]:
        """Outputs and carry of some of the steps."""
        end = self.steps if end is None else end
        if self.shape:
            out, carry = layer(None, carry, steps=end - start, batch=self.batch)
        else:
            out, carry = layer({k: v[start:end] for k, v in self.leaves.items()}, carry)
        return (list(out.values()) if isinstance(out, dict) else [out]), carry

    def trace(self, layer: Any) -> dict[str, Any]:
        with torch.no_grad():
            return layer.trace(steps=self.steps, batch=self.batch) if self.shape else layer.trace(self.leaves)

    def simulate(self, n: Neuron, dt: float, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if self.shape:
            return n.simulate(steps=self.steps, batch=self.batch, size=self.size, dt=dt, parameters=values)
        return n.simulate({k: v.detach().numpy() for k, v in self.leaves.items()}, dt, parameters=values)


def check_line(
    n: Neuron, x: Any, dt: float, *, size: Any = None, cut: int = 7, standalone: bool = True,
    given: Mapping[str, Any] | None = None, **options: Any,
) -> None:  # fmt: skip
    """All runs of a neuron agree in values and in gradients; `given` parameters replace the declared values."""
    drive = Drive(n, x)
    size = size or drive.size
    torch.manual_seed(0)
    eager = n.torch(size, dt, schedule="eager", dtype=F64, **options).set(**(given or {}))
    fast = n.torch(size, dt, schedule="sequential", dtype=F64, **options)
    fast.load_state_dict(eager.state_dict())
    values = {k: v.detach().numpy() for k, v in eager.values.items()}
    traced = drive.trace(eager)
    for key, value in {} if options.get("recurrent") else drive.simulate(n, dt, values).items():
        assert distance(traced[key].numpy(), value) <= 1e-12, key
    for a, b in zip(*[run(layer, drive, cut) for layer in (eager, fast)], strict=True):
        assert distance(b, a) <= 1e-11
    if standalone:
        check_standalone(n, dt)


def run(layer: Any, drive: Drive, cut: int) -> list[np.ndarray]:
    """Outputs, carry and gradients of random cotangents; two calls equal one."""
    rng = np.random.default_rng(1)
    rows, carry = drive.call(layer)
    first, middle = drive.call(layer, end=cut)
    second, last = drive.call(layer, middle, cut)
    assert all(torch.equal(a, torch.cat([b, c])) for a, b, c in zip(rows, first, second, strict=True))
    assert all(torch.equal(v, last[k]) for k, v in carry.items())
    total = sum((v * torch.tensor(rng.normal(size=v.shape))).sum() for v in (*rows, *carry.values()))
    wanted = [*drive.leaves.values(), *layer.parameters()]
    grads = torch.autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else []
    kept = [torch.zeros_like(w) if g is None else g for g, w in zip(grads, wanted, strict=False)]
    return [v.detach().numpy() for v in (*rows, *carry.values(), *kept)]


def check_standalone(n: Neuron, dt: float) -> None:
    """The emitted file agrees with its reference values."""
    space: dict[str, Any] = {"__name__": "emitted"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(n.emit("torch", dt), "<emitted>", "exec"), space)
        rows = space["compare"]()
    assert rows
    assert max(row[-1] for row in rows) <= 1e-11
