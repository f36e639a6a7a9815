"""A tree of plain data to a NeuronSpec: reads every section, classifies equations, fills in the defaults."""

from __future__ import annotations

import re
from dataclasses import replace

from neuroode._errors import Place, SpecError
from neuroode.expr.nodes import Call, Cond, Expr, Node, Ref, names, walk
from neuroode.expr.parse import parse_cond, parse_expr
from neuroode.expr.statements import ZERO, Statement, parse_equations
from neuroode.spec import schema, sections
from neuroode.spec.checks import check
from neuroode.spec.events import events
from neuroode.spec.names import RESERVED
from neuroode.spec.quantities import quantity_of, whole_number
from neuroode.spec.tree import Map, Scalar, Tree, choice, did_you_mean, fields_of, items, refuse, text_of
from neuroode.spec.types import Equation, EventDecl, InputDecl, NeuronSpec, StateDecl

DYNAMIC = ("flow", "map", "fractional", "differential")


def build(tree: Map, source: str = "") -> NeuronSpec:
    """The declaration that a tree is, checked.

    Raises:
        SpecError: anything in it is wrong.
    """
    spec = collect(tree, source)
    check(spec)
    return spec


def collect(tree: Map, source: str = "") -> NeuronSpec:
    """The declaration that a tree is, with defaults filled in, before the checks across sections."""
    top = fields_of(tree, schema.TOP, "the file")
    for key in ("neuron", "equations"):
        if key not in top:
            refuse(tree, f"the key '{key}' is missing", f"add {key}: ...")
    statements = _statements(top["equations"])
    declared = sections.states(top.get("states"))
    fired = events(top, taken(top, statements))
    outputs = _outputs(top.get("outputs"))
    checks = tuple(_cond(item, "an entry of checks") for item in items(top["checks"])) if "checks" in top else ()
    reads = _reads(statements, fired, outputs, checks)
    equations = _equations(statements, {s.name for s in declared}, reads, declared)
    states = _states(equations, declared)
    spec = NeuronSpec(
        name=text_of(top["neuron"], "neuron").strip(), about=sections.about_of(top), source=source,
        cite=sections.texts(top.get("cite"), "cite"),
        dt=quantity_of(top["dt"], "dt") if "dt" in top else None,
        method=_method(top.get("method")),
        within_step=_choice(top, "within_step", ("saturate", "locate")),
        calculus=_choice(top, "calculus", ("ito", "stratonovich")),
        horizon=whole_number(top["horizon"], "horizon") if "horizon" in top else None,
        inputs=sections.inputs(top.get("inputs")), states=states, parameters=sections.parameters(top.get("parameters")),
        axes=sections.axes(top.get("axes")), noise=sections.noise(top.get("noise")),
        operators=sections.operators(top.get("operators")), equations=equations, events=fired, checks=checks,
        short_event="spike" in top, compat=_compat(top.get("compat")), outputs=outputs,
        places=tuple((key.text, value.place) for key, value in tree.entries),
    )  # fmt: skip
    spec = _default_input(spec, "inputs" in top, reads)
    if outputs:
        return spec
    _only_event(spec, tree)
    return replace(spec, outputs=default_outputs(spec))


def _choice(top: dict[str, Tree], key: str, allowed: tuple[str, ...]) -> str:
    return choice(top[key], key, allowed) if key in top else allowed[0]


def _cond(node: Tree, what: str) -> Cond:
    text = text_of(node, what)
    assert isinstance(node, Scalar)
    return parse_cond(text, node.origin)


def _expr(node: Tree, what: str) -> Expr:
    text = text_of(node, what)
    assert isinstance(node, Scalar)
    return parse_expr(text, node.origin)


def _statements(node: Tree) -> list[Statement]:
    """The equations; after inheritance each part of the text is an entry of a list with its own origin."""
    found: list[Statement] = []
    for part in items(node):
        text = text_of(part, "equations", "write equations: | and the equations below")
        assert isinstance(part, Scalar)
        found += parse_equations(text, part.origin)
    if not found:
        refuse(node, "there is no equation", "write one such as dv/dt = -v/tau + I")
    return found


def taken(top: dict[str, Tree], statements: list[Statement]) -> set[str]:
    """Names declared outside events."""
    found = {s.name for s in statements} | {s.name[1:] for s in statements if s.name.startswith("d")}
    for section in ("axes", "parameters", "states", "inputs", "noise", "operators"):
        node = top.get(section)
        found |= set(node.keys()) if isinstance(node, Map) else set()
    return found


def _outputs(node: Tree | None) -> tuple[tuple[str, Expr], ...]:
    if node is None:
        return ()
    if isinstance(node, Map):
        return tuple(
            (name, _expr(value, f"output '{name}'")) for name, _, value in sections.named(node, "outputs", True)
        )
    expr = _expr(node, "outputs")
    plain = isinstance(expr, Ref) and not (expr.time and expr.time.lag != ZERO)
    return ((expr.name + "'" * expr.primes if plain and isinstance(expr, Ref) else "output", expr),)


def _reads(statements: list[Statement], fired: tuple[EventDecl, ...], outputs: tuple[tuple[str, Expr], ...],
           checks: tuple[Cond, ...]) -> set[str]:  # fmt: skip
    """All names that equations, events, outputs and checks read."""
    read: list[Node] = [*(s.rhs for s in statements), *(e for _, e in outputs), *checks]
    for s in statements:
        read += [part for pair in s.fractional for part in pair if part is not None]
    for event in fired:
        read.append(event.when)
        read += [a.value for a in event.reset.do] if event.reset else []
    return set().union(*(names(node) for node in read))


def _equations(statements: list[Statement], states: set[str], reads: set[str],
               declared: tuple[StateDecl, ...]) -> tuple[Equation, ...]:  # fmt: skip
    """Equations of the spec: definitions and differentials told apart, `: complex` and `type: complex` made one."""
    complex_states = {s.name for s in declared if s.type == "complex"}
    found: list[Equation] = []
    for s in statements:
        kind, name = s.kind, s.name
        if _is_differential(s, states, reads):
            kind, name = "differential", s.name[1:]
        elif kind == "definition" and s.complex:
            hint = f"d{s.name[1:]} is a definition, because no state is called '{s.name[1:]}'"
            raise SpecError("': complex' belongs to the equation of a state", place=s.mark.place, hint=hint)
        is_complex = s.complex or (kind in DYNAMIC and name in complex_states)
        found.append(Equation(kind=kind, name=name, rhs=s.rhs, order=s.order, axes=s.axes, fractional=s.fractional,
                              complex=is_complex, place=s.mark.place))  # fmt: skip
    return tuple(found)


def _is_differential(s: Statement, states: set[str], reads: set[str]) -> bool:
    if s.kind != "definition" or not re.fullmatch(r"d[A-Za-z][A-Za-z0-9_]*", s.name):
        return False
    bare = s.name[1:]
    return bare in states or (bare in reads and bare not in RESERVED)


def _states(equations: tuple[Equation, ...], declared: tuple[StateDecl, ...]) -> tuple[StateDecl, ...]:
    """Every state in the order of the equations, derivative states behind theirs, strays last."""
    by_name = {s.name: s for s in declared}
    found: dict[str, StateDecl] = {}
    for equation in equations:
        if equation.kind not in DYNAMIC:
            continue
        for primes in range(equation.order):
            name = equation.name + "'" * primes
            state = by_name.get(name, StateDecl(name=name, place=equation.place))
            found.setdefault(name, replace(state, type="complex") if equation.complex else state)
    return (*found.values(), *(s for s in declared if s.name not in found))


def _method(node: Tree | None) -> str | tuple[tuple[str, str], ...]:
    if node is None:
        return "auto"
    if isinstance(node, Map):
        found = sections.named(node, "method", primes=True)
        return tuple((name, _one_method(value, f"method of '{name}'")) for name, _, value in found)
    return _one_method(node, "method")


WITH_ARGUMENTS = ("semi_implicit", *schema.METHOD_OPTIONS, *schema.METHOD_VARIANTS)


def _one_method(node: Tree, what: str) -> str:
    """A method's name; `semi_implicit(v, u)` takes an order of states, `gl(implicit)` a variant."""
    text = text_of(node, what)
    assert isinstance(node, Scalar)
    if (head := text.partition("(")[0].strip()) in schema.METHOD_OPTIONS:
        return _with_options(node, what, head, text)
    found = parse_expr(text, node.origin)
    name = found.name if isinstance(found, Ref | Call) else text
    if name not in schema.METHODS:
        known = did_you_mean(name, schema.METHODS, "known: " + ", ".join(schema.METHODS))
        refuse(node, f"{what} is '{text[:60]}', which is unknown", known)
    if isinstance(found, Ref):
        return name
    args = [a.name for a in found.args if isinstance(a, Ref)] if isinstance(found, Call) else []
    variants = schema.METHOD_VARIANTS.get(name)
    if variants and (len(args) != 1 or args[0] not in variants):
        refuse(node, f"{what} is '{text[:60]}'", "write " + " or ".join(f"{name}({v})" for v in variants))
    if name == "semi_implicit" and not (isinstance(found, Call) and len(args) == len(found.args)):
        refuse(node, f"{what} is '{text[:60]}'", "write states in the order in which they move: semi_implicit(v, u)")
    if not variants and name != "semi_implicit":
        hint = f"write {name}; arguments are for {', '.join(WITH_ARGUMENTS)}"
        refuse(node, f"{what} is '{text[:60]}', but {name} takes no arguments", hint)
    return f"{name}({', '.join(args)})"


def _with_options(node: Scalar, what: str, name: str, text: str) -> str:
    """`soe(tolerance=1e-6, steps=32768)` in one spelling."""
    allowed = schema.METHOD_OPTIONS[name]
    inside = text.partition("(")[2].strip()
    rows = re.findall(rf"({'|'.join(allowed)})\s*=\s*([0-9][0-9.eE+-]*)", inside)
    again = ", ".join(f"{key}={value}" for key, value in rows)
    if inside and (f"{again})".replace(" ", "") != inside.replace(" ", "") or len(dict(rows)) != len(rows)):
        example = ", ".join(f"{key}={value}" for key, value in allowed.items())
        refuse(node, f"{what} is '{text[:60]}'", f"write {name}({example}), each at most once")
    for key, value in rows:
        low, high, whole = schema.METHOD_RANGES[key]
        number = _float(value)
        if number is None or not low <= number <= high or (whole and number != int(number)):
            kind = "a whole number" if whole else "a number"
            refuse(node, f"{what} is '{text[:60]}'", f"{key} is {kind} from {low:g} to {high:g}")
    return f"{name}({again})" if rows else name


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _default_input(spec: NeuronSpec, given: bool, reads: set[str]) -> NeuronSpec:
    if given or "I" not in reads or "I" in _declared(spec):
        return spec
    return replace(spec, inputs=(InputDecl(name="I", place=_first_read(spec, "I")),))


def _declared(spec: NeuronSpec) -> set[str]:
    found = {d.name for group in (spec.axes, spec.parameters, spec.states, spec.noise, spec.events) for d in group}
    return found | {name for name, _ in spec.operators} | {e.name for e in spec.equations}


def _first_read(spec: NeuronSpec, name: str) -> Place:
    for equation in spec.equations:
        for node in walk(equation.rhs):
            if isinstance(node, Ref) and node.name == name:
                return node.mark.place
    return Place(spec.source or "<model>")


def _only_event(spec: NeuronSpec, tree: Map) -> None:
    """Refuse several events without outputs."""
    if len(spec.events) > 1:
        found = ", ".join(e.name for e in spec.events)
        hint = f"add outputs: {spec.events[-1].name}"
        refuse(tree.get("events") or tree, f"several events ({found}) and no outputs", hint)


def default_outputs(spec: NeuronSpec) -> tuple[tuple[str, Expr], ...]:
    """What a neuron returns that does not say it: the only event; without events the states; nothing for several."""
    if len(spec.events) > 1:
        return ()
    if spec.events:
        event = spec.events[0]
        return ((event.name, Ref(event.name, indices=event.axes)),)
    axes = {e.name: e.axes for e in spec.equations}
    bare = [(s.name, s.name.rstrip("'")) for s in spec.states]
    return tuple((name, Ref(base, name.count("'"), axes.get(base, ()))) for name, base in bare)


def _compat(node: Tree | None) -> tuple[tuple[str, object], ...]:
    found = []
    for name, _, value in sections.named(node, "compat"):
        fields_of(value, schema.CHANGES, f"compat '{name}'")
        found.append((name, value))
    return tuple(found)
