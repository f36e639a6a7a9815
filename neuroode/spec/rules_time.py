"""Rules about time: lags, tables over time, whole-sequence axes, horizon."""

from __future__ import annotations

from fractions import Fraction

from neuroode._errors import SpecError
from neuroode.expr.nodes import Binary, Call, Expr, Neg, Node, Num, Ref, fold, walk
from neuroode.spec.quantities import literal
from neuroode.spec.scope import Scope, Site

LAGGED = ("input", "event", "state", "definition")
Range = tuple[Fraction, Fraction] | None


def lags(scope: Scope) -> None:
    """Time indices stand where they may, look back by whole steps, and tables over time are read with one."""
    for site, ref in scope.refs():
        found = scope.names.get(ref.name)
        if found is None:
            continue
        if ref.time:
            _may_have_time(scope, site, ref)
            _lag(scope, ref)
        elif found.timed:
            hint = f"write {ref.name}[{', '.join([*map(str, ref.indices), 't'])}]"
            raise SpecError(f"{ref.name} varies with time", place=ref.mark.place, hint=hint)


def _may_have_time(scope: Scope, site: Site, ref: Ref) -> None:
    found = scope.names[ref.name]
    assert ref.time is not None
    if site.role in ("init", "value", "domain", "check", "duration", "order", "surrogate", "width"):
        raise SpecError(f"{ref.name} has a time index in {site.what}", place=ref.mark.place, hint=f"write {ref.name}")
    now = ref.time.lag == Num(Fraction(0))
    if found.timed or found.kind == "noise":
        if not now:
            what = "is read by step" if found.timed else "is fresh each step"
            raise SpecError(f"{ref.name} {what}", place=ref.mark.place, hint=f"write {ref.name}[t]")
    elif found.kind not in LAGGED:
        raise SpecError(f"{ref.name} is {found.a_kind} and does not vary with time", place=ref.mark.place,
                        hint=f"write {ref.name}, or declare it with per: time")  # fmt: skip


def _lag(scope: Scope, ref: Ref) -> None:
    assert ref.time is not None
    lag = ref.time.lag
    for node in walk(lag):
        if isinstance(node, Ref) and not _is_whole(scope, node):
            hint = "a lag is made of whole numbers, axes and constant integers"
            raise SpecError(f"{node.name} in a time index is not a constant integer", place=node.mark.place, hint=hint)
        if isinstance(node, Num) and (node.value.denominator != 1 or node.imaginary or node.unit):
            raise SpecError("a lag counts whole steps", place=node.mark.place, hint="write x[t-1], or delay(x, 2 ms)")
        if isinstance(node, Binary) and node.op not in ("+", "-", "*"):
            raise SpecError(f"'{node.op}' in a time index", place=node.mark.place, hint="a lag may use + - and *")
        if not isinstance(node, Ref | Num | Binary | Neg):
            raise SpecError("a function in a time index", place=node.mark.place, hint="a lag may use + - and *")
    reach = lag_range(scope, lag)
    if reach and reach[0] < 0:
        hint = f"write {ref.name}[t-1]; what comes later is not known yet"
        if reach[0] != reach[1]:
            hint = "choose the axis or an offset so that the lag is never negative"
        raise SpecError(f"{ref.name} is read {_steps(-reach[0])} ahead", place=ref.mark.place, hint=hint)


def _steps(count: Fraction) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _is_whole(scope: Scope, ref: Ref) -> bool:
    if ref.name in scope.axes:
        return True
    p = scope.parameters.get(ref.name)
    value = literal(p.value) if p and p.value is not None and not isinstance(p.value, tuple) else None
    return bool(p and (p.type == "integer" or (value and value.value.denominator == 1 and not p.trainable)))


def lag_range(scope: Scope, lag: Expr) -> Range:
    """The least and the greatest value of a lag over its indices; None if unknown."""

    def combine(node: Node, below: list[Range]) -> Range:
        match node:
            case Num():
                return node.value, node.value
            case Ref():
                return _reach_of(scope, node)
        if any(b is None for b in below):
            return None
        (a, b), (c, d) = below[0], below[-1]  # type: ignore[misc]
        match node:
            case Neg():
                return -b, -a
            case Binary(op="+"):
                return a + c, b + d
            case Binary(op="-"):
                return a - d, b - c
            case Binary(op="*"):
                corners = [a * c, a * d, b * c, b * d]
                return min(corners), max(corners)
        return None

    return fold(lag, combine)


def _reach_of(scope: Scope, ref: Ref) -> Range:
    if ref.name in scope.axes:
        size = scope.size(ref.name)
        return (Fraction(0), Fraction(size - 1)) if isinstance(size, int) else None
    p = scope.parameters.get(ref.name)
    value = literal(p.value) if p and p.value is not None and not isinstance(p.value, tuple) else None
    return (value.value, value.value) if value else None


def delays(scope: Scope) -> None:
    """A trained delay has an interval for its domain, so that the buffer has a length."""
    for site in scope.sites:
        for node in walk(site.node):
            if isinstance(node, Call) and node.name == "delay":
                _bounded(scope, node)


def _bounded(scope: Scope, call: Call) -> None:
    for ref in walk(call.args[1]):
        p = scope.parameters.get(ref.name) if isinstance(ref, Ref) else None
        if isinstance(ref, Ref) and ref.name in scope.names and p is None and ref.name not in scope.axes:
            hint = "a delay is made of numbers and parameters"
            raise SpecError(f"the delay reads {ref.name}, which is {scope.names[ref.name].a_kind}",
                            place=ref.mark.place, hint=hint)  # fmt: skip
        if p and p.trainable and not p.domain.startswith("interval"):
            hint = 'domain: "interval(0, 10)"'
            raise SpecError(f"the trained delay {p.name} has no interval", place=ref.mark.place, hint=hint)


def horizon(scope: Scope) -> None:
    """Tables over time and time axes know their length."""
    if scope.spec.horizon is not None:
        return
    for name in scope.names.values():
        if name.timed or (name.kind == "axis" and scope.axes[name.name].size == "time"):
            what = "per: time" if name.timed else "a time axis"
            raise SpecError(f"'{name.name}' has {what}, but there is no horizon", place=name.place,
                            hint="add horizon: 100, the number of steps")  # fmt: skip


def whole_sequence(scope: Scope) -> None:
    """What is read at every step of the sequence does not depend on states."""
    for _, ref in scope.refs():
        found = scope.names.get(ref.name)
        if not found or len(ref.indices) != len(found.axes) + 1 or scope.size(str(ref.indices[-1])) != "time":
            continue
        through = next((n for n in _behind(scope, ref.name) if scope.names[n].kind in MOVING), None)
        if through:
            hint = "read inputs, or definitions of inputs, over the whole sequence"
            kind = found.a_kind if through == ref.name else f"{found.a_kind} that reads {through}"
            raise SpecError(f"{ref.name} is {kind} and not known for the whole sequence",
                            place=ref.mark.place, hint=hint)  # fmt: skip


MOVING = ("state", "event", "noise")


def _behind(scope: Scope, name: str) -> list[str]:
    """A name, and every name that it reads through definitions."""
    found = [name]
    for each in found:  # grows while it is walked
        site = scope.sites_by_role.get(("definition", each), [])
        read = [n.name for s in site for n in walk(s.node) if isinstance(n, Ref) and n.name in scope.names]
        found += [n for n in dict.fromkeys(read) if n not in found]
    return found
