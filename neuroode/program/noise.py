"""Noise streams of a program: which arrays a caller may replay, which seeds there are, and their numbers in numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from neuroode._errors import RunError
from neuroode.program.arrays import lanes_of, sequence
from neuroode.program.pack import Group, groups, unpacked
from neuroode.program.types import CLOCK, Noise, Program
from neuroode.solvers.on_numpy.random import SEEDS, draw
from neuroode.system.types import OdeSystem

Array = np.ndarray


def input_names(system: OdeSystem, noise: Iterable[str]) -> tuple[str, ...]:
    """Declared inputs, or the clock, then noise, then tables over time, then sums over the sequence."""
    made = (*system.tables, *(s.name for s in system.sums))
    given = tuple(n for n in system.inputs if n not in made)
    return (*(given or (CLOCK,)), *noise, *made)


def declared(noise: Mapping[str, str]) -> tuple[Noise, ...]:
    """Streams by kind as a program has them."""
    return tuple(Noise(*row) for row in noise.items())


def streams(program: Program) -> tuple[Group, ...]:
    """The noise of a program as a caller names it: elements of one stream are one array."""
    return groups(n.name for n in program.noise)


def check_seed(program: Program, seed: Any) -> None:
    """Raise RunError where a seed is given that is none, or that nothing reads."""
    if seed is not None and not program.noise and program.start is None:
        raise RunError(f"seed={checked_seed(seed)}: '{program.name}' has no noise", hint="leave seed= out")
    if seed is not None:
        checked_seed(seed)


def checked_seed(seed: Any) -> int:
    """A seed, or RunError."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < SEEDS:
        raise RunError(f"seed is {seed!r}, expected a whole number from 0 to 2^32 - 1")
    return int(seed)


def refuse_unread(program: Program, seed: Any) -> None:
    """Raise RunError where a seed is given to a call that draws nothing: it goes on from a carry, without noise."""
    if seed is not None and program.start is not None:
        what = f"seed={seed}: '{program.name}' draws nothing but its start, and this call goes on from a carry"
        raise RunError(what, hint="leave seed= out, or pass carry=None to start afresh")


def check_replayed(program: Program, given: Any) -> Mapping[str, Any]:
    """What `noise=` holds, {} for None.

    Raises:
        RunError: not a mapping, or names that are no noise streams.
    """
    if given is None:
        return {}
    names = [g.name for g in streams(program)]
    wanted = f"noise of '{program.name}': {', '.join(names) or 'none'}"
    if not isinstance(given, Mapping):
        raise RunError(f"noise is a {type(given).__name__}; {wanted}", hint="pass a dict with one array per stream")
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise RunError(f"'{unknown[0]}' is no noise stream; {wanted}")
    return given


def elements(found: Iterable[Group], arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Element name -> its part of the arrays that are given; the other streams are left out."""
    rows: dict[str, Any] = {}
    for g in found:
        if g.name in arrays:
            alone = Group(g.name, g.shape, tuple(range(len(g.members))))
            parts = unpacked({g.name: arrays[g.name]}, [alone])
            rows |= {names[i]: part for i, part in zip(g.members, parts, strict=True)}
    return rows


def noise_of_run(
    program: Program, shape: tuple[int, ...], dt: float, seed: int, replayed: Mapping[str, Any] | None = None
) -> dict[str, Array]:
    """Every noise input of a run from step 0 on, (T, B, *size*) in float64.

    Args:
        replayed: stream name -> (T, B, *size*, *axes*), used in place of drawn numbers.

    Raises:
        RunError: a seed or an array that does not fit.
    """
    check_seed(program, seed if program.noise or program.start else None)
    found, given = streams(program), check_replayed(program, replayed)
    arrays = {g.name: sequence(g, given[g.name], "noise") for g in found if g.name in given}
    for g in found:
        if g.name in arrays and lanes_of(g, arrays[g.name]) != shape:
            raise RunError(f"noise '{g.name}' is {arrays[g.name].shape}, the inputs are {shape}; they must agree")
    rows = elements(found, arrays, [n.name for n in program.noise])
    keys = np.full(shape[1], seed), np.zeros(shape[1], int)
    for n in program.noise:
        if n.name not in rows:
            scale = np.sqrt(dt) if n.kind == "wiener" else 1.0
            rows[n.name] = scale * draw(n.kind, n.name, *keys, shape)
    return rows
