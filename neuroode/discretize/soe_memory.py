"""A system in which each fractional state is read off its modes: `v` becomes a map, the modes are flow states.

What resets mean for the modes (language.md, section 8), D being new - old of v:
jump: modes that follow v move by D. restart: they take the new value, all others 0. impulse of area A: z moves by
rate*A/lam (a leak) or rate*A at the start of the next step. current: the amount is added to the right side of the next
steps, in the last of them for what is left of the duration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.discretize.soe_kernels import Kernel
from neuroode.discretize.soe_leak import constants
from neuroode.expr.functions import detach
from neuroode.system.delays import MAX_STEPS
from neuroode.system.show import show
from neuroode.system.types import Event, Impulse, Jump, OdeSystem, State


@dataclass(frozen=True, slots=True)
class Memory:
    """The modes of one state: `names` of their states; `impulse`, `current`: reads of what resets have added."""

    kernel: Kernel
    names: tuple[str, ...]
    impulse: sp.Expr = sp.S.Zero
    current: sp.Expr = sp.S.Zero

    @property
    def value(self) -> sp.Expr:
        """v from the modes at the end of the flow."""
        rows = zip(self.kernel.modes, self.names, strict=True)
        return sp.Add(*[m.weight * symbol(f"{n}[t]") for m, n in rows])


def symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


def memory(system: OdeSystem, name: str, kernel: Kernel) -> Memory:
    base, _, element = name.partition("__")  # z__1 of an axis: memory(z)__1_0, memory(z)__1_1, ...
    names = tuple(f"memory({base})__{element + '_' if element else ''}{k}" for k in range(len(kernel.modes)))
    kinds = {j.memory for e in system.events for j in e.jumps if j.state == name}
    impulse = symbol(f"impulse({name})[t-1]") if "impulse" in kinds else sp.S.Zero
    current = sp.Add(*[_lasting(system, e, j) for e in system.events for j in e.jumps
                       if j.state == name and j.memory == "current"])  # fmt: skip
    return Memory(kernel, names, impulse, current)


def _lasting(system: OdeSystem, event: Event, jump: Jump) -> sp.Expr:
    """What an amount on the right side adds to this step: it lasts whole steps, then for the rest of the last one."""
    steps = _shares(system, event, jump)
    source = f"current({jump.state}) of {event.name}"
    return sp.Add(*[share * symbol(f"{source}[t-{k}]") for k, share in enumerate(steps, 1)])


def _shares(system: OdeSystem, event: Event, jump: Jump) -> list[sp.Expr]:
    """For each step after an event: the part of it during which the amount lasts."""
    assert jump.duration is not None
    dt = system.symbols["dt"] if "dt" in system.symbols else sp.Symbol("dt", positive=True)
    count = sp.simplify(jump.duration.subs(constants(system)) / dt)
    if not count.is_number and system.spec.dt is not None:
        declared = system.spec.dt.value
        count = count.subs(dt, sp.Rational(declared.numerator, declared.denominator))
    if not count.is_number or not 0 < count <= MAX_STEPS:
        found = f"{float(count):g} steps" if count.is_number else "no one constant number"
        raise Unsupported(f"memory of {event.name}: current({show(jump.duration)}) is {found}",
                          hint=f"more than 0 and at most {MAX_STEPS} steps are lowered; write current(dt)")  # fmt: skip
    whole = sp.floor(count)
    return [sp.S.One] * int(whole) + ([count - whole] if count > whole else [])


def rewritten(system: OdeSystem, memories: dict[str, Memory], flows: dict[str, sp.Expr]) -> OdeSystem:
    """The system with modes; `flows` of all states that still flow.

    Raises:
        Unsupported: a reset in the next step that reads the state, or has a memory of its own.
    """
    maps = {v: m.value for v, m in memories.items()} | _added(system)
    states = [replace(s, kind="map") if s.name in memories else s for s in system.states]
    states += [State(n, "map", False, sp.S.Zero) for n in maps if n not in memories]
    for v, m in memories.items():
        start = system.state(v).init
        states += [State(n, "flow", False, start if mode.follows else sp.S.Zero)
                   for n, mode in zip(m.names, m.kernel.modes, strict=True)]  # fmt: skip
    symbols = system.symbols | {n: symbol(n) for m in memories.values() for n in m.names}
    return replace(
        system, states=tuple(states), flows=flows, maps=system.maps | maps, fractional={}, symbols=symbols,
        events=_events(system, memories), impulses=tuple(_pushed(i, memories) for i in system.impulses),
    )  # fmt: skip


def _pushed(impulse: Impulse, memories: dict[str, Memory]) -> Impulse:
    """Coefficients are taken just before the impulse: at the start, what the last step left."""
    when = "[t-1]" if impulse.at == "start" else "[t]"
    return replace(impulse, coefficient=impulse.coefficient.xreplace({symbol(v): symbol(v + when) for v in memories}))


def _added(system: OdeSystem) -> dict[str, sp.Expr]:
    """Maps that record what resets add to right sides: `impulse(v)`, `current(v) of s`."""
    found: dict[str, sp.Expr] = {}
    for event in system.events:
        for jump in event.jumps:
            if jump.memory in ("impulse", "current"):
                own = f"impulse({jump.state})" if jump.memory == "impulse" else f"current({jump.state}) of {event.name}"
                amount = -jump.value if jump.op == "-=" else jump.value
                found[own] = found.get(own, sp.S.Zero) + _bit(event) * amount
    return found


def _bit(event: Event) -> sp.Expr:
    bit = symbol(f"{event.name}[t]")
    return detach(bit) if event.detached else bit


def _events(system: OdeSystem, memories: dict[str, Memory]) -> tuple[Event, ...]:
    """Events act in order of declaration; what earlier ones have left is written out."""
    left = {v: symbol(f"{v}[t]") for v in memories}
    found = []
    for event in system.events:
        _check_late(event, left)
        jumps, moved = [], dict(left)
        for jump in event.jumps:
            if jump.state not in memories:
                jumps.append(jump)
            elif jump.memory not in ("impulse", "current"):
                target = _target(jump, left[jump.state])
                jumps += _on_modes(jump, memories[jump.state], left[jump.state], target, event.late)
                moved[jump.state] = left[jump.state] + _bit(event) * (target - left[jump.state])
        left = left if event.late else moved
        hold = event.hold + tuple(n for v in event.hold if v in memories for n in memories[v].names)
        found.append(replace(event, jumps=tuple(jumps), hold=hold))
    return tuple(found)


def _target(jump: Jump, old: sp.Expr) -> sp.Expr:
    return {"=": jump.value, "+=": old + jump.value, "-=": old - jump.value, "*=": old * jump.value}[jump.op]


def _on_modes(jump: Jump, m: Memory, old: sp.Expr, target: sp.Expr, late: bool) -> list[Jump]:
    """The assignments to a state's modes, and to the state itself unless it is read off them later."""
    own = [] if late else [replace(jump, memory="jump")]
    step = {"+=": jump.value, "-=": -jump.value}.get(jump.op, target - old)
    for name, mode in zip(m.names, m.kernel.modes, strict=True):
        if jump.memory == "restart":
            own.append(Jump(name, "=", target if mode.follows else sp.S.Zero))
        elif mode.follows:
            own.append(Jump(name, "+=", step))
    return own


def _check_late(event: Event, states: dict[str, sp.Symbol]) -> None:
    mine = [j for j in event.jumps if j.state in states] if event.late else []
    for j in mine:
        reads = j.op not in ("+=", "-=") or any(j.value.has(symbol(f"{v}[t]")) for v in states)
        if j.memory != "jump" or reads:
            what = f"memory: {j.memory}" if j.memory != "jump" else f"it reads {j.state} before its own step is over"
            raise Unsupported(f"the reset of {event.name} in the next step: {what}", hint="write when: same_step")
