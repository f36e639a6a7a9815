"""The errors of neuroode. One family, so that `except NeuroodeError` catches every refusal and nothing else."""

from __future__ import annotations

from dataclasses import dataclass


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
        self.what, self.place, self.hint = what, place, hint
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


class RunError(NeuroodeError):
    """A call with a wrong shape, dtype, carry or keyword."""
