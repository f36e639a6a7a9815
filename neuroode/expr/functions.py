"""The functions of the language that sympy lacks, as sympy functions: opaque, with their derivatives."""

from __future__ import annotations

from functools import cache

import sympy as sp


class phi(sp.Function):
    """phi(k, z): phi_1(z) = (e^z - 1)/z, phi_{k+1} = (phi_k - 1/k!)/z; real or complex z."""

    nargs = 2

    def fdiff(self, argindex: int = 2) -> sp.Expr:
        k, z = self.args
        return phi(k, z) - k * phi(k + 1, z)


class edd(sp.Function):
    """Divided difference of exp at real nodes."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return edd(*self.args, self.args[argindex - 1])


class pair(sp.Function):
    """pair(k, part, m, d): phi_k(m + j) = C + S j with j^2 = d; part 0 is C, part 1 is S. For 2 x 2 blocks."""

    nargs = 4


class swing(sp.Function):
    """swing(0, d) = cosh(sqrt d), swing(1, d) = sinh(sqrt d)/sqrt d; both over e^(sqrt d - 1) for d > 1."""

    nargs = 2


class expm(sp.Function):
    """expm(n, i, j, *entries): entry i, j of the exponential of the n x n matrix given row by row."""


class sigmoid(sp.Function):
    nargs = 1

    def _eval_is_positive(self) -> bool | None:
        return self.args[0].is_real

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return self * (1 - self)


class softplus(sp.Function):
    nargs = 1

    def _eval_is_positive(self) -> bool | None:
        return self.args[0].is_real

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sigmoid(self.args[0])


class maximum(sp.Function):
    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return gate(a - b, 1) if argindex == 1 else 1 - gate(a - b, 1)


class minimum(sp.Function):
    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return gate(b - a, 1) if argindex == 1 else 1 - gate(b - a, 1)


class gate(sp.Function):
    """gate(m, strict): 1 where m > 0 (strict 1) or m >= 0 (strict 0), without gradient."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class pick(sp.Function):
    """pick(c, a, b): a where c is not 0, else b."""

    nargs = 3

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        c = self.args[0]
        return {1: sp.S.Zero, 2: pick(c, 1, 0), 3: pick(c, 0, 1)}[argindex]


class peak(sp.Function):
    """peak(v): the margin of `v >= inf`, which is no number; the step that carries v to infinity knows one."""

    nargs = 1


class rounded(sp.Function):
    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class detach(sp.Function):
    """The value, without gradient."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class operator(sp.Function):
    """A function across the neurons of a layer, of which only the name is known: one subclass a name.

    Attributes:
        called: the name. over: whether its arguments are the elements of an axis, which it takes all at once.
        entry: of a gradient over an axis, which element.
    """

    called: str = ""
    over: bool = False
    entry: int | None = None

    def _eval_is_real(self) -> bool:
        return True


GRADIENT = "grad "  # before the name of an operator: the gradient of the sum of its values over the neurons


@cache
def operator_named(name: str, over: bool = False, entry: int | None = None) -> type[operator]:
    """The class of an operator's calls."""

    class made(operator):
        pass

    made.called, made.over, made.entry = name, over, entry
    made.__name__ = name if entry is None else f"{name}[{entry}]"
    return made
