"""Rules about names: one namespace, nothing reserved, nothing unknown, nothing unread, functions called as they are."""

from __future__ import annotations

from neuroode._errors import NeuroodeError, Place, SpecError
from neuroode.expr.nodes import Call, Num, Ref, walk
from neuroode.expr.show import show
from neuroode.spec import names
from neuroode.spec.scope import Name, Scope, Site, all_names
from neuroode.spec.tree import did_you_mean

_HINTS = {"dt": "set the key dt: ...", "i": "choose another name; the imaginary unit is i, the input may be I"}


def reserved(scope: Scope) -> None:
    """No declared name is a word of the language."""
    declared = list(all_names(scope.spec)) + [Name(s.name, "state", place=s.place) for s in scope.spec.states]
    for name in declared:
        why = names.reservation(name.name)
        if why:
            hint = _HINTS.get(name.name, "choose another name")
            raise SpecError(f"'{name.name}' is reserved ({why})", place=name.place, hint=hint)


def one_namespace(scope: Scope) -> None:
    """One name, one meaning."""
    seen: dict[str, Name] = {}
    for name in all_names(scope.spec):
        before = seen.get(name.name)
        if before:
            raise _twice(before, name)
        seen[name.name] = name


def _twice(before: Name, name: Name) -> NeuroodeError:
    line = f" (line {before.place.line})" if before.place.line else ""
    if {before.kind, name.kind} <= {"state", "definition"}:
        hint = "keep one"
        if name.place.text[name.place.column - 1 :].startswith(f"d{name.name} "):
            hint = f"'d{name.name} = ...' is a differential because '{name.name}' is read; rename the definition"
        return SpecError(f"'{name.name}' has two equations{line}", place=name.place, hint=hint)
    what = f"'{name.name}' is {before.a_kind}{line} and {name.a_kind}"
    return SpecError(what, place=name.place, hint="give one of them another name")


def states_have_equations(scope: Scope) -> None:
    """What stands under `states` has an equation, and a derivative state one of its order."""
    orders = {e.name: e.order for e in scope.spec.equations if e.kind != "definition"}
    for state in scope.spec.states:
        bare = state.name.rstrip("'")
        if bare in scope.names and scope.names[bare].kind != "state":
            raise SpecError(f"state '{bare}' is {scope.names[bare].a_kind}", place=state.place,
                            hint=f"write {bare}[t] = ... or d{bare}/dt = ...")  # fmt: skip
        if bare not in orders:
            hint = did_you_mean(bare, orders, f"add d{bare}/dt = ... or {bare}[t] = ...")
            raise SpecError(f"state '{bare}' has no equation", place=state.place, hint=hint)
        if len(state.name) - len(bare) >= orders[bare]:
            primes = "'" * (len(state.name) - len(bare) + 1)
            raise SpecError(f'state "{state.name}" needs an equation of {bare}{primes}', place=state.place)


def known_names(scope: Scope) -> None:
    """Every name that is read is declared and may be read there."""
    for site, ref in scope.refs():
        _known(scope, site, ref)


def _as_differential(site: Site) -> str:
    """How noise gets to where it stands in no differential."""
    if site.role == "fractional":
        return "noise reaches a fractional state through another: du = -u/tau*dt + g*dW, D^alpha v reads u"
    if site.role == "definition" and site.target[:1] == "d" and site.target[1:]:
        x = site.target[1:]  # nothing says that it is a state
        return f"if this is the differential of {x}, declare the state: states: {{{x}: 0}}"
    return "write the equation as a differential: dv = f*dt + g*dW"


def _known(scope: Scope, site: Site, ref: Ref) -> None:
    place, name = ref.mark.place, ref.name
    if name == "m" and site.role == "surrogate":
        return
    if names.is_increment(name):
        if site.role != "differential":
            what = f"'{name}' in {site.what}: Wiener increments stand in differentials"
            raise SpecError(what, place=place, hint=_as_differential(site))
        return
    if name in names.CONSTANTS or name in names.CLOCK:
        return _plain(ref, names.RESERVED[name])
    if name in names.RESERVED:
        raise SpecError(f"'{name}' is a function and needs arguments", place=place, hint=f"write {name}(...)")
    found = scope.names.get(name)
    if found is None:
        known = [*scope.names, *names.CONSTANTS, *names.CLOCK]
        hint = did_you_mean(name, known, "declare it under parameters, inputs or states, or give it an equation")
        raise SpecError(f"unknown name '{name}' in {site.what}", place=place, hint=hint)
    if found.kind == "operator":
        raise SpecError(f"operator '{name}' is read without arguments", place=place, hint=f"write {name}(x)")
    return _primes(scope, site, ref, found)


def _plain(ref: Ref, what: str) -> None:
    if ref.indices or ref.time or ref.primes:
        raise SpecError(f"'{ref.name}' is {what} and takes no index", place=ref.mark.place)


def _primes(scope: Scope, site: Site, ref: Ref, found: Name) -> None:
    if not ref.primes:
        return
    order = scope.equations[ref.name].order if found.kind == "state" else 0
    if ref.primes >= max(order, 1):
        text = ref.name + "'" * ref.primes
        hint = f"{ref.name} has an equation of order {order}" if order else f"{ref.name} is {found.a_kind}"
        raise SpecError(f"{text} in {site.what} is not a state", place=ref.mark.place, hint=hint)


def units_are_not_names(scope: Scope) -> None:
    """A word that the model declares is never a unit."""
    for site in scope.sites:
        for node in walk(site.node):
            if isinstance(node, Num) and node.unit in scope.names:
                number = show(Num(node.value))
                what = f"missing operator between '{number}' and '{node.unit}'"
                raise SpecError(what, place=node.mark.place, hint=f"write {number}*{node.unit}")


def known_functions(scope: Scope) -> None:
    """Every call is of a function, an operator, or a sum over an axis, with as many arguments as it takes."""
    for site in scope.sites:
        for node in walk(site.node):
            if isinstance(node, Call):
                _known_function(scope, site, node)


def _known_function(scope: Scope, site: Site, call: Call) -> None:
    place, name = call.mark.place, call.name
    axis = names.reduced_axis(name)
    declared = scope.names.get(name)
    if axis:
        if axis not in scope.axes:
            hint = did_you_mean(axis, scope.axes, f"declare it: axes: {{{axis}: 4}}")
            raise SpecError(f"{name} runs over '{axis}', which is not an axis", place=place, hint=hint)
        return _arity(call, (1, 1))
    if name in names.DISTRIBUTIONS:
        if site.role != "init":
            raise SpecError(
                f"{name} in {site.what}: draws stand in init only", place=place, hint="declare a noise stream"
            )
        return _arity(call, names.DISTRIBUTIONS[name])
    if name in names.FUNCTIONS:
        return _arity(call, names.FUNCTIONS[name])
    if declared and declared.kind == "operator":
        return _arity(call, (1, 1))
    if declared:
        hint = f"write {name}*({', '.join(show(a) for a in call.args)})"
        raise SpecError(f"'{name}' is {declared.a_kind}, not a function", place=_head(call), hint=hint)
    known = [*names.FUNCTIONS, *(n for n, _ in scope.spec.operators)]
    raise SpecError(f"unknown function '{name}' in {site.what}", place=_head(call), hint=did_you_mean(name, known))


def _head(call: Call) -> Place:
    mark = call.mark
    return mark.origin.place(mark.line, mark.column, len(call.name)) if mark.origin else mark.place


def _arity(call: Call, wanted: tuple[int, int]) -> None:
    low, high = wanted
    if not low <= len(call.args) <= high:
        count = str(low) if low == high else f"at least {low}"
        plural = "argument" if count == "1" else "arguments"
        raise SpecError(f"{call.name} takes {count} {plural}, not {len(call.args)}", place=call.mark.place)


def nothing_unread(scope: Scope) -> None:
    """What is declared is read somewhere; an event may act through its reset instead."""
    read = {ref.name for site, ref in scope.refs() if ref.name != site.target or site.role == "output"}
    read |= {node.name for site in scope.sites for node in walk(site.node) if isinstance(node, Call)}
    read |= {event.name for event in scope.spec.events if event.reset}
    for name in scope.names.values():
        if name.kind in ("axis", "state") or name.name in read:
            continue
        raise SpecError(f"{name.kind} '{name.name}' is never read", place=_known_place(scope, name),
                        hint="remove it or use it")  # fmt: skip


def _known_place(scope: Scope, name: Name) -> Place:
    return name.place if name.place.line else scope.spec.place_of("operators")
