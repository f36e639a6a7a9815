"""The published fractional schemes, resets and adjoint: figures that the released code gave, and closed forms."""

from __future__ import annotations

from math import gamma

import numpy as np
import pytest
from scipy.special import erfcx

from neuroode.papers import claims
from neuroode.papers.fspikede import theirs
from neuroode.papers.run import run


def test_mittag_leffler_of_the_oracle() -> None:
    wanted = {0.3: 0.456594408330, 0.5: 0.427583576156, 0.7: 0.399611978116, 0.9: 0.376066021425}
    for alpha, value in wanted.items():
        assert theirs.mittag_leffler(alpha, 1.0) == pytest.approx(value, abs=1e-11)
    t = np.geomspace(1e-4, 1e3, 200)
    np.testing.assert_allclose(theirs.mittag_leffler(0.5, t, lam=2.0), erfcx(2 * np.sqrt(t)), rtol=1e-11)


@pytest.mark.parametrize(
    ("scheme", "short", "long"),
    [("predictor", 1.0, 10.0), ("l1", 1.0, 10.0), ("gl", 0.1127, 0.797), ("trap", 0.0975, 0.681)],
)
def test_published_adjoint(scheme: str, short: float, long: float) -> None:
    """dL/db of D^.5 v = b where 1.1284 (T = 1) and 3.5682 (T = 10) are right: what torchfde gave."""
    assert theirs.adjoint(scheme, 0.5, 0.0, 0.01, 100).sum() == pytest.approx(short, abs=5e-4)
    assert theirs.adjoint(scheme, 0.5, 0.0, 0.05, 200).sum() == pytest.approx(long, abs=5e-4)
    assert theirs.exact_adjoint(0.5, 0.0, 0.05, 200).sum() == pytest.approx(10**0.5 / gamma(1.5), rel=1e-12)


def test_exact_adjoint_against_differences() -> None:
    """The transposed sums are the derivatives of what the predictor computes."""
    alpha, leak, h, steps = 0.3, 0.5, 0.2, 12
    found = theirs.exact_adjoint(alpha, leak, h, steps)
    for k in range(steps):
        pulse = theirs.predictor(lambda n, v, k=k: -leak * v + (n == k), 0.0, alpha, h, steps)
        assert pulse[-1] == pytest.approx(found[k], rel=1e-12)


@pytest.mark.parametrize(
    ("h", "history", "current"), [(0.1, -0.1762, -0.0293), (0.01, -0.0564, -0.0028), (0.001, -0.0178, -0.0003)]
)
def test_published_resets(h: float, history: float, current: float) -> None:
    assert theirs.reset_in_history(0.5, h, 1.0, 2.0) == pytest.approx(history, abs=1e-4)
    assert theirs.reset_current(0.5, h, 1.0, 2.0) == pytest.approx(current, abs=1e-4)


def test_the_claims_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right adjoint, right weights and a shifted scheme in place of the published ones."""
    from neuroode.papers.fspikede import check

    monkeypatch.setattr(theirs, "adjoint", lambda scheme, *known: theirs.exact_adjoint(*known))
    monkeypatch.setattr(
        theirs, "gl", lambda f, y0, *known: theirs.gl_shifted(f, y0, *known) if y0 else right(f, y0, *known)
    )
    check._off.cache_clear()
    failed = {r.claim.id for r in run(claims.read("fspikede")) if not r.ok}
    check._off.cache_clear()
    assert failed >= {"adjoint", "direction", "recency", "initial_value"}


right = theirs.gl
