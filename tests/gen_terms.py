"""Random expressions of the language whose values stay of the size of one, as text."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

#: names that some target might trip over, and plain ones
NAMES = (
    "v", "w", "u", "x", "y", "z", "q", "a", "b", "c", "g", "h", "n", "p", "r", "I", "E", "S", "N", "J", "gamma",
    "beta", "lambda", "class", "float", "double", "self", "re", "im", "out", "tau", "torch", "np", "main", "x1",
    "v_2", "register", "exp1", "y0", "state", "carry", "step1", "const", "M_PI", "jnp", "jax", "lax", "res", "e",
    "c_v", "theta", "None", "lanes", "steps", "F", "o", "spike_",
)  # fmt: skip

#: one argument of size one -> one value of size one; smooth
SMOOTH = (
    "tanh({0})", "sin({0})", "cos({0})", "sigmoid({0})", "erf({0})", "exp(-({0})^2)", "{0}/(1 + ({0})^2)",
    "log(1 + ({0})^2)", "sqrt(0.5 + ({0})^2) - 0.7", "1/(2 + sinh(0.4*tanh({0})))", "softplus({0}) - 0.7",
    "exp(-0.3*tanh({0})) - 1", "cosh(tanh({0})) - 1", "0.3*({0})**2/(1 + ({0})^4)", "tan(0.9*tanh({0}))",
    "exprel(-tanh({0}))", "tanh({0})^3", "1/(1 + exp(-({0})))", "0.5*{0}", "-({0})", "(1.5 + tanh({0}))^-0.5",
    "2^tanh({0}) - 1", "tanh({0})/(exp(tanh({0})) - 1)", "arg(1.2 + tanh({0}) + 0.4i)/pi", "abs(0.3i + tanh({0}))",
)  # fmt: skip
#: the same with kinks and steps
ROUGH = (
    "abs({0})", "relu({0})", "clip({0}, -0.8, 1)", "where({0} > 0.13, tanh({0}), -0.2)", "0.4*sign({0} - 0.211)",
    "0.3*floor(1.7*tanh({0}) + 0.1234)", "0.3*ceil(1.3*sin({0}) - 0.2341)", "0.25*round(2*tanh({0}) + 0.1717)",
    "detach({0})", "max(-1, min({0}, 0.9))", "where(not ({0} < 0.3171) or {0} < -0.777, 0.4, 0.1*cos({0}))",
)  # fmt: skip
TWO = (
    "tanh({0} + {1})", "tanh({0}*{1})", "0.5*{0} - 0.5*({1})", "max({0}, 0.3 + 0.4*{1})", "min({0}, {1} + 0.117)",
    "where({0} > {1} + 0.0513, 0.5*{0}, -0.3)", "straight_through(0.5*{0}, sin({1}))", "{0}/(1.5 + ({1})^2)",
    "sin({0})*cos({1})", "where({0} > 0.2113 and {1} < 0.3137, 0.3, 0.4*{1})", "real((0.4 + 0.3i)*({0} + i*({1})))",
    "0.6*abs(tanh({0}) + i*(0.5 + sigmoid({1})))", "0.5*imag(exp(0.4i*tanh({0}))*({1}))",
    "sqrt(1 + ({0})^2 + ({1})^2)/3",
)  # fmt: skip


class Terms:
    """Draws expressions from a list of sources, texts of size one themselves."""

    def __init__(self, rng: Random, fresh: Callable[[], str]) -> None:
        """`fresh` gives a new number of size one: a literal or a parameter."""
        self.rng, self.fresh = rng, fresh

    def bounded(self, sources: list[str], depth: int = 2, rough: bool = True) -> str:
        """A text whose value stays within a few units whatever the sources do in that range."""
        r = self.rng
        if depth == 0 or not sources or r.random() < 0.15:
            return r.choice([*sources, self.fresh()]) if sources else self.fresh()
        kind = r.random()
        inner = [self.bounded(sources, depth - 1, rough) for _ in range(2)]
        if kind < 0.45:
            return "(" + r.choice(SMOOTH).format(_wrapped(inner[0])) + ")"
        if kind < 0.6 and rough:
            return "(" + r.choice(ROUGH).format(_wrapped(inner[0])) + ")"
        if kind < 0.9:
            return "(" + r.choice(TWO).format(*map(_wrapped, inner)) + ")"
        return f"{self.fresh()}*{_wrapped(inner[0])}"

    def sum(self, sources: list[str], depth: int = 1, terms: int = 2) -> str:
        """A sum of up to `terms` bounded texts, each with a weight."""
        parts = [f"{self.fresh()}*{_wrapped(self.bounded(sources, depth))}" for _ in range(self.rng.randint(1, terms))]
        return " + ".join(parts)


def _wrapped(text: str) -> str:
    plain = text.replace("_", "a").isalnum() or (text.startswith("(") and _closes_last(text))
    return text if plain else f"({text})"


def _closes_last(text: str) -> bool:
    level = 0
    for at, c in enumerate(text):
        level += (c == "(") - (c == ")")
        if level == 0:
            return at == len(text) - 1
    return False
