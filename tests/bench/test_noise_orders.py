"""The table of stochastic orders: its slopes on geometric Brownian motion."""

from __future__ import annotations

from itertools import takewhile

import pytest

from neuroode.bench.noise_torch import rows


@pytest.mark.slow
def test_orders_on_geometric_brownian_motion() -> None:
    found = {method: strong for _, method, strong, _ in takewhile(lambda r: r[0] == "gbm, Ito", rows(1000))}
    wanted = {"euler_maruyama": 0.5, "heun_stratonovich": 1.0, "torchsde srk": 1.5, "torchsde heun": 1.0}
    for method, order in wanted.items():
        assert abs(found[method] - order) < 0.15
