"""Random declarations over the supported language: well formed by construction, and tame in value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

from gen_terms import NAMES, Terms

SURROGATES = (
    "fast_sigmoid", "{kind: sigmoid, width: 0.4}", "atan", "{kind: triangle, width: 1}",
    "{kind: gaussian, height: 0.7}",
    "{kind: exponential, width: 0.6}", "straight_through", "none", "{kind: rectangle, width: 0.9}", "'0.3/(1 + m^2)'",
    "{kind: double_gaussian, width: 0.5, h: 0.2, ratio: 4, normalised: true}", "'max(0, 1 - abs(m)/2)'",
    "{kind: multi_gaussian, width: 0.7, h: 0.15, ratio: 6}", "{kind: fast_sigmoid, width: 0.3, height: 1.5}",
)  # fmt: skip
#: text of a mapping of domain and transform -> (smallest, largest) value that fits
DOMAINS = {
    "": (-1.0, 1.0),
    "domain: positive": (0.2, 1.5),
    "domain: positive, transform: exp": (0.2, 1.5),
    "domain: positive, transform: abs": (0.2, 1.5),
    "domain: positive, transform: relu": (0.2, 1.5),
    "domain: nonnegative": (0.1, 1.0),
    "domain: nonnegative, transform: project": (0.1, 1.0),
    "domain: unit": (0.1, 0.9),
    "domain: unit, transform: project": (0.1, 0.9),
    'domain: "interval(-1, 2)"': (-0.8, 1.5),
    'domain: "interval(-1, 2)", transform: tanh': (-0.8, 1.5),
}


@dataclass
class Event:
    """An event's name and the texts of its keys."""

    name: str
    when: str
    reset: list[str]
    late: bool
    keys: dict[str, str]


@dataclass
class Draft:
    """A declaration in the making. Texts by section; `read` holds what somebody reads."""

    rng: Random
    units: bool = False
    dt: float = 1.0
    names: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    equations: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    size_of: dict[str, str] = field(default_factory=dict)  # name -> unit of a state or input, if it has one
    waiting: list[str] = field(default_factory=list)  # inputs that nobody reads yet
    axes: dict[str, str] = field(default_factory=dict)
    noise: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = self.rng.sample(NAMES, len(NAMES))
        self.terms = Terms(self.rng, self.fresh)

    def name(self) -> str:
        return self.names.pop()

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def value(self, low: float, high: float) -> float:
        return round(self.rng.uniform(low, high), 3) or 0.5

    # parameters

    def fresh(self) -> str:
        """A number of size one: a literal, or a parameter made for it."""
        if self.maybe(0.6) or len(self.names) < 12:
            return str(abs(self.value(-1, 1)))
        return self.parameter(*self.rng.choice(list(DOMAINS.items())))

    def parameter(self, domain: str, between: tuple[float, float], unit: str = "") -> str:
        name, (low, high) = self.name(), between
        number = f"{self.value(low, high)}{' ' + unit if unit else ''}"
        if self.maybe(0.3) and not (low < 0 < high):
            self.parameters[name] = number
            return name
        keys = [f"value: {number}"]
        if self.maybe(0.4) and not unit:
            keys = [f'init: "{self.draw(low, high)}"']
        keys += [domain] if domain else []
        if self.maybe(0.6):
            keys += ["per: " + self.rng.choice(["neuron", "channel", "layer", "neuron"])]
        keys += ["trainable: false"] if self.maybe(0.1) else []
        self.parameters[name] = "{" + ", ".join(keys) + "}"
        return name

    def draw(self, low: float, high: float) -> str:
        r = self.rng
        if low > 0 and self.maybe(0.5):
            return f"log_uniform({low}, {high})"
        a, b = sorted((self.value(low, high), self.value(low, high) + 0.01))
        return r.choice(
            [f"uniform({a}, {b})", f"normal({(low + high) / 2:g}, 0.1)", f"2*uniform({a / 2:g}, {b / 2:g})"]
        )

    def time_constant(self) -> str:
        low, high = 2 * self.dt, 15 * self.dt
        if self.maybe(0.2):
            return f"{self.value(low, high)}{' ms' if self.units else ''}"
        transform = self.rng.choice(["", ", transform: exp", ", transform: abs"])
        return self.parameter("domain: positive" + transform, (low, high), "ms" if self.units else "")

    def factor(self) -> str:
        """A number between 0.3 and 0.95."""
        return self.parameter("domain: unit", (0.3, 0.95)) if self.maybe(0.5) else str(self.value(0.3, 0.95))

    # sources: texts of size one

    def one(self, name: str, time: str = "") -> str:
        """A read of a state or input as a number of size one."""
        unit = self.size_of.get(name)
        return f"({name}{time}/10 {unit})" if unit else f"{name}{time}"

    def amount(self, name: str, text: str) -> str:
        """A number of size one as an amount of the state."""
        unit = self.size_of.get(name)
        return f"10 {unit}*({text})" if unit else f"({text})"

    def take_inputs(self, all_of_them: bool) -> list[str]:
        """Inputs that still want a reader."""
        taken = [n for n in self.waiting if all_of_them or self.maybe(0.6)]
        self.waiting = [n for n in self.waiting if n not in taken]
        return taken

    def defined(self, text: str) -> str:
        """The text, or the name of a definition that stands for it."""
        if not self.maybe(0.25) or len(self.names) < 10:
            return text
        name = self.name()
        self.equations.append(f"{name} = {text}")
        return name

    # the whole

    def forget_unread(self) -> None:
        """Parameters of texts that were drawn and not chosen."""
        texts = [*self.equations, *self.states.values(), *self.keys.values()]
        texts += [t for e in self.events for t in (e.when, *e.reset)]
        words = set(re.findall(r"[A-Za-z]\w*", " ; ".join(texts)))
        self.parameters = {k: v for k, v in self.parameters.items() if k in words}

    def yaml(self, name: str) -> str:
        rng = self.rng
        self.forget_unread()
        lines = [f"neuron: {name}"]
        lines += [f"{k}: {v}" for k, v in self.keys.items()]
        for section in ("axes", "inputs", "noise", "states", "parameters"):
            rows = list(getattr(self, section).items())
            rng.shuffle(rows)
            if rows:
                lines += [f"{section}:", *(f"  {_quoted(k)}: {v}" for k, v in rows)]
        rng.shuffle(self.equations)
        lines += ["equations: |", *(f"  {e}" for e in self.equations), *self._events()]
        return "\n".join(lines) + "\n"

    def _events(self) -> list[str]:
        alone = len(self.events) == 1 and self.events[0].name == "s" and self.maybe(0.7)
        if alone and "gradient" not in self.events[0].keys:  # which the short form has not
            e = self.events[0]
            lines = [f'spike: "{e.when}"'] + ([f"reset: {self._reset(e)}"] if e.reset else [])
            return lines + [f"{k}: {v}" for k, v in e.keys.items()]
        lines = ["events:"] if self.events else []
        for e in self.events:
            lines += [f"  {_quoted(e.name)}:", f'    when: "{e.when}"']
            lines += [f"    reset: {self._reset(e)}"] if e.reset else []
            lines += [f"    {k}: {v}" for k, v in e.keys.items()]
        return lines

    @staticmethod
    def _reset(e: Event) -> str:
        text = "; ".join(e.reset)
        return f'{{do: "{text}", when: next_step}}' if e.late else f'"{text}"'


def _quoted(key: str) -> str:
    return f'"{key}"' if not key.isidentifier() else key
