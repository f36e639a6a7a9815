"""Draws whole neurons: inputs, flows of several families, maps before and after them, events, outputs."""

from __future__ import annotations

from random import Random

from gen_arrays import Arrays
from gen_declare import SURROGATES, Draft, Event

UNITS = {"state": "mV", "current": "nA"}


def declaration(seed: object, name: str = "generated") -> str:
    """The YAML text of one neuron. Equal seeds give equal texts."""
    rng = Random(str(seed))
    draft = Draft(rng, units=rng.random() < 0.2, dt=rng.choice([1.0, 0.5, 0.25, 2.0]))
    draft.keys["dt"] = f"{draft.dt:g} ms" if draft.units else f"{draft.dt:g}"
    return Neurons(draft).declare(name)


class Neurons(Arrays):
    """The plan of one neuron: names first, since an equation may read any state of the step before."""

    def __init__(self, draft: Draft) -> None:
        self.d, self.rng = draft, draft.rng
        self.apart = Random(str(draft.rng.getstate()))  # what it decides moves no other draw
        self.past: list[str] = []  # reads of the steps before, of size one
        self.early: list[str] = []  # what the flows may read at [t]
        self.real: list[str] = []  # real flow states
        self.complex: list[str] = []
        self.maps: list[str] = []
        self.elements, self.readouts, self.unread_terms = [], [], []

    def declare(self, name: str) -> str:
        d = self.d
        self.inputs()
        self.event_names = (["s"] if d.maybe(0.5) else []) + [d.name() for _ in range(self.rng.choice([0, 0, 1, 1, 2]))]
        self.event_names = list(dict.fromkeys(self.event_names))
        families = self.families()
        early = [d.name() for _ in range(self.rng.choice([0, 0, 1]))]
        late = [d.name() for _ in range(self.rng.choice([0, 1, 1]))] if families else [d.name()]
        flows = [(f, [d.name() for _ in range(count)]) for f, count in families]
        self.remember(flows, early + late)
        self.extras()
        self.streams()
        for q in early:
            self.map(q, self.currents() + self.past + self.early)
            self.early.append(q)
        for at, (family, names) in enumerate(flows):
            getattr(self, family)(names, d.take_inputs(at == len(flows) - 1))
        self.definitions()
        first = [] if families else late[:1]
        for q in first:
            self.map(q, self.currents() + self.past, [d.one(n) for n in d.take_inputs(True)])
        self.events(first)
        for q in late:
            if q not in first:
                self.map(q, [*self.seen(), *self.event_names, *self.afters()])
        self.outputs([*early, *late])
        self.finish()
        return d.yaml(name)

    # inputs and names

    def inputs(self) -> None:
        d = self.d
        for at in range(self.rng.choice([1, 1, 1, 2, 2, 3])):
            name = "I" if at == 0 and "I" in d.names and d.maybe(0.6) else d.names[-1]
            d.names.remove(name)
            kind = "current" if at == 0 else self.rng.choice(["current", "impulse", "spike"])
            kind = "impulse" if d.maybe(0.1) else kind
            unit = UNITS["current"] if kind == "current" else UNITS["state"]
            keys = [f"kind: {kind}"] + (["at: end"] if kind != "current" and d.maybe(0.4) else [])
            if kind == "current" and d.maybe(0.15):
                keys.append("hold: linear")
            if d.units:
                d.size_of[name] = unit
                keys.append(f"unit: {unit}")
            d.inputs[name] = kind if len(keys) == 1 and d.maybe(0.5) else "{" + ", ".join(keys) + "}"
            d.waiting.append(name)

    def streams(self) -> None:
        """Noise: one that anything may read, and one for a guard of its own."""
        d, r = self.d, self.apart
        self.chosen = ""
        if d.units or r.random() > 0.3:
            return
        d.noise["Z_0"] = r.choice(["normal", "uniform", "{kind: normal}"])
        self.past.append("0.5*Z_0")
        if self.event_names and r.random() < 0.6:
            d.noise["U_0"], self.chosen = "uniform", r.choice(self.event_names)

    def currents(self) -> list[str]:
        """Reads of inputs that may stand anywhere in a flow."""
        return [self.d.one(n) for n, text in self.d.inputs.items() if "current" in text and n not in self.d.waiting]

    def families(self) -> list[tuple[str, int]]:
        r, d = self.rng, self.d
        if d.units:
            return [(r.choice(["leaky", "nonlinear"]), r.choice([1, 1, 2]))]
        if d.maybe(0.12):
            return []
        kinds = ["leaky", "chain", "coupled", "spiral", "second", "nonlinear", "switched", "conditional", "branches"]
        kinds += ["potential"]
        alone = ("second", "switched", "branches", "potential")
        found = [(k, 1 if k in alone else r.choice([1, 2, 2, 3])) for k in r.sample(kinds, r.choice([1, 1, 2]))]
        return [("quadratic" if k == "leaky" and self.apart.random() < 0.4 else k, n) for k, n in found]

    def remember(self, flows: list[tuple[str, list[str]]], maps: list[str]) -> None:
        """Reads of the past are possible from anywhere, so they come first."""
        d = self.d
        for family, names in flows:
            for n in names if family != "branches" else ():
                if d.units:
                    d.size_of[n] = UNITS["state"]
                lag = self.rng.choice([1, 1, 2, 3])
                past = f"{n}[t-{lag}]"
                self.past.append(f"{self.rng.choice(['real', 'imag', 'abs'])}({past})" if family == "spiral"
                                 else d.one(n, f"[t-{lag}]"))  # fmt: skip
        self.past += [f"{n}[t-{self.rng.choice([1, 1, 2])}]" for n in [*maps, *self.event_names]]

    # flows

    def drive(self, inputs: list[str], depth: int = 1) -> str:
        """Currents anywhere, impulses as terms of their own."""
        d = self.d
        pushes = [n for n in inputs if "current" not in d.inputs[n]]
        held = [d.one(n) for n in inputs if n not in pushes]
        parts = [f"{d.fresh()}*{h}" for h in held]
        sources = [*held, *self.currents(), *self.early, *self.past]
        if d.maybe(0.5) and sources:
            parts.append(d.defined(d.terms.bounded(sources, depth)))
        return " + ".join(parts) or d.fresh()

    def pushes(self, inputs: list[str], dimension: str = "") -> str:
        d = self.d
        return "".join(f" + {d.fresh()}*{n}" for n in inputs if "current" not in d.inputs[n])

    def leak(self, name: str, inside: str, inputs: list[str]) -> None:
        """dv/dt = (-v + inside)/tau, and impulses."""
        d = self.d
        left = f"{name}'" if d.maybe(0.15) else f"d{name}/dt"
        d.equations.append(f"{left} = (-{name} + {d.amount(name, inside)})/{d.time_constant()}{self.pushes(inputs)}")
        self.real.append(name)
        self.start(name)

    def start(self, name: str) -> None:
        d = self.d
        unit = d.size_of.get(name)
        if unit:
            init = f"init: {d.value(-3, 3)} {unit}, " if d.maybe(0.5) else ""
            d.states[name] = "{" + init + f"unit: {unit}}}"
        elif d.maybe(0.4):
            value = d.parameter("", (-0.5, 0.5)) if d.maybe(0.4) else str(d.value(-0.5, 0.5))
            d.states[name] = f"{{init: {value}}}" if d.maybe(0.3) else value

    def leaky(self, names: list[str], inputs: list[str]) -> None:
        for n in names:
            self.leak(n, self.drive(inputs if n == names[0] else []), inputs if n == names[0] else [])

    def chain(self, names: list[str], inputs: list[str]) -> None:
        """Each reads the one before; now and then with equal time constants."""
        d, shared = self.d, self.d.time_constant()
        for at, n in enumerate(names):
            tau = shared if d.maybe(0.5) else d.time_constant()
            before = f"{d.fresh()}*{names[at - 1]}" if at else self.drive(inputs)
            d.equations.append(f"d{n}/dt = (-{n} + {before})/{tau}{self.pushes(inputs if not at else [])}")
            self.real.append(n)
            self.start(n)

    def coupled(self, names: list[str], inputs: list[str]) -> None:
        d = self.d
        for at, n in enumerate(names):
            others = " ".join(f"{self.rng.choice('+-')} {self.factor()}*{o}" for o in names if o != n)
            drive = self.drive(inputs if not at else [])
            d.equations.append(f"d{n}/dt = (-2*{n} {others} + {drive})/{d.time_constant()}"
                               + self.pushes(inputs if not at else []))  # fmt: skip
            self.real.append(n)
            self.start(n)

    def factor(self) -> str:
        return f"{self.d.factor()}" if self.d.maybe(0.6) else "0.7"

    def spiral(self, names: list[str], inputs: list[str]) -> None:
        """Damped oscillators as complex states."""
        d = self.d
        for at, n in enumerate(names):
            b, omega = d.factor(), d.factor()
            rate = f"(-{b} + i*{omega})/{d.dt:g}"
            if d.maybe(0.3):
                c = d.name()
                value = f"{d.value(-0.9, -0.2)} + {d.value(0.1, 0.9)}i"
                d.parameters[c] = f'{{value: "{value}", type: complex, per: {self.rng.choice(["layer", "neuron"])}}}'
                rate = f"{c}/{2 * d.dt:g}"
            drive, own = self.drive(inputs if not at else []), inputs if not at else []
            turned = self.rng.choice(["", "(0.6 + 0.4i)*", "(1 - 0.5i)*"])
            d.equations.append(f"d{n}/dt = {rate}*{n} + {turned}({drive})/{2 * d.dt:g}{self.pushes(own)} : complex")
            self.complex.append(n)
            if d.maybe(0.3):
                d.states[n] = f'"{d.value(0, 1)} + {d.value(0, 1)}i"'

    def second(self, names: list[str], inputs: list[str]) -> None:
        d, n = self.d, names[0]
        omega, damping = self.value_of(0.2, 0.9), d.factor()
        d.equations.append(
            f"{n}'' = -({omega}/{d.dt:g})^2*{n} - 2*{damping}*{omega}/{d.dt:g}*{n}' + ({self.drive(inputs)})"
            f"/{4 * d.dt * d.dt:g}{self.pushes(inputs)}"
        )
        self.real.append(n)
        if d.maybe(0.4):
            d.states[f"{n}'"] = str(d.value(-0.3, 0.3))

    def value_of(self, low: float, high: float) -> str:
        d = self.d
        return d.parameter("domain: positive", (low, high)) if d.maybe(0.5) else str(d.value(low, high))

    def nonlinear(self, names: list[str], inputs: list[str]) -> None:
        d = self.d
        running = [d.one(n) for n in names]
        for at, n in enumerate(names):
            own = inputs if not at else []
            inside = f"{self.drive(own)} + {d.defined(d.terms.bounded([*running, *self.currents()], 2))}"
            self.leak(n, inside, own)

    def quadratic(self, names: list[str], inputs: list[str]) -> None:
        """Riccati flows that stay near a fixed point."""
        d = self.d
        for n in names:
            own = inputs if n == names[0] else []
            bend = self.apart.choice(["0.05", "-0.05", f"0.06*{self.factor()}"])
            rate = f"(-{n} + {bend}*{n}^2 + {self.drive(own)})/{d.time_constant()}"
            d.equations.append(f"d{n}/dt = {rate}{self.pushes(own)}")
            self.real.append(n)
            self.start(n)

    def switched(self, names: list[str], inputs: list[str]) -> None:
        """Linear in the state with a rate that an input or the past sets anew in each step."""
        d, n = self.d, names[0]
        gate = d.terms.bounded([*[d.one(i) for i in inputs if "current" in d.inputs[i]], *self.early, *self.past], 1)
        d.equations.append(f"d{n}/dt = (-(1.2 + tanh({gate}))*{n} + {self.drive(inputs)})/{d.time_constant()}"
                           + self.pushes(inputs))  # fmt: skip
        self.real.append(n)
        self.start(n)

    def conditional(self, names: list[str], inputs: list[str]) -> None:
        """Gates: each linear in itself while the others are held."""
        d = self.d
        for at, n in enumerate(names):
            others = [o for o in names if o != n]
            own = inputs if not at else []
            gate = d.terms.bounded(others, 1) if others else "0.3"
            d.equations.append(
                f"d{n}/dt = (-(1.3 + tanh({gate}))*{n} + {self.drive(own)})/{d.time_constant()}{self.pushes(own)}"
            )
            self.real.append(n)
            self.start(n)

    # maps, definitions, events, outputs

    def map(self, name: str, sources: list[str], inputs: list[str] = []) -> None:  # noqa: B006
        d = self.d
        own = f"{d.factor()}*{name}[t-1] + " if d.maybe(0.8) else ""
        driven = "".join(f" + {d.fresh()}*{x}" for x in inputs)
        d.equations.append(f"{name}[t] = {own}{d.terms.sum([*sources, *inputs], 1)}{driven}")
        self.maps.append(name)
        if d.maybe(0.4):
            d.states[name] = str(d.value(-0.5, 0.5))

    def definitions(self) -> None:
        """Definitions of states, read now and in later steps."""
        d = self.d
        self.shown: list[str] = []
        if d.maybe(0.4) and self.seen() and len(d.names) > 15:
            name = d.name()
            d.equations.append(f"{name} = {d.terms.bounded(self.seen(), 2)}")
            self.shown = [name, f"{name}[t-{self.rng.choice([1, 2])}]"]
        self.unread = bool(self.shown)

    def seen(self) -> list[str]:
        """Reads of this step's values, for guards, late maps and outputs."""
        parts = [f"{self.rng.choice(['real', 'imag', 'abs', 'arg'])}({n})" if self.d.maybe(0.9) else f"real({n}*{n})"
                 for n in self.complex]  # fmt: skip
        return [*[self.d.one(n) for n in self.real], *parts, *getattr(self, "shown", []), *self.readouts]

    def afters(self) -> list[str]:
        return [f"after({n})" for n in self.real if n not in self.d.size_of and self.d.maybe(0.5)]

    def guard(self, sources: list[str]) -> str:
        d, r = self.d, self.rng
        left = r.choice(sources)
        level = d.parameter("domain: positive", (0.1, 0.5)) if d.maybe(0.5) else str(d.value(0.05, 0.6))
        right = f"{level} + 0.2*{r.choice(self.past)}" if self.past and d.maybe(0.3) else level
        test = f"{left} {r.choice(['>', '>=', '>'])} {right}"
        kind = r.random()
        if kind < 0.12:
            return f"{test} and {r.choice(sources)} > -0.4131"
        if kind < 0.2:
            return f"{test} or {d.terms.bounded(sources, 1)} < -0.7773"
        return f"not ({left} <= {right})" if kind < 0.27 else test

    def events(self, maps: list[str]) -> None:
        d = self.d
        sources = [*self.seen(), *self.early, *maps]
        for name in self.event_names:
            keys = {"surrogate": self.rng.choice(SURROGATES)} if d.maybe(0.8) else {}
            keys |= {"reset_gradient": "detached"} if d.maybe(0.15) else {}
            keys |= self.refractory()
            do = self.reset()
            if not do:
                keys.pop("reset_gradient", None)
            guard = self.guard(sources)
            if name == self.chosen:
                guard = f"0.5 + 0.4*{d.terms.bounded(sources, 1)} {self.apart.choice(['>', '>='])} U_0"
                keys |= self.apart.choice([{"gradient": "expected"}, {}])
            d.events.append(Event(name, guard, do, d.maybe(0.2), keys))

    def reset(self) -> list[str]:
        r = self.rng
        states = [*self.real, *self.complex, *self.maps, *self.elements]
        chosen = r.sample(states, min(len(states), r.choice([0, 1, 1, 1, 2])))
        return [self.assignment(s) for s in chosen]

    def refractory(self) -> dict[str, str]:
        d = self.d
        if not d.maybe(0.2):
            return {}
        duration = f"{self.rng.choice([1, 2, 3]) * d.dt - 0.1 * d.dt:g}{' ms' if d.units else ''}"
        states = [*self.real, *self.complex, *self.elements]
        if not states or d.maybe(0.4):
            return {"refractory": duration}
        return {"refractory": f"{{duration: {duration}, hold: [{self.rng.choice(states)}]}}"}

    def assignment(self, s: str) -> str:
        r, d = self.rng, self.d
        if s in self.elements:
            return r.choice([f"{s}[k] *= 0.6", f"{s}[k] = 0.1*k", f"{s}[k] -= 0.2*{s}[0]"])
        if s in self.complex:
            return r.choice([f"{s} = 0.3*{s}", f"{s} = i*real({s}) + 0.1", f"{s} *= 0.5", f"{s} -= 0.2 + 0.1i"])
        op = r.choice(["=", "-=", "+=", "*=", "-="])
        if op == "*=":
            return f"{s} *= {d.factor()}"
        size = {"=": 0.3, "-=": 0.6, "+=": 0.3}[op]
        text = d.terms.bounded([d.one(x) for x in self.real] + self.past, 1) if d.maybe(0.4) else d.fresh()
        return f"{s} {op} {d.amount(s, f'{size}*{text}')}"

    def outputs(self, maps: list[str]) -> None:
        """Whatever nothing else reads yet is an output; several events need it."""
        d, r = self.d, self.rng
        states = [*self.real, *maps, *[f"abs({n})" for n in self.complex]]
        rows = {e: e for e in self.event_names}
        rows |= {f"term_{n}": n for n in self.unread_terms}
        rows |= {f"readout_{n}": n for n in self.readouts}
        if d.noise and not any("Z_0" in text for text in (*d.equations, *(e.when + str(e.reset) for e in d.events))):
            rows["drawn"] = "Z_0"
        for z in self.elements:
            rows["array"] = f"{z}[k]"
        if self.real and d.maybe(0.1) and not d.units:
            rows["series"] = self.series(self.real[0])
        if self.unread:
            rows["shown_" + self.shown[0]] = self.shown[0]
        if states and (not rows or d.maybe(0.5)):
            pick = r.choice(states)
            rows[pick if pick.isidentifier() else "size_of_z"] = pick
        if d.maybe(0.3):
            rows["graded"] = f"0.5*{d.terms.bounded([*self.seen(), *maps], 1)} + 0.1"
        plain = len(rows) == 1 and d.maybe(0.4)
        d.keys["outputs"] = (
            f'"{next(iter(rows.values()))}"' if plain else "{" + ", ".join(f'{k}: "{v}"' for k, v in rows.items()) + "}"
        )

    def finish(self) -> None:
        d, r = self.d, self.rng
        if d.maybe(0.3) and (self.real or self.complex):
            d.keys["method"] = r.choice(["euler", "heun", "rk4", "auto", "exp_euler", "bilinear"])
        d.keys |= {"about": "Drawn at random."} if d.maybe(0.3) else {}
        plain = [n for n, text in d.parameters.items() if "per: [" not in text and "complex" not in text]
        if plain and d.maybe(0.3):
            d.keys["checks"] = f"['{plain[0]} < 1e6']" if not d.units else "['dt > 0 ms']"
