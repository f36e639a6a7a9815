"""Values and gradients of every exact step, in every backend, and the page that shows them."""

from __future__ import annotations

import pytest
from exact_cases import CASES, Case
from exactness import TOLERANCES, measure, page_rows


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_exact_and_as_the_page_says(case: Case) -> None:
    found = measure(case)
    for error, shown, allowed in zip(found.errors, page_rows()[case.name], TOLERANCES, strict=True):
        assert error <= min(allowed, 10 * shown + (1e-15 if allowed < 1e-6 else 1e-7)), found


def test_the_page_has_a_row_for_each_case() -> None:
    assert list(page_rows()) == [c.name for c in CASES]
