"""Linear-Gaussian layers as such: the transition of a step, exact moments of a roll-out, log-density, KL divergence.

A layer whose step is affine in its states, x' = A x + B u + b + L xi with standard normal xi (an exact transition, a
splitting of a quadratic potential, a map with noise), has all of these in closed form, with gradients to parameters.
Everything is (..., n) over the n states of a neuron, in the order of `Transition.states`.

The formulas stand here once; arrays are those of torch or of jax, `gaussian_torch` and `gaussian_jax` hold the few
functions that the two call by different names. In jax all of it may stand inside of jit, grad and vmap.

Sources: Sarkka and Garcia-Fernandez, IEEE Trans. Autom. Control 66 (2021), for moments as an associative scan; Kalman,
J. Basic Eng. 82 (1960).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import log, pi
from typing import Any

import numpy as np

from neuroode._errors import RunError, Unsupported, readable
from neuroode.program.degree import bent_step
from neuroode.program.operators import framework
from neuroode.program.pack import groups, unpacked
from neuroode.program.types import Program

Array = Any  # of torch or of jax
SINGULAR = 1e3  # roundings: a pivot of less than these, relative to its variance, is none
SAME = 1e4  # roundings by which two transitions may differ where neither has noise


def _arrays(one: Any) -> Any:
    """The functions for a layer's or an array's framework."""
    return import_module(f"neuroode.nn.gaussian_{'torch' if framework(one) == 'torch' else 'jax'}")


@dataclass(frozen=True, slots=True)
class Transition:
    """x' = A x + B u + b + L xi for each neuron of a layer, S = L L'. In jax a pytree.

    Attributes:
        states, inputs: element names (`q`, `q__0`) in the order of the n states and m inputs.
        noisy: indices of the states that the noise of a step reaches: those whose formulas read noise, without those
            whose entries of L are all 0 where jax knows its numbers, which is outside of jit and grad.
        A: (*size*, n, n). B: (*size*, n, m). b: (*size*, n). L: (*size*, n, number of noise streams).
    """

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    noisy: tuple[int, ...]
    A: Array
    B: Array
    b: Array
    L: Array

    @property
    def S(self) -> Array:
        """(*size*, n, n), the covariance that a step adds."""
        return self.L @ self.L.mT

    def stacked(self, arrays: Mapping[str, Array]) -> Array:
        """(..., *size*, n) of arrays by state, (..., *size*, *axes*): of a trace or a carry."""
        return _stacked(self.states, arrays, self.A)

    def drive(self, x: Any = None) -> Array:
        """(..., *size*, n): B u + b of inputs as a call takes them; of none, b."""
        if x is None:
            return self.b
        given = x if isinstance(x, Mapping) else {groups(self.inputs)[0].name: x}
        return _times(self.B, _stacked(self.inputs, given, self.A)) + self.b


def _stacked(names: Sequence[str], arrays: Mapping[str, Array], like: Array) -> Array:
    found = groups(names)
    missing = [g.name for g in found if g.name not in arrays]
    if missing:
        raise RunError(f"no array of '{missing[0]}', expected {', '.join(g.name for g in found)}")
    return _arrays(like).stack(unpacked({g.name: arrays[g.name] for g in found}, found))


def _times(matrix: Array, x: Array) -> Array:
    return (matrix @ x[..., None])[..., 0]


def gaussian(layer: Any) -> Transition:
    """The affine step of a torch or jax layer, by running it on a basis; in its dtype, with gradients to parameters.

    Raises:
        Unsupported: the step is not affine in states, inputs and noise together; or it has events that reset states.
    """
    program, arrays = layer.program, _arrays(layer)
    _check_affine(layer, program)
    states, inputs = [s.name for s in program.carry], list(program.given)
    names = [*states, *inputs, *(n.name for n in program.noise)]
    basis = np.concatenate([np.zeros((1, len(names))), np.eye(len(names))])
    end = arrays.end(layer, dict(zip(names, basis.T, strict=True)))
    origin, moved = end[0], end[1:] - end[:1]
    scales = [layer.dt**0.5 if n.kind == "wiener" else 1.0 for n in program.noise]
    columns = dict(zip(names, [*([1.0] * (len(states) + len(inputs))), *scales], strict=True))
    by = {n: scale * moved[i] for i, (n, scale) in enumerate(columns.items())}

    def matrix(some: Sequence[str]) -> Array:
        return arrays.stack([by[n] for n in some]) if some else origin[..., None][..., :0]

    given = tuple(n for n in inputs if n[0] != "(")  # not the clock
    L = matrix([n.name for n in program.noise])
    noisy = tuple(i for i in _reached(program) if arrays.may_differ(L[..., i, :]))
    return Transition(tuple(states), given, noisy, matrix(states), matrix(given), origin, L)


def _reached(program: Program) -> list[int]:
    """Indices of the states whose formulas read noise."""
    read = {f"x.{n.name}" for n in program.noise}
    for a in program.body:
        read |= {a.name} if read & set(a.args) else set()
    return [i for i, (_, value) in enumerate(program.next) if value in read]


def _check_affine(layer: Any, program: Program) -> None:
    if any(e.jumps for e in layer.neuron.system(layer.dt).events):
        raise Unsupported(f"'{program.name}' has events that reset states: its paths are not Gaussian")
    if _arrays(layer).moved(layer):
        what = f"a solver moves '{program.name}', or a method with its whole past: a step of it is no formula"
        raise Unsupported(what, hint="build the layer without solver=, with method 'exact' for one")
    if layer.recurrent:
        raise Unsupported(f"recurrent weights mix the neurons of '{program.name}': its transition is not one a neuron")
    if program.operators or program.tables or program.sums:
        raise Unsupported(f"'{program.name}' reads operators or tables over time: its transition is not one matrix")
    bent = bent_step(program)
    if bent:
        what = f"the step of '{program.name}' is not affine in states, inputs and noise ({bent})"
        hint = "method 'exact', or a splitting of a quadratic potential, has an affine step"
        raise Unsupported(f"{what}, so its law is not Gaussian", hint=hint)


def moments(
    step: Transition, mean: Array, covariance: Array, steps: int, x: Any = None, schedule: str = "scan"
) -> tuple[Array, Array]:
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
    shape = np.broadcast_shapes(drive.shape[1:] if x is not None else drive.shape, mean.shape)
    drive = _arrays(mean).broadcast(drive, (steps, *shape))
    run = _by_doubling if schedule == "scan" else _one_by_one
    return run(step, mean, covariance, drive)


def _one_by_one(step: Transition, mean: Array, covariance: Array, drive: Array) -> tuple[Array, Array]:
    A, S, arrays = step.A, step.S, _arrays(mean)

    def after(now: tuple[Array, Array], c: Array) -> tuple[Array, Array]:
        return _times(A, now[0]) + c, A @ now[1] @ A.mT + S

    return arrays.steps(after, (arrays.broadcast(mean, drive.shape[1:]), arrays.broadcast(covariance, S.shape)), drive)


def _by_doubling(step: Transition, mean: Array, covariance: Array, drive: Array) -> tuple[Array, Array]:
    """After k rounds entry t holds what the last 2^k steps before it did; one power of A serves all of them."""
    steps, power, arrays = len(drive), step.A, _arrays(mean)
    S = arrays.broadcast(step.S, (steps, *step.S.shape))
    powers = arrays.broadcast(step.A, (steps, *step.A.shape))
    reach = 1
    while reach < steps:
        late, early = slice(reach, None), slice(None, steps - reach)
        drive = arrays.concat([drive[:reach], drive[late] + _times(power, drive[early])])
        S = arrays.concat([S[:reach], S[late] + power @ S[early] @ power.mT])
        powers = arrays.concat([powers[:reach], powers[late] @ powers[early]])
        power, reach = power @ power, 2 * reach
    shape = (steps, *[1] * (mean.ndim + 1 - powers.ndim + 1), *powers.shape[1:])
    return _times(powers.reshape(shape), mean) + drive, powers @ covariance @ powers.mT + S


def log_density(step: Transition, path: Array, start: Array, x: Any = None) -> Array:
    """log p(path | start), summed over time and neurons: (...) of path (T, ..., *size*, n), start (..., *size*, n).

    The density is that of the states that noise reaches; the others follow from them.

    Raises:
        RunError: nothing in the step is random, or the noise of a step has fewer dimensions than the states it reaches;
            inside of jit that is an error when it runs.
    """
    at, arrays = list(step.noisy), _arrays(step.A)
    if not at:
        raise RunError("no noise reaches a state, so a path has no density")
    before = arrays.concat([start[None], path[:-1]])
    rest = (path - _times(step.A, before) - step.drive(x))[..., np.array(at)]
    root = _root(step, at)
    white = arrays.solve(root, rest[..., None])[..., 0]
    each = -0.5 * (white**2).sum(-1) - _log_volume(root) - 0.5 * len(at) * log(2 * pi)
    size = step.b.ndim - 1
    return each.sum((0, *range(each.ndim - size, each.ndim)))


def _among(matrix: Array, at: Sequence[int]) -> Array:
    return matrix[..., np.array(at), :][..., np.array(at)]


def _log_volume(root: Array) -> Array:
    return _arrays(root).log(root.diagonal(0, -2, -1)).sum(-1)


def _root(step: Transition, at: Sequence[int]) -> Array:
    """The Cholesky factor of the covariance of the states `at`."""
    S, arrays = _among(step.S, at), _arrays(step.A)
    root = arrays.cholesky(S)
    least = arrays.held(root.diagonal(0, -2, -1) ** 2 / S.diagonal(0, -2, -1))
    names = ", ".join(readable(step.states[i]) for i in at)
    what = f"the noise of a step has fewer dimensions than the states that it reaches ({names}), so that they have no "
    hint = "obabo and exact put noise into position and velocity, baoab one number into both"
    return arrays.refuse(root, ~(least > SINGULAR * arrays.eps(S)).all(), f"{what}common density", hint)


def _factor(covariance: Array) -> Array:
    arrays = _arrays(covariance)
    root = arrays.cholesky(covariance)
    hint = "leave out states that are certain"
    return arrays.refuse(root, (root != root).any(), "a covariance is not positive definite", hint)


def kl(mean: Array, covariance: Array, other_mean: Array, other_covariance: Array) -> Array:
    """KL(N(mean, covariance) || N(other_mean, other_covariance)), (...) of means (..., n), covariances (..., n, n).

    Raises:
        RunError: a covariance is not positive definite.
    """
    return _kl_of_factors(other_mean - mean, _factor(covariance), _factor(other_covariance))


def kl_of_paths(
    step: Transition, other: Transition, mean: Array, covariance: Array, steps: int, x: Any = None, other_x: Any = None
) -> Array:
    """KL of T steps of one transition against another from one law of the state before them, (..., *size*).

    The sum over steps of E[KL(step at x || other at x)], with x by its exact moments under `step`.

    Raises:
        RunError: the divergence is infinite, as one has noise where the other has none, or the two differ there; or as
            in `log_density`.
    """
    arrays, at = _arrays(mean), list(step.noisy)
    if step.noisy != other.noisy:
        raise RunError("the noise of the two transitions reaches different states: their divergence is infinite")
    means, covariances = moments(step, mean, covariance, steps, x)
    means = arrays.concat([arrays.broadcast(mean, means.shape[1:])[None], means[:-1]])
    covariances = arrays.concat([covariance[None], covariances[:-1]])
    gap, drive = _certain(step, step.A - other.A, step.drive(x) - other.drive(other_x))
    gap = gap[..., np.array(at), :]
    shift = _times(gap, means) + drive[..., np.array(at)]
    root = _root(other, at)
    half = arrays.solve(root, gap @ covariances @ gap.mT)
    extra = 0.5 * arrays.solve(root, half.mT).diagonal(0, -2, -1).sum((0, -1))
    same = _kl_of_factors(shift, _root(step, at), root)
    return same.sum(0) + extra


def _kl_of_factors(gap: Array, ours: Array, theirs: Array) -> Array:
    """KL of two normal laws whose means differ by `gap`, of their Cholesky factors."""
    arrays = _arrays(gap)
    ratio, white = arrays.solve(theirs, ours), arrays.solve(theirs, gap[..., None])[..., 0]
    spread = _log_volume(theirs) - _log_volume(ours)
    return spread + 0.5 * ((ratio**2).sum((-1, -2)) + (white**2).sum(-1) - gap.shape[-1])


def _certain(step: Transition, gap: Array, drive: Array) -> tuple[Array, Array]:
    """The differences of two transitions, where they are 0 in states that no noise reaches."""
    arrays = _arrays(gap)
    least = SAME * arrays.eps(gap)
    for i in (i for i in range(len(step.states)) if i not in step.noisy):
        bad = (abs(arrays.held(gap[..., i, :])) > least).any() | (abs(arrays.held(drive[..., i])) > least).any()
        what = f"the two transitions differ in {readable(step.states[i])}, which no noise reaches"
        gap = arrays.refuse(gap, bad, f"{what}: their divergence is infinite", "")
    return gap, drive
