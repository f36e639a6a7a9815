"""What of a step needs what: slots of the carry and events, and which of them depend on one another.

Source: Tarjan, SIAM J. Comput. 1 (1972), for strongly connected components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from neuroode.program.slices import cut
from neuroode.program.types import Program


class Graph:
    """What each node reads: of a slot, its next value; of an event, its margin."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.next = {f"c.{n}": v for n, v in program.next}
        self.events = {a.name: str(a.value) for a in program.body if a.op == "event"}
        self.slots = {s.name: s for s in program.events}
        self.roots = self.next | {value: self.slots[e].margin for value, e in self.events.items()}
        border = self.leaf
        self.reads = {n: self._leaves(root, border) for n, root in self.roots.items()}

    def leaf(self, value: str) -> str | None:
        """Slots, inputs and events end a slice."""
        return value if value[:2] in ("c.", "x.") or value in self.events else None

    def _leaves(self, root: str, border: Callable[[str], str | None]) -> list[str]:
        return [n for n in cut(self.program.body, [root], border).inputs if n in self.roots]

    def components(self) -> list[tuple[str, ...]]:
        """Strongly connected nodes, in order of dependency."""
        from scipy.sparse import csr_array  # here: a layer that runs a kernel needs no partition, and starts faster
        from scipy.sparse.csgraph import connected_components

        nodes = list(self.roots)
        if not nodes:
            return []
        at = {n: i for i, n in enumerate(nodes)}
        pairs = [(at[r], at[n]) for n in nodes for r in self.reads[n]]
        rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
        matrix = csr_array(([1] * len(pairs), (rows, columns)), (len(nodes),) * 2)
        _, labels = connected_components(matrix, connection="strong")
        groups: dict[int, list[str]] = {}
        for n, label in zip(nodes, labels, strict=True):
            groups.setdefault(int(label), []).append(n)
        return self._ordered({n: tuple(groups[int(label)]) for n, label in zip(nodes, labels, strict=True)})

    def _ordered(self, group: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Depth first, without recursion: a long chain of lags is deep."""
        done: dict[tuple[str, ...], None] = {}
        stack = [(g, False) for g in reversed(list(dict.fromkeys(group.values())))]
        while stack:
            component, ready = stack.pop()
            if ready:
                done[component] = None
            elif component not in done:
                before = dict.fromkeys(group[r] for n in component for r in self.reads[n])
                stack.append((component, True))
                stack += [(g, False) for g in before if g not in done and g != component]
        return list(done)
