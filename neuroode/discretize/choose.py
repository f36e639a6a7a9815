"""Choosing a method: the declared one, refused with a reason where it does not apply, or `auto`, explained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis.report import analyse
from neuroode.analysis.stiffness import stiffness
from neuroode.analysis.types import Block, Report
from neuroode.discretize import (
    bilinear,
    euler,
    exact,
    exp_euler,
    implicit,
    real_form,
    riccati,
    runge_kutta,
    separable,
    soe,
    stochastic,
    strang,
)
from neuroode.discretize.held import beside_held
from neuroode.discretize.types import Discretization, Update
from neuroode.spec.rules_values import FRACTIONAL

METHOD_NAMES = (
    "auto",
    "soe",
    "exact",
    "euler",
    "semi_implicit(...)",
    "exp_euler",
    "strang",
    "implicit_midpoint",
    "bilinear",
    "heun",
    "rk4",
    *stochastic.STOCHASTIC,
)
WHOLE = ("exact", "auto", "bilinear", "strang", "implicit_midpoint")  # they move all of a block or none


def discretize(report: Report, method: str | dict[str, str] | None = None) -> Discretization:
    """Derive the step.

    Args:
        method: None takes the declared one; a text for all flows, or a mapping from state to text.

    Raises:
        Unsupported: the method does not apply (with the reason), is unknown, or is not there yet.
    """
    declared = report.system.spec.method if method is None else method
    if report.system.fractional:
        return _with_memory(report, declared)
    found = _derived(report, declared)
    riccati.check_infinity(found)
    return replace(found, beside_held=beside_held(found, lambda other: _derived(other, declared)))


def _with_memory(report: Report, declared: str | Mapping[str, str] | tuple[tuple[str, str], ...]) -> Discretization:
    if not isinstance(declared, str) or declared.partition("(")[0].strip() not in ("auto", "soe"):
        raise _no_memory(report, declared)
    return soe.derive(report, declared, lambda other: _derived(other, "auto"))


def _no_memory(report: Report, declared: object) -> Unsupported:
    states, name = ", ".join(report.system.fractional), report.system.spec.name
    if isinstance(declared, str) and declared.partition("(")[0].strip() in FRACTIONAL:
        return Unsupported(
            f"neuron '{name}': method {declared!r} reads the whole past, so that no program of one step exists",
            hint="neuron.torch(...), .jax(...) and .simulate(...) run it; program, emit and kernels take method: soe",
        )
    return Unsupported(
        f"neuron '{name}': {states} has a fractional derivative; method {declared!r} has no memory",
        hint="choose among " + ", ".join(FRACTIONAL),
    )


def _derived(report: Report, declared: str | Mapping[str, str] | tuple[tuple[str, str], ...]) -> Discretization:
    if not isinstance(declared, str):
        return _by_state(report, dict(declared))
    if report.system.diffusion or declared in stochastic.STOCHASTIC:
        return _with_noise(report, dict.fromkeys(report.system.flows, declared), declared)
    return Discretization(report, declared, tuple(_without_noise(report, declared)), report.degenerate)


def _without_noise(report: Report, declared: str) -> list[Update]:
    whole = declared in ("auto", "exact", "strang")
    return _updates(report, declared, real_form.blocks(report) if whole else report.blocks)


def _with_noise(report: Report, wanted: Mapping[str, str], name: str) -> Discretization:
    """States that noise reaches group by group; the others as if there was no noise."""
    updates: list[Update] = []
    for states in stochastic.groups(report):
        methods = {wanted.get(s, "auto") for s in states}
        if len(methods) > 1 and stochastic.is_noisy(report, states):
            raise Unsupported(
                f"the states {', '.join(states)} are coupled, some by noise, and need one method, "
                f"found {', '.join(sorted(methods))}", hint="give them the same method",
            )  # fmt: skip
        if stochastic.is_noisy(report, states) or methods & set(stochastic.STOCHASTIC):
            updates += stochastic.updates(report, states, methods.pop(), dt_symbol(report))
    moved = {s for u in updates for s in u.states}
    if moved != set(report.system.flows):
        updates += _others(report, moved, wanted)
    return Discretization(report, name, tuple(updates), report.degenerate)


def _others(report: Report, moved: set[str], wanted: Mapping[str, str]) -> list[Update]:
    """Updates of the flows beside the noisy ones, which they neither read nor are read by."""
    flows = {s: e for s, e in report.system.flows.items() if s not in moved}
    quiet = analyse(replace(report.system, flows=flows, diffusion={}))
    methods = {wanted.get(s, "auto") for s in flows}
    if len(methods) == 1:
        return _without_noise(quiet, methods.pop())
    return list(_by_state(quiet, {s: wanted[s] for s in flows if s in wanted}).updates)


def dt_symbol(report: Report) -> sp.Symbol:
    return report.system.symbols.setdefault("dt", sp.Symbol("dt", positive=True))


def _by_state(report: Report, wanted: dict[str, str]) -> Discretization:
    _check_by_state(report, wanted)
    if report.system.diffusion:
        return _with_noise(report, wanted, "by state")
    updates: list[Update] = []
    for m in runge_kutta.TABLEAUS:
        together = tuple(s for s in report.system.flows if wanted.get(s) == m)
        updates += [_staged(report, together, m)] if together else []
    for block in report.blocks:
        methods = {wanted.get(s, "auto") for s in block.states} - set(runge_kutta.TABLEAUS)
        if len(methods) > 1 and methods & set(WHOLE):
            raise Unsupported(
                f"the states {', '.join(block.states)} are one block and need one method, "
                f"found {', '.join(sorted(methods))}",
                hint="give them the same method",
            )
        for m in sorted(methods):
            states = tuple(s for s in block.states if wanted.get(s, "auto") == m)
            whole = states == block.states
            if not whole and m in WHOLE:
                raise Unsupported(
                    f"the states {', '.join(block.states)} are one block: method '{m}' moves all of them or none",
                    hint="give them the same method",
                )
            updates += _updates(report, m, (block,)) if whole else [_euler_like(report, m, states)]
    return Discretization(report, "by state", tuple(updates), report.degenerate)


def _check_by_state(report: Report, wanted: dict[str, str]) -> None:
    for state, method in wanted.items():
        if state not in report.system.flows:
            flows = ", ".join(report.system.flows) or "none"
            raise Unsupported(f"method of '{state}': it is not a flow state", hint=f"flow states: {flows}")
        if method.startswith("semi_implicit"):
            raise Unsupported(
                f"method of '{state}': semi_implicit orders all flow states and is no method of one",
                hint="write method: semi_implicit(...) for the neuron",
            )
        if method not in MAKERS and method not in (*runge_kutta.TABLEAUS, *stochastic.STOCHASTIC):
            raise _unknown(method)


def _euler_like(report: Report, method: str, states: tuple[str, ...]) -> Update:
    dt = dt_symbol(report)
    if method == "euler":
        return euler.derive(report, states, dt, "as declared")
    return _exp_euler(report, states, "as declared")


def _updates(report: Report, method: str, blocks: tuple[Block, ...]) -> list[Update]:
    name = method.partition("(")[0].strip()
    if name == "semi_implicit":
        return [_semi_implicit(report, method)] if report.system.flows else []
    if name in runge_kutta.TABLEAUS:
        return [_staged(report, tuple(report.system.flows), name)] if report.system.flows else []
    if name in ("auto", "strang"):
        return _structured(report, blocks, name)
    if name == implicit.METHOD:
        return [_midpoint(report, states) for states in strang.groups(report, blocks)]
    if name not in MAKERS:
        raise _unknown(name)
    return [MAKERS[name](report, b) for b in blocks]


def _unknown(name: str) -> Unsupported:
    if name in FRACTIONAL:
        return Unsupported(
            f"method '{name}' is for D^alpha lines, and there is none", hint="choose among " + ", ".join(METHOD_NAMES)
        )
    return Unsupported(f"unknown method '{name}'", hint="choose among " + ", ".join(METHOD_NAMES))


def _structured(report: Report, blocks: tuple[Block, ...], method: str) -> list[Update]:
    """Exact steps of single blocks; the rest split where that goes, else a method for what it is."""
    dt = dt_symbol(report)
    alone = {b.states: _alone(report, b) for b in blocks}
    left = [b for b in blocks if alone[b.states] is None]
    together = strang.groups(report, left)
    updates = [u for u in alone.values() if u is not None]
    for states in together:
        verdict = strang.applies(report, states, approximate=method == "strang")
        if verdict.applies:
            why = "" if method == "strang" else "no exact step of all of it"
            updates.append(strang.derive(report, states, dt, why, approximate=method == "strang"))
        elif method == "strang":
            raise Unsupported(
                f"method 'strang' does not apply to {', '.join(states)}: {verdict.reason}",
                hint="heun and rk4 take any smooth flow",
            )
        else:
            updates.append(_unsplit(report, states, f"{_why_not(report, left, states)}; {verdict.reason}"))
    return updates


def _why_not(report: Report, blocks: list[Block], states: tuple[str, ...]) -> str:
    reasons = [exact.applies(report, b).reason for b in blocks if set(b.states) <= set(states)]
    return "no exact step: " + "; ".join(reasons)


def _alone(report: Report, block: Block) -> Update | None:
    """The exact step of one block, if it has one."""
    for kind in (exact, riccati, separable):
        if kind.applies(report, block).applies:
            return kind.derive(report, block, dt_symbol(report))
    return None


def _unsplit(report: Report, states: tuple[str, ...], why: str) -> Update:
    """For flows without a splitting: by what their classes and the estimate of their rates say."""
    dt, found = dt_symbol(report), stiffness(report.system, states)
    rates = f"; {found} (sampled)" if found else ""
    if exp_euler.applies(report, states).applies:
        return _exp_euler(report, states, f"{why}; each state is linear in itself")
    if found and found.is_stiff and implicit.applies(strang.alone(report, _flows(report, states)), states).applies:
        return strang.beside(report, states, partial(_implicit, why=f"{why}{rates}, stiff"), dt)
    order = runge_kutta.order_left(report, states, 4)[0]
    if order == 1:
        return euler.derive(report, states, dt, f"{why}; the flow has jumps")
    method = "rk4" if order == 4 and runge_kutta.applies(report, states).applies else "heun"
    return strang.beside(report, states, partial(_runge_kutta, method=method, why=why + rates), dt)


def _flows(report: Report, states: tuple[str, ...]) -> dict[str, sp.Expr]:
    return {s: report.system.flows[s] for s in states}


def _implicit(report: Report, states: tuple[str, ...], dt: sp.Symbol, why: str) -> Update:
    return implicit.derive(report, states, dt, why)


def _runge_kutta(report: Report, states: tuple[str, ...], dt: sp.Symbol, method: str, why: str) -> Update:
    return runge_kutta.derive(report, states, method, dt, why)


def _exact(report: Report, block: Block) -> Update:
    found = _alone(report, block)
    if found is None:
        verdict = exact.applies(report, block)
        raise Unsupported(
            f"method 'exact' does not apply to {', '.join(block.states)}: {verdict.reason}",
            hint="method: auto takes the exact step where there is one and says what it takes elsewhere",
        )
    return found


def _euler(report: Report, block: Block) -> Update:
    return euler.derive(report, block.states, dt_symbol(report), "as declared")


def _exp_euler_block(report: Report, block: Block) -> Update:
    return _exp_euler(report, block.states, "as declared")


def _exp_euler(report: Report, states: tuple[str, ...], why: str) -> Update:
    verdict = exp_euler.applies(report, states)
    if not verdict.applies:
        raise Unsupported(f"method 'exp_euler' does not apply: {verdict.reason}", hint="use euler for it")
    return exp_euler.derive(report, states, dt_symbol(report), why)


def _bilinear(report: Report, block: Block) -> Update:
    verdict = bilinear.applies(report, block)
    if not verdict.applies:
        raise Unsupported(
            f"method 'bilinear' does not apply to {', '.join(block.states)}: {verdict.reason}",
            hint="heun and rk4 take any smooth flow",
        )
    return bilinear.derive(report, block, dt_symbol(report))


def _staged(report: Report, states: tuple[str, ...], method: str) -> Update:
    verdict = runge_kutta.applies(report, states)
    if not verdict.applies:
        raise Unsupported(
            f"method '{method}' does not apply to {', '.join(states)}: {verdict.reason}", hint="give them one method"
        )
    return runge_kutta.derive(report, states, method, dt_symbol(report), "as declared")


def _auto(report: Report, block: Block) -> Update:
    return _structured(report, (block,), "auto")[0]


def _strang(report: Report, block: Block) -> Update:
    return _structured(report, (block,), "strang")[0]


def _midpoint(report: Report, states: tuple[str, ...]) -> Update:
    verdict = implicit.applies(report, states)
    if not verdict.applies:
        raise Unsupported(
            f"method 'implicit_midpoint' does not apply to {', '.join(states)}: {verdict.reason}",
            hint="strang splits larger flows; heun and rk4 take any smooth one",
        )
    return implicit.derive(report, states, dt_symbol(report), "as declared")


def _implicit_block(report: Report, block: Block) -> Update:
    return _midpoint(report, block.states)


MAKERS = {
    "auto": _auto,
    "strang": _strang,
    "exact": _exact,
    "euler": _euler,
    "exp_euler": _exp_euler_block,
    "bilinear": _bilinear,
    "implicit_midpoint": _implicit_block,
}


def _semi_implicit(report: Report, method: str) -> Update:
    listed = re.fullmatch(r"semi_implicit\s*\(([^)]*)\)", method.strip())
    states = tuple(s.strip() for s in listed.group(1).split(",")) if listed else tuple(report.system.flows)
    missing = sorted(set(report.system.flows) ^ set(states))
    if missing or len(set(states)) != len(states):
        raise Unsupported(
            f"semi_implicit needs every flow state once, found ({', '.join(states)})",
            hint=f"write semi_implicit({', '.join(report.system.flows)}) in the order in which they should move",
        )
    return euler.derive_semi_implicit(report, states, dt_symbol(report))
