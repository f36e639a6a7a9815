"""Ito lines `dX = f*dt + g*dW + ...` by linearity: the drift f, and what each Wiener increment is multiplied by.

Inside such a line `dt` is the differential, also in the definitions that it reads (language.md, sections 3 and 8).
"""

from __future__ import annotations

import sympy as sp

from neuroode._errors import AnalysisError
from neuroode.expr.nodes import Ref, walk
from neuroode.spec.names import is_increment
from neuroode.spec.types import Equation
from neuroode.system.show import show
from neuroode.system.symbols import Reader, SymbolTable

DT = sp.Symbol("(dt)", positive=True)  # the differential: no name of the language can be this one


def split(table: SymbolTable, equation: Equation) -> tuple[sp.Expr, dict[str, sp.Expr]]:
    """Drift and diffusion of one line, in base units of the state over time, and over the square root of time.

    Raises:
        AnalysisError: the line, with its definitions written out, is not linear in dt and the increments.
    """
    rhs = Reader(table, flow=True, surrogate={"dt": DT}).expr(equation.rhs)
    names = {n.name for n in walk(equation.rhs) if isinstance(n, Ref) and is_increment(n.name)}
    waves = {name: table.symbol(name, "[t]") for name in sorted(names)}
    small = {DT, *waves.values()}
    slopes = {s: sp.diff(rhs, s) for s in small}
    rest = sp.expand(rhs - sp.Add(*[s * a for s, a in slopes.items()]))
    if any(a.has(*small) for a in slopes.values()) or rest != 0:
        raise AnalysisError(
            f"the differential of {equation.name} is not linear in dt and dW: {show(rhs).replace(DT.name, 'dt')}",
            place=equation.rhs.mark.place,
            hint=f"write d{equation.name} = f*dt + g*dW, with f and g free of dt; definitions in it are written out",
        )
    return slopes[DT], {name: slopes[s] for name, s in waves.items() if slopes[s] != 0}
