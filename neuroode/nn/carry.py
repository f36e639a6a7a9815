"""What one call hands to the next: a frozen mapping of arrays that knows which model it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from neuroode._errors import RunError
from neuroode.program.types import Program

LAST = "last output"  # of a recurrent layer
NOISE_KEY = "noise key"  # (B, 2) whole numbers: the seed of each sample, and the number of its next step


class Carry(Mapping[str, Any]):
    """State parts (`v`, `u.re`), past values (`I[t-1]`), a recurrent layer's last output; (B, *size*, *axes*) each.

    Where there is noise, `noise key` holds its seed and the number of the next step, whole numbers, (B, 2).
    """

    __slots__ = ("_arrays", "digest")

    def __init__(self, arrays: Mapping[str, Any], digest: str) -> None:
        self._arrays = dict(arrays)
        self.digest = digest

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def detach(self) -> Carry:
        """The same values without gradient."""
        return Carry({k: v.detach() for k, v in self._arrays.items()}, self.digest)

    def __repr__(self) -> str:
        return "Carry(" + ", ".join(f"{k}: {tuple(v.shape)}" for k, v in self._arrays.items()) + ")"


def check_carry(
    carry: Any, digest: str, wanted: tuple, describe: Callable[[Any], tuple],
    axes: Mapping[str, tuple[int, ...]] | None = None,
) -> None:  # fmt: skip
    """Whether a carry belongs to the layer with that digest, and each of its arrays is described as `wanted`.

    Args:
        wanted: (shape, ...); the shape is followed by the sizes of the array's axes, `axes` by name.

    Raises:
        RunError: it does not, or one is not.
    """
    if not isinstance(carry, Carry) or carry.digest != digest:
        what = "another model or method" if isinstance(carry, Carry) else f"a {type(carry).__name__}"
        raise RunError(f"the carry is of {what}", hint="pass what this layer returned, or None to start afresh")
    for name, value in carry.items():
        if name == NOISE_KEY:
            continue  # checked where it is read
        full = ((*wanted[0], *(axes or {}).get(name, ())), *wanted[1:])
        if (found := describe(value)) != full:
            raise RunError(
                f"carry '{name}' is {' '.join(map(str, found))}, expected {' '.join(map(str, full))}",
                hint="the batch changed? pass carry=None to start afresh",
            )


def refuse_carry(program: Program, start: Any) -> None:
    """Raise RunError where a call goes on from a carry, but a sum reads the whole sequence, its beginning too."""
    if program.sums and start is not None:
        what = f"'{program.name}' sums over the whole sequence, so a call cannot go on from a carry"
        raise RunError(what, hint="pass the sequence in one call, with carry=None")
