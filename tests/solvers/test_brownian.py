"""The path inside a step: its law against that of Brownian motion, and that it does not depend on who asks."""

from __future__ import annotations

import torch

from neuroode.solvers.on_torch.brownian_torch import LEAVES, Path, leaf

LANES = 40_000


def path(lanes: int = LANES, dtype: torch.dtype = torch.float64) -> Path:
    made = torch.Generator().manual_seed(0)
    key = tuple(torch.randint(0, 2**23, (lanes, 1), generator=made) for _ in range(2))
    end = torch.randn(lanes, 1, generator=made, dtype=torch.float64).to(dtype)
    return Path(end, key)  # type: ignore[arg-type]


def test_covariances_are_those_of_brownian_motion_and_its_integral() -> None:
    found, times = path(), torch.tensor([0.125, 0.3, 0.5, 0.7, 1.0], dtype=torch.float64)
    rows = [found.at(leaf(t)) for t in times]
    x = torch.cat([torch.stack([w[:, 0] for w, _ in rows]), torch.stack([i[:, 0] for _, i in rows])])
    low, high = torch.minimum(times[:, None], times), torch.maximum(times[:, None], times)
    cross = torch.where(times[:, None] < times, times[:, None] * times - times[:, None] ** 2 / 2, times**2 / 2)
    own = low**2 * (3 * high - low) / 6
    wanted = torch.cat([torch.cat([low, cross], 1), torch.cat([cross.T, own], 1)])
    error = ((wanted.diag()[:, None] * wanted.diag() + wanted**2) / LANES).sqrt()
    assert ((x @ x.T / LANES - wanted).abs() < 4.5 * error).all()


def test_increments_add_up_and_the_order_of_asking_does_not_matter() -> None:
    one, two = path(5), path(5)
    points = torch.linspace(0, 1, 30).tolist()
    forth = {t: one.at(leaf(t)) for t in points}
    back = {t: two.at(leaf(t)) for t in reversed(points)}
    assert all(torch.equal(a, b) for t in points for a, b in zip(forth[t], back[t], strict=True))
    (w, u), (w1, u1), (w2, u2) = (two(a, b, return_U=True) for a, b in ((0.2, 0.7), (0.2, 0.4), (0.4, 0.7)))
    torch.testing.assert_close(w, w1 + w2)
    torch.testing.assert_close(u, u1 + u2 + w1 * 0.3, rtol=1e-5, atol=1e-6)  # leaves are 1e-6 wide


def test_parts_found_together_are_those_found_alone() -> None:
    alone, together = path(7), path(7)
    together.cut(16)
    assert len(together.ends) == 17
    for k, point in together.ends.items():
        for a, b in zip(point, alone.at(k), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_the_integral_is_that_of_the_path() -> None:
    found, n = path(50), 1024
    found.cut(n)
    w = torch.stack([found.at(j * LEAVES // n)[0] for j in range(n + 1)])
    trapezium = (w[1:] + w[:-1]).mean(0) / 2
    spread = (found.at(LEAVES)[1] - trapezium).square().mean().sqrt() * (12 * n * n) ** 0.5
    assert 0.8 < spread < 1.2  # what the trapezium leaves out has variance h^2/12 over a unit of time


def test_float32_is_float64_rounded() -> None:
    one, two = path(50), path(50, torch.float32)
    for t in (0.3, 0.61, 0.9999):
        torch.testing.assert_close(two(0.1, t).double(), one(0.1, t), rtol=0, atol=2e-6)
