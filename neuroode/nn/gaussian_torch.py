"""Linear-Gaussian layers as such: the transition of a step, exact moments of a roll-out, log-density, KL divergence.

A layer whose step is affine in its states, x' = A x + B u + b + L xi with standard normal xi (an exact transition, a
splitting of a quadratic potential, a map with noise), has all of these in closed form, with gradients to parameters.
Everything is (..., n) over the n states of a neuron, in the order of `Transition.states`.

Sources: Sarkka and Garcia-Fernandez, IEEE Trans. Autom. Control 66 (2021), for moments as an associative scan; Kalman,
J. Basic Eng. 82 (1960).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, pi
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported, readable
from neuroode.nn import eager_torch
from neuroode.program.degree import bent_step
from neuroode.program.pack import groups, unpacked

Tensor = torch.Tensor
SINGULAR = 1e3  # roundings: a pivot of less than these, relative to its variance, is none
SAME = 1e4  # roundings by which two transitions may differ where neither has noise


@dataclass(frozen=True, slots=True)
class Transition:
    """x' = A x + B u + b + L xi for each neuron of a layer, S = L L'.

    Attributes:
        states, inputs: element names (`q`, `q__0`) in the order of the n states and m inputs.
        A: (*size*, n, n). B: (*size*, n, m). b: (*size*, n). L: (*size*, n, number of noise streams).
    """

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    A: Tensor
    B: Tensor
    b: Tensor
    L: Tensor

    @property
    def S(self) -> Tensor:
        """(*size*, n, n), the covariance that a step adds."""
        return self.L @ self.L.mT

    @property
    def noisy(self) -> list[int]:
        """Indices of the states that the noise of a step reaches."""
        reached = (self.L.detach() != 0).flatten(0, -3).any(0).any(-1) if self.L.dim() > 2 else (self.L != 0).any(-1)
        return [i for i, one in enumerate(reached.tolist()) if one]

    def stacked(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """(..., *size*, n) of arrays by state, (..., *size*, *axes*): of a trace or a carry."""
        return _stacked(self.states, arrays)

    def drive(self, x: Any = None) -> Tensor:
        """(..., *size*, n): B u + b of inputs as a call takes them; of none, b."""
        if x is None:
            return self.b
        given = x if isinstance(x, Mapping) else {groups(self.inputs)[0].name: x}
        return (self.B @ _stacked(self.inputs, given)[..., None])[..., 0] + self.b


def _stacked(names: Sequence[str], arrays: Mapping[str, Tensor]) -> Tensor:
    found = groups(names)
    missing = [g.name for g in found if g.name not in arrays]
    if missing:
        raise RunError(f"no array of '{missing[0]}', expected {', '.join(g.name for g in found)}")
    return torch.stack(unpacked({g.name: arrays[g.name] for g in found}, found), dim=-1)


def gaussian(layer: Any) -> Transition:
    """The affine step of a torch layer, by running it on a basis; in its dtype, with gradients to its parameters.

    Raises:
        Unsupported: the step is not affine in states, inputs and noise together; or it has events that reset states.
    """
    program = layer.program
    if any(e.jumps for e in layer.neuron.system(layer.dt).events):
        raise Unsupported(f"'{program.name}' has events that reset states: its paths are not Gaussian")
    if program.operators or program.tables or program.sums:
        raise Unsupported(f"'{program.name}' reads operators or tables over time: its transition is not one matrix")
    bent = bent_step(program)
    if bent:
        what = f"the step of '{program.name}' is not affine in states, inputs and noise ({bent})"
        hint = "method 'exact', or a splitting of a quadratic potential, has an affine step"
        raise Unsupported(f"{what}, so its law is not Gaussian", hint=hint)
    states, inputs = [s.name for s in program.carry], list(program.given)
    noise = [n.name for n in program.noise]
    width = len(states) + len(inputs) + len(noise)
    like = layer._like
    rows = torch.cat([torch.zeros(1, width), torch.eye(width)]).to(like)
    end = _end(layer, dict(zip([*states, *inputs, *noise], rows.unbind(-1), strict=True)))
    origin, moved = end[0], end[1:] - end[:1]
    by = dict(zip([*states, *inputs, *noise], moved.unbind(0), strict=True))
    wiener = {n.name for n in program.noise if n.kind == "wiener"}

    def columns(names: Sequence[str]) -> Tensor:
        found = [by[n] * (layer.dt**0.5 if n in wiener else 1.0) for n in names]
        return torch.stack(found, dim=-1) if found else origin.new_zeros(*origin.shape, 0)

    given = tuple(n for n in inputs if n[0] != "(")  # not the clock
    return Transition(tuple(states), given, columns(states), columns(given), origin, columns(noise))


def _end(layer: Any, rows: Mapping[str, Tensor]) -> Tensor:
    """(rows, *size*, n): the states after one step from each row of numbers."""
    program, size = layer.program, layer.size
    coefficients, _ = layer._prologue()
    shape = (-1, *[1] * len(size))
    wide = {n: v.reshape(shape).expand(-1, *size) for n, v in rows.items()}
    run = eager_torch.run(
        program, [c.to(layer._like.dtype) for c in coefficients], [wide[n][None] for n in program.inputs],
        [wide[s.name] for s in program.carry],
    )  # fmt: skip
    return torch.stack(list(run.carry), dim=-1)


def moments(
    step: Transition, mean: Tensor, covariance: Tensor, steps: int, x: Any = None, schedule: str = "scan"
) -> tuple[Tensor, Tensor]:
    """Exact mean (T, ..., *size*, n) and covariance (T, *size*, n, n) after each of T steps.

    Args:
        mean: of the state before the first step, (..., *size*, n). covariance: (*size*, n, n).
        x: inputs of the steps, (T, ..., *size*), or by name; None for none.
        schedule: scan, over time by doubling; or sequential.

    Raises:
        RunError: no such schedule.
    """
    if schedule not in ("scan", "sequential"):
        raise RunError(f"schedule is '{schedule}', expected scan or sequential")
    drive = step.drive(x)
    drive = drive.expand(steps, *torch.broadcast_shapes(drive.shape[1:] if x is not None else drive.shape, mean.shape))
    run = _by_doubling if schedule == "scan" else _one_by_one
    return run(step, mean, covariance, drive)


def _one_by_one(step: Transition, mean: Tensor, covariance: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
    A, S = step.A, step.S
    means, covariances = [], []
    for c in drive:
        mean = (A @ mean[..., None])[..., 0] + c
        covariance = A @ covariance @ A.mT + S
        means.append(mean)
        covariances.append(covariance)
    return torch.stack(means), torch.stack(covariances)


def _by_doubling(step: Transition, mean: Tensor, covariance: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
    """After k rounds entry t holds what the last 2^k steps before it did; one power of A serves all of them."""
    steps, power = len(drive), step.A
    S = step.S.expand(steps, *step.S.shape)
    powers = step.A.expand(steps, *step.A.shape)
    reach = 1
    while reach < steps:
        late, early = slice(reach, None), slice(None, steps - reach)
        drive = torch.cat([drive[:reach], drive[late] + (power @ drive[early][..., None])[..., 0]])
        S = torch.cat([S[:reach], S[late] + power @ S[early] @ power.mT])
        powers = torch.cat([powers[:reach], powers[late] @ powers[early]])
        power, reach = power @ power, 2 * reach
    shape = (steps, *[1] * (mean.dim() + 1 - powers.dim() + 1), *powers.shape[1:])
    means = (powers.reshape(shape) @ mean[..., None])[..., 0] + drive
    return means, powers @ covariance @ powers.mT + S


def log_density(step: Transition, path: Tensor, start: Tensor, x: Any = None) -> Tensor:
    """log p(path | start), summed over time and neurons: (...) of path (T, ..., *size*, n), start (..., *size*, n).

    The density is that of the states that noise reaches; the others follow from them.

    Raises:
        RunError: nothing in the step is random, or the noise of a step has fewer dimensions than the states it reaches.
    """
    at = step.noisy
    if not at:
        raise RunError("no noise reaches a state, so a path has no density")
    before = torch.cat([start[None], path[:-1]])
    wanted = (step.A @ before[..., None])[..., 0] + step.drive(x)
    rest = (path - wanted)[..., at]
    root = _root(step, at)
    white = torch.linalg.solve_triangular(root, rest[..., None], upper=False)[..., 0]
    spread = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    each = -0.5 * (white**2).sum(-1) - spread - 0.5 * len(at) * log(2 * pi)
    size = step.b.dim() - 1
    return each.sum(dim=(0, *range(each.dim() - size, each.dim())))


def _root(step: Transition, at: Sequence[int]) -> Tensor:
    """The Cholesky factor of the covariance of the states `at`."""
    S = step.S[..., at, :][..., at]
    root, failed = torch.linalg.cholesky_ex(S)
    least = (root.diagonal(dim1=-2, dim2=-1).square() / S.diagonal(dim1=-2, dim2=-1)).detach()
    if failed.any() or not (least > SINGULAR * torch.finfo(S.dtype).eps).all():
        names = ", ".join(readable(step.states[i]) for i in at)
        raise RunError(
            f"the noise of a step has fewer dimensions than the states that it reaches ({names}), so that they have no "
            "common density", hint="obabo and exact put noise into position and velocity, baoab one number into both",
        )  # fmt: skip
    return root


def kl(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """KL(N(mean, covariance) || N(other_mean, other_covariance)), (...) of means (..., n), covariances (..., n, n)."""
    ours, theirs = torch.linalg.cholesky(covariance), torch.linalg.cholesky(other_covariance)
    ratio = torch.linalg.solve_triangular(theirs, ours, upper=False)
    white = torch.linalg.solve_triangular(theirs, (other_mean - mean)[..., None], upper=False)[..., 0]
    spread = theirs.diagonal(dim1=-2, dim2=-1).log().sum(-1) - ours.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return spread + 0.5 * ((ratio**2).sum(dim=(-1, -2)) + (white**2).sum(-1) - mean.shape[-1])


def kl_of_paths(
    step: Transition, other: Transition, mean: Tensor, covariance: Tensor, steps: int, x: Any = None,
    other_x: Any = None,
) -> Tensor:  # fmt: skip
    """KL of T steps of one transition against another from one law of the state before them, (..., *size*).

    The sum over steps of E[KL(step at x || other at x)], with x by its exact moments under `step`.

    Raises:
        RunError: the divergence is infinite, as one has noise where the other has none, or the two differ there; or as
            in `log_density`.
    """
    means, covariances = moments(step, mean, covariance, steps, x)
    means = torch.cat([mean[None], means[:-1]])
    covariances = torch.cat([covariance[None], covariances[:-1]])
    at = step.noisy
    if at != other.noisy:
        raise RunError("the noise of the two transitions reaches different states: their divergence is infinite")
    gap, drive = step.A - other.A, step.drive(x) - other.drive(other_x)
    _check_certain(step, gap, drive)
    gap = gap[..., at, :]
    shift = (gap @ means[..., None])[..., 0] + drive[..., at]
    theirs, root = other.S[..., at, :][..., at], _root(other, at)
    _root(step, at)
    spread = gap @ covariances @ gap.mT
    half = torch.linalg.solve_triangular(root, spread, upper=False)
    extra = 0.5 * torch.linalg.solve_triangular(root, half.mT, upper=False).diagonal(dim1=-2, dim2=-1).sum((0, -1))
    own = step.S[..., at, :][..., at]
    same = kl(shift, own.expand(*shift.shape, len(at)), torch.zeros_like(shift), theirs.expand(*shift.shape, len(at)))
    return same.sum(0) + extra


def _check_certain(step: Transition, gap: Tensor, drive: Tensor) -> None:
    """Raise RunError where two transitions differ in states that no noise reaches."""
    certain = [i for i in range(len(step.states)) if i not in step.noisy]
    least = SAME * torch.finfo(gap.dtype).eps
    for i in certain:
        if (gap[..., i, :].detach().abs() > least).any() or (drive[..., i].detach().abs() > least).any():
            what = f"the two transitions differ in {readable(step.states[i])}, which no noise reaches"
            raise RunError(f"{what}: their divergence is infinite")
