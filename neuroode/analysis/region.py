"""The stability function R(z) of a method: one step of dx/dt = lambda x multiplies x by R(lambda dt).

The stability region is where |R| <= 1 (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from neuroode.analysis import algebra
from neuroode.analysis.conditions import in_the_disc

X, Y = sp.symbols("x y", real=True)


@dataclass(frozen=True)
class StabilityFunction:
    """R as an expression in z."""

    R: sp.Expr
    z: sp.Symbol

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """R at numbers."""
        return sp.lambdify(self.z, self.R, "numpy")(np.asarray(z, complex)) + 0 * z

    @property
    def is_polynomial(self) -> bool:
        return self.R.is_polynomial(self.z)

    def of(self, matrix: sp.Matrix) -> sp.Matrix:
        """A polynomial R of a matrix."""
        total = sp.zeros(*matrix.shape)
        for c in sp.Poly(self.R, self.z).all_coeffs():
            total = (total * matrix + c * sp.eye(matrix.rows)).applyfunc(sp.expand)
        return total

    @cached_property
    def is_half_plane(self) -> bool:
        """Whether |R(z)| <= 1 exactly where Re z <= 0: stable wherever the flow is, whatever dt."""
        if sp.exp(self.z) == self.R:
            return True
        found = in_the_disc(sp.Matrix([[self.R.subs(self.z, X + sp.I * Y)]]))
        return found == [-X]

    @cached_property
    def real_interval(self) -> tuple[sp.Expr, sp.Expr]:
        """The real numbers next to 0 and left of it where |R| <= 1."""
        if self.is_half_plane:
            return -sp.oo, sp.S.Zero
        return self._left_end(self.R.subs(self.z, X)), sp.S.Zero

    @cached_property
    def imaginary_bound(self) -> sp.Expr:
        """The largest y with |R(i w)| <= 1 for all |w| <= y."""
        if self.is_half_plane:
            return sp.oo
        return -self._left_end(self.R.subs(self.z, sp.I * X))

    def _left_end(self, R: sp.Expr) -> sp.Expr:
        """First x < 0 beyond which |R| > 1; 0 if that is so at once."""
        above, below = (sp.expand(sp.Mul(*(e, sp.conjugate(e)))) for e in sp.fraction(algebra.together(R)))
        gap = sp.Poly(sp.expand(above - below), X)
        roots = sorted((r for r in gap.real_roots() if r < 0), reverse=True)
        for inner, outer in zip([sp.S.Zero, *roots], [*roots, None], strict=True):
            middle = inner - 1 if outer is None else (inner + outer) / 2
            if gap.eval(sp.Rational(float(middle))) > 0:
                return inner if inner.is_rational else sp.Float(inner.evalf(20), 10)
        return -sp.oo

    def __str__(self) -> str:
        if self.is_half_plane:
            return f"R(z) = {self.R}: stable exactly where Re(lambda) <= 0, for every dt"
        low, up = self.real_interval[0], self.imaginary_bound
        return f"R(z) = {self.R}: {low} <= lambda*dt <= 0 on the real axis, |lambda*dt| <= {up} on the imaginary one"
