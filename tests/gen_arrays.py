"""Families with index sets, windows, delays, tables over time, potentials and series: a part of `Neurons`."""

from __future__ import annotations

from typing import Any

from gen_declare import Draft


class Arrays:
    """What a neuron may hold beside plain states. `d` is the draft, `rng` its random numbers."""

    d: Draft
    rng: Any
    early: list[str]
    past: list[str]
    real: list[str]
    shown: list[str]
    elements: list[str]  # states with an axis k
    horizon = 40

    def axis(self, letter: str, size: int | str) -> str:
        """The name of an axis of that size, made once."""
        self.d.axes.setdefault(letter, str(size))
        return letter

    def array(self, low: float, high: float, axes: str, level: str = "") -> str:
        """A parameter over axes."""
        d, name = self.d, self.d.name()
        per = f"[{level + ', ' if level else ''}{axes}]"
        d.parameters[name] = f'{{init: "uniform({low}, {high})", per: {per}}}'
        return name

    # families of flows

    def branches(self, names: list[str], inputs: list[str]) -> None:
        """Several of one kind, coupled or not, and a readout of them."""
        d, z = self.d, names[0]
        k = self.axis("k", self.rng.choice([2, 3]))
        level = self.rng.choice(["", "neuron", "channel"])
        w, tau = self.array(0.2, 0.9, k, level), self.array(2 * d.dt, 9 * d.dt, k)
        coupled = ""
        if d.maybe(0.4):
            matrix = self.array(-0.3, 0.3, f"{k}, {self.axis('l', k)}")
            coupled = f" + sum_l({matrix}[k, l]*{z}[l])"
        turning = f" + {d.factor()}*i*{z}[k]" if d.maybe(0.3) else ""
        read = f"real({z}[k])" if turning else f"{z}[k]"
        d.equations.append(
            f"d{z}[k]/dt = (-{z}[k]{turning}{coupled} + {w}[k]*({self.drive(inputs)}))/{tau}[k]"
            f"{self.pushes(inputs)}{' : complex' if turning else ''}"
        )
        weights = self.array(-0.8, 0.8, k, "neuron")
        h = d.name()
        inside = self.rng.choice(
            [f"{weights}[k]*{read}", f"{weights}[k]*tanh({read})", f"cos(pi*k/3 + {weights}[k])*{read}"]
        )
        d.equations.append(f"{h} = {self.rng.choice(['sum', 'mean'])}_k({inside})")
        self.readouts += [h]
        if not turning:
            self.elements.append(z)
            d.states[z] = str(d.value(-0.3, 0.3))

    def potential(self, names: list[str], inputs: list[str]) -> None:
        """A damped particle in a declared potential."""
        d, q = self.d, names[0]
        U = d.name()
        c = d.parameter("domain: positive", (0.2, 0.6))
        d.equations.append(f"{U} = {c}*{q}^2/2 + 0.02*{q}^4/4 - 0.2*cos({q})")
        d.equations.append(
            f"d{q}/dt = (-grad({U}, {q}) - 0.5*{q} + {self.drive(inputs)})/{d.time_constant()}{self.pushes(inputs)}"
        )
        self.real.append(q)

    def drive(self, inputs: list[str], depth: int = 1) -> str:
        raise NotImplementedError

    def pushes(self, inputs: list[str], dimension: str = "") -> str:
        raise NotImplementedError

    # terms that flows, maps and guards may read

    def extras(self) -> None:
        """Windows, delays, tables, running time and whole sequences, as names of definitions of size one."""
        d = self.d
        if d.units:
            return
        currents = [n for n, text in d.inputs.items() if "current" in text]
        for make, chance in ((self.window, 0.2), (self.delayed, 0.2), (self.table, 0.15), (self.clock, 0.1),
                             (self.whole_sequence, 0.12)):  # fmt: skip
            if d.maybe(chance) and len(d.names) > 14 and (currents or make != self.whole_sequence):
                text = make(currents)
                name = d.name()
                d.equations.append(f"{name} = {text}")
                self.early.append(name)
                self.unread_terms.append(name)

    unread_terms: list[str]
    readouts: list[str]

    def window(self, currents: list[str]) -> str:
        lag = self.axis("lag", self.rng.choice([2, 3, 4]))
        taps = self.array(-0.4, 0.5, lag, self.rng.choice(["", "channel"]))
        source = self.rng.choice([*currents, *self.bare_past()])
        first = "t" if source in currents and self.d.maybe(0.5) else "t-1"
        stride = self.rng.choice(["", "2*"])
        return f"sum_lag({taps}[lag]*{source}[{first}-{stride}lag])"

    def bare_past(self) -> list[str]:
        """Names that may be read at any earlier step."""
        return [p.split("[")[0] for p in self.past if "(" not in p]

    def delayed(self, currents: list[str]) -> str:
        d, steps = self.d, self.rng.choice([0, 1, 2, 3])
        length = round((steps + self.d.value(-0.35, 0.35)) * d.dt, 4) if steps else 0
        source = self.rng.choice([*currents, *self.bare_past()])
        length = length if source in currents else max(length, d.dt)
        if d.maybe(0.5):
            name = d.name()
            d.parameters[name] = str(length)
            return f"0.8*delay({source}, {name})"
        return f"0.8*delay({source}, {length})"

    def table(self, currents: list[str]) -> str:
        d, name = self.d, self.d.name()
        d.keys["horizon"] = str(self.horizon)
        level = self.rng.choice(["", "neuron, ", "channel, "])
        d.parameters[name] = f'{{init: "normal(0, 0.4)", per: [{level}time]}}'
        return f"{name}[t]*{self.rng.choice(currents)}" if currents and d.maybe(0.5) else f"{name}[t]"

    def whole_sequence(self, currents: list[str]) -> str:
        """A sum over all steps, later ones too."""
        d, w, x = self.d, self.d.name(), self.rng.choice(currents)
        d.keys["horizon"] = str(self.horizon)
        axis = self.axis("whole", "time")
        level = self.rng.choice(["", "neuron, ", "channel, "])
        d.parameters[w] = f'{{init: "normal(0, 0.1)", per: [{level}{axis}, time]}}'
        mask = self.rng.choice(["", "*where(whole < step + 0.5, 1, 0.3)", "*exp(-abs(whole - step)/5)", " - 0.02"])
        value = self.rng.choice([f"{x}[whole]", f"tanh({x}[whole])/2", ""])
        if not value:
            value = d.name()
            d.equations.append(f"{value} = 0.7*{x} - 0.2*{x}[t-1] + 0.1*sin({x})")
            value += "[whole]"
        return f"sum_whole(({w}[whole, t]{mask})*{value})"

    def clock(self, currents: list[str]) -> str:
        return self.rng.choice(["sin(0.3*step)", "0.4*cos(0.2*t)", "where(step > 3.5, 0.3, -0.1)"])

    def series(self, source: str) -> str:
        """A polynomial of what is bounded."""
        axis = self.axis("n_c", 3)
        c = self.array(-0.4, 0.4, axis)
        return f"{self.rng.choice(['poly', 'chebyshev'])}({c}, tanh({source}))"
