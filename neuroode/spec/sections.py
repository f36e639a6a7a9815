"""The sections of a declaration that declare names: inputs, states, parameters, axes, noise, operators."""

from __future__ import annotations

import re
from typing import Any

from neuroode._errors import SpecError
from neuroode.expr.nodes import Call, Expr, Ref, walk
from neuroode.expr.parse import expression, parse_expr
from neuroode.expr.show import show
from neuroode.spec import schema
from neuroode.spec.quantities import literal, unit_of, value_of, value_or_list, whole_number
from neuroode.spec.tree import Map, Scalar, Tree, boolean, choice, fields_of, items, mapping, refuse, text_of
from neuroode.spec.types import AxisDecl, InputDecl, NoiseDecl, ParameterDecl, StateDecl

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def name_of(key: Scalar, section: str, primes: bool = False) -> str:
    """The key, which must be a name.

    Raises:
        SpecError: it is not one.
    """
    bare = key.text.rstrip("'") if primes else key.text
    if not _NAME.fullmatch(bare) or "__" in bare:
        hint = "a name is a letter followed by letters, digits and single '_'"
        refuse(key, f"'{key.text[:60]}' under {section} is not a name", hint)
    return key.text


def named(node: Tree | None, section: str, primes: bool = False) -> list[tuple[str, Scalar, Tree]]:
    """The entries of a section as (name, key, value)."""
    if node is None:
        return []
    return [
        (name_of(k, section, primes), k, v)
        for k, v in mapping(node, section, f"write {section}: {{name: ...}}").entries
    ]


def names_of(node: Tree | None, what: str) -> tuple[str, ...]:
    """A name or a list of names, none of them twice."""
    if node is None:
        return ()
    found = [text_of(item, f"an entry of {what}") for item in items(node)]
    seen: set[str] = set()
    for item, name in zip(items(node), found, strict=True):
        if not _NAME.fullmatch(name.rstrip("'")):
            refuse(item, f"'{name[:60]}' in {what} is not a name")
        if name in seen:
            refuse(item, f"'{name}' stands twice in {what}", "keep one")
        seen.add(name)
    return tuple(found)


def about_of(fields: dict[str, Tree]) -> str:
    node = fields.get("about")
    return "" if node is None else " ".join(text_of(node, "about").split())


def inputs(node: Tree | None) -> tuple[InputDecl, ...]:
    """The declared inputs, in their order."""
    return tuple(_input(name, key, value) for name, key, value in named(node, "inputs"))


def _input(name: str, key: Scalar, value: Tree) -> InputDecl:
    if not isinstance(value, Map):
        return InputDecl(name=name, kind=choice(value, f"input '{name}'", schema.INPUT_KINDS), place=key.place)
    fields = fields_of(value, schema.INPUT, f"input '{name}'")
    what = f"input '{name}'"
    given: dict[str, Any] = {}
    for option, allowed in (("kind", schema.INPUT_KINDS), ("hold", ("zero", "linear")), ("at", ("start", "end"))):
        if option in fields:
            given[option] = choice(fields[option], f"{option} of {what}", allowed)
    kind = given.get("kind", "current")
    if "hold" in fields and kind != "current":
        refuse(fields["hold"], f"{what} is an {kind} and has no hold", "hold belongs to currents")
    if "at" in fields and kind == "current":
        refuse(fields["at"], f"{what} is a current, which acts during the whole step", "at belongs to impulses")
    unit = unit_of(fields["unit"], f"unit of {what}") if "unit" in fields else None
    axes = names_of(fields.get("axes"), f"axes of {what}")
    return InputDecl(name=name, axes=axes, unit=unit, about=about_of(fields), place=key.place, **given)


def states(node: Tree | None) -> tuple[StateDecl, ...]:
    """The states under `states`, in their order; those that only have an equation come later."""
    return tuple(_state(name, key, value) for name, key, value in named(node, "states", primes=True))


def _state(name: str, key: Scalar, value: Tree) -> StateDecl:
    what = f"state '{name}'"
    if not isinstance(value, Map):
        bare = value_of(value, what)
        return StateDecl(name=name, init=_nonzero(bare), unit=unit_in(bare), place=key.place)
    fields = fields_of(value, schema.STATE, what)
    init = value_of(fields["init"], f"init of {what}") if "init" in fields else None
    kind = choice(fields["type"], f"type of {what}", ("real", "complex")) if "type" in fields else "real"
    unit = unit_of(fields["unit"], f"unit of {what}") if "unit" in fields else unit_in(init)
    return StateDecl(name=name, init=_nonzero(init), type=kind, unit=unit, about=about_of(fields), place=key.place)


def _nonzero(init: Expr | None) -> Expr | None:
    """The init, None where it says the default 0."""
    found = literal(init) if init is not None else None
    return None if found and found.value == 0 else init


def unit_in(value: Expr | tuple | None) -> str | None:
    """The unit of a lone quantity, or of the first one in a list."""
    if isinstance(value, tuple):
        return next((u for u in map(unit_in, value) if u), None)
    found = literal(value) if value is not None else None
    return found.unit if found else None


def parameters(node: Tree | None) -> tuple[ParameterDecl, ...]:
    """The declared parameters, in their order."""
    return tuple(_parameter(name, key, value) for name, key, value in named(node, "parameters"))


def _parameter(name: str, key: Scalar, node: Tree) -> ParameterDecl:
    what = f"parameter '{name}'"
    if not isinstance(node, Map):
        bare = value_or_list(node, what)
        _no_draws(bare, node, what)
        return ParameterDecl(name=name, value=bare, trainable=False, unit=unit_in(bare), place=key.place)
    fields = fields_of(node, schema.PARAMETER, what)
    value, init = _value_and_init(fields, node, what)
    domain, bounds = _domain(fields.get("domain"), what)
    kind = choice(fields["type"], f"type of {what}", ("real", "complex", "integer")) if "type" in fields else "real"
    return ParameterDecl(
        name=name, value=value, init=init, per=_per(fields.get("per"), what), domain=domain, bounds=bounds,
        transform=_optional(fields, "transform", schema.TRANSFORMS, what),
        type=kind, unit=unit_of(fields["unit"], f"unit of {what}") if "unit" in fields else unit_in(value or init),
        trainable=_trainable(fields.get("trainable"), kind, what), about=about_of(fields), place=key.place,
    )  # fmt: skip


def _optional(fields: dict[str, Tree], key: str, allowed: tuple[str, ...], what: str) -> str | None:
    return choice(fields[key], f"{key} of {what}", allowed) if key in fields else None


def _value_and_init(fields: dict[str, Tree], node: Tree, what: str) -> tuple[Expr | tuple | None, Expr | None]:
    if ("value" in fields) == ("init" in fields):
        found = "both value and init" if "value" in fields else "neither value nor init"
        refuse(node, f"{what} has {found}", "write value: for the same number each time, init: for a draw or a formula")
    if "init" in fields:
        return None, value_of(fields["init"], f"init of {what}")
    value = value_or_list(fields["value"], f"value of {what}")
    _no_draws(value, fields["value"], what)
    return value, None


def _no_draws(value: Expr | tuple, node: Tree, what: str) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, tuple):
            _no_draws(one, node, what)
            continue
        for each in walk(one):
            if isinstance(each, Call) and each.name in DRAWS:
                raise SpecError(f"{what}: {each.name} draws a number, a value is the same each time",
                                place=each.mark.place, hint=f'write {{init: "{show(one)}"}}')  # fmt: skip


DRAWS = ("uniform", "normal", "log_uniform", "log_normal")


def _trainable(node: Tree | None, kind: str, what: str) -> bool:
    if node is None:
        return kind != "integer"
    wanted = boolean(node, "trainable")
    if wanted and kind == "integer":
        refuse(node, f"{what} is an integer, which is never trained", "write trainable: false or type: real")
    return wanted


def _per(node: Tree | None, what: str) -> tuple[str, ...]:
    """Always a level first (layer where none is given), then the axes, then `time`."""
    found = names_of(node, f"per of {what}")
    levels = [n for n in found if n in schema.LEVELS]
    if len(levels) > 1 and node is not None:
        refuse(node, f"per of {what} names the levels {' and '.join(levels)}", "keep one: the finest says it all")
    axes = [n for n in found if n not in schema.LEVELS and n != "time"]
    return (*(levels or ["layer"]), *axes, *(["time"] if "time" in found else []))


def _domain(node: Tree | None, what: str) -> tuple[str, tuple[Expr, ...]]:
    """The canonical text of a domain and its arguments."""
    if node is None:
        return "real", ()
    text = text_of(node, f"domain of {what}")
    assert isinstance(node, Scalar)
    found = parse_expr(text, node.origin)
    name = found.name if isinstance(found, Call | Ref) else text
    arguments = found.args if isinstance(found, Call) else ()
    wanted = {"interval": 2, "simplex": 1, "symmetric": 2, "psd": 2}.get(name, 0)
    if name not in schema.DOMAINS or (isinstance(found, Ref) and (found.indices or found.time or found.primes)):
        known = "positive, nonnegative, unit, interval(a, b), simplex(k), symmetric(k, l), psd(k, l)"
        refuse(node, f"domain of {what} is '{text[:60]}'", f"write real, {known}")
    if len(arguments) != wanted:
        refuse(node, f"domain {name} of {what} has {len(arguments)} arguments, not {wanted}")
    return show(found), tuple(expression(argument) for argument in arguments)


def axes(node: Tree | None) -> tuple[AxisDecl, ...]:
    """The declared axes: a size, another axis, or `time`."""
    return tuple(
        AxisDecl(name=name, size=_size(name, value), place=key.place) for name, key, value in named(node, "axes")
    )


def _size(name: str, node: Tree) -> int | str:
    if isinstance(node, Scalar) and _NAME.fullmatch(node.text):
        return node.text
    return whole_number(node, f"the size of axis '{name}'")


def noise(node: Tree | None) -> tuple[NoiseDecl, ...]:
    """The declared noise streams."""
    return tuple(_noise(name, key, value) for name, key, value in named(node, "noise"))


def _noise(name: str, key: Scalar, node: Tree) -> NoiseDecl:
    what = f"noise '{name}'"
    if not isinstance(node, Map):
        return NoiseDecl(name=name, kind=choice(node, what, schema.NOISE_KINDS), place=key.place)
    fields = fields_of(node, schema.NOISE, what)
    if "kind" not in fields:
        refuse(node, f"{what} has no kind", "write kind: uniform or kind: normal")
    kind = choice(fields["kind"], f"kind of {what}", schema.NOISE_KINDS)
    return NoiseDecl(name=name, kind=kind, axes=names_of(fields.get("axes"), f"axes of {what}"), place=key.place)


def operators(node: Tree | None) -> tuple[tuple[str, str], ...]:
    """The declared operators as (name, kind)."""
    return tuple((n, choice(v, f"operator '{n}'", schema.OPERATOR_KINDS)) for n, _, v in named(node, "operators"))


def texts(node: Tree | None, what: str) -> tuple[str, ...]:
    """A text or a list of texts."""
    return tuple(text_of(item, f"an entry of {what}") for item in items(node)) if node is not None else ()
