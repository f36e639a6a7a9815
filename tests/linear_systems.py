"""Random linear recurrences of every form, for the tests of scans: stable, defective, zero, alternating, near 1."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
STATES = {"diagonal": 1, "complex": 2, "dense2": 2, "dense3": 3, "dense4": 4}
#: stable multipliers of every kind: zero, alternating, near the unit circle, on it
MULTIPLIERS = (0.0, 0.5, -0.9, 0.999, 1 - 1e-6, 1.0, -1.0)


def form_of(name: str) -> str:
    return name.rstrip("234")


def matrices(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
    """Entries of matrices of spectral radius at most 1, each of `shape`."""
    modulus = rng.choice(MULTIPLIERS, size=shape)
    if name == "diagonal":
        return [modulus]
    if name == "complex":
        angle = rng.uniform(-np.pi, np.pi, size=shape)
        return [np.abs(modulus) * np.cos(angle), np.abs(modulus) * np.sin(angle)]
    blocks = [dense_block(STATES[name], rng) for _ in range(int(np.prod(shape)))]
    stacked = np.array(blocks).reshape(*shape, STATES[name] ** 2)
    return [stacked[..., k] for k in range(stacked.shape[-1])]


def dense_block(n: int, rng: np.random.Generator) -> Array:
    """A rotated upper triangular matrix: repeated multipliers below 1 stay coupled, so it may be defective."""
    values = rng.choice([0.0, 0.5, 0.9, 0.99, -0.9], size=n)
    if rng.integers(2):
        values[:] = values[0]
    basis, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return basis @ (np.diag(values) + np.triu(rng.normal(size=(n, n)), 1) * 0.3) @ basis.T


def system(name: str, steps: int, lanes: tuple[int, ...], seed: int, *, invariant: bool):
    """(entries of the matrix, drive, start): matrices broadcast over the first axis of the lanes."""
    rng = np.random.default_rng(seed)
    shape = lanes[1:] if invariant else (steps, 1, *lanes[1:])
    matrix = matrices(name, shape, rng)
    n = STATES[name]
    drive, start = rng.normal(size=(n, steps, *lanes)), rng.normal(size=(n, *lanes))
    return matrix, list(drive), list(start)
