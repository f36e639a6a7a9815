"""A small task, so that training takes seconds: a part of the digits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuroode.train import tasks

pytest.importorskip("torch")
pytest.importorskip("sklearn")


@pytest.fixture(scope="session")
def digits() -> tasks.Task:
    return tasks.load("digits")


@pytest.fixture(scope="session")
def few(digits: tasks.Task) -> tasks.Task:
    """96 sequences to train on, 40 to validate, 60 to test."""
    return replace(
        digits,
        train_x=digits.train_x[:96],
        train_y=digits.train_y[:96],
        val_x=digits.val_x[:40],
        val_y=digits.val_y[:40],
        test_x=digits.test_x[:60],
        test_y=digits.test_y[:60],
    )
