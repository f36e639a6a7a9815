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


def check_line(n: Neuron, x: Any, dt: float, *, cut: int = 7, standalone: bool = True, **options: Any) -> None:
    """All runs of a neuron on x (T, B, N), or a dict of such, agree in values and in gradients."""
    inputs = {
        k: np.asarray(v, float) for k, v in (x if isinstance(x, Mapping) else {n.program(dt).inputs[0]: x}).items()
    }
    size = next(iter(inputs.values())).shape[2:]
    torch.manual_seed(0)
    eager = n.torch(size, dt, schedule="eager", dtype=F64, **options)
    fast = n.torch(size, dt, schedule="sequential", dtype=F64, **options)
    fast.load_state_dict(eager.state_dict())
    values = {k: v.detach().numpy() for k, v in eager.values.items()}
    wanted = {} if options.get("recurrent") else n.simulate(inputs, dt, parameters=values)
    with torch.no_grad():
        traced = eager.trace({k: torch.tensor(v) for k, v in inputs.items()})
    for key, value in wanted.items():
        assert distance(traced[key].numpy(), value) <= 1e-12, key
    found = [run(layer, inputs, cut) for layer in (eager, fast)]
    for a, b in zip(*found, strict=True):
        assert distance(b, a) <= 1e-11
    if standalone:
        check_standalone(n, dt)


def run(layer: Any, inputs: Mapping[str, Any], cut: int) -> list[np.ndarray]:
    """Outputs, carry and gradients of random cotangents; two calls equal one."""
    rng = np.random.default_rng(1)
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in inputs.items()}
    out, carry = layer(leaves)
    first, middle = layer({k: v[:cut] for k, v in leaves.items()})
    second, last = layer({k: v[cut:] for k, v in leaves.items()}, middle)
    rows = list(out.values()) if isinstance(out, dict) else [out]
    halves = [
        torch.cat(p)
        for p in zip(*(list(o.values()) if isinstance(o, dict) else [o] for o in (first, second)), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(rows, halves, strict=True))
    assert all(torch.equal(v, last[k]) for k, v in carry.items())
    total = sum((v * torch.tensor(rng.normal(size=v.shape))).sum() for v in (*rows, *carry.values()))
    wanted = [*leaves.values(), *layer.parameters()]
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
