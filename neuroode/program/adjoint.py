"""Reverse-mode differentiation of SSA: each op has one rule, and the adjoint is again SSA over the same ops.

Sources: Griewank and Walther, Evaluating Derivatives (2008), ch. 3; for `expm`, Mathias, SIAM J. Matrix Anal. Appl. 17
(1996), theorem 2.1 (the Frechet derivative stands in the exponential of a block-triangular matrix).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

from neuroode._errors import LoweringError, Unsupported
from neuroode.program.builder import Builder, live
from neuroode.program.types import Adjoint, Assign, Program

Cotangents = dict[str, list[str]]
Rule = Callable[[Builder, str, Assign], list[str | None]]


def adjoint(program: Program) -> Adjoint:
    """The reverse of one step of `program`, with respect to carry, inputs and trainable coefficients.

    Raises:
        Unsupported: the step calls operators, whose inside is not known here.
    """
    if program.operators:
        names = ", ".join(name for name, _ in program.operators)
        what = f"operators mix neurons and have no reverse in a kernel ({names})"
        raise Unsupported(what, hint='schedule="eager", which "auto" takes, differentiates through them')
    b = Builder(prefix="&")
    forward = _without_events(program)
    rename: dict[str, str] = {}
    b.adopt(forward, rename)
    bits = {a.name: f"e.{a.value}" for a in program.body if a.op == "event"}
    at = {**rename, **bits}
    seeds: Cotangents = {}
    for name, value in program.outputs:
        seeds.setdefault(at.get(value, value), []).append(f"g.out.{name}")
    for name, value in program.next:
        seeds.setdefault(at.get(value, value), []).append(f"g.next.{name}")
    forward_part = list(b.assigns)
    found = _reverse_body(b, program, forward_part, at, seeds)
    carry = tuple((s.name, found[f"c.{s.name}"]) for s in program.carry if f"c.{s.name}" in found)
    inputs = tuple((n, found[f"x.{n}"]) for n in program.inputs if f"x.{n}" in found)
    trained = tuple((c.name, found[c.name]) for c in program.coefficients if c.trainable and c.name in found)
    roots = [v for _, v in carry + inputs + trained]
    return Adjoint(assigns=live(b.assigns, roots), carry=carry, inputs=inputs, coefficients=trained)


def pullback(
    assigns: Iterable[Assign], seeds: dict[str, str], wanted: Iterable[str]
) -> tuple[tuple[Assign, ...], dict[str, str]]:
    """Reverse of straight-line code without events: the code, and the cotangent of each wanted outside name.

    `seeds` maps a value to the name of its cotangent.
    """
    b = Builder(prefix="&")
    rename: dict[str, str] = {}
    b.adopt(assigns, rename)
    forward = list(b.assigns)
    start: Cotangents = {}
    for value, name in seeds.items():
        start.setdefault(rename.get(value, value), []).append(name)
    found = _sweep(b, forward, start, {})
    kept = {w: found[w] for w in wanted if w in found}
    return live(b.assigns, kept.values()), kept


def reverse_rows(b: Builder, forward: list[Assign], root: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """The derivative of one value of event-free code in outside names, a value each; `b` holds the code already."""
    found = _sweep(b, forward, {root: [b.const(1.0)]}, {})
    return tuple(found.get(name) or b.const(0.0) for name in wanted)


def _without_events(program: Program) -> list[Assign]:
    """The body with each event's value read from the stored bits, so that a replay never compares again."""
    bits = {a.name: f"e.{a.value}" for a in program.body if a.op == "event"}
    return [
        Assign(a.name, a.op, tuple(bits.get(x, x) for x in a.args), a.value) for a in program.body if a.op != "event"
    ]


def _reverse_body(
    b: Builder, program: Program, forward: list[Assign], at: dict[str, str], seeds: Cotangents
) -> dict[str, str]:
    """Sweep in reverse; where the sweep needs the cotangent of an event, the surrogate carries it on to the margin."""
    order = {a.name: i for i, a in enumerate(forward)}
    slots = sorted(program.events, key=lambda s: order.get(at.get(s.margin, s.margin), -1))
    pending = {f"e.{s.name}": s for s in slots}
    # An event stands right behind the last value that it reads; its readers stand later in `forward`.
    hooks: dict[str, list[str]] = {}
    for bit, slot in pending.items():
        hooks.setdefault(at.get(slot.margin, slot.margin), []).append(bit)

    def slope(bit: str) -> tuple[str, str]:
        slot = pending[bit]
        rename = dict(at)
        b.adopt(slot.slope, rename)
        return at.get(slot.margin, slot.margin), rename.get(slot.slope_id, slot.slope_id)

    return _sweep(b, forward, seeds, hooks, slope)


def _sweep(
    b: Builder,
    forward: list[Assign],
    seeds: Cotangents,
    hooks: dict[str, list[str]],
    slope: Callable[[str], tuple[str, str]] | None = None,
) -> dict[str, str]:
    pending: Cotangents = {k: list(v) for k, v in seeds.items()}
    groups = _expm_groups(forward)

    def pass_through_events(margin: str) -> None:
        for bit in hooks.get(margin, []):
            if bit in pending and slope is not None:
                _, factor = slope(bit)
                pending.setdefault(margin, []).append(b.emit("mul", b.sum(pending[bit]), factor))

    for a in reversed(forward):
        pass_through_events(a.name)
        if a.op == "expm":
            _reverse_expm(b, a, groups, pending)
        elif a.name in pending:
            g = b.sum(pending[a.name])
            for x, gx in zip(a.args, _rule(a)(b, g, a), strict=True):
                if gx is not None and b.constant(x) is None and b.constant(gx) != 0:
                    pending.setdefault(x, []).append(gx)
    for margin in hooks:  # margins that are outside names (a state compared with 0) have no assign
        if not any(a.name == margin for a in forward):
            pass_through_events(margin)
    return {name: b.sum(parts) for name, parts in pending.items()}


def _rule(a: Assign) -> Rule:
    if a.op not in RULES:
        raise LoweringError(f"no derivative rule for op {a.op!r}")
    return RULES[a.op]


def _expm_groups(forward: list[Assign]) -> dict[tuple, list[Assign]]:
    groups: dict[tuple, list[Assign]] = {}
    for a in forward:
        if a.op == "expm":
            groups.setdefault(a.args, []).append(a)
    return groups


def _reverse_expm(b: Builder, a: Assign, groups: dict[tuple, list[Assign]], pending: Cotangents) -> None:
    """All entries of one exponential share one block exponential, emitted at the first of them (visited last)."""
    group = groups[a.args]
    read = {e.value: e for e in group if e.name in pending}
    if a is not group[0] or not read:
        return
    n = cast("tuple[int, int, int]", a.value)[0]
    zero = b.const(0.0)
    cot = [[b.sum(pending[read[n, i, j].name]) if (n, i, j) in read else zero for j in range(n)] for i in range(n)]
    transposed = [[a.args[j * n + i] for j in range(n)] for i in range(n)]
    top = [x for i in range(n) for x in (*transposed[i], *cot[i])]
    bottom = [x for i in range(n) for x in (*([zero] * n), *transposed[i])]
    for i in range(n):
        for j in range(n):
            entry = a.args[i * n + j]
            if b.constant(entry) is None:
                g = b.emit("expm", *top, *bottom, value=(2 * n, i, n + j))
                pending.setdefault(entry, []).append(g)


def _unary(make: Callable[[Builder, str, Assign], str]) -> Rule:
    """Rule of a function of one argument from its derivative; `make` may read the argument and the value."""
    return lambda b, g, a: [b.emit("mul", g, make(b, a.args[0], a))]


def _minus(b: Builder, x: str) -> str:
    return b.emit("neg", x)


def _one_minus_square(b: Builder, y: str) -> str:
    return b.emit("sub", b.const(1.0), b.emit("mul", y, y))


def _div(b: Builder, g: str, a: Assign) -> list[str | None]:
    first = b.emit("div", g, a.args[1])
    return [first, _minus(b, b.emit("mul", first, a.name))]


def _pow(b: Builder, g: str, a: Assign) -> list[str | None]:
    base, exponent = a.args
    lower = b.emit("pow", base, b.emit("sub", exponent, b.const(1.0)))
    by_base = b.emit("mul", g, b.emit("mul", exponent, lower))
    # x^y log x is 0 at x = 0, y > 0: the guarded logarithm keeps 0 * inf out
    safe = b.emit("where", b.emit("gt", base, b.const(0.0)), base, b.const(1.0))
    return [by_base, b.emit("mul", g, b.emit("mul", a.name, b.emit("log", safe)))]


def _ipow(b: Builder, g: str, a: Assign) -> list[str | None]:
    k = a.value
    assert isinstance(k, int)
    return [b.emit("mul", g, b.emit("mul", b.const(k), b.emit("ipow", a.args[0], value=k - 1)))]


def _atan2(b: Builder, g: str, a: Assign) -> list[str | None]:
    y, x = a.args
    norm = b.emit("add", b.emit("mul", x, x), b.emit("mul", y, y))
    scaled = b.emit("div", g, b.emit("where", norm, norm, b.const(1.0)))  # 0 at the origin, not nan
    return [b.emit("mul", scaled, x), _minus(b, b.emit("mul", scaled, y))]


def _pick(op: str) -> Rule:
    """max gives its gradient to the larger argument, min to the smaller; at a tie to the second."""

    def rule(b: Builder, g: str, a: Assign) -> list[str | None]:
        x, y = a.args
        first = b.emit("gt", x, y) if op == "max" else b.emit("gt", y, x)
        zero = b.const(0.0)
        return [b.emit("where", first, g, zero), b.emit("where", first, zero, g)]

    return rule


def _where(b: Builder, g: str, a: Assign) -> list[str | None]:
    zero = b.const(0.0)
    return [None, b.emit("where", a.args[0], g, zero), b.emit("where", a.args[0], zero, g)]


def _reset(b: Builder, g: str, a: Assign) -> list[str | None]:
    """The gradient of x + e*(target - x), at e in {0, 1}."""
    e, target, x = a.args
    zero = b.const(0.0)
    return [b.emit("mul", g, b.emit("sub", target, x)), b.emit("where", e, g, zero), b.emit("where", e, zero, g)]


def _phi_slope(b: Builder, x: str, a: Assign) -> str:
    """phi_k' = phi_k - k phi_{k+1} near 0 and (phi_{k-1} - k phi_k)/z away from it: neither cancels there."""
    k = a.value
    assert isinstance(k, int)
    near = _less(b, k, a.name, b.emit("phi", x, value=k + 1))
    away = b.emit("gt", b.emit("abs", x), b.const(2.0))
    below = b.emit("phi", x, value=k - 1) if k > 1 else b.emit("exp", x)
    far = b.emit("div", _less(b, k, below, a.name), b.emit("where", away, x, b.const(1.0)))
    return b.emit("where", away, far, near)


def _less(b: Builder, k: int, x: str, y: str) -> str:
    """x - k y"""
    return b.emit("sub", x, b.emit("mul", b.const(k), y))


def _cphi(part: str) -> Rule:
    """Cauchy-Riemann: u_a = Re f', u_b = -Im f', v_a = Im f', v_b = Re f'."""

    def rule(b: Builder, g: str, a: Assign) -> list[str | None]:
        re, im = _cphi_slope(b, a)
        rows = (re, _minus(b, im)) if part == "re" else (im, re)
        return [b.emit("mul", g, r) for r in rows]

    return rule


def _cphi_slope(b: Builder, a: Assign) -> tuple[str, str]:
    """phi_k' of a complex number, by the two formulas of `_phi_slope`."""
    k, (x, y) = a.value, a.args
    assert isinstance(k, int)
    above, own = (tuple(b.emit(f"cphi_{p}", x, y, value=j) for p in ("re", "im")) for j in (k + 1, k))
    near = [_less(b, k, f, g) for f, g in zip(own, above, strict=True)]
    p, q = (_less(b, k, f, g) for f, g in zip(_cphi_below(b, k, x, y), own, strict=True))
    norm = b.emit("add", b.emit("mul", x, x), b.emit("mul", y, y))
    away = b.emit("gt", norm, b.const(4.0))
    safe = b.emit("where", away, norm, b.const(1.0))
    far = (
        b.emit("div", b.emit("add", b.emit("mul", p, x), b.emit("mul", q, y)), safe),
        b.emit("div", b.emit("sub", b.emit("mul", q, x), b.emit("mul", p, y)), safe),
    )
    re, im = (b.emit("where", away, f, n) for f, n in zip(far, near, strict=True))
    return re, im


def _cphi_below(b: Builder, k: int, x: str, y: str) -> tuple[str, str]:
    if k > 1:
        return b.emit("cphi_re", x, y, value=k - 1), b.emit("cphi_im", x, y, value=k - 1)
    size = b.emit("exp", x)
    return b.emit("mul", size, b.emit("cos", y)), b.emit("mul", size, b.emit("sin", y))


def _pair(b: Builder, g: str, a: Assign) -> list[str | None]:
    """With phi_k'(m + j) = U + V j: dC = U dm + V/2 dd, dS = V dm + T dd."""
    k, part = cast("tuple[int, str]", a.value)
    U, V = (b.emit("pair", *a.args, value=(k, which)) for which in ("UV" if k else "CS"))
    if part == "C":
        rows = (U, b.emit("mul", b.const(0.5), V))
    elif part == "S":
        rows = (V, b.emit("pair", *a.args, value=(k, "T")))
    else:
        raise LoweringError("no derivative rule for the second derivative of a 2 x 2 exponential")
    return [b.emit("mul", g, r) for r in rows]


def _edd(b: Builder, g: str, a: Assign) -> list[str | None]:
    """The derivative of a divided difference in one node is the difference with that node repeated."""
    return [b.emit("mul", g, b.emit("edd", *a.args, x)) for x in a.args]


def _none(_b: Builder, _g: str, a: Assign) -> list[str | None]:
    return [None] * len(a.args)


RULES: dict[str, Rule] = {
    "const": _none,
    "add": lambda b, g, a: [g, g],
    "sub": lambda b, g, a: [g, _minus(b, g)],
    "mul": lambda b, g, a: [b.emit("mul", g, a.args[1]), b.emit("mul", g, a.args[0])],
    "div": _div,
    "neg": lambda b, g, a: [_minus(b, g)],
    "pow": _pow,
    "ipow": _ipow,
    "exp": _unary(lambda b, x, a: a.name),
    "expm1": _unary(lambda b, x, a: b.emit("exp", x)),
    "log": lambda b, g, a: [b.emit("div", g, a.args[0])],
    "log1p": lambda b, g, a: [b.emit("div", g, b.emit("add", b.const(1.0), a.args[0]))],
    "sqrt": lambda b, g, a: [b.emit("div", b.emit("mul", b.const(0.5), g), a.name)],
    "sin": _unary(lambda b, x, a: b.emit("cos", x)),
    "cos": _unary(lambda b, x, a: _minus(b, b.emit("sin", x))),
    "tan": _unary(lambda b, x, a: b.emit("add", b.const(1.0), b.emit("mul", a.name, a.name))),
    "atan2": _atan2,
    "sinh": _unary(lambda b, x, a: b.emit("cosh", x)),
    "cosh": _unary(lambda b, x, a: b.emit("sinh", x)),
    "tanh": _unary(lambda b, x, a: _one_minus_square(b, a.name)),
    "sigmoid": _unary(lambda b, x, a: b.emit("mul", a.name, b.emit("sub", b.const(1.0), a.name))),
    "softplus": _unary(lambda b, x, a: b.emit("sigmoid", x)),
    "erf": _unary(
        lambda b, x, a: b.emit("mul", b.const(2 / math.sqrt(math.pi)), b.emit("exp", _minus(b, b.emit("mul", x, x))))
    ),
    "abs": _unary(lambda b, x, a: b.emit("sign", x)),
    "sign": _none, "floor": _none, "ceil": _none, "round": _none, "gt": _none, "ge": _none, "detach": _none,
    "min": _pick("min"),
    "max": _pick("max"),
    "where": _where,
    "reset": _reset,
    "phi": _unary(_phi_slope),
    "cphi_re": _cphi("re"),
    "cphi_im": _cphi("im"),
    "pair": _pair,
    "edd": _edd,
}  # fmt: skip
