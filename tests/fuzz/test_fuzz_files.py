"""Files and command lines from a stranger: one of our errors or a good answer, within half a second of CPU each."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import neuroode as no
from neuroode.cli.main import main
from neuroode.models import names, path
from neuroode.spec.read_yaml import read_text
from neuroode.spec.write_yaml import to_yaml

ZOO = [Path(path(n)).read_text(encoding="utf-8") for n in names()]
EXTREMES = [
    "1e308",
    "-1e308",
    "1e-308",
    "0",
    "-1",
    "1e999",
    "nan",
    ".inf",
    "9" * 400,
    "1" + "0" * 99,
    "0.0001",
    "65",
    "-0",
]
LIMIT = 0.5


def mutated(draw: random.Random) -> str:
    """A zoo file with tokens, lines or numbers deleted, doubled, swapped, made extreme, or nested deeply."""
    text = draw.choice(ZOO)
    for _ in range(draw.randint(1, 3)):
        tokens = re.findall(r"\w+|\s+|[^\w\s]", text)
        i, j = draw.randrange(len(tokens)), draw.randrange(len(tokens))
        kind = draw.randrange(8)
        lines = text.splitlines()
        a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
        if kind == 0:
            tokens[i] = ""
        elif kind == 1:
            tokens[i] *= 2
        elif kind == 2:
            tokens[i], tokens[j] = tokens[j], tokens[i]
        elif kind == 3:
            tokens[i] = draw.choice(re.findall(r"\w+", draw.choice(ZOO)))
        elif kind == 4:
            tokens = re.split(r"(\d+(?:\.\d+)?)", text)
            tokens[1 + 2 * draw.randrange(max(1, len(tokens) // 2)) if len(tokens) > 1 else 0] = draw.choice(EXTREMES)
        elif kind == 5:
            tokens[i] = draw.choice(["(", "[", "{", "-", "^2", "*("]) * draw.choice([2, 70, 3000]) + tokens[i]
        else:
            lines[a], lines[b] = (lines[b], lines[a]) if kind == 6 else (lines[a] + "\n" + lines[b], lines[b])
            tokens = ["\n".join(lines) + "\n"]
        text = "".join(tokens)
    return text


def reads(text: str) -> None:
    start = time.process_time()
    try:
        spec = read_text(text)
        assert read_text(to_yaml(spec)) == spec
        if time.process_time() - start < LIMIT / 4:
            no.Neuron.from_spec(spec).analyse()
    except no.NeuroodeError as error:
        assert not isinstance(error, no.LoweringError)  # noqa: PT017
        assert len(str(error)) < 30_000  # noqa: PT017
    spent = time.process_time() - start
    assert spent < 4 * LIMIT, f"{spent:.2f} s"  # a machine that is busy counts some of its waiting


@pytest.mark.parametrize("seed", range(6))
def test_mutated_files(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(25):
        reads(mutated(draw))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_many_mutated_files(seed: int) -> None:
    test_mutated_files(seed)


WORDS = [
    "list", "show", "check", "emit", "simulate", "analyse", "verify", "train", "compare", "bench", "claims", "cache",
    "lif", "brf", "nope", "./nope.yaml", "", "-", "--", "--json", "--plan", "--dt", "0", "-1", "nan", "x", "--target",
    "c",
    "torch", "-o", "/nope/dir/file", "--compat", "paper", "--set", "tau=", "tau=1", "=", "--help", "--version",
    "--steps", "\x00", "ä", "--schema", "--support", "--size", "1e9", "--method", "euler", "magic",
]  # fmt: skip


def commands(seed: int) -> list[str]:
    draw = random.Random(seed)
    first = [draw.choice(WORDS[:6])] if draw.random() < 0.7 else []
    words = [*first, *(draw.choice(WORDS) for _ in range(draw.randint(0, 5)))]
    heavy = {"train", "bench", "compare", "verify", "claims", "cache"}  # these run for long, or change the machine
    return [w for w in words if w not in heavy]


@pytest.mark.parametrize("seed", range(60))
def test_any_command_line_ends_with_a_status(
    seed: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(commands(seed))
    except SystemExit as end:  # argparse
        status = end.code
    said = capsys.readouterr()
    assert status in (0, 1, 2), commands(seed)
    assert "Traceback" not in said.err
    assert status != 2 or said.err


def test_a_reader_that_leaves_early() -> None:
    code = "import sys; from neuroode.cli.main import main; sys.exit(main(['show', 'brf']))"
    shell = f'{sys.executable} -c "{code}" | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("brf")
    assert done.returncode == 0
