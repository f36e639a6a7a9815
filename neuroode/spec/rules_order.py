"""The order within one step is dependency; here: what a value needs of the same step, and circles in that."""

from __future__ import annotations

from dataclasses import dataclass

from neuroode._errors import NeuroodeError, SpecError
from neuroode.expr.nodes import Call, Node, Ref, children
from neuroode.spec.rules_time import lag_range
from neuroode.spec.scope import Scope, Site
from neuroode.spec.types import Assignment, EventDecl

# A point of the graph: ("flow", ""), ("map", q), ("event", e), ("definition in a flow", b), ("definition", b), and
# ("late", x): a flow state with late resets, which are the last part of its update, before anyone reads x[t]
Point = tuple[str, str]
FLOW: Point = ("flow", "")
MAX_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Need:
    """`site` reads `ref`, whose value of this step is that of `point`; `reader` is what it is read for."""

    point: Point
    ref: Ref
    site: Site
    reader: str


def no_circles(scope: Scope) -> None:
    """Nothing needs itself within a step."""
    graph = {point: _needs(scope, point) for point in _points(scope)}
    circle = _find_circle(graph)
    if circle:
        raise _report(scope, circle)


def _points(scope: Scope) -> list[Point]:
    points: list[Point] = [("event", e.name) for e in scope.spec.events]
    for e in scope.spec.equations:
        if e.kind == "map":
            points.append(("map", e.name))
        elif e.kind == "definition":
            points += [("definition", e.name), ("definition in a flow", e.name)]
    late = dict.fromkeys(a.name for _, a in _late_resets(scope) if a.name in scope.flow_states)
    return [*points, *(("late", x) for x in late), FLOW]


def _late_resets(scope: Scope) -> list[tuple[EventDecl, Assignment]]:
    late = [(e, e.reset) for e in scope.spec.events if e.reset and e.reset.when == "next_step"]
    return [(e, a) for e, reset in late for a in reset.do]


def _sites_of(scope: Scope, point: Point) -> list[Site]:
    kind, name = point
    own = [s for e, a in _late_resets(scope) if a.name == name for s in scope.sites if s.node is a.value]
    if kind in ("flow", "late"):
        return [s for s in scope.sites if s.role in ("flow", "fractional", "differential")] + own
    if kind == "map":
        return scope.sites_by_role.get(("map", name), []) + own
    role = "guard" if kind == "event" else "definition"
    return scope.sites_by_role.get((role, name), [])


def _needs(scope: Scope, point: Point) -> list[Need]:
    found: list[Need] = []
    for site in _sites_of(scope, point):
        in_flow = point[0] in ("flow", "definition in a flow") or (point[0] == "late" and site.role != "reset")
        reader = point[1] if site.role == "reset" else site.target
        for ref, after in _reads_now(scope, site.node):
            if site.role == "reset" and ref.name == point[1]:
                continue  # inside a late reset the state's own name is its value so far
            target = _target(scope, ref, in_flow)
            if target:
                found.append(Need(target, ref, site, reader))
            if after:
                found += [Need(("event", e.name), ref, site, reader) for e in scope.spec.events
                          if e.reset and any(a.name == ref.name for a in e.reset.do)]  # fmt: skip
    return found


def _reads_now(scope: Scope, node: Node) -> list[tuple[Ref, bool]]:
    """Reads that may concern this step, with whether they stand in after(...)."""
    found: list[tuple[Ref, bool]] = []
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        top, after = stack.pop()
        if isinstance(top, Ref):
            if not _is_past(scope, top):
                found.append((top, after))
            continue
        if isinstance(top, Call) and top.name == "delay":
            stack += [(each, False) for each in top.args[1:]]
            continue
        after = isinstance(top, Call) and top.name == "after"
        stack += [(each, after) for each in reversed(children(top))]
    return found


def _is_past(scope: Scope, ref: Ref) -> bool:
    if ref.time is None:
        return False
    reach = lag_range(scope, ref.time.lag)
    return reach is not None and reach[0] > 0


def _target(scope: Scope, ref: Ref, in_flow: bool) -> Point | None:
    found = scope.names.get(ref.name)
    if not found:
        return None
    if found.kind == "event":
        return "event", ref.name
    if found.kind == "definition":
        return ("definition in a flow" if in_flow else "definition"), ref.name
    if ref.name in scope.flow_states:
        if in_flow and ref.time is None:
            return None
        return ("late", ref.name) if any(a.name == ref.name for _, a in _late_resets(scope)) else FLOW
    return ("map", ref.name) if found.kind == "state" else None


def _find_circle(graph: dict[Point, list[Need]]) -> list[Need]:
    """The needs along one circle, or nothing. Depth first, with its own stack."""
    done: set[Point] = set()
    for start in graph:
        if start in done:
            continue
        path: list[tuple[Point, Need | None]] = [(start, None)]
        waiting = [iter(graph[start])]
        on_path = {start}
        while path:
            need = next(waiting[-1], None)
            if need is None:
                on_path.discard(path[-1][0])
                done.add(path.pop()[0])
                waiting.pop()
            elif need.point in on_path:
                points = [p for p, _ in path]
                return [n for _, n in path[points.index(need.point) + 1 :] if n] + [need]
            elif need.point not in done and need.point in graph:
                path.append((need.point, need))
                waiting.append(iter(graph[need.point]))
                on_path.add(need.point)
    return []


def _report(scope: Scope, circle: list[Need]) -> NeuroodeError:
    first = next((k for k, n in enumerate(circle) if n.site.role == "guard"), 0)
    circle = circle[first:] + circle[:first]
    if len(circle) == 1:
        return _itself(scope, circle[0])
    parts = [f"{_shown(scope, n.reader)} needs {_shown(scope, n.ref.name)}" for n in circle]
    if len(parts) > MAX_SHOWN:
        parts = [*parts[: MAX_SHOWN - 1], "...", parts[-1]]
    cut = next((n for n in circle if n.point[0] in ("map", "flow", "late")), circle[0])
    where = "the guard" if cut.site.role == "guard" else cut.site.what
    hint = f"write {_lagged(cut.ref)} in {where} to use the value before this step"
    return SpecError("within step t: " + ", ".join(parts), place=cut.ref.mark.place, hint=hint)


def _shown(scope: Scope, name: str) -> str:
    """States with their time, as `q[t]`."""
    found = scope.names[name]
    if found.kind != "state":
        return name
    return f"{name}[{', '.join([*found.axes, 't'])}]"


def _itself(scope: Scope, need: Need) -> NeuroodeError:
    name, place, kind = need.ref.name, need.ref.mark.place, scope.names[need.ref.name].kind
    hint = f"write {_lagged(need.ref)}"
    if kind == "event":
        return SpecError(f"within step t: {name} needs {name}", place=place, hint=hint)
    if need.point[0] in ("flow", "late"):
        return SpecError(f"{name}[t] is the end of this flow and not known inside it", place=place,
                         hint=f"write {name} for the running value, {_lagged(need.ref)} for the last one")  # fmt: skip
    shown = _shown(scope, name)
    return SpecError(f"{shown} is defined by itself: '{name}' means {name}[t]", place=place, hint=hint)


def _lagged(ref: Ref) -> str:
    return f"{ref.name}[{', '.join([*map(str, ref.indices), 't-1'])}]"
