"""Every linear neuron of the zoo over 32,768 steps: scan and Fourier transform against the fused loop.

In double precision they agree to 1e-10. In single precision each is as far from the double one as the loop is: what is
left are the rounded coefficients, not the schedule.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from oracles import ZOO, drive, neuron, scatter

from neuroode.program.partition import partition

STEPS = 32_768
Found = dict[str, torch.Tensor]


def stages(name: str):
    return [s for s in partition(neuron(name).program(1.0)).stages if s.slots]


LINEAR = [n for n in ZOO if stages(n) and partition(neuron(n).program(1.0)).parallel]
CASES = [(n, s) for n in LINEAR for s in ("scan", "fft") if s == "scan" or any(x.invariant for x in stages(n))]


@cache
def found(name: str, schedule: str, dtype: torch.dtype) -> Found:
    """Outputs, the last carry, and gradients in inputs and parameters; all schedules get the same numbers."""
    torch.manual_seed(0)
    single = scatter(neuron(name).torch(3, schedule="eager", dtype=torch.float32))
    inputs = {k: x.to(dtype).requires_grad_() for k, x in drive(single, STEPS, 1).items()}
    layer = neuron(name).torch(3, schedule=schedule, dtype=dtype)
    layer.load_state_dict({k: v.to(dtype) for k, v in single.state_dict().items()})
    out, carry = layer(inputs if len(inputs) > 1 else next(iter(inputs.values())))
    outputs = out if isinstance(out, dict) else {"": out}
    slope = torch.linspace(-1, 1, STEPS, dtype=dtype)[:, None, None]
    total = sum(c.sum() for c in carry.values()) + sum((o * slope).sum() for o in outputs.values())
    parameters = dict(layer.named_parameters())
    leaves = {f"input {k}": v for k, v in inputs.items()} | {f"parameter {k}": v for k, v in parameters.items()}
    grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    rows = {f"output {k}": v.detach() for k, v in outputs.items()} | {f"carry {k}": v for k, v in carry.items()}
    rows |= {k: g for k, g in zip(leaves, grads, strict=True) if g is not None}
    return {k: v.detach().double() for k, v in rows.items()}


def errors(rows: Found, expected: Found) -> dict[str, float]:
    """The largest difference of each, over its largest number."""
    assert rows.keys() == expected.keys()
    return {k: ((rows[k] - e).abs().max() / e.abs().max().clamp(min=1e-30)).item() for k, e in expected.items()}


def test_there_are_linear_neurons() -> None:
    assert {"li", "rc_ladder", "drf", "prf"} <= set(LINEAR)


@pytest.mark.parametrize(("name", "schedule"), CASES)
def test_double_precision(name: str, schedule: str) -> None:
    off = errors(found(name, schedule, torch.float64), found(name, "sequential", torch.float64))
    assert max(off.values()) < 1e-10, off


@pytest.mark.parametrize(("name", "schedule"), CASES)
def test_single_precision_is_that_of_the_loop(name: str, schedule: str) -> None:
    exact = found(name, "sequential", torch.float64)
    loop = errors(found(name, "sequential", torch.float32), exact)
    off = errors(found(name, schedule, torch.float32), exact)
    # a parameter's gradient sums over all steps, roundings add up like a random walk; the loop sums in float64
    room = {k: 6e-8 * STEPS**0.5 if k.startswith("parameter") else 2e-6 for k in off}
    assert all(off[k] <= 3 * loop[k] + room[k] for k in off), (off, loop)
