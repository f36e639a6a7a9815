"""The exact step of a linear block whose drive is held over the step (zero-order hold).

x(dt) = e^(A dt) x(0) + dt phi_1(A dt) u. Closed forms: one state, real or complex; triangular blocks of two or three
(the entries of a function of a triangular matrix are divided differences summed over paths); full blocks of two, with
real, equal or complex eigenvalues. Larger ones take the exponential of [[A, 1], [0, 0]] dt numerically.

Sources: Rotter and Diesmann, Biol. Cybern. 81 (1999); Davis, Lin. Alg. Appl. 6 (1973) for triangular functions;
Van Loan, IEEE Trans. Autom. Control 23 (1978) for the augmented exponential.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import sympy as sp

from neuroode.analysis.linearity import running
from neuroode.analysis.types import Block, Report
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import edd, expm, pair, phi
from neuroode.system.show import show

MAX_BLOCK = 8
CLOSED_TRIANGULAR = 3


def applies(report: Report, block: Block) -> Verdict:
    if block.A is None or block.drive is None:
        facts = "; ".join(f"{f.subject} is {f.claim}, {f.detail}" for f in report.facts if f.subject in block.states)
        return Verdict(False, f"not linear: {facts}")
    n = len(block.states)
    complex_states = [s for s in block.states if report.system.is_complex(s)]
    if n > 1 and complex_states:
        return Verdict(
            False,
            f"coupled complex states {', '.join(block.states)}: only a single complex state is solved in closed form",
        )
    if n > MAX_BLOCK:
        return Verdict(False, f"{n} coupled states, more than {MAX_BLOCK}")
    if block.kind == "switched" and n > 1 and not _closed(block):
        return Verdict(False, "the coefficients change in each step and the block has no closed form")
    return Verdict(True, f"{block.kind} block of {n}: {_form(block)}")


def derive(report: Report, block: Block, dt: sp.Symbol) -> Update:
    """The update of one linear block.

    Raises:
        AssertionError: never, if `applies` said yes.
    """
    assert block.A is not None
    assert block.drive is not None
    propagator, gain = _functions(block, dt)
    x = sp.Matrix([running(report.system)[s] for s in block.states])
    values = {s: _row(propagator, x, i) + _driven(gain, block.drive, i) for i, s in enumerate(block.states)}
    return Update(block.states, "exact", values, True, None, applies(report, block).reason, _shown(block))


def _functions(block: Block, dt: sp.Symbol) -> tuple[sp.Matrix, sp.Matrix]:
    """e^(A dt) and dt phi_1(A dt)."""
    assert block.A is not None
    if _closed(block):
        return _closed_form(block.A, dt)
    return _two_by_two(block.A, dt) if block.A.rows == 2 else _numeric(block.A, dt)


def _shown(block: Block) -> str:
    """Full blocks as matrices; the entries are too long to read."""
    if _closed(block):
        return ""
    x, drive = ", ".join(block.states), ", ".join(map(show, block.drive or ()))
    head = f"[{x}][t] = Phi [{x}] + Gamma u, Phi = exp(A dt), Gamma = dt phi_1(A dt), u = [{drive}]"
    if len(block.states) > 2:
        return head
    form = "Phi = C 1 + S (A dt - m 1), m = tr(A dt)/2, d = m^2 - det(A dt)"
    return f"{head}\n    {form}, C = e^m cosh(sqrt d), S = e^m sinh(sqrt d)/sqrt d"


def _closed(block: Block) -> bool:
    assert block.A is not None
    n = len(block.states)
    return n == 1 or (n <= CLOSED_TRIANGULAR and block.A.is_lower)


def _form(block: Block) -> str:
    if len(block.states) == 1:
        return "closed form, exp and phi_1"
    if _closed(block):
        return "closed form, divided differences of exp"
    two = len(block.states) == 2
    return (
        "closed form of a 2 x 2 block, all signs of the discriminant"
        if two
        else "matrix exponential of the augmented block, taken numerically"
    )


def _row(m: sp.Matrix, v: sp.Matrix, i: int) -> sp.Expr:
    return sp.Add(*[m[i, j] * v[j] for j in range(m.cols)])


def _driven(gain: sp.Matrix, drive: sp.Matrix, i: int) -> sp.Expr:
    """gain * drive, with the drive's terms apart, so that what stands still is computed once."""
    return sp.Add(*[gain[i, j] * term for j in range(gain.cols) for term in sp.Add.make_args(_terms(drive[j]))])


def _terms(drive: sp.Expr) -> sp.Expr:
    """Split (I - E)/tau into I/tau - E/tau if it is a sum over a common factor; leave anything longer alone."""
    held = [s for s in drive.free_symbols if "[" in s.name]
    split = sp.Add(*[held_i * sp.diff(drive, held_i) for held_i in held])
    rest = drive.subs(dict.fromkeys(held, 0))
    linear = drive.is_polynomial(*held) and all(not sp.diff(drive, h).has(*held) for h in held)
    return split + rest if held and linear else drive


def _closed_form(A: sp.Matrix, dt: sp.Symbol) -> tuple[sp.Matrix, sp.Matrix]:
    if A.rows == 1:
        z = A[0, 0] * dt
        return sp.Matrix([[sp.exp(z)]]), sp.Matrix([[dt * phi(1, z) if z != 0 else dt]])
    return _triangular(A, dt, ()), dt * _triangular(A, dt, (sp.S.Zero,))


def _triangular(A: sp.Matrix, dt: sp.Symbol, extra: tuple[sp.Expr, ...]) -> sp.Matrix:
    """f(A dt) of a lower triangular A; f the divided difference of exp with `extra` nodes: exp, or phi_1 for (0,)."""
    n = A.rows
    return sp.Matrix(n, n, lambda i, j: _entry(A, dt, i, j, extra) if i >= j else sp.S.Zero)


def _entry(A: sp.Matrix, dt: sp.Symbol, i: int, j: int, extra: tuple[sp.Expr, ...]) -> sp.Expr:
    total = sp.S.Zero
    inner = range(j + 1, i)
    for count in range(len(inner) + 1):
        for middle in combinations(inner, count):
            path = (j, *middle, i) if i > j else (j,)
            weight = sp.Mul(*[A[b, a] * dt for a, b in pairwise(path)])
            if weight != 0:
                total += weight * difference(*[A[s, s] * dt for s in path], *extra)
    return total


def difference(*nodes: sp.Expr) -> sp.Expr:
    """Divided difference of exp at the nodes, by its simplest name."""
    if len(nodes) == 1:
        return sp.exp(nodes[0])
    if len(nodes) == 2 and sp.S.Zero in nodes:
        z = nodes[0] if nodes[1] == 0 else nodes[1]
        return phi(1, z) if z != 0 else sp.S.One
    return edd(*nodes)


def _two_by_two(A: sp.Matrix, dt: sp.Symbol) -> tuple[sp.Matrix, sp.Matrix]:
    """f(A dt) = C 1 + S (A dt - m 1) for f = exp and phi_1, with m = tr/2 and d = m^2 - det of A dt."""
    m = A.trace() * dt / 2
    d = dt**2 * (((A[0, 0] - A[1, 1]) / 2) ** 2 + A[0, 1] * A[1, 0])
    rest = A * dt - m * sp.eye(2)
    exponential, gain = (pair(k, 0, m, d) * sp.eye(2) + pair(k, 1, m, d) * rest for k in (0, 1))
    return exponential, dt * gain


def _numeric(A: sp.Matrix, dt: sp.Symbol) -> tuple[sp.Matrix, sp.Matrix]:
    n = A.rows
    augmented = sp.Matrix(sp.BlockMatrix([[A * dt, sp.eye(n)], [sp.zeros(n), sp.zeros(n)]]))
    entries = list(augmented)
    propagator = sp.Matrix(n, n, lambda i, j: expm(2 * n, i, j, *entries))
    return propagator, dt * sp.Matrix(n, n, lambda i, j: expm(2 * n, i, n + j, *entries))
