"""The exact step of a linear block whose drive is held over the step, or runs linearly through it (a ramp).

x(dt) = e^(A dt) x(0) + sum_k dt k! phi_(k+1)(A dt) u_k for a drive sum_k u_k (s/dt)^k: k = 0 alone where inputs are
held, k = 1 too for ramps. Closed forms: one state, real or complex; triangular real blocks of two or three (the entries
of a function of a triangular matrix are divided differences summed over paths); full real blocks of two, with real,
equal or complex eigenvalues. Others take the exponential of [[A dt, 1, 0, ...], [0, 0, 1, ...], ...] numerically,
complex states by their real and imaginary parts. Where A reads held values, the same is computed anew in each step.

Sources: Rotter and Diesmann, Biol. Cybern. 81 (1999); Davis, Lin. Alg. Appl. 6 (1973) for triangular functions;
Van Loan, IEEE Trans. Autom. Control 23 (1978) for the augmented exponential; Higham, Functions of Matrices (2008),
section 10.7.4, for phi functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import sympy as sp

from neuroode.analysis.linearity import during, running
from neuroode.analysis.types import Block, Report
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import edd, expm, pair, phi
from neuroode.system.show import show
from neuroode.system.types import OdeSystem

MAX_BLOCK = 8  # real numbers
MAX_SWITCHED = 4  # real numbers, where the exponential is numeric and taken in each step
CLOSED_TRIANGULAR = 3
MAX_DEGREE = 3  # of a drive in a ramp
FRACTION = sp.Symbol("(fraction)", real=True)  # of the step that has passed


@dataclass(frozen=True, slots=True)
class Linear:
    """x' = A x + sum_k drives[k] fraction^k, over real numbers if the block was coupled and complex."""

    x: sp.Matrix
    A: sp.Matrix
    drives: tuple[sp.Matrix, ...]


def applies(report: Report, block: Block) -> Verdict:
    if block.A is None or block.drive is None:
        known = [f for f in report.facts if f.subject in block.states and f.evidence == "proved"]
        facts = "; ".join(f"{f.subject} is {f.claim}, {f.detail}" for f in known)
        return Verdict(False, f"not linear: {facts}")
    if powers(report.system, block.drive) is None:
        ramps = ", ".join(s.name for s in report.system.ramps if block.drive.has(s))
        return Verdict(
            False,
            f"its drive is no polynomial up to degree {MAX_DEGREE} in the ramp {ramps}, which runs through the step",
        )
    n = _size(report.system, block)
    if n > MAX_BLOCK:
        return Verdict(False, f"{n} coupled real numbers, more than {MAX_BLOCK}")
    if block.kind == "switched" and n > MAX_SWITCHED and _kind(report.system, block) == "numeric":
        reason = f"its coefficients change from step to step: {n} coupled real numbers, more than {MAX_SWITCHED}"
        return Verdict(False, f"{reason}, would take the exponential of a matrix in each step")
    return Verdict(True, f"{block.kind} block of {len(block.states)}: {_form(report.system, block)}")


def derive(report: Report, block: Block, dt: sp.Symbol) -> Update:
    """The update of one linear block to which `applies` said yes."""
    linear = _linear(report.system, block)
    propagator, gains = _functions(linear, dt, _kind(report.system, block))
    new = [_row(propagator, linear.x, i) + _driven(gains, linear.drives, i) for i in range(len(linear.x))]
    values = _states(report.system, block, new)
    return Update(
        block.states, "exact", values, True, None, applies(report, block).reason, shown=_shown(report.system, block)
    )


def powers(system: OdeSystem, drive: sp.Matrix) -> tuple[sp.Matrix, ...] | None:
    """Coefficients of a drive by power of the fraction of the step; None if it is no polynomial of small degree."""
    rest = drive.applyfunc(lambda e: during(system, e, FRACTION))
    found: list[sp.Matrix] = []
    while not found or not rest.is_zero_matrix:
        if len(found) > MAX_DEGREE or not all(e.is_polynomial(FRACTION) for e in rest):
            return None
        found.append(rest.subs(FRACTION, 0) / sp.factorial(len(found)))
        rest = rest.applyfunc(lambda e: sp.expand(sp.diff(e, FRACTION)))
    return tuple(found)


def _size(system: OdeSystem, block: Block) -> int:
    """Real numbers of a coupled block."""
    if block.A is not None and block.A.rows > len(block.states):  # it is over real numbers already
        return block.A.rows
    return sum(2 if system.is_complex(s) and len(block.states) > 1 else 1 for s in block.states)


def _kind(system: OdeSystem, block: Block) -> str:
    assert block.A is not None
    n = len(block.states)
    if _size(system, block) > n:
        return "numeric"
    if n == 1:
        return "one"
    if n <= CLOSED_TRIANGULAR and block.A.is_lower:
        return "triangular"
    return "pair" if n == 2 else "numeric"


FORMS = {
    "one": "closed form, exp and phi_1",
    "triangular": "closed form, divided differences of exp",
    "pair": "closed form of a 2 x 2 block, all signs of the discriminant",
    "numeric": "matrix exponential of the augmented block, taken numerically",
}


def _form(system: OdeSystem, block: Block) -> str:
    text = FORMS[_kind(system, block)]
    if _size(system, block) > len(block.states):
        text += f" over {_size(system, block)} real numbers: complex states by their real and imaginary parts"
    ramps = [s.name for s in system.ramps if block.drive is not None and block.drive.has(s)]
    if ramps:
        text += f"; the ramp {', '.join(ramps)} through phi_2"
    if block.kind == "switched":
        held = sorted({s.name for s in block.A.free_symbols if "[" in s.name}) if block.A is not None else []
        text += f"; computed anew in each step, because A reads {', '.join(held)}"
    return text


def _linear(system: OdeSystem, block: Block) -> Linear:
    assert block.A is not None
    assert block.drive is not None
    x = sp.Matrix([running(system)[s] for s in block.states])
    drives = powers(system, block.drive)
    assert drives is not None
    if _size(system, block) == len(block.states):
        return Linear(x, block.A, drives)
    if block.A.rows > len(block.states):
        return Linear(_numbers(system, block), block.A, drives)
    parts = [(i, p) for i, s in enumerate(block.states) for p in ("re", "im")[: 2 if system.is_complex(s) else 1]]
    A = sp.Matrix(len(parts), len(parts), lambda r, c: _real_entry(block.A, parts[r], parts[c]))
    return Linear(_parts(x, parts), A, tuple(_parts(d, parts) for d in drives))


def _numbers(system: OdeSystem, block: Block) -> sp.Matrix:
    """Real and imaginary parts of the states, in the order of `real_form`."""
    x = running(system)
    return sp.Matrix([f(x[s]) for s in block.states for f in ((sp.re, sp.im) if system.is_complex(s) else (sp.re,))])


def _parts(v: sp.Matrix, parts: list[tuple[int, str]]) -> sp.Matrix:
    return sp.Matrix([sp.re(v[i]) if p == "re" else sp.im(v[i]) for i, p in parts])


def _real_entry(A: sp.Matrix, row: tuple[int, str], column: tuple[int, str]) -> sp.Expr:
    """Multiplication by a + b i as [[a, -b], [b, a]]."""
    a = A[row[0], column[0]]
    if row[1] == column[1]:
        return sp.re(a)
    return -sp.im(a) if row[1] == "re" else sp.im(a)


def _states(system: OdeSystem, block: Block, new: list[sp.Expr]) -> dict[str, sp.Expr]:
    """Values by state; two real rows make one complex state."""
    if len(new) == len(block.states):
        return dict(zip(block.states, new, strict=True))
    rows = iter(new)
    return {s: next(rows) + (sp.I * next(rows) if system.is_complex(s) else 0) for s in block.states}


def _functions(linear: Linear, dt: sp.Symbol, kind: str) -> tuple[sp.Matrix, list[sp.Matrix]]:
    """e^(A dt), and dt k! phi_(k+1)(A dt) for each power of the drive."""
    count = len(linear.drives)
    propagator, functions = {"one": _one, "triangular": _triangular, "pair": _pair, "numeric": _numeric}[kind](
        linear.A * dt, count
    )
    return propagator, [dt * sp.factorial(k) * f for k, f in enumerate(functions)]


def _shown(system: OdeSystem, block: Block) -> str:
    """Full blocks as matrices; the entries are too long to read."""
    kind = _kind(system, block)
    if kind in ("one", "triangular"):
        return ""
    linear = _linear(system, block)
    x, drives = ", ".join(map(show, linear.x)), linear.drives
    gains = " + ".join(["Gamma drive", *(f"Gamma_{k} drive_{k}" for k in range(1, len(drives)))])
    rows = [f"Gamma_{k} = dt {sp.factorial(k)} phi_{k + 1}(A dt)" for k in range(1, len(drives))]
    rows += [f"drive_{k} = [{', '.join(map(show, d))}]" for k, d in enumerate(drives) if k]
    head = f"[{x}][t] = Phi [{x}] + {gains}, Phi = exp(A dt), Gamma = dt phi_1(A dt), "
    head = ", ".join([head + f"drive = [{', '.join(map(show, drives[0]))}]", *rows])
    if kind == "numeric":
        return head
    form = "Phi = C 1 + S (A dt - m 1), m = tr(A dt)/2, d = m^2 - det(A dt)"
    return f"{head}\n    {form}, C = e^m cosh(sqrt d), S = e^m sinh(sqrt d)/sqrt d"


def _row(m: sp.Matrix, v: sp.Matrix, i: int) -> sp.Expr:
    return sp.Add(*[m[i, j] * v[j] for j in range(m.cols)])


def _driven(gains: list[sp.Matrix], drives: tuple[sp.Matrix, ...], i: int) -> sp.Expr:
    """sum_k gains[k] drives[k], with the drives' terms apart, so that what stands still is computed once."""
    return sp.Add(*[
        gain[i, j] * term
        for gain, drive in zip(gains, drives, strict=True)
        for j in range(gain.cols)
        for term in sp.Add.make_args(_terms(drive[j]))
    ])  # fmt: skip


def _terms(drive: sp.Expr) -> sp.Expr:
    """Split (I - E)/tau into I/tau - E/tau if it is a sum over a common factor; leave anything longer alone."""
    held = [s for s in drive.free_symbols if "[" in s.name]
    if not held or not drive.is_polynomial(*held):
        return drive
    slopes = [sp.diff(drive, s) for s in held]
    if any(a.has(*held) for a in slopes):
        return drive
    return sp.Add(*[s * a for s, a in zip(held, slopes, strict=True)]) + drive.subs(dict.fromkeys(held, 0))


def _one(Z: sp.Matrix, count: int) -> tuple[sp.Matrix, list[sp.Matrix]]:
    z = Z[0, 0]
    return sp.Matrix([[sp.exp(z)]]), [sp.Matrix([[difference(z, *[sp.S.Zero] * (k + 1))]]) for k in range(count)]


def _triangular(Z: sp.Matrix, count: int) -> tuple[sp.Matrix, list[sp.Matrix]]:
    """Functions of a lower triangular matrix; each the divided difference of exp with zeros as further nodes."""
    n = Z.rows
    exponential, *phis = (
        sp.Matrix(n, n, lambda i, j, k=k: _entry(Z, i, j, (sp.S.Zero,) * k) if i >= j else sp.S.Zero)
        for k in range(count + 1)
    )
    return exponential, phis


def _entry(Z: sp.Matrix, i: int, j: int, zeros: tuple[sp.Expr, ...]) -> sp.Expr:
    total = sp.S.Zero
    inner = range(j + 1, i)
    for count in range(len(inner) + 1):
        for middle in combinations(inner, count):
            path = (j, *middle, i) if i > j else (j,)
            weight = sp.Mul(*[Z[b, a] for a, b in pairwise(path)])
            if weight != 0:
                total += weight * difference(*[Z[s, s] for s in path], *zeros)
    return total


def difference(*nodes: sp.Expr) -> sp.Expr:
    """Divided difference of exp at the nodes, by its simplest name."""
    others = [z for z in nodes if z != 0]
    zeros = len(nodes) - len(others)
    if not others:
        return 1 / sp.factorial(zeros - 1)
    if len(others) == 1:
        return phi(zeros, others[0]) if zeros else sp.exp(others[0])
    return edd(*nodes)


def _pair(Z: sp.Matrix, count: int) -> tuple[sp.Matrix, list[sp.Matrix]]:
    """f(Z) = C 1 + S (Z - m 1) for f = exp and phi_k, with m = tr/2 and d = m^2 - det of Z."""
    m = Z.trace() / 2
    d = ((Z[0, 0] - Z[1, 1]) / 2) ** 2 + Z[0, 1] * Z[1, 0]
    rest = Z - m * sp.eye(2)
    exponential, *phis = (pair(k, 0, m, d) * sp.eye(2) + pair(k, 1, m, d) * rest for k in range(count + 1))
    return exponential, phis


def _numeric(Z: sp.Matrix, count: int) -> tuple[sp.Matrix, list[sp.Matrix]]:
    """e^Z, phi_1(Z), phi_2(Z), ... are the first rows of the exponential of [[Z, 1, 0], [0, 0, 1], [0, 0, 0]]."""
    n, size = Z.rows, Z.rows * (count + 1)
    augmented = sp.zeros(size)
    augmented[:n, :n] = Z
    for i in range(n * count):
        augmented[i, i + n] = 1
    entries = list(augmented)
    exponential, *phis = (
        sp.Matrix(n, n, lambda i, j, k=k: expm(size, i, j + k * n, *entries)) for k in range(count + 1)
    )
    return exponential, phis
