"""Rules about values: domains, transforms, shapes of lists, inits, methods, differentials, fractional orders."""

from __future__ import annotations

from itertools import product

from neuroode._errors import NeuroodeError, Place, SpecError
from neuroode.expr.nodes import Binary, Call, Expr, Neg, Node, Num, Ref, names, walk
from neuroode.expr.parse import expression
from neuroode.expr.show import show
from neuroode.spec.evaluate import evaluate, evaluate_in
from neuroode.spec.linear import degree
from neuroode.spec.names import is_increment
from neuroode.spec.scope import Scope, flatten
from neuroode.spec.sections import DRAWS
from neuroode.spec.tree import did_you_mean
from neuroode.spec.types import ParameterDecl

TRANSFORMS = {
    "real": (),
    "positive": ("softplus", "exp", "abs", "relu", "project"),
    "nonnegative": ("abs", "softplus", "exp", "relu", "project"),
    "unit": ("sigmoid", "project", "abs", "relu"),
    "interval": ("sigmoid", "tanh", "project", "abs", "relu"),
    "simplex": ("softmax", "project"),
    "symmetric": (),
    "psd": ("project",),
}
FRACTIONAL = ("soe", "mittag_leffler", "flmm2", "abm", "l1", "gl")
STOCHASTIC = ("baoab", "obabo", "euler_maruyama", "heun_stratonovich")


def transforms(scope: Scope) -> None:
    """A transform leads into the domain of its parameter."""
    for p in scope.spec.parameters:
        name = p.domain.split("(")[0]
        if p.transform in (None, "none"):
            continue
        if p.type == "complex":
            raise SpecError(f"parameter '{p.name}' is complex and takes no transform", place=p.place)
        if p.transform not in TRANSFORMS[name]:
            fitting = ", ".join((*TRANSFORMS[name], "none"))
            hint = f"write {fitting}" if len(TRANSFORMS[name]) else "give it a domain such as positive"
            what = f"transform {p.transform} of parameter '{p.name}' does not lead into its domain {p.domain}"
            raise SpecError(what, place=p.place, hint=hint)


def domains(scope: Scope) -> None:
    """Domains name axes where they take axes, and an interval has its lower bound first."""
    for p in scope.spec.parameters:
        kind = p.domain.split("(")[0]
        if kind in ("simplex", "symmetric", "psd"):
            for argument in p.bounds:
                if not isinstance(argument, Ref) or argument.name not in p.per:
                    text = show(argument)
                    raise SpecError(f"domain {p.domain} of parameter '{p.name}': {text} is not one of its axes",
                                    place=p.place, hint=f"add per: [{text}]")  # fmt: skip
        if p.type == "complex" and p.domain != "real":
            raise SpecError(f"parameter '{p.name}' is complex and has the domain {p.domain}", place=p.place,
                            hint="remove the domain, or declare its real and imaginary parts")  # fmt: skip
        if kind == "interval":
            low, high = (evaluate_in(b, p.unit, scope) for b in p.bounds)
            if low is not None and high is not None and not low < high:
                raise SpecError(f"domain {p.domain} of parameter '{p.name}' is empty", place=p.place)


def values(scope: Scope) -> None:
    """Literal values lie in their domains, integers are whole, lists have the shape of their axes."""
    for p in scope.spec.parameters:
        for value in (*flatten(p.value), *([p.init] if p.init is not None else [])):
            number = evaluate_in(value, p.unit, scope)
            if number is not None:
                _in_domain(scope, p, value, number)
        if isinstance(p.value, tuple):
            _shape(scope, p)


def _in_domain(scope: Scope, p: ParameterDecl, value: Expr, number: float) -> None:
    kind, place = p.domain.split("(")[0], value.mark.place
    if p.type == "integer" and number != int(number):
        raise SpecError(f"parameter '{p.name}': {show(value)} is not a whole number", place=place, hint="type: real")
    outside = {
        "positive": (number <= 0, "is not positive"),
        "nonnegative": (number < 0, "is negative"),
        "unit": (not 0 <= number <= 1, "is not between 0 and 1"),
        "simplex": (not 0 <= number <= 1, "is not between 0 and 1"),
    }.get(kind, (False, ""))
    if kind == "interval":
        low, high = (evaluate_in(b, p.unit, scope) for b in p.bounds)
        is_out = (low is not None and number < low) or (high is not None and number > high)
        outside = is_out, f"is outside {p.domain}"
    if outside[0]:
        hint = "domain: real allows it"
        if kind == "positive" and _is_time_constant(scope, p.name):
            hint += ", but the leak then grows"
        raise SpecError(f"parameter '{p.name}': {show(value)} {outside[1]}", place=place, hint=hint)


def _is_time_constant(scope: Scope, name: str) -> bool:
    """Whether a flow is divided by the parameter."""
    for site in scope.sites:
        if site.role != "flow":
            continue
        for node in walk(site.node):
            if isinstance(node, Binary) and node.op == "/" and isinstance(node.right, Ref) and node.right.name == name:
                return True
    return False


def _shape(scope: Scope, p: ParameterDecl) -> None:
    axes = [*(a for a in p.per[1:] if a != "time"), *(["time"] if "time" in p.per else [])]
    wanted = [scope.spec.horizon if a == "time" else scope.size(a) for a in axes]
    found = _lengths(p.value)
    if found is None:
        raise SpecError(f"the list of parameter '{p.name}' has rows of different lengths", place=p.place)
    own = len(found) - len(wanted)  # levels of one value per channel or neuron, before those of the axes
    if own and not (own == 1 and p.per[0] == "channel") and not (own > 0 and p.per[0] == "neuron"):
        what = f"the list of parameter '{p.name}' has {len(found)} levels, its axes are {', '.join(axes) or 'none'}"
        raise SpecError(what, place=p.place, hint=f"write {{value: [...], per: [k]}} with axes: {{k: {found[0]}}}")
    for axis, length, size in zip(axes, found[own:], wanted, strict=True):
        if isinstance(size, int) and size != length:
            what = f"the list of parameter '{p.name}' has {length} entries, axis {axis} has {size}"
            raise SpecError(what, place=p.place)


def _lengths(value: object) -> list[int] | None:
    if not isinstance(value, tuple):
        return []
    below = [_lengths(v) for v in value]
    if not below or any(b is None or b != below[0] for b in below):
        return None if below else [0]
    return [len(value), *(below[0] or [])]


def inits(scope: Scope) -> None:
    """Values and inits read parameters and constants, those of states other inits; no circles."""
    reads: dict[str, list[tuple[str, Place]]] = {}
    for site, ref in scope.refs():
        if site.role not in ("init", "value", "domain"):
            continue
        found = scope.names.get(ref.name)
        allowed = ("parameter", "axis") if site.target in scope.parameters else ("parameter", "axis", "state")
        if (found and found.kind not in allowed) or ref.name in ("t", "step"):
            kind = found.a_kind if found else "the time"
            raise SpecError(f"{site.what} reads {ref.name}, which is {kind}", place=ref.mark.place,
                            hint="it is computed when the module is built and may read parameters")  # fmt: skip
        if found and found.kind == "parameter" and found.timed:
            raise SpecError(f"{site.what} reads {ref.name}, which varies with time", place=ref.mark.place)
        if site.role != "domain":
            reads.setdefault(site.target, []).append((ref.name + "'" * ref.primes, ref.mark.place))
    _no_circle(reads)
    _draws_fit(scope)


def _no_circle(reads: dict[str, list[tuple[str, Place]]]) -> None:
    """Take away what reads nothing that is left; what remains runs in a circle."""
    readers: dict[str, list[str]] = {}
    left = {name: {r for r, _ in found if r in reads} for name, found in reads.items()}
    for name, found in left.items():
        for r in found:
            readers.setdefault(r, []).append(name)
    ready = [name for name, found in left.items() if not found]
    while ready:
        done = ready.pop()
        left.pop(done, None)
        for reader in readers.get(done, ()):
            if reader in left:
                left[reader].discard(done)
                if not left[reader]:
                    ready.append(reader)
    if left:
        name = next(iter(left))
        read, place = next((r, p) for r, p in reads[name] if r in left)
        raise SpecError(f"the init of {name} needs {read}, and so on in a circle", place=place)


def _draws_fit(scope: Scope) -> None:
    """The literal bounds of draws are in order."""
    for site in scope.sites:
        for node in walk(site.node) if site.role == "init" else ():
            if isinstance(node, Call) and node.name in DRAWS:
                a, b = (evaluate(expression(x), scope) for x in node.args)
                if node.name.endswith("uniform") and a is not None and b is not None and not a <= b:
                    raise SpecError(
                        f"{show(node)} in {site.what} is empty", place=node.mark.place, hint="lower bound first"
                    )
                if node.name == "log_uniform" and a is not None and a <= 0:
                    raise SpecError(f"{show(node)} in {site.what} needs positive bounds", place=node.mark.place)
                if node.name.endswith("normal") and b is not None and b < 0:
                    raise SpecError(f"{show(node)} in {site.what} has a negative deviation", place=node.mark.place)


def methods(scope: Scope) -> None:
    """Methods name states, and fit the kinds of the equations."""
    method = scope.spec.method
    place = scope.spec.place_of("method")
    states = [s.name for s in scope.spec.states]
    for state, _ in method if isinstance(method, tuple) else ():
        if state not in states:
            raise SpecError(
                f"method names '{state}', which is not a state", place=place, hint=did_you_mean(state, states)
            )
    kinds = {e.kind for e in scope.spec.equations}
    for each in [m for _, m in method] if isinstance(method, tuple) else [method]:
        for state in each.partition("(")[2].rstrip(")").split(", ") if each.startswith("semi_implicit(") else ():
            if state not in states:
                hint = did_you_mean(state, states)
                raise SpecError(f"method {each} names '{state}', which is not a state", place=place, hint=hint)
        if each.partition("(")[0] in FRACTIONAL and "fractional" not in kinds:
            raise SpecError(f"method {each} is for D^alpha lines, and there is none", place=place, hint="method: auto")
        if each in STOCHASTIC and "differential" not in kinds:
            hint = "method: auto, or write dv = f*dt + g*dW"
            raise SpecError(f"method {each} is for differentials, and there is none", place=place, hint=hint)


def differentials(scope: Scope) -> None:
    """A differential is a sum of terms with one dt or dW each."""
    for e in scope.spec.equations:
        if e.kind != "differential":
            continue
        small = {n for n in names(e.rhs) if n == "dt" or is_increment(n)}
        found = degree(e.rhs, small)
        where: Node | None = found.fault if found.fault is not None else (e.rhs if found.low != 1 else None)
        if where is not None and not (isinstance(e.rhs, Num) and not e.rhs.value):
            hint = f"write d{e.name} = f*dt + g*dW; if d{e.name} is not a differential, rename it"
            raise SpecError(
                f"the differential of {e.name} is not linear in dt and dW", place=where.mark.place, hint=hint
            )


def fractional_orders(scope: Scope) -> None:
    """The order of D^alpha is in (0, 1], for all values in the domains of its parameters; coefficients stand still."""
    for e in scope.spec.equations:
        for coefficient, order in e.fractional:
            _still(scope, order, f"order {show(order)} of {e.name}", "an order reads parameters")
            value = evaluate(order, scope)
            if value is not None and not 0 < value <= 1:
                raise _order_fault(e.name, show(order), order.mark.place)
            if any(x is None or not 0 <= x <= 1 for x in _reach(scope, order)):
                raise _order_leaves(e.name, order)
            if coefficient is not None:
                _still(scope, coefficient, f"coefficient {show(coefficient)} of D^{show(order)} {e.name}",
                       "divide the right side by it")  # fmt: skip
                if evaluate(coefficient, scope) == 0:
                    raise SpecError(f"the coefficient of D^{show(order)} {e.name} is 0", place=coefficient.mark.place,
                                    hint="leave the term out")  # fmt: skip


def _order_leaves(name: str, order: Expr) -> NeuroodeError:
    text, bare = show(order), isinstance(order, Ref)
    hint = 'domain: "interval(0.05, 1)"' if bare else f"choose domains that keep {text} in (0, 1]"
    what = f"the order {text} of D^{text if bare else f'({text})'} {name} may leave (0, 1]"
    return SpecError(what, place=order.mark.place, hint=hint)


def _still(scope: Scope, expr: Expr, what: str, hint: str) -> None:
    """Parameters and constants alone are read; an order may not hide behind a definition."""
    free = {p.name for p in scope.spec.parameters} | {"dt", "pi"}
    for node in walk(expr):
        if isinstance(node, Ref) and node.name not in free:
            raise SpecError(f"the {what} reads {node.name}, which is not a parameter", place=node.mark.place, hint=hint)


def _reach(scope: Scope, order: Expr) -> list[float | None]:
    """Values of an order where its trained parameters are at the ends of their domains; None: no end."""
    trained = [p for p in scope.spec.parameters if p.trainable and p.name in names(order)]
    ends = [_ends(scope, p) for p in trained]
    if None in ends:
        return [None]
    if not all(isinstance(n, Ref | Num | Binary | Neg) for n in walk(order)):
        return []  # functions are not followed
    return [evaluate(order, scope, dict(zip([p.name for p in trained], corner, strict=True)))
            for corner in product(*ends) if trained]  # type: ignore[arg-type]  # fmt: skip


def _ends(scope: Scope, p: ParameterDecl) -> tuple[float, ...] | None:
    if p.domain == "unit":
        return 0.0, 1.0
    found = [evaluate_in(b, p.unit, scope) for b in p.bounds] if p.domain.startswith("interval") else [None]
    return None if None in found else tuple(x for x in found if x is not None)


def _order_fault(name: str, order: str, place: Place) -> NeuroodeError:
    hint = f"write an order above 0 and at most 1; D^1 {name} is d{name}/dt, a second derivative is {name}''"
    return SpecError(f"the order {order} of {name} is not in (0, 1]", place=place, hint=hint)
