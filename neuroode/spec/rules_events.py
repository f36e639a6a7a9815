"""Rules about events: what resets assign, memory, refractory, surrogates, gradients, infinity, impulses."""

from __future__ import annotations

from neuroode._errors import NeuroodeError, SpecError
from neuroode.expr.nodes import Compare, Neg, Node, Ref, children, names, walk
from neuroode.spec.linear import degree
from neuroode.spec.scope import Scope, Site
from neuroode.spec.tree import did_you_mean
from neuroode.spec.types import Assignment, EventDecl


def resets(scope: Scope) -> None:
    """Resets assign states, each once an event, with the axes of the state."""
    for event in scope.spec.events:
        seen: set[str] = set()
        for a in event.reset.do if event.reset else ():
            _assigned(scope, event, a)
            if a.name in seen:
                raise SpecError(f"the reset of {event.name} assigns {a.name} twice", place=a.place, hint="keep one")
            seen.add(a.name)
        _memory(scope, event)


def _assigned(scope: Scope, event: EventDecl, a: Assignment) -> None:
    found = scope.names.get(a.name)
    if found is None:
        states = [n.name for n in scope.names.values() if n.kind == "state"]
        hint = did_you_mean(a.name, states, "only states can be assigned")
        raise SpecError(f"unknown name '{a.name}' in the reset of {event.name}", place=a.place, hint=hint)
    if found.kind != "state":
        raise _not_a_state(scope, a)
    if len(a.axes) != len(found.axes):
        shown = f"{a.name}[{', '.join(found.axes)}]" if found.axes else a.name
        axes = f"axis {', '.join(found.axes)}" if found.axes else "no axis"
        raise SpecError(f"{a.name} has {axes}", place=a.place, hint=f"write {shown} {a.op} ...")
    missing = [axis for axis in event.axes if axis not in a.axes]
    if missing:
        what = f"event {event.name} has axis {missing[0]}, {a.name} in its reset has not"
        raise SpecError(what, place=a.place, hint="an event resets what has its axes")


def _not_a_state(scope: Scope, a: Assignment) -> NeuroodeError:
    found = scope.names[a.name]
    line = f" (line {found.place.line})" if found.place.line else ""
    what = f"reset assigns '{a.name}', which is {found.a_kind}{line}, not a state"
    hint = "only states can be assigned"
    if found.kind == "definition":
        hint = f"assign what {a.name} reads, or make it a map {a.name}[t] = ..."
    return SpecError(what, place=a.place, hint=hint)


def _memory(scope: Scope, event: EventDecl) -> None:
    """Memory concerns fractional states; impulses and currents are amounts, not values."""
    reset = event.reset
    if not reset or reset.memory == "jump":
        return
    fractional = [a for a in reset.do if scope.equations[a.name].kind == "fractional"]
    if not fractional:
        raise SpecError(f"memory: {reset.memory} of the reset of {event.name} concerns no state", place=event.place,
                        hint="memory is for states with D^alpha; remove it")  # fmt: skip
    for a in fractional:
        if reset.memory in ("impulse", "current") and a.op not in ("+=", "-="):
            hint = f"write {a.name} -= ..., or memory: jump"
            raise SpecError(f"memory: {reset.memory} adds an amount, '{a.op}' sets a value", place=a.place, hint=hint)


def refractory(scope: Scope) -> None:
    """What is held is a state."""
    states = {s.name for s in scope.spec.states}
    for event in scope.spec.events:
        for name in event.refractory.hold if event.refractory else ():
            if name not in states:
                hint = did_you_mean(name, states, "hold names states")
                raise SpecError(f"refractory of {event.name} holds '{name}', which is not a state", place=event.place,
                                hint=hint)  # fmt: skip


def surrogates(scope: Scope) -> None:
    """A surrogate reads the margin m and parameters only."""
    for site, ref in scope.refs():
        found = scope.names.get(ref.name)
        if site.role == "surrogate" and ref.name == "m":
            continue
        if site.role in ("surrogate", "width", "duration") and found and found.kind not in ("parameter", "axis"):
            hint = "it may read m and parameters" if site.role == "surrogate" else "it may read parameters"
            raise SpecError(f"{site.what} reads {ref.name}, which is {found.a_kind}", place=ref.mark.place, hint=hint)
        if site.role in ("surrogate", "width", "duration") and ref.name in ("t", "step", "inf"):
            raise SpecError(f"{site.what} reads {ref.name}", place=ref.mark.place, hint="it may read parameters and dt")


def noise_gradients(scope: Scope) -> None:
    """`gradient: expected` and `reinforce` are for guards that read a noise stream."""
    streams = {n.name for n in scope.spec.noise}
    for event in scope.spec.events:
        if event.gradient != "surrogate" and not streams & _reached(scope, names(event.when)):
            hint = "declare noise: {U: uniform} and read U in the guard, or remove the key"
            what = f"gradient: {event.gradient} of {event.name}, whose guard reads no noise"
            raise SpecError(what, place=event.place,
                            hint=hint)  # fmt: skip


def _reached(scope: Scope, start: set[str]) -> set[str]:
    """The names and, through definitions, what they read."""
    found, waiting = set(start), list(start)
    while waiting:
        equation = scope.equations.get(waiting.pop())
        if equation and equation.kind == "definition":
            new = names(equation.rhs) - found
            found |= new
            waiting += new
    return found


def infinity(scope: Scope) -> None:
    """`inf` stands in domains, and as peak and reset of a flow state."""
    for site in scope.sites:
        allowed = _infinite_sides(site)
        for node in walk(site.node):
            if isinstance(node, Ref) and node.name == "inf" and site.role != "domain" and id(node) not in allowed:
                hint = "inf may bound a domain, and be the peak (spike: v >= inf) and the reset (v = -inf) of a flow"
                raise SpecError(f"inf in {site.what}", place=node.mark.place, hint=hint)


def _infinite_sides(site: Site) -> set[int]:
    """The `inf` that a guard compares with, or that a reset assigns."""
    sides: list[Node] = []
    if site.role == "guard" and isinstance(site.node, Compare):
        sides = children(site.node)
    elif site.role == "reset":
        sides = [site.node]
    found = {id(s) for s in sides} | {id(s.arg) for s in sides if isinstance(s, Neg)}
    return found


def impulses(scope: Scope) -> None:
    """In a flow an impulse enters as coefficient*I, added to the rest; never in D^alpha."""
    kinds = {i.name for i in scope.spec.inputs if i.kind != "current"}
    for site in scope.sites:
        if site.role not in ("flow", "fractional", "differential"):
            continue
        read = kinds & names(site.node)
        if read and site.role == "fractional":
            name = sorted(read)[0]
            raise SpecError(f"impulse {name} in {site.what}: a D^alpha line takes currents", place=site.node.mark.place,
                            hint=f"inputs: {{{name}: current}}")  # fmt: skip
        if not read:
            continue
        found = degree(site.node, read)
        if found.fault is not None:
            name = sorted(read & names(found.fault))[0]
            raise SpecError(f"impulse {name} does not enter {site.what} as coefficient*{name}",
                            place=found.fault.mark.place,
                            hint=f"add it: ... + w*{name}, or make it a current")  # fmt: skip
