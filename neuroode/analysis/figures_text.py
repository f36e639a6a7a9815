"""Figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neuroode.analysis.figures import INSIDE, Figures, Mode
from neuroode.analysis.response import Peak

Array = np.ndarray


def text(f: Figures) -> str:
    """Tables of modes and of responses."""
    many = f", {f.drawn} neurons drawn from their inits: median [least, largest]" if f.drawn > 1 else ""
    per = f.unit or "unit of time"
    parts = [f"figures at dt = {f.dt:g}{f' {f.unit}' if f.unit else ''}{many}"]
    if f.modes:
        parts += [f"  modes (frequencies in rad/{per})", _table(list(_modes(f)))]
    channels = f.channels()
    if channels:
        who = " of the neuron with median parameters" if f.drawn > 1 else ""
        parts += [f"  responses{who} (gain |H|, frequencies in rad/{per})", _table(list(_responses(f)))]
        parts += ["    the step is unstable here: its gains are those of no steady state"] if _unstable(f) else []
    return "\n".join(parts)


def _modes(f: Figures) -> Iterator[list[str]]:
    yield ["states", "eigenvalue", "time constant", "frequency", "quality", "|multiplier|", "its time constant",
           "its frequency"]  # fmt: skip
    for m in f.modes:
        columns = m.columns()
        yield [", ".join(m.states), _eigenvalue(m), *(
            _spread(columns.get(name))
            for name in ("time constant", "frequency", "quality", "multiplier", "time constant of the step",
                         "frequency of the step")
        )]  # fmt: skip


def _unstable(f: Figures) -> bool:
    return f.step is not None and bool(np.abs(f.step.eigenvalues).max(initial=0) > INSIDE)


def _eigenvalue(m: Mode) -> str:
    if m.eigenvalue is None:
        return "(map)"
    real, imaginary = np.median(m.eigenvalue.real), np.median(m.eigenvalue.imag)
    return number(real) + (f" {'+' if imaginary > 0 else '-'} {number(abs(imaginary))}i" if imaginary else "")


def _spread(v: Array | None) -> str:
    if v is None or not np.all(np.isfinite(v)):
        return "" if v is None else "inf" if np.all(np.isinf(v)) else _spread(v[np.isfinite(v)])
    middle = number(float(np.median(v)))
    return middle if v.size == 1 or np.ptp(v) <= 1e-12 * abs(v).max() else (
        f"{middle} [{number(v.min())}, {number(v.max())}]"
    )  # fmt: skip


def number(x: float) -> str:
    return f"{0.0 if abs(x) < 1e-14 else x:.4g}"


def _responses(f: Figures) -> Iterator[list[str]]:
    yield ["input", "of", "DC gain", "peak at", "gain", "half-power band", "step: DC gain", "peak at", "gain",
           "half-power band"]  # fmt: skip
    for c in f.channels():
        yield [c.input, c.row, *(_peak(c.flow) if c.flow else [""] * 4), *_peak(c.step)]


def _peak(p: Peak) -> list[str]:
    low, high = p.band
    return [
        number(p.dc),
        number(p.frequency),
        number(p.gain),
        f"{number(low)} .. {'' if high is None else number(high)}",
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    kept = [j for j in range(len(rows[0])) if any(r[j] for r in rows[1:])]
    widths = [max(len(r[j]) for r in rows) for j in kept]
    lines = ["  ".join(r[j].ljust(w) for j, w in zip(kept, widths, strict=True)).rstrip() for r in rows]
    return "\n".join("    " + line for line in lines)
