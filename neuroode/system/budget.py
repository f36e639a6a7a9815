"""How large a system may get when its definitions are written out. Sizes, not seconds: one file, always one answer."""

from __future__ import annotations

from math import prod

from neuroode._errors import AnalysisError
from neuroode.expr.nodes import Call, Node, Ref, TimeIndex, children, walk
from neuroode.spec.names import reduced_axis
from neuroode.spec.types import NeuronSpec
from neuroode.system.axes import free_axes
from neuroode.system.indices import SERIES, axis_sizes

MAX_OPERATIONS = 20_000
MAX_WRITTEN_OUT = 4_000  # of all axes together: a kernel of that size takes a C compiler half a minute, once
MAX_DEPTH = 60


def check_axes(spec: NeuronSpec) -> None:
    """Count what writing out the axes would make, before it is made.

    Raises:
        AnalysisError: more than 4,000 operations in all equations, guards and outputs.
    """
    sizes = axis_sizes(spec)
    rows: list[tuple[str, tuple[str, ...], Node]] = [(e.name, e.axes, e.rhs) for e in spec.equations]
    rows += [(e.name, e.axes, e.when) for e in spec.events]
    rows += [(name, free_axes(value, sizes), value) for name, value in spec.outputs]
    counts = [(prod(sizes[a] for a in axes) * _written_out(node, sizes), name) for name, axes, node in rows]
    total, (most, worst) = sum(n for n, _ in counts), max(counts)
    if spec.axes and total > MAX_WRITTEN_OUT:
        raise AnalysisError(
            f"neuron '{spec.name}' has {total:,} operations with its axes written out, {most:,} in '{worst}'",
            place=spec.place_of("axes"),
            hint=f"at most {MAX_WRITTEN_OUT:,}: choose smaller axes, or an operator for a large matrix",
        )


def _written_out(node: Node, sizes: dict[str, int]) -> int:
    """Operations of an expression whose sums and series are written out."""
    total, stack = 0, [(node, 1)]
    while stack:
        top, times = stack.pop()
        if isinstance(top, Call):
            times *= sizes.get(reduced_axis(top.name), 1)
            times *= MAX_DEPTH if top.name in SERIES else 1  # a bound of what a series makes of its argument
        total += times if children(top) and not isinstance(top, Ref | TimeIndex) else 0
        stack += [(each, times) for each in children(top)]
    return total


def check_size(spec: NeuronSpec) -> None:
    """Count operations with every definition written out where it is read.

    Raises:
        AnalysisError: more than 20,000 operations, or definitions that read each other more than 60 deep.
    """
    definitions = {e.name: e for e in spec.equations if e.kind == "definition"}
    done: dict[str, tuple[int, int]] = {}
    for name in definitions:
        _measure(name, definitions, done)
    for e in spec.equations:
        size, depth = _total(e.rhs, done)
        if size > MAX_OPERATIONS or depth > MAX_DEPTH:
            what = f"{size:.3g} operations" if size > MAX_OPERATIONS else f"definitions nested {depth} deep"
            raise AnalysisError(
                f"'{e.name}' becomes {what} when its definitions are written out",
                place=e.place,
                hint=f"at most {MAX_OPERATIONS} operations and {MAX_DEPTH} levels: "
                "make an intermediate value a map x[t] = ...",
            )


def _measure(start: str, definitions: dict, done: dict[str, tuple[int, int]]) -> None:
    """Sizes of `start` and of what it reads; a stack of its own instead of recursion."""
    stack = [start]
    while stack:
        name = stack[-1]
        missing = [n for n in _reads(definitions[name].rhs) if n in definitions and n not in done and n not in stack]
        if missing:
            stack.append(missing[0])
        else:
            done[name] = _total(definitions[name].rhs, done)
            stack.pop()


def _reads(node: Node) -> list[str]:
    return [n.name for n in walk(node) if isinstance(n, Ref) and not (n.time and n.time.lag)]


def _total(node: Node, done: dict[str, tuple[int, int]]) -> tuple[int, int]:
    inner = [done[n.name] for n in walk(node) if isinstance(n, Ref) and n.name in done]
    size = sum(1 for _ in walk(node)) + sum(s for s, _ in inner)
    return size, 1 + max((d for _, d in inner), default=0)
