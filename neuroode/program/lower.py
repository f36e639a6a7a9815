"""From sympy expressions to SSA over real numbers. A complex value is a pair; a real one has no imaginary part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.expr import functions as fn
from neuroode.program import complex_functions, swing
from neuroode.program.builder import Builder


@dataclass(frozen=True, slots=True)
class Value:
    """One number (`im` None) or a complex one, by the names of its parts."""

    re: str
    im: str | None = None


UNARY: dict[type, str] = {
    sp.sin: "sin", sp.cos: "cos", sp.tan: "tan", sp.sinh: "sinh", sp.cosh: "cosh", sp.tanh: "tanh", sp.log: "log",
    sp.erf: "erf", sp.sign: "sign", sp.floor: "floor", sp.ceiling: "ceil", fn.sigmoid: "sigmoid",
    fn.softplus: "softplus", fn.rounded: "round",
}  # fmt: skip

#: functions of ours: sympy knows no number for them, whatever they are applied to
OWN = tuple(f for f in vars(fn).values() if isinstance(f, type) and issubclass(f, sp.Function))

BINARY: dict[type, str] = {fn.maximum: "max", fn.minimum: "min", sp.atan2: "atan2"}


@dataclass
class Lowering:
    """Lowers expressions into a builder; `resolve` gives the value of a symbol."""

    builder: Builder
    resolve: Callable[[sp.Symbol], Value]
    _seen: dict[sp.Expr, Value] = field(default_factory=dict)

    def lower(self, e: sp.Expr) -> Value:
        if e not in self._seen:
            self._seen[e] = self._lower(e)
        return self._seen[e]

    def forget(self) -> None:
        """Drop the memo, for code whose symbols mean something else."""
        self._seen.clear()

    def real(self, e: sp.Expr) -> str:
        """The value of an expression that must be real; an imaginary part that is not there by structure is refused."""
        value = self.lower(e)
        if value.im is not None:
            raise Unsupported(
                f"'{e}' is complex where a real number is needed", hint="use real(...), imag(...) or abs(...)"
            )
        return value.re

    def _lower(self, e: sp.Expr) -> Value:
        if e.is_Symbol:
            return self.resolve(e)
        if e is sp.I:
            return Value(self.builder.const(0.0), self.builder.const(1.0))
        if e.is_number and e.is_real and not e.has(*OWN):
            return Value(self.builder.const(float(e)))
        if e.is_Add:
            return self._add(e)
        if e.is_Mul:
            return self._mul(e)
        if e.is_Pow:
            return self._pow(e)
        return self._function(e)

    # sums and products: what stands still first, so that the prologue takes as much as it can

    def _add(self, e: sp.Expr) -> Value:
        plus: list[Value] = []
        minus: list[Value] = []
        for term in e.as_ordered_terms():
            negative = term.could_extract_minus_sign()
            (minus if negative else plus).append(self.lower(-term if negative else term))
        re = self._signed_sum([v.re for v in plus], [v.re for v in minus])
        has_im = [v.im for v in plus + minus if v.im is not None]
        if not has_im:
            return Value(re)
        return Value(re, self._signed_sum([v.im for v in plus if v.im], [v.im for v in minus if v.im]))

    def _signed_sum(self, plus: list[str], minus: list[str]) -> str:
        """What stands still is summed first, then what varies; a lone subtraction comes last.

        Several terms that read the past are one sum of their own: a readout of branches stays together, whatever is
        added to it (program/collapse.py).
        """
        b = self.builder
        past = [n for n in plus if b.reads_past(n)], [n for n in minus if b.reads_past(n)]
        if len(past[0]) > 1 and len(past[0]) + len(past[1]) < len(plus) + len(minus):
            together = self._signed_sum(*past)
            rest = [n for n in plus if n not in past[0]], [n for n in minus if n not in past[1]]
            return self._signed_sum([*rest[0], together], rest[1])
        still_minus = [n for n in minus if self._still(n)]
        lone = still_minus if len(still_minus) == 1 and not any(self._still(n) for n in plus) else []
        total: str | None = None
        for still in (True, False):
            for n in (n for n in plus if self._still(n) is still):
                total = n if total is None else b.emit("add", total, n)
            for n in (n for n in minus if self._still(n) is still and n not in lone):
                total = b.emit("neg", n) if total is None else b.emit("sub", total, n)
        for n in lone:
            total = b.emit("neg", n) if total is None else b.emit("sub", total, n)
        return b.const(0.0) if total is None else total

    def _still(self, name: str) -> bool:
        return self.builder.levels.get(name, "lane") != "lane"

    def _mul(self, e: sp.Expr) -> Value:
        coefficient, rest = e.as_coeff_Mul(rational=True)
        if coefficient < 0:
            inner = self.lower(-e)
            return Value(self.builder.emit("neg", inner.re), inner.im and self.builder.emit("neg", inner.im))
        top, bottom = self._split_quotient(coefficient, rest)
        reals = [v.re for v in top if v.im is None]
        pairs = [v for v in top if v.im is not None]
        if not pairs:
            return Value(self._quotient(reals, bottom))
        total: Value | None = None
        for still in (True, False):  # complex or not, what stands still is combined first
            group = [v for v in pairs if self._still(v.re) is still]
            up, down = ([n for n in names if self._still(n) is still] for names in (reals, bottom))
            group += [Value(self._quotient(up, down))] if up or down else []
            for v in group:
                total = v if total is None else self._times(total, v)
        assert total is not None
        return total

    def _split_quotient(self, coefficient: sp.Rational, rest: sp.Expr) -> tuple[list[Value], list[str]]:
        top, bottom = [], []
        if coefficient != 1:
            top.append(Value(self.builder.const(float(coefficient))))
        for factor in sp.Mul.make_args(rest):
            base, power = factor.as_base_exp()
            if power.is_Rational and power < 0 and not isinstance(factor, sp.exp):
                below = self.lower(base**-power)
                if below.im is None:
                    bottom.append(below.re)
                else:
                    top.append(self._reciprocal(below))
            else:
                top.append(self.lower(factor))
        return top, bottom

    def _quotient(self, top: list[str], bottom: list[str]) -> str:
        """Product over product; what stands still is combined first."""
        b = self.builder
        total: str | None = None
        for still in (True, False):
            up = [n for n in top if self._still(n) is still]
            down = [n for n in bottom if self._still(n) is still]
            part = self._product(up)
            if down:
                part = b.emit("div", part or b.const(1.0), self._product(down) or "")
            if part is not None:
                total = part if total is None else b.emit("mul", total, part)
        return b.const(1.0) if total is None else total

    def _product(self, names: list[str]) -> str | None:
        total: str | None = None
        for n in names:
            total = n if total is None else self.builder.emit("mul", total, n)
        return total

    def _times(self, x: Value, y: Value) -> Value:
        b = self.builder
        if x.im is None and y.im is None:
            return Value(b.emit("mul", x.re, y.re))
        if y.im is None or x.im is None:
            pair, scale = (x, y.re) if y.im is None else (y, x.re)
            assert pair.im is not None
            return Value(b.emit("mul", pair.re, scale), b.emit("mul", pair.im, scale))
        re = b.emit("sub", b.emit("mul", x.re, y.re), b.emit("mul", x.im, y.im))
        return Value(re, b.emit("add", b.emit("mul", x.re, y.im), b.emit("mul", x.im, y.re)))

    def _reciprocal(self, x: Value) -> Value:
        b = self.builder
        assert x.im is not None
        norm = b.emit("add", b.emit("mul", x.re, x.re), b.emit("mul", x.im, x.im))
        return Value(b.emit("div", x.re, norm), b.emit("neg", b.emit("div", x.im, norm)))

    def _pow(self, e: sp.Expr) -> Value:
        base, power = e.as_base_exp()
        b, x = self.builder, self.lower(base)
        if power.is_Integer:
            return self._whole_power(x, int(power))
        exponent, zero = self.lower(power), b.const(0.0)
        if x.im is not None or exponent.im is not None:
            return Value(*complex_functions.power(b, (x.re, x.im or zero), (exponent.re, exponent.im or zero)))
        if power == sp.Rational(1, 2):
            return Value(b.emit("sqrt", x.re))
        if power == sp.Rational(-1, 2):
            return Value(b.emit("div", b.const(1.0), b.emit("sqrt", x.re)))
        return Value(b.emit("pow", x.re, self.real(power)))

    def _whole_power(self, x: Value, n: int) -> Value:
        b = self.builder
        if x.im is not None:
            total = x
            for _ in range(abs(n) - 1):
                total = self._times(total, x)
            return total if n > 0 else self._reciprocal(total)
        if n == -1:
            return Value(b.emit("div", b.const(1.0), x.re))
        return Value(b.emit("mul", x.re, x.re) if n == 2 else b.emit("ipow", x.re, value=n))

    def _function(self, e: sp.Expr) -> Value:
        kind, b = type(e), self.builder
        special = {
            sp.exp: self._exp, sp.re: self._re, sp.im: self._im, sp.conjugate: self._conjugate, sp.Abs: self._abs,
            sp.arg: self._arg, fn.phi: self._phi, fn.gate: self._gate, fn.pick: self._pick, fn.detach: self._detach,
            fn.expm: self._expm, fn.pair: self._pair, fn.swing: self._swing,
        }  # fmt: skip
        if kind in special:
            return special[kind](e)
        if kind in UNARY and UNARY[kind] in complex_functions.FUNCTIONS:
            z = self.lower(e.args[0])
            if z.im is not None:
                return Value(*complex_functions.FUNCTIONS[UNARY[kind]](b, z.re, z.im))
        if kind in UNARY:
            return Value(b.emit(UNARY[kind], self.real(e.args[0])))
        if kind in BINARY:
            return Value(b.emit(BINARY[kind], self.real(e.args[0]), self.real(e.args[1])))
        if issubclass(kind, fn.operator):
            if kind.over:
                return Value(b.emit("network", *[self.real(a) for a in e.args], value=(kind.called, kind.entry)))
            return Value(b.emit("operator", self.real(e.args[0]), value=kind.called))
        if kind is fn.edd:
            return Value(b.emit("edd", *[self.real(a) for a in e.args]))
        raise Unsupported(f"'{kind.__name__}' is not lowered yet (in '{e}')")

    def _exp(self, e: sp.Expr) -> Value:
        b, z = self.builder, self.lower(e.args[0])
        if z.im is None:
            return Value(b.emit("exp", z.re))
        return Value(*complex_functions.exp(b, z.re, z.im))

    def _re(self, e: sp.Expr) -> Value:
        return Value(self.lower(e.args[0]).re)

    def _im(self, e: sp.Expr) -> Value:
        return Value(self.lower(e.args[0]).im or self.builder.const(0.0))

    def _conjugate(self, e: sp.Expr) -> Value:
        z = self.lower(e.args[0])
        return Value(z.re, z.im and self.builder.emit("neg", z.im))

    def _abs(self, e: sp.Expr) -> Value:
        b, z = self.builder, self.lower(e.args[0])
        if z.im is None:
            return Value(b.emit("abs", z.re))
        norm = b.emit("add", b.emit("mul", z.re, z.re), b.emit("mul", z.im, z.im))
        root = b.emit("sqrt", b.emit("where", norm, norm, b.const(1.0)))  # so that the gradient at 0 is 0, not nan
        return Value(b.emit("where", norm, root, b.const(0.0)))

    def _arg(self, e: sp.Expr) -> Value:
        z = self.lower(e.args[0])
        return Value(self.builder.emit("atan2", z.im or self.builder.const(0.0), z.re))

    def _phi(self, e: sp.Expr) -> Value:
        k, z = int(e.args[0]), self.lower(e.args[1])
        if z.im is None:
            return Value(self.builder.emit("phi", z.re, value=k))
        parts = [self.builder.emit(op, z.re, z.im, value=k) for op in ("cphi_re", "cphi_im")]
        return Value(parts[0], parts[1])

    def _gate(self, e: sp.Expr) -> Value:
        op = "gt" if int(e.args[1]) else "ge"
        return Value(self.builder.emit(op, self.real(e.args[0]), self.builder.const(0.0)))

    def _pick(self, e: sp.Expr) -> Value:
        c, x, y = self.real(e.args[0]), self.lower(e.args[1]), self.lower(e.args[2])
        b, zero = self.builder, self.builder.const(0.0)
        re = b.emit("where", c, x.re, y.re)
        if x.im is None and y.im is None:
            return Value(re)
        return Value(re, b.emit("where", c, x.im or zero, y.im or zero))

    def _detach(self, e: sp.Expr) -> Value:
        z = self.lower(e.args[0])
        return Value(self.builder.emit("detach", z.re), z.im and self.builder.emit("detach", z.im))

    def _pair(self, e: sp.Expr) -> Value:
        m, d = (self.real(a) for a in e.args[2:])
        return Value(self.builder.emit("pair", m, d, value=(int(e.args[0]), "CS"[int(e.args[1])])))

    def _swing(self, e: sp.Expr) -> Value:
        return Value(swing.swing(self.builder, self.real(e.args[1]))[int(e.args[0])])

    def _expm(self, e: sp.Expr) -> Value:
        n, i, j = (int(a) for a in e.args[:3])
        entries = [self.real(a) for a in e.args[3:]]
        return Value(self.builder.emit("expm", *entries, value=(n, i, j)))
