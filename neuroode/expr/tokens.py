"""Text to tokens, strictly: what is not named here is an error with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from neuroode._errors import Place, SpecError
from neuroode.expr.nodes import Mark
from neuroode.expr.origin import Origin

MAX_TEXT = 256_000
MAX_STATEMENT = 20_000
MAX_LEVELS = 60
MAX_LITERAL = 200  # characters
SMALLEST, LARGEST = 1e-100, 1e100

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<op>\*\*|[+\-*/]=|[<>=!]=|[-+*/^()\[\],<>=:'])"
    r"|(?P<end>[\n;])"
    r"|(?P<blank>[ \t\r]+|\#[^\n]*)"
)
_OPEN, _CLOSE = {"(": ")", "[": "]"}, {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Token:
    """kind is number, name, op, end (of a statement) or stop (of the text)."""

    kind: str
    text: str
    start: int
    mark: Mark

    @property
    def stop(self) -> int:
        return self.start + len(self.text)

    @property
    def place(self) -> Place:
        return self.mark.place


def tokenize(text: str, origin: Origin) -> list[Token]:
    """The tokens of a text, the last one of kind `stop`. Inside brackets a newline is blank.

    Raises:
        SpecError: a character outside the grammar, or a limit of the language is exceeded.
    """
    if len(text) > MAX_TEXT:
        raise SpecError(f"the text has {len(text)} characters, more than {MAX_TEXT}", place=origin.place(1, 1))
    tokens: list[Token] = []
    opened: list[Token] = []
    at, line, line_start, statement = 0, 1, 0, 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        mark = Mark(line, at - line_start + 1, len(found[0]) if found else 1, origin)
        if not found:
            raise _strange(text[at], mark)
        kind = found.lastgroup or ""
        if kind == "end" and not opened:
            statement = 0
        statement += len(found[0]) if kind != "blank" else 0
        if statement > MAX_STATEMENT:
            raise SpecError(f"a statement of more than {MAX_STATEMENT} characters", place=mark.place)
        if kind != "blank" and not (kind == "end" and opened and found[0] == "\n"):
            token = Token(kind, found[0], at, mark)
            tokens.append(token)
            _track(opened, token)
        if found[0] == "\n":
            line, line_start = line + 1, found.end()
        at = found.end()
    if opened:
        raise _unclosed(opened[-1])
    return [*tokens, Token("stop", "", at, Mark(line, at - line_start + 1, 1, origin))]


def _track(opened: list[Token], token: Token) -> None:
    """Keep the stack of open brackets; a bracket that is still open at the next statement is reported itself."""
    if token.kind == "name":
        return _check_name(token)
    if token.text in _OPEN:
        if len(opened) >= MAX_LEVELS:
            raise SpecError(f"more than {MAX_LEVELS} levels of brackets", place=token.place)
        opened.append(token)
    elif token.text in _CLOSE:
        if not opened or opened[-1].text != _CLOSE[token.text]:
            raise SpecError(f"'{token.text}' closes nothing", place=token.place, hint="remove it or open a bracket")
        opened.pop()
    elif opened and (token.kind == "end" or token.text in ("=", "+=", "-=", "*=")):
        raise _unclosed(opened[-1])
    return None


def _unclosed(token: Token) -> SpecError:
    return SpecError(
        f"'{token.text}' is never closed", place=token.place, hint=f"add the missing '{_OPEN[token.text]}'"
    )


def _check_name(token: Token) -> None:
    if "__" in token.text:
        hint = f"write {re.sub('__+', '_', token.text)}"
        raise SpecError(f"'{token.text}' has two underscores in a row", place=token.place, hint=hint)


def _strange(character: str, mark: Mark) -> SpecError:
    hints = {
        "&": "write 'and'",
        "|": "write 'or'",
        "!": "write 'not'",
        "%": "write x - y*floor(x/y)",
        '"': "texts do not occur in formulas",
        "{": "group with ( )",
        "}": "group with ( )",
    }
    plain = "names are made of the letters a-z, A-Z, digits and '_', and start with a letter"
    return SpecError(f"unexpected character {character!r}", place=mark.place, hint=hints.get(character, plain))


def number(token: Token) -> Fraction:
    """The exact value of a number token.

    Raises:
        SpecError: a leading zero, or a value outside 1e-100..1e100.
    """
    text = token.text
    if re.match(r"0\d", text):
        raise SpecError(f"{text} has a leading zero", place=token.place, hint=f"write {_without_zeros(text)}")
    if len(text) > MAX_LITERAL:
        raise SpecError(f"a number of {len(text)} characters, more than {MAX_LITERAL}", place=token.place)
    if not re.search(r"[1-9]", re.split("[eE]", text)[0]):
        return Fraction(0)
    if not SMALLEST <= float(text) <= LARGEST:
        raise SpecError(f"{text} is outside 1e-100..1e100", place=token.place, hint="choose other units")
    return Fraction(text)


def _without_zeros(text: str) -> str:
    bare = text.lstrip("0")
    return bare if bare[:1].isdigit() else "0" + bare
