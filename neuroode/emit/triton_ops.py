"""Ops as Triton expressions, and straight-line code as Triton functions over one block of lanes.

Every value is a block: constants too, so that no type depends on what a value was computed from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import cast

from neuroode._errors import Unsupported
from neuroode.emit.c_ops import Names
from neuroode.program.builder import live
from neuroode.program.types import Assign

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
#: functions that Triton has, accurate in both precisions
BUILTIN = {"log": "log", "sin": "sin", "cos": "cos", "erf": "erf", "abs": "abs", "floor": "floor", "ceil": "ceil"}
#: our own, in solvers/on_triton/triton_maths.py
OWN = {
    "exp", "expm1", "log1p", "sqrt", "tanh", "sinh", "cosh", "sigmoid", "softplus", "sign", "round", "tan", "min",
    "max", "pow", "atan2",
}  # fmt: skip


def literal(value: object) -> str:
    """A block that holds a number, all digits of it."""
    number = repr(float(value))  # type: ignore[arg-type]
    text = number if re.match(r"-?\d", number) else f'float("{number}")'
    return f"tl.full([BLOCK], {text}, REAL)"


def expression(a: Assign, args: list[str]) -> str:
    """One op on blocks.

    Raises:
        Unsupported: an op that stands in no kernel of this target.
    """
    if a.op in INFIX:
        return f"{args[0]} {INFIX[a.op]} {args[1]}"
    if a.op in BUILTIN:
        return f"tl.{BUILTIN[a.op]}({args[0]})"
    if a.op in OWN:
        return f"real_{a.op}({', '.join(args)})"
    match a.op:
        case "const":
            return literal(a.value)
        case "neg":
            return f"-{args[0]}"
        case "detach":
            return args[0]
        case "gt" | "ge":
            sign = ">" if a.op == "gt" else ">="
            return f"({args[0]} {sign} {args[1]}).to(REAL)"
        case "where" | "reset":
            return f"tl.where({args[0]} != 0, {args[1]}, {args[2]})"
        case "ipow":
            return _power(args[0], a.value)
        case "phi":
            return f"real_phi({a.value}, {args[0]})"
        case "cphi_re" | "cphi_im":
            return f"real_{a.op}({a.value}, {args[0]}, {args[1]})"
        case "pair" if cast("tuple[int, str]", a.value)[0] == 0:
            part = cast("tuple[int, str]", a.value)[1]  # C, S or T: exp is its own derivative in m
            return f"real_pair_{part.lower()}({args[0]}, {args[1]})"
    why = f"the Triton target has no op '{a.op}' inside a step"
    raise Unsupported(
        why, hint='schedule="eager" runs it on any device; so does a step whose coefficients are constant'
    )


def _power(base: str, exponent: object) -> str:
    """x^k by squaring, in one expression: a power of two is a square of a square."""
    assert isinstance(exponent, int)
    product = _product(base, abs(exponent)) if exponent else f"({base} * 0 + 1)"
    return product if exponent >= 0 else f"1 / {product}"


def _product(base: str, k: int) -> str:
    if k == 1:
        return base
    half = _product(base, k // 2)
    return f"({half} * {half}{f' * {base}' if k % 2 else ''})"


@dataclass
class Part:
    """One Triton function: straight-line code over a block of lanes.

    Attributes:
        results: the values that it returns, in order.
        reads: the outside names that it reads, in order of `order`: its arguments.
        extra: further arguments, behind the outside names.
    """

    name: str
    about: str
    assigns: Iterable[Assign]
    results: Sequence[str]
    order: Sequence[str]
    names: Names = field(default_factory=Names)
    reads: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.assigns = live(self.assigns, self.results)
        wanted = {x for a in self.assigns for x in a.args} | set(self.results)
        self.reads = [n for n in self.order if n in wanted]

    def text(self) -> str:
        """Its source."""
        arguments = ", ".join([*map(self.names, self.reads), "REAL: tl.constexpr", "BLOCK: tl.constexpr"])
        lines = [f"{self.names(a.name)} = {expression(a, [self.names(x) for x in a.args])}" for a in self.assigns]
        lines.append(f"return {', '.join(map(self.names, self.results))}")
        return "\n".join(
            ["@triton.jit", f"def {self.name}({arguments}):", f'    """{self.about}"""', *_indented(lines)]
        )

    def call(self, targets: Sequence[str], given: Mapping[str, str]) -> str:
        """The line that calls it; `given` holds the text of each outside name."""
        arguments = ", ".join([*(given[n] for n in self.reads), "REAL", "BLOCK"])
        return f"{', '.join(targets)} = {self.name}({arguments})"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def maths_text(source: str) -> str:
    """Those of our own functions that a text calls, and what they call in turn."""
    known = {m[1]: block for block in _blocks() if (m := re.search(r"^def (\w+)", block, re.MULTILINE))}
    wanted: set[str] = set()
    queue = [source]
    while queue:
        text = queue.pop()
        found = {name for name in known if re.search(rf"\b{name}\(", text)} - wanted
        wanted |= found
        queue += [known[name].partition("\n")[2].partition("\n")[2] for name in found]
    return "\n\n\n".join(block for name, block in known.items() if name in wanted)


def _blocks() -> list[str]:
    text = resources.files("neuroode.solvers.on_triton").joinpath("triton_maths.py").read_text("utf-8")
    return ["@triton.jit" + b.rstrip() for b in text.split("@triton.jit")[1:]]
