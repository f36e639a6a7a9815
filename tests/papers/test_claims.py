"""The claims of the papers hold, their pages show what the command prints, and a claims file is read strictly."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from neuroode._errors import LoweringError, RunError, SpecError, Unsupported
from neuroode.cli.main import main
from neuroode.papers import claims, page
from neuroode.papers.run import CONFIRMED, ERRATUM, NOT_CONFIRMED, NOT_RUN, Result, run, verdict

ROW = """
paper: A title
cite: arXiv:0000.00000
read: its text
claims:
  - id: first
    claim: one is two
    source: eq. 1
    mark: seen
    paper: "2"
    check: check.one
    holds: {one: == 2}
    instead: {one: == 1}
    right: one is one
"""


@pytest.fixture(scope="module")
def results() -> dict[str, list[Result]]:
    """The quick claims of every paper, run once."""
    return {name: list(run(claims.read(name))) for name in claims.names()}


@pytest.mark.parametrize("name", claims.names())
def test_every_claim_has_the_verdict_that_the_page_shows(name: str, results: dict[str, list[Result]]) -> None:
    found = results[name]
    assert not [r.claim.id for r in found if not r.ok]
    shown = page.section(claims.read(name).page.read_text(encoding="utf-8"), "claims").splitlines()
    printed = page.table(found).splitlines()
    assert len(shown) == len(printed)
    for r, ours, theirs in zip([None, None, *found], printed, shown, strict=True):
        assert ours == theirs or (r is not None and r.verdict == NOT_RUN)


@pytest.mark.parametrize("name", claims.names())
def test_every_erratum_shows_both_sides(name: str) -> None:
    """What the text says fails by far, and what is right holds: two figures at least."""
    for c in claims.read(name).claims:
        assert not c.instead or {r.figure for r in c.holds} < {r.figure for r in c.instead}, c.id


def test_verdicts() -> None:
    (claim,) = claims.read_text(ROW, "claims.yaml", "x").claims
    assert verdict(claim, {"one": 1}) == ERRATUM
    assert verdict(claim, {"one": 2}) == CONFIRMED
    assert verdict(claim, {"one": 3}) == NOT_CONFIRMED
    assert verdict(claim, {"one": float("nan")}) == NOT_CONFIRMED
    plain = replace(claim, instead=(), right="")
    assert [Result(plain, {}, v, 0.0).ok for v in (CONFIRMED, NOT_CONFIRMED, NOT_RUN)] == [True, False, True]
    assert [Result(claim, {}, v, 0.0).ok for v in (CONFIRMED, ERRATUM, NOT_CONFIRMED)] == [False, True, False]
    with pytest.raises(LoweringError, match=r"check\.one returns no 'one' but two"):
        verdict(claim, {"two": 2})


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("mark: seen", "mark: heard", r"claims\.yaml:9:11: mark is 'heard'"),
        ("    source: eq. 1\n", "", "the key 'source' is missing"),
        ("== 2", "about 2", "'one' is 'about 2', not a relation"),
        ("mark: seen", "mark: derived", "'first' is derived"),
        ("    right: one is one\n", "", "'first' has only one of instead and right"),
        ("check: check.one", "check: os.system", r"check is 'os\.system'"),
        ("    paper:", "    papers:", "unknown key 'papers'"),
        ("{one: == 2}", "{}", "no relation"),
        ("claims:", "claims: 3\nother:", "unknown key 'other'"),
    ],
)
def test_a_wrong_file_is_refused_at_its_place(old: str, new: str, error: str) -> None:
    assert old in ROW
    with pytest.raises(SpecError, match=error):
        claims.read_text(ROW.replace(old, new, 1), "claims.yaml", "x")


def test_a_claim_twice() -> None:
    with pytest.raises(SpecError, match="the claim 'first' stands twice"):
        claims.read_text(ROW + ROW[ROW.index("  - id") :], "claims.yaml", "x")


def test_no_such_paper() -> None:
    with pytest.raises(RunError, match="no paper 'prff' with claims\nhint: did you mean 'prf'"):
        claims.read("prff")


def test_figures_at_the_level_of_rounding_are_printed_as_bounds() -> None:
    (claim,) = claims.read_text(ROW, "claims.yaml", "x").claims
    small = replace(claim, holds=(claims.Relation("one", "<=", 1e-12),), instead=(), right="")
    assert "| one: at most 1e-12 |" in page.table([Result(small, {"one": 3.14e-15}, CONFIRMED, 0.1)])
    assert "| one: 3.14e-11 |" in page.table([Result(small, {"one": 3.14e-11}, NOT_CONFIRMED, 0.1)])
    assert "| one: 1,000 | erratum |" in page.table([Result(claim, {"one": 1000}, ERRATUM, 0.1)])
    assert "one is two. Right: one is one" in page.table([Result(claim, {"one": 1}, ERRATUM, 0.1)])


def test_a_section_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "README.md"
    target.write_text("# A\n<!-- claims -->\nold\n<!-- end of claims -->\nrest\n")
    page.write_section(target, "claims", "new | table")
    text = target.read_text()
    assert page.section(text, "claims") == "new | table"
    assert text.startswith("# A\n<!-- claims -->\n")
    assert text.endswith("<!-- end of claims -->\nrest\n")
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(RunError, match="no section 'speed'"):
        page.write_section(target, "speed", "")


def _fake(monkeypatch: pytest.MonkeyPatch, figure: float) -> None:
    paper = claims.read_text(ROW, "claims.yaml", "prf")
    monkeypatch.setattr("neuroode.papers.claims.read", lambda name: paper)
    monkeypatch.setattr("neuroode.papers.run._figures", lambda paper, claim: {"one": figure})


def test_the_command_ends_with_status_1_if_a_claim_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake(monkeypatch, 1)
    assert main(["claims", "prf"]) == 0
    printed, progress = capsys.readouterr()
    assert "| first: one is two. Right: one is one | eq. 1 | 2 | one: 1 | erratum |" in printed
    assert progress.startswith("prf first: erratum")
    _fake(monkeypatch, float("inf"))
    assert main(["claims", "prf", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["prf"]
    assert row["verdict"] == NOT_CONFIRMED
    assert row["figures"] == {"one": None}


@pytest.mark.parametrize(
    ("words", "error"),
    [(["claims", "nonsense"], "no paper 'nonsense'"), (["claims", "--quick"], "--quick belongs to --speed"),
     (["claims", "lnm", "--speed"], "'lnm' has no experiment on speed"),
     (["claims", "prf", "--train"], "'prf' has no experiment on training"),
     (["claims", "prf", "--quick"], "--quick belongs to --speed")],
)  # fmt: skip
def test_wrong_usage(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert error in capsys.readouterr().err


def _one(paper: str, claim: str) -> Result:
    """A claim of a paper, run by itself."""
    whole = claims.read(paper)
    (found,) = run(replace(whole, claims=tuple(c for c in whole.claims if c.id == claim)))
    return found


def test_a_formula_that_is_wrong_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: the paper's formulas, each with one slip."""
    from neuroode.papers.drf import theirs as drf
    from neuroode.papers.prf import theirs as prf

    monkeypatch.setattr(prf, "algorithm_2", lambda bias, spike, beta: bias * beta + spike)
    assert _one("prf", "spikes").verdict == NOT_CONFIRMED
    assert _one("prf", "main_text").verdict == NOT_CONFIRMED  # an erratum needs its right side too
    raised = drf.raised
    monkeypatch.setattr(drf, "raised", lambda p, alpha: raised(p, alpha[:-1]))
    assert _one("drf", "threshold").verdict == NOT_CONFIRMED
    monkeypatch.setattr(drf, "exact_gain", lambda delta, pole: delta + 0 * pole)
    assert _one("drf", "paths").verdict == NOT_CONFIRMED


def test_a_formula_of_the_nonlinear_neurons_that_is_wrong_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroode.papers.lnm import theirs as lnm
    from neuroode.papers.qif import theirs as qif

    monkeypatch.setattr(qif, "matrix", lambda A, B, C, h, right=qif.matrix: right(A, B, C, 1.01 * h))
    assert _one("qif", "exact_step").verdict == NOT_CONFIRMED
    assert _one("qif", "theta_spikes").verdict == NOT_CONFIRMED
    monkeypatch.setattr(qif, "time_to", lambda level, *flow, right=qif.time_to: right(0.999 * level, *flow))
    assert _one("qif", "threshold_times").verdict == NOT_CONFIRMED
    reverse, right = lnm.reverse_scan, lnm.run
    monkeypatch.setattr(lnm, "reverse_scan", lambda *known: reverse(*known[:4], not known[4]))
    assert _one("lnm", "reverse_scan").verdict == NOT_CONFIRMED
    monkeypatch.setattr(lnm, "run", lambda theta, x, reset=True: right(theta + 1e-9, x, reset))
    assert _one("lnm", "map_alone").verdict == NOT_CONFIRMED


def test_a_slow_claim_waits_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroode.papers.run._figures", lambda paper, claim: {"one": 1})
    paper = claims.read_text(ROW + "    slow: true\n", "claims.yaml", "prf")
    (waits,), (asked,) = run(paper), run(paper, slow=True)
    assert (waits.verdict, waits.ok) == (NOT_RUN, True)
    assert "| run with --slow | not run |" in page.table([waits])
    assert asked.verdict == ERRATUM


def test_a_check_that_needs_torch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("check_torch", "theirs_torch"):
        monkeypatch.delitem(sys.modules, f"neuroode.papers.prf.{name}", raising=False)
    with pytest.raises(
        Unsupported, match=r"check_torch\.full_reset needs torch\nhint: pip install 'neuroode\[torch\]'"
    ):
        _one("prf", "full_reset")


@pytest.mark.parametrize("operator", claims.OPERATORS)
def test_a_figure_that_is_no_number_meets_nothing(operator: str) -> None:
    assert not claims.Relation("one", operator, 1.0).met({"one": float("nan")})
