"""Exit status, errors and speed of the command line as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from neuroode.cli.main import COMMANDS, LATER, main, parser

PROGRAM = [sys.executable, "-c", "import sys; from neuroode.cli.main import main; sys.exit(main())"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"neuroode {version('neuroode')}\n"


@pytest.mark.parametrize("command", LATER)
def test_a_command_whose_time_has_not_come(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "lif"]) == 2
    assert capsys.readouterr().err == f"neuroode {command}: not available yet\n"


def test_help_lists_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert not any(f" {command} " in text for command in LATER)


@pytest.mark.parametrize("words", [[], ["nonsense"], ["show"], ["emit", "lif"], ["list", "--nonsense"]])
def test_wrong_usage_is_one_error_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("neuroode")
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_missing_file_is_one_error(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path / "none.yaml")]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "none.yaml" in err
    assert len(err.splitlines()) == 1


def test_an_unknown_model_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "alf"]) == 2
    assert "alif" in capsys.readouterr().err


def test_no_traceback_when_the_reader_leaves() -> None:
    run = subprocess.Popen([*PROGRAM, "show", "brf"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout
    run.stdout.close()
    assert run.stderr
    with run.stderr as err:
        assert err.read() == ""
    assert run.wait() == 0


def test_the_parser_and_list_load_nothing_heavy() -> None:
    code = (
        "import json, sys; from neuroode.cli.main import main; main(['list']);"
        "print(json.dumps(sorted({'torch', 'sympy', 'numpy', 'scipy', 'ruamel', 'jax'} & set(sys.modules))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.splitlines()[-1]) == []


def test_every_command_has_its_help() -> None:
    assert all(module.HELP and module.HELP[0].islower() for module in COMMANDS.values())
    assert parser().prog == "neuroode"
