"""Rules about axes and indices: every array is read with its indices, every index is bound."""

from __future__ import annotations

from collections.abc import Iterator

from neuroode._errors import Place, SpecError
from neuroode.expr.nodes import Call, Node, Ref, children
from neuroode.spec.names import is_increment, reduced_axis
from neuroode.spec.schema import LEVELS
from neuroode.spec.scope import Name, Scope, Site
from neuroode.spec.tree import did_you_mean

BARE_ARRAY = ("poly", "chebyshev")  # first argument: a parameter with one axis, named bare
BARE_AXIS = ("size", "hippo")


def declared_axes(scope: Scope) -> None:
    """Axes of declarations exist, and axes over axes end in a number or in time."""
    for axis in scope.spec.axes:
        if axis.name in (*LEVELS, "time"):
            hint = "choose another name: per uses this word"
            raise SpecError(f"axis '{axis.name}' has the name of a level", place=axis.place, hint=hint)
        end = scope.root(axis.name)
        if end not in scope.axes or (isinstance(scope.axes[end].size, str) and scope.axes[end].size != "time"):
            hint = did_you_mean(str(axis.size), [n for n in scope.axes if n != axis.name], "write a number or an axis")
            raise SpecError(
                f"axis '{axis.name}' runs over '{axis.size}', which has no size", place=axis.place, hint=hint
            )
    for name in scope.names.values():
        _axes_exist(scope, name.axes, f"{name.kind} '{name.name}'", name.place)
    for event in scope.spec.events:
        for a in event.reset.do if event.reset else ():
            _axes_exist(scope, a.axes, f"the reset of {event.name}", a.place)


def _axes_exist(scope: Scope, axes: tuple[str, ...], what: str, place: Place) -> None:
    for axis in axes:
        if axis not in scope.axes:
            levels = LEVELS if what.startswith("parameter") else ()
            hint = did_you_mean(axis, [*scope.axes, *levels], f"declare it: axes: {{{axis}: 4}}")
            raise SpecError(f"{what} has the index '{axis}', which is not an axis", place=place, hint=hint)
    if len(set(axes)) < len(axes):
        for axis in (a for at, a in enumerate(axes) if a in axes[:at]):
            hint = f"declare a second index over it: axes: {{l: {axis}}}"
            raise SpecError(f"{what} has the index '{axis}' twice", place=place, hint=hint)


def bound_indices(scope: Scope) -> None:
    """Walk every expression with the axes that are bound at each point."""
    for site in scope.sites:
        for node, bound in _with_bound(scope, site):
            if isinstance(node, Ref):
                _check_ref(scope, site, node, bound)


def _with_bound(scope: Scope, site: Site) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """Every node with the axes bound there; bare arrays and axes as arguments are left out."""
    stack: list[tuple[Node, tuple[str, ...]]] = [(site.node, site.axes)]
    while stack:
        node, bound = stack.pop()
        yield node, bound
        if isinstance(node, Call):
            axis = reduced_axis(node.name)
            if axis in bound:
                hint = f"declare a second index over it: axes: {{l: {axis}}}"
                raise SpecError(f"index {axis} is bound twice", place=node.mark.place, hint=hint)
            inner = (*bound, axis) if axis else bound
            skip = node.name in BARE_AXIS + BARE_ARRAY or _over_axis(scope, node)
            stack += [(each, inner) for each in reversed(node.args[skip:])]
        else:
            stack += [(each, bound) for each in reversed(children(node))]


def _over_axis(scope: Scope, call: Call) -> bool:
    """Whether an operator is called with all coordinates at once: with what has one axis, named bare."""
    found = scope.names.get(call.name)
    first = call.args[0]
    if not (found and found.kind == "operator" and isinstance(first, Ref)) or first.indices:
        return False
    axes = scope.names[first.name].axes if first.name in scope.names else ()
    return len(axes) == 1 and scope.size(axes[0]) != "time"


def _check_ref(scope: Scope, site: Site, ref: Ref, bound: tuple[str, ...]) -> None:
    for index in ref.indices:
        if isinstance(index, str):
            _check_bound(scope, site, ref, index, bound)
    found = scope.names.get(ref.name)
    if found and found.kind == "axis":
        _check_bound(scope, site, ref, ref.name, bound)
    elif found and not (site.role in ("init", "value", "domain") and found.kind == "state" and not ref.indices):
        _check_shape(scope, ref, found)


def _check_bound(scope: Scope, site: Site, ref: Ref, index: str, bound: tuple[str, ...]) -> None:
    if index not in scope.axes:
        hint = did_you_mean(index, scope.axes, "an index is an axis, a whole number, or t, t-1, t-k last")
        raise SpecError(f"unknown index '{index}' of {ref.name}", place=ref.mark.place, hint=hint)
    if index in bound or site.free:
        return
    if site.role == "guard":
        hint = f"write sum_{index}(...), or give the event axes: [{index}]"
        raise SpecError(f"index {index} of {ref.name} is not bound in {site.what}", place=ref.mark.place, hint=hint)
    if site.role in ("init", "value", "domain"):
        hint = f"add {index} to per" if site.target in scope.parameters else f"give {site.target} the axis {index}"
        raise SpecError(f"index {index} in {site.what} is not one of its axes", place=ref.mark.place, hint=hint)
    hint = f"{site.target}[{index}] = ... or sum_{index}(...)"
    raise SpecError(f"index {index} appears on the right only", place=ref.mark.place, hint=hint)


def _check_shape(scope: Scope, ref: Ref, found: Name) -> None:
    """As many indices as axes, each over the same set; a `time` axis may stand for the time index."""
    indices = ref.indices
    if is_increment(ref.name):
        return
    over_time = len(indices) == len(found.axes) + 1 and isinstance(indices[-1], str)
    if over_time and scope.size(str(indices[-1])) == "time" and not ref.time:
        indices = indices[:-1]
    if len(indices) != len(found.axes):
        raise SpecError(f"{_axes_in_words(found)}", place=ref.mark.place, hint=_shape_hint(found))
    for index, axis in zip(indices, found.axes, strict=True):
        size = scope.size(axis)
        if isinstance(index, int) and isinstance(size, int) and index >= size:
            raise SpecError(f"index {index} of {ref.name} is beyond axis {axis}, which ends at {size - 1}",
                            place=ref.mark.place)  # fmt: skip
        if isinstance(index, str) and scope.root(index) != scope.root(axis):
            hint = f"write {ref.name}[{', '.join(found.axes)}], or declare the axis as {index}: {axis}"
            raise SpecError(
                f"index {index} of {ref.name} does not run over axis {axis}", place=ref.mark.place, hint=hint
            )


def _axes_in_words(found: Name) -> str:
    if not found.axes:
        return f"{found.name} has no axis"
    return f"{found.name} has {'axis' if len(found.axes) == 1 else 'axes'} {', '.join(found.axes)}"


def _shape_hint(found: Name) -> str:
    if not found.axes:
        return f"write {found.name}"
    inside = ", ".join(found.axes)
    if found.kind == "axis":
        return ""
    return f"{found.name}[{inside}], sum_{found.axes[0]}(...), or give the event axes: [{inside}]"


def special_arguments(scope: Scope) -> None:
    """Arguments that are names: poly(c, x), size(k), hippo(k), grad(U, q), after(x), delay(x, d)."""
    for site in scope.sites:
        stack: list[Node] = [site.node]
        while stack:
            node = stack.pop()
            stack += children(node)
            if isinstance(node, Call):
                _special(scope, site, node)


def _special(scope: Scope, site: Site, call: Call) -> None:
    first = call.args[0]
    found = scope.names.get(first.name) if isinstance(first, Ref) else None
    place = first.mark.place
    if call.name in BARE_AXIS and (not isinstance(first, Ref) or first.indices or not found or found.kind != "axis"):
        raise SpecError(f"{call.name} takes the name of an axis", place=place, hint=f"write {call.name}(k)")
    if call.name in BARE_ARRAY:
        bare = isinstance(first, Ref) and not first.indices and found and found.kind == "parameter"
        if not bare or not found or len(found.axes) != 1:
            hint = f"write {call.name}(c, x) with c: {{value: [...], per: [k]}}"
            raise SpecError(f"the first argument of {call.name} is a parameter with one axis, named bare", place=place,
                            hint=hint)  # fmt: skip
    if call.name == "after":
        _after(site, call, found)
    if call.name == "grad":
        _grad(call, found, scope)
    if call.name == "delay" and (not found or found.kind in ("parameter", "axis", "noise")):
        hint = "write delay(x, d) with an input, an event, a state or a definition"
        raise SpecError("delay takes the name of a signal", place=place, hint=hint)


def _after(site: Site, call: Call, found: Name | None) -> None:
    if site.role not in ("map", "output"):
        hint = "use x[t-1] in the next step, or read after(x) in a map"
        raise SpecError(
            f"after(...) in {site.what}: it stands only in maps and outputs", place=call.mark.place, hint=hint
        )
    if not found or found.kind != "state":
        raise SpecError("after takes the name of a state", place=call.mark.place, hint="write after(v)")


def _grad(call: Call, found: Name | None, scope: Scope) -> None:
    by = call.args[1]
    if not found or found.kind != "definition":
        raise SpecError("grad takes the name of a definition first", place=call.mark.place, hint="write grad(U, q)")
    variable = scope.names.get(by.name) if isinstance(by, Ref) else None
    if not variable or variable.kind not in ("state", "definition", "input", "parameter"):
        raise SpecError("grad takes the name of a state second", place=by.mark.place, hint="write grad(U, q)")
