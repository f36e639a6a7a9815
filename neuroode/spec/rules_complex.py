"""Rules about complex numbers: guards are real, and a real state has a real right side."""

from __future__ import annotations

from neuroode._errors import NeuroodeError, SpecError
from neuroode.expr.nodes import Call, Compare, Node, Num, Ref, children, fold, names, walk
from neuroode.expr.show import show
from neuroode.spec.scope import Scope, Site

TO_REAL = ("real", "imag", "abs", "arg", "size")
REAL_ONLY = ("sigmoid", "softplus", "relu", "erf", "sign", "floor", "ceil", "round", "min", "max", "clip")
Cause = Ref | Num | None  # why a value is complex


def complex_values(scope: Scope) -> None:
    """Check every expression for complex values where only real ones can stand."""
    known = _complex_names(scope)
    for site in scope.sites:
        for node in walk(site.node):
            if isinstance(node, Compare):
                _compare(node, site, known)
            elif isinstance(node, Call) and node.name in REAL_ONLY:
                _real_only(node, known)
        _target(scope, site, known)
    _resets(scope, known)


def _complex_names(scope: Scope) -> set[str]:
    """Complex states and parameters, and the definitions that become complex through them."""
    known = {n.name for n in scope.names.values() if n.complex}
    known |= {s.name.rstrip("'") for s in scope.spec.states if s.type == "complex"}
    definitions = {s.target: s.node for s in scope.sites if s.role == "definition"}
    readers: dict[str, set[str]] = {}
    for name, node in definitions.items():
        for read in names(node):
            readers.setdefault(read, set()).add(name)
    waiting = list(definitions)
    while waiting:
        name = waiting.pop()
        if name not in known and cause(definitions[name], known):
            known.add(name)
            waiting += readers.get(name, ())
    return known


def cause(node: Node, known: set[str]) -> Cause:
    """The first thing in an expression that makes it complex; None if it is real."""

    def combine(each: Node, below: list[Cause]) -> Cause:
        match each:
            case Num():
                return each if each.imaginary else None
            case Ref():
                return each if each.name == "i" or each.name in known else None
            case Compare():
                return None
            case Call() if each.name in TO_REAL:
                return None
        return next((b for b in below if b), None)

    return fold(node, combine)


def _named(why: Cause, scope: Scope | None = None) -> str:
    if isinstance(why, Ref) and why.name != "i":
        kind = scope.names[why.name].kind if scope and why.name in scope.names else "value"
        return f"complex {kind} {why.name}"
    return "imaginary unit i"


def _compare(node: Compare, site: Site, known: set[str]) -> None:
    for side in children(node):
        why = cause(side, known)
        if not why:
            continue
        where = (
            "the guard" if site.role == "guard" else f"where(...) in {site.what}" if site.role != "check" else "a check"
        )
        named = isinstance(side, Ref) and side.name != "i"
        what = f"complex state {side.name}" if named and isinstance(side, Ref) else f"complex value {show(side)[:60]}"
        text = side.name if isinstance(side, Ref) else "..."
        raise SpecError(f"{where} compares the {what}", place=side.mark.place, hint=f"real({text}) or abs({text})")


def _real_only(node: Call, known: set[str]) -> None:
    for argument in node.args:
        if cause(argument, known):
            hint = f"write {node.name}(real(...)) or {node.name}(abs(...))"
            raise SpecError(f"{node.name} takes real numbers", place=argument.mark.place, hint=hint)


def _target(scope: Scope, site: Site, known: set[str]) -> None:
    """The right side of a real state, the init of a real state or parameter."""
    if site.role not in ("flow", "fractional", "differential", "map", "init", "value"):
        return
    why = cause(site.node, known)
    if not why or site.target.rstrip("'") in known:
        return
    if site.role in ("init", "value"):
        what = f"{site.target} is real but {site.what.split(' of ')[0].replace('the ', 'its ')} is complex"
        raise SpecError(f"{what} ({_named(why, scope)})", place=why.mark.place, hint="add type: complex")
    raise _complex_right_side(site.target, why, scope)


def _complex_right_side(name: str, why: Cause, scope: Scope) -> NeuroodeError:
    assert why is not None
    hint = "end the line with `: complex`"
    if isinstance(why, Ref) and why.name == "i":
        hint += "; for the input write I"
    what = f"{name} is real but its right side is complex ({_named(why, scope)})"
    return SpecError(what, place=why.mark.place, hint=hint)


def _resets(scope: Scope, known: set[str]) -> None:
    for event in scope.spec.events:
        for a in event.reset.do if event.reset else ():
            why = cause(a.value, known)
            if why and a.name not in known:
                hint = f"real(...), or declare {a.name} complex"
                raise SpecError(f"the reset of {event.name} assigns a complex value to the real state {a.name}",
                                place=why.mark.place, hint=hint)  # fmt: skip
