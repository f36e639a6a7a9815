"""Events of a declaration: guards, resets, surrogates; the short form too."""

from __future__ import annotations

from typing import Any

from neuroode._errors import Place
from neuroode.expr.nodes import Call, Expr, Ref
from neuroode.expr.parse import parse_cond, parse_expr
from neuroode.expr.statements import parse_reset
from neuroode.spec import schema
from neuroode.spec.quantities import value_of
from neuroode.spec.sections import about_of, named, names_of
from neuroode.spec.tree import Map, Scalar, Tree, boolean, choice, did_you_mean, fields_of, items, refuse, text_of
from neuroode.spec.types import Assignment, EventDecl, Refractory, Reset, Surrogate


def events(top: dict[str, Tree], taken: set[str]) -> tuple[EventDecl, ...]:
    """The events under `events`, or the one that the short form declares.

    Args:
        top: the sections of the declaration.
        taken: names declared elsewhere; if `s` is among them, the short form's event is called `spike`.

    Raises:
        SpecError: both forms are used, the short form has no guard, or an event is wrong.
    """
    short = [key for key in schema.SHORT_EVENT if key in top]
    if "events" in top:
        if short:
            refuse(top[short[0]], f"'{short[0]}' and 'events' are two forms of the same", f"put {short[0]} into events")
        found = named(top["events"], "events")
        return tuple(_event(name, fields_of(value, schema.EVENT, f"event '{name}'"), value, key.place)
                     for name, key, value in found)  # fmt: skip
    if not short:
        return ()
    if "spike" not in top:
        refuse(top[short[0]], f"'{short[0]}' without 'spike'", "add spike: v > v_th")
    fields = {("when" if key == "spike" else key): top[key] for key in short}
    return (_event("spike" if "s" in taken else "s", fields, top["spike"], top["spike"].place),)


def _event(name: str, fields: dict[str, Tree], node: Tree, place: Place) -> EventDecl:
    what = f"event '{name}'"
    if "when" not in fields:
        refuse(node, f"{what} has no guard", "add when: v > v_th")
    guard = fields["when"]
    text = text_of(guard, f"the guard of {what}")
    assert isinstance(guard, Scalar)
    given: dict[str, Any] = {}
    if "reset_gradient" in fields:
        given["reset_gradient"] = choice(fields["reset_gradient"], f"reset_gradient of {what}", ("through", "detached"))
    if "gradient" in fields:
        given["gradient"] = choice(fields["gradient"], f"gradient of {what}", schema.GRADIENTS)
    if "surrogate" in fields:
        given["surrogate"] = surrogate(fields["surrogate"], what)
    return EventDecl(
        name=name, when=parse_cond(text, guard.origin), about=about_of(fields), place=place,
        reset=_reset(fields["reset"], what) if "reset" in fields else None,
        refractory=_refractory(fields["refractory"], what) if "refractory" in fields else None,
        axes=names_of(fields.get("axes"), f"axes of {what}"), **given,
    )  # fmt: skip


def _reset(node: Tree, what: str) -> Reset:
    if not isinstance(node, Map):
        return Reset(do=_assignments(node, what))
    fields = fields_of(node, schema.RESET, f"reset of {what}")
    if "do" not in fields:
        refuse(node, f"the reset of {what} does nothing", 'add do: "v -= v_th"')
    given: dict[str, Any] = {}
    if "when" in fields:
        given["when"] = choice(fields["when"], f"when of the reset of {what}", ("same_step", "next_step"))
    if "memory" in fields:
        given["memory"], given["duration"] = _memory(fields["memory"], what)
    return Reset(do=_assignments(fields["do"], what), **given)


def _assignments(node: Tree, what: str) -> tuple[Assignment, ...]:
    found: list[Assignment] = []
    for part in items(node):
        text = text_of(part, f"the reset of {what}")
        assert isinstance(part, Scalar)
        for s in parse_reset(text, part.origin):
            found.append(Assignment(name=s.name, op=s.op, value=s.rhs, axes=s.axes, place=s.mark.place))
    if not found:
        refuse(node, f"the reset of {what} does nothing", "write v -= v_th or remove the key")
    return tuple(found)


def _memory(node: Tree, what: str) -> tuple[str, Expr | None]:
    """`jump`, `impulse`, `restart` or `current(duration)`."""
    text = text_of(node, f"memory of the reset of {what}")
    assert isinstance(node, Scalar)
    if "(" not in text:
        kind = choice(node, f"memory of the reset of {what}", schema.MEMORY)
        if kind == "current":
            refuse(node, "memory: current has no duration", "write current(dt)")
        return kind, None
    found = parse_expr(text, node.origin)
    if not isinstance(found, Call) or found.name != "current" or len(found.args) != 1:
        refuse(node, f"memory of the reset of {what} is '{text[:60]}'", "write jump, impulse, restart or current(dt)")
    return "current", found.args[0]  # type: ignore[return-value]


def _refractory(node: Tree, what: str) -> Refractory:
    if not isinstance(node, Map):
        return Refractory(duration=value_of(node, f"refractory of {what}"))
    fields = fields_of(node, schema.REFRACTORY, f"refractory of {what}")
    if "duration" not in fields:
        refuse(node, f"refractory of {what} has no duration", "write {duration: 2 ms, hold: [v]}")
    duration = value_of(fields["duration"], f"duration of the refractory of {what}")
    return Refractory(duration=duration, hold=names_of(fields.get("hold"), f"hold of {what}"))


def surrogate(node: Tree, what: str) -> Surrogate:
    """A kind's name, a mapping of kind and options, or an expression in the margin `m`."""
    if isinstance(node, Map):
        return _surrogate_options(node, what)
    text = text_of(node, f"surrogate of {what}").strip()
    assert isinstance(node, Scalar)
    if text in schema.SURROGATES:
        return Surrogate(kind=text)
    found = parse_expr(text, node.origin)
    if isinstance(found, Ref) and found.name != "m":
        choice(node, f"surrogate of {what}", schema.SURROGATES)
    return Surrogate(kind="expression", expression=found)


def _surrogate_options(node: Map, what: str) -> Surrogate:
    fields = fields_of(node, schema.SURROGATE, f"surrogate of {what}")
    kind = "fast_sigmoid"
    if "kind" in fields:
        kind = choice(fields["kind"], f"surrogate of {what}", schema.SURROGATES)
    for option in fields:
        _check_option(kind, option, next(k for k, _ in node.entries if k.text == option))
    options: list[tuple[str, Expr | bool]] = []
    for option in sorted(set(fields) - {"kind"}):
        value = fields[option]
        is_flag = option == "normalised"
        options.append((option, boolean(value, option) if is_flag else value_of(value, f"{option} of the surrogate")))
    return Surrogate(kind=kind, options=tuple(options))


def _check_option(kind: str, option: str, key: Scalar) -> None:
    allowed = ["kind"]
    if kind not in ("none", "straight_through"):
        allowed += ["width", "height"]
    if kind.endswith("_gaussian"):
        allowed += ["h", "ratio", "normalised"]
    if option not in allowed:
        hint = did_you_mean(option, allowed, f"{kind} takes {', '.join(allowed[1:]) or 'no options'}")
        refuse(key, f"surrogate {kind} has no {option}", hint)
