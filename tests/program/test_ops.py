"""Every op: the adjoint's rule against differences of the interpreter, its torch text against both."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from references import OPS_AT, distance, functions, interpreted, one_op, slope

from neuroode.emit.python_torch import torch_source
from neuroode.program.adjoint import RULES, adjoint
from neuroode.program.types import OPS, Program
from neuroode.program.verify import verify_program

IDS = [f"{op}-{value}-{i}" for i, (op, value, _) in enumerate(OPS_AT)]
#: ops whose gradient is not that of their value, on purpose
STEPS = ("gt", "ge", "sign", "floor", "ceil", "round", "detach")
Args = list[np.ndarray]


def shifted(program: Program, args: Args, i: int, by: float) -> np.ndarray:
    """The value where argument i is moved."""
    return interpreted(program, [a + by * (i == j) for j, a in enumerate(args)])[0]


def by_torch(program: Program, args: Args) -> tuple[torch.Tensor, list[torch.Tensor]]:
    leaves = [torch.tensor(a, requires_grad=True) for a in args]
    text, dt = functions(program), torch.ones((), dtype=torch.float64)
    names = [p.source for p in program.parameters]
    coefficients, carry = text["prologue"](dict(zip(names, leaves, strict=False)), dt)
    x = (torch.zeros_like(leaves[0]),) if names else tuple(leaves)
    return text["step"](coefficients, carry, x)[0][0], leaves


@pytest.mark.parametrize(("op", "value", "args"), OPS_AT, ids=IDS)
def test_the_rule_is_the_slope(op: str, value: object, args: Args) -> None:
    program = one_op(op, len(args), value)
    found = interpreted(program, args)[1]
    for i, ours in enumerate(found):
        if op in STEPS or (op in ("where", "reset") and i == 0):
            continue
        wanted = slope(functools.partial(shifted, program, args, i), 0.0, 2e-3)
        assert np.abs(ours - wanted).max() <= 1e-8 * max(1, np.abs(wanted).max()), (i, ours, wanted)


def test_what_has_no_gradient_has_none() -> None:
    for op, value, args in OPS_AT:
        if op in STEPS:
            assert all(not g.any() for g in interpreted(one_op(op, len(args), value), args)[1])


def test_a_reset_passes_the_jump_to_its_event() -> None:
    bit, target, x = (a for op, _, args in OPS_AT if op == "reset" for a in args)
    assert distance(interpreted(one_op("reset", 3), [bit, target, x])[1][0], target - x) == 0


@pytest.mark.parametrize(("op", "value", "args"), OPS_AT, ids=IDS)
def test_the_torch_text(op: str, value: object, args: Args) -> None:
    program = one_op(op, len(args), value)
    wanted, slopes = interpreted(program, args)
    y, leaves = by_torch(program, args)
    assert distance(y.detach().numpy(), wanted) <= (1e-13 if op == "expm" else 2e-14)
    y.sum().backward() if y.requires_grad else None
    for leaf, ours in zip(leaves, slopes, strict=True):
        theirs = np.zeros_like(ours) if leaf.grad is None else leaf.grad.numpy()
        assert np.abs(ours - theirs).max() <= 1e-11 * max(1, np.abs(ours).max()), (ours, theirs)


def test_every_op_is_tried() -> None:
    elsewhere = {
        "event",
        "operator",
        "network",
    }  # language/test_operators, nn/test_networks_over_axes
    tried = {op for op, _, _ in OPS_AT} | {"const"} | elsewhere
    assert set(OPS) == tried
    assert set(RULES) | {"expm"} | elsewhere >= set(OPS) - {"const"}


@pytest.mark.parametrize(("op", "value", "args"), OPS_AT, ids=IDS)
def test_one_op_is_a_valid_program(op: str, value: object, args: Args) -> None:
    program = one_op(op, len(args), value)
    verify_program(program)
    assert adjoint(program) == adjoint(program)
    assert "neuroode" not in torch_source(program)


@pytest.mark.parametrize("op", ["phi", "cphi_re", "cphi_im", "edd", "pair", "expm"])
def test_gradients_where_branches_meet(op: str) -> None:
    """Just inside, on and outside each branch edge, rule and torch agree with extrapolated differences."""
    edges = np.array([0.1, 1.0, 2.0, 0.5, 0.0])
    x = np.concatenate([s * edges * (1 + e) for s in (-1, 1) for e in (-1e-12, 0, 1e-12)])
    zero = 0 * x
    value, args = {
        "phi": (1, [x]), "cphi_re": (1, [x, zero]), "cphi_im": (2, [zero, x]), "edd": (None, [x, zero, zero]),
        "pair": ((1, "S"), [zero, x * np.abs(x)]), "expm": ((2, 0, 1), [x, zero + 1, zero, zero]),
    }[op]  # fmt: skip
    program = one_op(op, len(args), value)
    y, leaves = by_torch(program, args)
    y.sum().backward()
    for i, (ours, leaf) in enumerate(zip(interpreted(program, args)[1], leaves, strict=True)):
        wanted = slope(
            lambda h, i=i: interpreted(program, [a + h * (i == j) for j, a in enumerate(args)])[0], 0.0, 2e-2
        )
        assert np.abs(ours - wanted).max() <= 1e-9
        assert np.abs(leaf.grad.numpy() - ours).max() <= 1e-13 * 10


def test_gradients_stay_finite_on_degenerate_sets() -> None:
    zero = np.zeros(1)
    for op, value, args in (
        ("phi", 1, [zero]), ("phi", 3, [zero]), ("cphi_re", 1, [zero, zero]), ("cphi_im", 2, [zero, zero]),
        ("edd", None, [zero, zero]), ("edd", None, [zero] * 4), ("pair", (1, "S"), [zero, zero]),
        ("atan2", None, [zero, zero]), ("pow", None, [zero, zero + 2]), ("phi", 2, [zero - 1e4]),
        ("edd", None, [zero - 1e4, zero, zero - 1e4]), ("sigmoid", None, [zero - 1e4]),
        ("softplus", None, [zero + 1e4]),
        ("cphi_re", 1, [zero - 1e4, zero + 1e4]), ("pair", (1, "C"), [zero - 1e4, zero - 1e8]),
    ):  # fmt: skip
        program = one_op(op, len(args), value)
        ours, slopes = interpreted(program, args)
        y, leaves = by_torch(program, args)
        y.sum().backward()
        assert np.isfinite([ours, *slopes]).all(), op
        assert np.abs(ours - y.detach().numpy()).max() <= 1e-13, op
        assert all(np.abs(a - b.grad.numpy()).max() <= 1e-12 for a, b in zip(slopes, leaves, strict=True)), op
