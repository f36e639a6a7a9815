"""A file from a stranger gives a declaration or one of our errors, and soon."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroode import NeuroodeError, SpecError
from neuroode.spec.read_yaml import read_text
from neuroode.spec.write_yaml import to_yaml

GOOD = [f.read_text(encoding="utf-8") for f in sorted((Path(__file__).parent / "good").glob("*.yaml"))]
PIECES = [
    ":",
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "#",
    "|",
    ">",
    "-",
    "&a",
    "*a",
    "!x",
    "\n",
    "  ",
    "0",
    "e",
    "t",
    "[t-1]",
    "\t",
    "%",
]
QUICK = settings(max_examples=200, deadline=5000, database=None, suppress_health_check=list(HealthCheck))


def _reads(text: str) -> None:
    """Either an error of ours, or a declaration that survives the round trip."""
    try:
        spec = read_text(text)
    except NeuroodeError as error:
        assert str(error)  # noqa: PT017
    else:
        assert read_text(to_yaml(spec)) == spec


@QUICK
@given(st.text(max_size=80))
def test_arbitrary_text(text: str) -> None:
    _reads(text)


@QUICK
@given(st.text(max_size=60), st.sampled_from(["equations: ", "spike: ", "parameters: ", "inputs: {", "compat:\n  a: "]))
def test_arbitrary_values(text: str, key: str) -> None:
    _reads(f"neuron: x\n{key}{text}\nequations: dv/dt = -v + I\n")


@QUICK
@given(st.integers(0, 2**32))
def test_mutations(seed: int) -> None:
    draw = random.Random(seed)
    text = draw.choice(GOOD)
    for _ in range(draw.randint(1, 4)):
        at, width = draw.randrange(len(text)), draw.randint(0, 6)
        new = draw.choice([*PIECES, text[at : at + 5], ""])
        text = text[:at] + new + text[at + width :]
    _reads(text)


@pytest.mark.parametrize(
    "text",
    [
        "neuron: x\nequations: |\n"
        + "".join(f"  b{n} = b{n + 1}\n" for n in range(8000))
        + "  b8000 = I\noutputs: b0\n",
        "neuron: x\nparameters: {" + ", ".join(f"p{n}: 1" for n in range(15000)) + "}\nequations: v = I\n",
        "neuron: x\ncite: [" + "a," * 100_000 + "]\nequations: v = I\n",
        "a: " + "[" * 50_000,
        "? " * 60_000,
        "- " * 60_000,
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "x" * 256_001,
        "neuron: x\nequations: |\n" + "  a = (1\n" * 3000,
        "\n".join(" " * n + "a:" for n in range(400)),
        "neuron: x\nequations: |\n  D^0.5 v = " + "I + " * 4000 + "I\n",
        "neuron: x\naxes: {" + ", ".join(f"k{n}: k{n + 1}" for n in range(3000)) + ", k3000: 4}\nequations: v = I\n",
        "neuron: x\nparameters: {k: 2}\nequations: v = " + "k*(" * 59 + "I" + ")" * 59 + "\n",
    ],
    ids=range(13),
)
def test_large_and_odd_files_end_soon(text: str) -> None:
    start = time.process_time()
    try:
        read_text(text)
    except NeuroodeError as error:
        assert len(str(error)) < 5000  # noqa: PT017
    assert time.process_time() - start < 8


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    target = tmp_path / "made"
    attack = f"__import__('pathlib').Path('{target}').write_text('x')"
    for text in (
        f"neuron: x\nequations: v = {attack}\n",
        f'neuron: x\nequations: dv/dt = -v\nspike: "{attack} > 1"\n',
        f"neuron: !!python/object/apply:os.system ['touch {target}']\nequations: v = I\n",
    ):
        with pytest.raises(SpecError):
            read_text(text)
    assert not target.exists()
