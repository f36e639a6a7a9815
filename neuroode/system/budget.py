"""How large a system may get when its definitions are written out. Sizes, not seconds: one file, always one answer."""

from __future__ import annotations

from neuroode._errors import AnalysisError
from neuroode.expr.nodes import Node, Ref, walk
from neuroode.spec.types import NeuronSpec

MAX_OPERATIONS = 20_000
MAX_DEPTH = 60


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
