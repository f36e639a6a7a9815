"""The border of a layer, whatever the framework: arrays with axes outside, one array per element inside a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from neuroode.program.pack import Group, groups, packed, packed_by_name, unpacked
from neuroode.program.types import Program

Stack = Callable[[list[Any]], Any]


class Border:
    """Which elements of a program are one array of the caller's.

    Args:
        stack: makes one array of a row of equal ones, along a new last axis.
    """

    def __init__(self, program: Program, stack: Stack) -> None:
        self.inputs = groups(program.given)
        self.outputs = groups(n for n, _ in program.outputs)
        self.carry = groups(s.name for s in program.carry)
        self.trace = [n for n, _ in program.trace]
        self._stack = stack

    def split(self, arrays: Mapping[str, Any], found: Sequence[Group]) -> list[Any]:
        """The elements, in the program's order, of arrays (..., *axes*) by name."""
        return unpacked(arrays, found)

    def join(self, rows: Sequence[Any], found: Sequence[Group]) -> dict[str, Any]:
        """Arrays (..., *axes*) by name of elements in the program's order."""
        return packed(rows, found, self._stack)

    def join_by_name(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """The same for elements by name, such as a trace."""
        return packed_by_name(rows, self._stack)

    def axes_of_carry(self) -> dict[str, tuple[int, ...]]:
        """Name -> sizes of its axes."""
        return {g.name: g.shape for g in self.carry}
