"""Expressions as text in the language's own spelling: the imaginary unit is `i`, a power is `^`."""

from __future__ import annotations

import sympy as sp
from sympy.printing.str import StrPrinter

NAMES = {"Abs": "abs", "re": "real", "im": "imag", "conjugate": "conj", "ceiling": "ceil", "maximum": "max"}
NAMES |= {"minimum": "min", "rounded": "round", "pick": "where"}


class _Printer(StrPrinter):
    def _print_ImaginaryUnit(self, expr: sp.Expr) -> str:
        return "i"

    def _print_Infinity(self, expr: sp.Expr) -> str:
        return "inf"

    def _print_NegativeInfinity(self, expr: sp.Expr) -> str:
        return "-inf"

    def _print_Pow(self, expr: sp.Expr, rational: bool = False) -> str:
        return super()._print_Pow(expr, rational).replace("**", "^")

    def _print_Abs(self, expr: sp.Expr) -> str:
        return f"abs({self._print(expr.args[0])})"

    def _print_Function(self, expr: sp.Expr) -> str:
        name = type(expr).__name__
        if name == "phi":
            return f"phi{expr.args[0]}({self._print(expr.args[1])})"
        if name == "gate":
            return f"({self._print(expr.args[0])} {'>' if expr.args[1] else '>='} 0)"
        return f"{NAMES.get(name, name)}({', '.join(self._print(a) for a in expr.args)})"


def show(expr: sp.Expr, order: str | None = None) -> str:
    """The text of an expression; `order` of its terms as sympy names them."""
    return _Printer({"order": order}).doprint(expr)
