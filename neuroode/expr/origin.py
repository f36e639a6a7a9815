"""Where a text came from: the map from a line and column inside it to a place in a file."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from neuroode._errors import Place

_LONGEST_SHOWN = 300  # a longer line is named by its number only


@dataclass(frozen=True, slots=True)
class Origin:
    """The file of a text and where its pieces stand there.

    `lines` are the lines of the file. `runs` are (text line, text column, file line, file column), sorted: from that
    point of the text on, up to the next run or line end, both columns advance together. No runs: the text is the file.
    `fixed_line` is for texts out of a Python call: every place is on the line of that call, shown with the text itself.
    """

    file: str = "<model>"
    lines: tuple[str, ...] = field(default=(), repr=False)
    runs: tuple[tuple[int, int, int, int], ...] = field(default=(), repr=False)
    fixed_line: int = 0

    def place(self, line: int, column: int, width: int = 1) -> Place:
        """The place in the file of a line and column of the text, both from 1."""
        row, col = self.locate(line, column)
        text = self.lines[row - 1] if 0 < row <= len(self.lines) else ""
        clear = text.replace("\t", " ") if len(text) <= _LONGEST_SHOWN else ""
        return Place(self.file, self.fixed_line or row, col, clear, max(1, min(width, len(text) - col + 1)))

    def locate(self, line: int, column: int) -> tuple[int, int]:
        """The line of `lines` and the column in it where a line and column of the text stand."""
        if not self.runs:
            return line, column
        at = max(0, bisect_right(self.runs, (line, column, 1 << 60, 0)) - 1)
        text_line, text_column, file_line, file_column = self.runs[at]
        if text_line != line:
            return file_line, file_column
        return file_line, file_column + column - text_column


def of_text(text: str, file: str = "<model>", call_line: int = 0) -> Origin:
    """The origin of a text that is its own file, or that a Python call at `call_line` of `file` passed."""
    return Origin(file=file, lines=tuple(text.split("\n")), fixed_line=call_line)
