"""What a call passes, whatever the framework: names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuroode._errors import RunError


def by_name(model: str, names: Sequence[str], x: Any) -> list[Any]:
    """The inputs in the program's order, from a dict or, where there is one, the array itself.

    Raises:
        RunError: other names.
    """
    named = dict(x) if isinstance(x, Mapping) else {names[0]: x}
    if set(named) != set(names):
        raise RunError(
            f"inputs of '{model}' are {', '.join(names)}; found {', '.join(named)}",
            hint="pass a dict with one array per input" if len(names) > 1 else "pass the array itself",
        )
    return [named[n] for n in names]


def clock_shape(model: str, x: Any, steps: Any, batch: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """(T, B, *size*) of a call of a neuron without inputs.

    Raises:
        RunError: an input, or no numbers of steps and samples.
    """
    if x is not None:
        raise RunError(f"neuron '{model}' has no input", hint="pass steps= and batch= only")
    for name, n in (("steps", steps), ("batch", batch)):
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            hint = f"neuron '{model}' has no input: write layer(steps=100, batch=1)"
            raise RunError(f"{name} is {n!r}, expected a whole number", hint=hint)
    return (steps, batch, *size)


def refuse_clock(model: str, names: Sequence[str], x: Any, steps: Any, batch: Any) -> None:
    """Raise RunError where a neuron with inputs is called like one without."""
    if x is None or steps is not None or batch is not None:
        what = "is called without x" if x is None else "takes steps and samples from its input"
        raise RunError(f"neuron '{model}' {what}; inputs: {', '.join(names)}",
                       hint="pass x, (T, B, *size*), without steps= and batch=")  # fmt: skip


def check_shape(name: str, shape: Sequence[int], size: tuple[int, ...], what: str = "input") -> None:
    """Raise RunError where an input is not (T, B, *size*)."""
    if len(shape) != 2 + len(size) or tuple(shape[2:]) != size:
        wanted = ", ".join(["T", "B", *map(str, size)])
        raise RunError(
            f"{what} '{name}' has shape {tuple(shape)}, expected ({wanted})", hint="time comes first, then batch"
        )


def check_agree(names: Sequence[str], shapes: Sequence[Sequence[int]]) -> None:
    """Raise RunError where inputs differ in shape."""
    for name, shape in zip(names[1:], shapes[1:], strict=True):
        if tuple(shape) != tuple(shapes[0]):
            raise RunError(f"input '{name}' is {tuple(shape)}, '{names[0]}' is {tuple(shapes[0])}; they must agree")
