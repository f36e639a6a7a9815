"""The keys of a declaration as data: name, type, default and one line each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its type in words, its default (empty: none) and what it means."""

    name: str
    type: str
    default: str
    about: str


LEVELS = ("network", "layer", "channel", "neuron")
INPUT_KINDS = ("current", "impulse", "spike")
NOISE_KINDS = ("uniform", "normal")
OPERATOR_KINDS = ("external", "dense")
TRANSFORMS = ("softplus", "abs", "sigmoid", "softmax", "none", "exp", "relu", "tanh", "project")
DOMAINS = ("real", "positive", "nonnegative", "unit", "interval", "simplex", "symmetric", "psd")
METHODS = (
    "auto", "exact", "euler", "semi_implicit", "exp_euler", "heun", "rk4", "implicit_midpoint", "bilinear", "strang",
    "baoab", "obabo", "euler_maruyama", "heun_stratonovich",
    "soe", "mittag_leffler", "flmm2", "abm", "l1", "gl",
)  # fmt: skip
#: numbers that a method takes by name, each with its default
METHOD_OPTIONS = {"soe": {"tolerance": "1e-6", "steps": "32768"}}
#: least, most, whether whole
METHOD_RANGES = {"tolerance": (1e-9, 0.1, False), "steps": (1, 1e12, True)}
#: variants of a method, the first is what the bare name means
METHOD_VARIANTS = {
    "gl": ("explicit", "implicit"), "l1": ("implicit", "explicit"), "flmm2": ("bdf2", "trapezoidal"),
}  # fmt: skip
MEMORY = ("jump", "impulse", "restart", "current")
GRADIENTS = ("surrogate", "expected", "reinforce")
SURROGATES = (
    "fast_sigmoid", "sigmoid", "atan", "triangle", "rectangle", "gaussian", "exponential", "straight_through", "none",
    "double_gaussian", "multi_gaussian",
)  # fmt: skip

EVENT = (
    Key("when", "condition", "", "the guard: the event is 1 in the steps where it holds"),
    Key("reset", "text or mapping", "none", "assignments to states, done where the event is 1"),
    Key(
        "reset_gradient", "through | detached", "through", "whether the gradient passes through the event in its reset"
    ),
    Key("refractory", "quantity or mapping", "none", "how long the guard stays false after an event"),
    Key("surrogate", "text or mapping", "{kind: fast_sigmoid, width: 0.5}", "the derivative used for the jump"),
    Key("gradient", "surrogate | expected | reinforce", "surrogate", "for guards that read a noise stream"),
    Key("axes", "list of axes", "[]", "one event per index"),
    Key("about", "text", "", "one sentence"),
)
SHORT_EVENT = ("spike", "reset", "reset_gradient", "refractory", "surrogate")

TOP = (
    Key("neuron", "text", "", "the name; must be there"),
    Key("about", "text", "", "one sentence"),
    Key("cite", "list of texts", "[]", "sources"),
    Key("dt", "number or quantity", "none", "default step, when the caller gives none"),
    Key("method", "text or {state: text}", "auto", "how time is stepped: " + ", ".join(METHODS)),
    Key(
        "within_step", "saturate | locate", "saturate", "one event per step at its end, or event times inside the step"
    ),
    Key("inputs", "{name: kind or mapping}", "{I: current} if I is read", "what drives the neuron"),
    Key("states", "{name: init or mapping}", "{}", "what differs from real, starts at 0, no unit"),
    Key("parameters", "{name: value or mapping}", "{}", "a bare value is a constant, a mapping is trainable"),
    Key("axes", "{name: size, axis or time}", "{}", "index sets inside one neuron"),
    Key("calculus", "ito | stratonovich", "ito", "how the dW terms are meant"),
    Key("horizon", "whole number", "none", "length of the time axis"),
    Key("noise", "{name: kind or mapping}", "{}", "streams of random numbers, fresh each step"),
    Key("operators", "{name: external | dense}", "{}", "functions across the neurons of a layer"),
    Key("equations", "text", "", "flows, maps, differentials and definitions; must be there"),
    Key("spike", "condition", "", "the guard of the only event, called s"),
    *(key for key in EVENT if key.name in SHORT_EVENT),
    Key("events", "{name: mapping}", "{}", "several events, or events with names"),
    Key("outputs", "expression or {name: expression}", "the only event, else the states", "what the layer returns"),
    Key("checks", "list of conditions", "[]", "statements about parameters and dt, reported, not enforced"),
    Key("extends", "text", "", "the model that this one changes: a zoo name or a file beside this one"),
    Key("remove", "list of names", "[]", "what to take out of it"),
    Key("replace", "mapping", "{}", "what to put in the place of what is there"),
    Key("add", "mapping", "{}", "what to put beside what is there"),
    Key("compat", "{name: mapping}", "{}", "named deviations of a publication, off unless asked for"),
)
CHANGES = tuple(key for key in TOP if key.name in ("about", "remove", "replace", "add"))
INHERITANCE = ("extends", "remove", "replace", "add")

INPUT = (
    Key("kind", "current | impulse | spike", "current", "held over the step, a Dirac, or a whole number of Diracs"),
    Key("axes", "list of axes", "[]", "one number per index"),
    Key("unit", "unit", "none", "what its numbers mean"),
    Key("hold", "zero | linear", "zero", "of a current between its samples"),
    Key("at", "start | end", "start", "when an impulse acts inside its step"),
    Key("about", "text", "", "one sentence"),
)
STATE = (
    Key("init", "expression", "0", "value before the first step"),
    Key("type", "real | complex", "real", "complex: also ': complex' behind its equation"),
    Key("unit", "unit", "none", "what its numbers mean"),
    Key("about", "text", "", "one sentence"),
)
PARAMETER = (
    Key("value", "number, list or quantity", "", "the same each time; or init"),
    Key("init", "expression", "", "drawn or computed per element when the module is built; or value"),
    Key("per", "level, axes or list", "layer", "what it varies with: one of " + ", ".join(LEVELS) + ", axes, time"),
    Key(
        "domain", "text", "real", "positive, nonnegative, unit, interval(a, b), simplex(k), symmetric(k, l), psd(k, l)"
    ),
    Key("transform", "text", "by domain", "from the stored number into the domain: " + ", ".join(TRANSFORMS)),
    Key("type", "real | complex | integer", "real", "integers are never trained"),
    Key("unit", "unit", "none", "what its numbers mean"),
    Key("trainable", "true | false", "true", "of a mapping; a bare value is a constant"),
    Key("about", "text", "", "one sentence"),
)
NOISE = (
    Key("kind", "uniform | normal", "", "uniform in 0..1, or normal (0, 1)"),
    Key("axes", "list of axes", "[]", "one number per index"),
)
RESET = (
    Key("do", "text", "", "the assignments"),
    Key(
        "when", "same_step | next_step", "same_step", "at the end of this step, or as the last part of the next update"
    ),
    Key("memory", "jump | impulse | restart | current(duration)", "jump", "of fractional states"),
)
REFRACTORY = (
    Key("duration", "quantity", "", "how long"),
    Key("hold", "list of states", "[]", "states that keep their value meanwhile"),
)
SURROGATE = (
    Key("kind", "text", "fast_sigmoid", ", ".join(SURROGATES)),
    Key("width", "expression", "0.5", "the margin is divided by it"),
    Key("height", "expression", "1", "value at the margin 0, where the shape is 1 there"),
    Key("h", "expression", "", "of double_gaussian and multi_gaussian"),
    Key("ratio", "expression", "", "of double_gaussian and multi_gaussian"),
    Key("normalised", "true | false", "false", "of double_gaussian and multi_gaussian"),
)

TABLES = {
    "": TOP, "inputs": INPUT, "states": STATE, "parameters": PARAMETER, "noise": NOISE, "events": EVENT,
    "reset": RESET, "refractory": REFRACTORY, "surrogate": SURROGATE, "compat": CHANGES,
}  # fmt: skip


def describe() -> str:
    """The whole table as text, a key a line, for `check --schema`."""
    lines: list[str] = []
    for section, table in TABLES.items():
        lines.append(f"{section or 'top level'}:")
        for key in table:
            default = f", default {key.default}" if key.default else ""
            lines.append(f"  {key.name}: {key.type}{default}. {key.about}")
    return "\n".join(lines)
