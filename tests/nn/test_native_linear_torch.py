"""Products with a narrow matrix against torch in float64."""

from __future__ import annotations

import pytest
import torch

from neuroode.nn import native_linear_torch as native

SHAPES = [
    (1300, 4, 36),
    (1300, 36, 6),
    (700, 1, 128),
    (515, 128, 10),
    (9, 1, 1),
    (1, 7, 50),
    (0, 3, 4),
    (33, 5, 1),
    (8, 3, 17),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-6)], ids=["f64", "f32"])
def test_products_equal_torch(shape, dtype, tolerance):
    rows, inner, columns = shape
    torch.manual_seed(0)
    x, w, g = torch.randn(rows, inner), torch.randn(columns, inner), torch.randn(rows, columns)
    x, w, g = (v.to(dtype) for v in (x, w, g))
    wide = x.double(), w.double(), g.double()
    pairs = [
        (native.product(x, w.t()), wide[0] @ wide[1].t()),
        (native.product(g, w), wide[2] @ wide[1]),
        (native.outer(g, x), wide[2].t() @ wide[0]),
    ]
    for found, expected in pairs:
        assert found.shape == expected.shape
        assert found.dtype == dtype
        assert (found - expected).abs().max() <= tolerance * expected.abs().max() if expected.numel() else True


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr(native, "PARALLEL_WORK", 0)
    torch.manual_seed(0)
    x, w, g = torch.randn(5000, 4), torch.randn(36, 4), torch.randn(5000, 36)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append((native.product(x, w.t()), native.product(g, w), native.outer(g, x)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_strided_operands():
    x, w = torch.randn(40, 2, 6)[:, 0], torch.randn(3, 12)[:, ::2]
    assert torch.allclose(native.product(x, w.t()), x @ w.t(), atol=1e-5)
    assert torch.allclose(native.outer(x, x[:, :2]), x.t() @ x[:, :2], atol=1e-4)
