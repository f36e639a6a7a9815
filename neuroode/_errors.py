"""The errors of neuroode. One family, so that `except NeuroodeError` catches every refusal and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

ELEMENT = re.compile(r"__(\d+(?:_\d+)*)")  # of an array inside a neuron: no declared name holds `__`


def readable(text: str) -> str:
    """A text that names elements of arrays, as the language writes them: `z__0_1` is `z[0, 1]`."""
    return ELEMENT.sub(lambda m: f"[{m[1].replace('_', ', ')}]", text)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: file, line and column count from 1; `text` is that line, for the caret."""

    file: str = "<model>"
    line: int = 0
    column: int = 0
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class NeuroodeError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: one sentence with the name and what was found.
        place: where it was written, if it came from a text.
        hint: what to write instead.
    """

    def __init__(self, what: str, *, place: Place | None = None, hint: str = "") -> None:
        declared = isinstance(self, SpecError)  # speaks of what was written
        self.what, self.hint = (what, hint) if declared else (readable(what), readable(hint))
        self.place = place
        super().__init__(self._render())

    def _render(self) -> str:
        head = f"{self.place}: {self.what}" if self.place else self.what
        lines = [head]
        if self.place and self.place.text and self.place.column:
            caret = " " * (self.place.column - 1) + "^" * max(1, self.place.width)
            lines += ["    " + self.place.text, "    " + caret]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class SpecError(NeuroodeError):
    """The declaration is wrong: text, key, name, shape or value."""


class UnitError(SpecError):
    """Quantities that do not fit together."""


class AnalysisError(NeuroodeError):
    """The system cannot be analysed as declared."""


class Unsupported(NeuroodeError):
    """A method, schedule, target or construct that does not apply, with the reason."""


class LoweringError(NeuroodeError):
    """A stage produced something illegal: a fault of neuroode, never of the model."""


class SaturatedWarning(RuntimeWarning):
    """A trained parameter starts where the map into its domain has the slope 0: no gradient reaches it."""


class RunError(NeuroodeError):
    """A call with a wrong shape, dtype, carry or keyword."""
