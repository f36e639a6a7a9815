"""The twelve commonest mistakes (language.md, section 12): each message and hint stands word for word in `spec/bad`."""

from __future__ import annotations

from pathlib import Path

import pytest

MESSAGES = [f.read_text(encoding="utf-8") for f in (Path(__file__).parents[1] / "spec" / "bad").glob("*.txt")]
WORDS = [
    "unknown name 'tua' in the equation of v",
    "did you mean 'tau'?",
    "missing operator between '2' and 'v'",
    "write 2*v",
    "'k' is a parameter, not a function",
    "write k*(v - r)",
    "within step t: s needs q[t], q[t] needs s",
    "v[t] is defined by itself: 'v' means v[t]",
    "z has axis k",
    "index k appears on the right only",
    "the guard compares the complex state u",
    "v is real but its right side is complex (imaginary unit i)",
    "reset assigns 'b', which is a definition (line",
    "v + I: mV and nA cannot be added",
    "multiply I by a resistance (mV/nA)",
    "parameter 'tau': -10 is not positive",
    "domain: real allows it, but the leak then grows",
    "unknown key '10)': the comma ended the value",
    'quote it: init: "uniform(5, 10)"',
    "trainable is 'no', a text",
    "012 has a leading zero",
    "'dt' is reserved (the step)",
    "parameter 'c' is never read",
    "write true or false",
    "write 12",
    "set the key dt: ...",
    "remove it or use it",
]


@pytest.mark.parametrize("words", WORDS)
def test_words(words: str) -> None:
    assert any(words in message for message in MESSAGES)
