"""Settings of all tests."""

from __future__ import annotations

import importlib.util
import os

import pytest

from neuroode._errors import Unsupported
from neuroode.solvers.native.compiler import find_compiler

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: threads of their own would wait for each other, busily
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Without a C compiler the programs run in torch, which warns; only there the warning is no error.

    A process that has imported jax warns at each fork; children of our tests run torch only.
    """
    config.addinivalue_line("filterwarnings", r"ignore:os\.fork\(\) was called:RuntimeWarning")
    try:
        find_compiler()
    except Unsupported:
        config.addinivalue_line("filterwarnings", "ignore:no fast kernel:RuntimeWarning")


#: without the extra `jax` its tests are not looked at
collect_ignore_glob = [] if importlib.util.find_spec("equinox") else ["**/*jax*.py"]
