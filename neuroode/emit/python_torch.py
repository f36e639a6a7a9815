"""Torch source text from a program: `prologue`, `step`, and what they need. The text runs without neuroode."""

from __future__ import annotations

import re
from importlib import resources

from neuroode.emit.python import Dialect, joined_parts, prologue_text, step_text, uses_special
from neuroode.program.types import EventSlot, Program

UNARY = {
    "exp": "torch.exp", "expm1": "torch.expm1", "log": "torch.log", "log1p": "torch.log1p", "sqrt": "torch.sqrt",
    "sin": "torch.sin", "cos": "torch.cos", "tan": "torch.tan", "sinh": "torch.sinh", "cosh": "torch.cosh",
    "tanh": "torch.tanh", "sigmoid": "torch.sigmoid", "erf": "torch.erf", "abs": "torch.abs", "sign": "torch.sign",
    "floor": "torch.floor", "ceil": "torch.ceil", "round": "torch.round",
}  # fmt: skip

SUPPORT = '''
def reset(e, target, x):
    """target where e is 1, else x; the gradient is that of x + e*(target - x)."""
    chosen = torch.where(e.detach() != 0, target, x)
    if not differentiated(e):
        return chosen
    jump = target - x
    return chosen + (e - e.detach()) * torch.where(jump.isfinite(), jump, torch.zeros_like(jump))


def event(margin, strict, slope):
    """1 where the margin passes; `slope()` is the surrogate's derivative, read only where a gradient is needed."""
    bit = (margin > 0 if strict else margin >= 0).to(margin.dtype)
    if not differentiated(margin):
        return bit
    fine, first = margin.isfinite(), slope()
    finite = torch.where(fine, margin, torch.zeros_like(margin))  # inf - inf would be nan
    rise = (first + first.detach()) / 2 * (finite - finite.detach())  # halves: a second derivative counts once
    return bit + torch.where(fine, rise, torch.zeros_like(rise))


def differentiated(x):
    """Whether a derivative is asked for, in reverse or in forward mode."""
    return x.requires_grad or torch.autograd.forward_ad._current_level >= 0


def number(value, like):
    """A literal as a tensor."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
'''


def special_text() -> str:
    """The text of the special functions, without its own header."""
    text = resources.files("neuroode.solvers.on_torch").joinpath("special_torch.py").read_text("utf-8")
    return text.partition("import torch\n")[2]


def prologue_source(program: Program) -> str:
    """Source of `prologue(p, dt)` alone."""
    number = "def number" + SUPPORT.rpartition("def number")[2]
    special = special_text() if uses_special(program) else ""
    return joined_parts(["import math\n\nimport torch\n", number, special, prologue_text(program, TORCH)])


def torch_source(program: Program) -> str:
    """Source of `prologue(p, dt)`, `step(coefficients, carry, inputs)` and their support.

    `prologue` takes constrained parameters by slot name and gives (coefficients, inits); `step` gives (outputs, next,
    trace).
    """
    parts = [
        "import math\n\nimport torch\n",
        SUPPORT,
        special_text() if uses_special(program) else "",
        prologue_text(program, TORCH),
        step_text(program, TORCH),
    ]
    return joined_parts(parts)


def _event(target: str, margin: str, slot: EventSlot, inner: list[str], slope: str) -> list[str]:
    """The slope is a function: it is computed where a gradient is needed only."""
    surrogate = f"slope_{re.sub(r'[^A-Za-z0-9]', '_', slot.name)}"
    rows = [f"def {surrogate}():", *(f"    {r}" for r in inner), f"    return {slope}"]
    return [*rows, f"{target} = event({margin}, {slot.strict}, {surrogate})"]


def _compare(sign: str):
    return lambda value, t: f"({t[0]} {sign} {t[1]}).to({t[0]}.dtype)"


def _pair(value, t):
    k, part = value
    if part in "CS":
        return f"pair({k}, {t[0]}, {t[1]})[{'CS'.index(part)}]"
    return f"pair_slope({k}, {part!r}, {t[0]}, {t[1]})"


SPECIAL = {
    "softplus": lambda value, t: f"torch.logaddexp({t[0]}, number(0.0, {t[0]}))",
    "pow": lambda value, t: f"torch.pow({t[0]}, {t[1]})",
    "atan2": lambda value, t: f"torch.atan2({t[0]}, {t[1]})",
    "gt": _compare(">"),
    "ge": _compare(">="),
    "min": lambda value, t: f"torch.where(({t[1]} > {t[0]}) | {t[0]}.isnan(), {t[0]}, {t[1]})",
    "max": lambda value, t: f"torch.where(({t[0]} > {t[1]}) | {t[0]}.isnan(), {t[0]}, {t[1]})",
    "where": lambda value, t: f"torch.where({t[0]} != 0, {t[1]}, {t[2]})",
    "reset": lambda value, t: f"reset({', '.join(t)})",
    "detach": lambda value, t: f"{t[0]}.detach()",
    "phi": lambda value, t: f"phi({value}, {t[0]})",
    "cphi_re": lambda value, t: f"cphi({value}, {t[0]}, {t[1]}).real",
    "cphi_im": lambda value, t: f"cphi({value}, {t[0]}, {t[1]}).imag",
    "pair": _pair,
    "edd": lambda value, t: f"edd({', '.join(t)})",
    "expm": lambda value, t: f"expm({value[0]}, {', '.join(t)})[..., {value[1]}, {value[2]}]",
}


def _unary(function: str):
    return lambda value, t: f"{function}({t[0]})"


def _operator(name: str, x: str, like: str) -> str:
    return f"operators[{name!r}](torch.broadcast_to({x}, {like}.shape))"


def _network(name: str, xs: list[str], like: str) -> str:
    wide = ", ".join(f"torch.broadcast_to({x}, {like}.shape)" for x in xs)
    return f"operators[{name!r}](torch.stack([{wide}], -1))"


TORCH = Dialect("torch", {op: _unary(f) for op, f in UNARY.items()} | SPECIAL, _event, _operator, _network)
