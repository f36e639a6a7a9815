"""What a step reads, by name, and what each read means there: the table of language.md, section 3, for one model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from neuroode.expr.nodes import Binary, Call, Cond, Expr, Node, Num, Ref, TimeIndex, children
from neuroode.expr.show import show
from neuroode.spec.types import Equation, EventDecl, InputDecl, NeuronSpec

#: names that stand for the same number in every step
CONSTANTS = frozenset({"dt", "pi", "i", "inf"})
FLOWS = ("flow", "fractional", "differential")

Reads = dict[tuple[Ref, bool], tuple[str, ...]]  # (read, inside after(...)) -> the definitions it came through


@dataclass(frozen=True, slots=True)
class Read:
    """A read as it is written, what it means at its place, and the definitions that it came through."""

    text: str
    means: str
    through: tuple[str, ...] = ()


class Names:
    """A declaration, by name."""

    def __init__(self, spec: NeuronSpec) -> None:
        self.spec = spec
        self.flows = [e for e in spec.equations if e.kind in FLOWS]
        self.maps = {e.name: e for e in spec.equations if e.kind == "map"}
        self.definitions = {e.name: e for e in spec.equations if e.kind == "definition"}
        self.events = {e.name: e for e in spec.events}
        self.inputs = {i.name: i for i in spec.inputs}
        self.states = [x for e in spec.equations if e.kind != "definition" for x in states_of(e)]
        self.moving = {x for e in self.flows for x in states_of(e)}
        self.tables = {p.name for p in spec.parameters if "time" in p.per}
        self.whole_sequence = {a.name for a in spec.axes if a.size == "time"}
        fixed = {p.name for p in spec.parameters} | {a.name for a in spec.axes} | {name for name, _ in spec.operators}
        self.fixed = (fixed - self.tables) | CONSTANTS
        self.inside: dict[str, Reads] = {}
        self._look_inside()
        self.kicks = [i for i in self.inputs.values() if i.kind != "current" and self._kicks(i)]

    def _look_inside(self) -> None:
        """Reads of each definition, in order of dependency: a chain of thousands costs no recursion."""
        graph = {
            d: {ref.name for ref, _ in direct(e.rhs) if not lag(ref)} & self.definitions.keys()
            for d, e in self.definitions.items()
        }
        for name in TopologicalSorter(graph).static_order():
            self.inside[name] = self.reads(self.definitions[name].rhs)

    def _kicks(self, one: InputDecl) -> bool:
        return any(ref.name == one.name for e in self.flows for ref, _ in self.reads(e.rhs))

    def reads(self, expression: Expr | Cond) -> Reads:
        """Everything that varies with time below an expression; definitions of this step are looked through."""
        found: Reads = {}
        for ref, after in direct(expression):
            if ref.name in self.fixed:
                continue
            if ref.name not in self.definitions or lag(ref):
                found.setdefault((ref, after), ())
                continue
            for key, through in self.inside[ref.name].items():
                found[key] = tuple(dict.fromkeys((*found.get(key, ()), ref.name, *through)))
        return found

    def explained(self, expression: Expr | Cond, *, flow: bool) -> tuple[Read, ...]:
        """The reads of an expression with their meaning, in a flow's right side or elsewhere."""
        rows = self.reads(expression).items()
        texts = [(f"after({show(ref)})" if after else show(ref), ref, after, through) for (ref, after), through in rows]
        return tuple(Read(text, self.meaning(ref, flow, after), through) for text, ref, after, through in texts)

    def meaning(self, ref: Ref, flow: bool, after: bool) -> str:
        name = full_name(ref)
        held = ", held over the step" if flow else ""
        if after:
            return "after this step's resets"
        if self.whole_sequence & set(ref.indices):
            return "every step's weight in this one" if name in self.tables else "every step, later ones too"
        if flow and name in self.inputs and is_delay(ref):
            return _input(self.inputs[name], flow).replace("[t]", f"[{lag(ref)}]")
        if lag(ref):
            return self._past(name, lag(ref)) + held
        if name in self.inputs:
            return _input(self.inputs[name], flow)
        if flow and name in self.moving:
            return "running value"
        if name in self.states:
            return f"{name}[t]{held}" if flow else f"{name}[t]: {self._settled(name)}"
        return self._other(name, flow, held)

    def _past(self, name: str, when: str) -> str:
        if name in self.states:
            return f"what step {when} left" + ", after its resets" * bool(self.resetting(name))
        return f"the {'input' if name in self.inputs else 'value'} of step {when}"

    def _settled(self, name: str) -> str:
        """What has acted on a state before anyone reads its value of this step, and what has not."""
        acted = ["flow" if name in self.moving else "map"]
        acted += ["impulses"] * (name in self.moving and bool(self.kicks))
        acted += ["late resets"] * any(not at_once(e) for e in self.resetting(name))
        before = ", before this step's resets" if any(at_once(e) for e in self.resetting(name)) else ""
        return f"after {' and '.join(acted)}{before}"

    def resetting(self, name: str) -> list[EventDecl]:
        return [e for e in self.events.values() if e.reset and any(a.name == name for a in e.reset.do)]

    def _other(self, name: str, flow: bool, held: str) -> str:
        if name == "step":
            return "t as a whole number"
        if name == "t":
            return "running time" if flow else "(step+1)*dt"
        if name.startswith("dW"):
            return "Wiener increment over the step"
        if name in self.tables:
            return "the table's entry of this step" + held
        if name in self.events:
            return f"{name}[t], 1 or 0{held}"
        return f"{name}[t], the same number at every read{held}"


def direct(expression: Expr | Cond) -> list[tuple[Ref, bool]]:
    """Reads as written, each with whether it stands inside after(...); without recursion."""
    found: list[tuple[Ref, bool]] = []
    stack: list[tuple[Node, bool]] = [(expression, False)]
    while stack:
        node, after = stack.pop()
        if isinstance(node, Ref):
            found.append((node, after))
            continue
        if isinstance(node, Call) and node.name == "delay" and isinstance(node.args[0], Ref):
            steps = Binary("/", node.args[1], Ref("dt"))  # type: ignore[arg-type]
            found.append((replace(node.args[0], time=TimeIndex(steps)), after))
            continue
        inside = after or (isinstance(node, Call) and node.name == "after")
        stack += [(child, inside) for child in reversed(children(node))]
    return found


def _input(one: InputDecl, flow: bool) -> str:
    if not flow:
        return f"the number {one.name}[t]"
    if one.kind != "current":
        return f"a jump by coefficient*{one.name}[t] at the {one.at} of the step"
    if one.hold == "linear":
        return f"a ramp from {one.name}[t-1] to {one.name}[t]"
    return f"{one.name}[t], held over the step"


def states_of(equation: Equation) -> tuple[str, ...]:
    """The state that an equation steps; for x'' = ... also x'."""
    order = equation.order if equation.kind == "flow" else 1
    return tuple(equation.name + "'" * k for k in range(order))


def at_once(event: EventDecl) -> bool:
    return event.reset is not None and event.reset.when == "same_step"


def full_name(ref: Ref) -> str:
    return ref.name + "'" * ref.primes


def is_delay(ref: Ref) -> bool:
    """Whether a read of the past was written delay(x, d): only there a lag is a quotient."""
    return ref.time is not None and isinstance(ref.time.lag, Binary) and ref.time.lag.op == "/"


def lag(ref: Ref) -> str:
    """`t-1` of a read of the past; empty for a read of this step."""
    if ref.time is None or (isinstance(ref.time.lag, Num) and ref.time.lag.value == 0):
        return ""
    return show(ref.time)
