"""Constants of the cost model that the package comes with: seconds, one core of an AMD EPYC, float32 (`neuroode bench
--calibrate` measures those of another machine)."""

from __future__ import annotations

MEASURED: dict[str, dict[str, dict[str, float]]] = {
    "torch": {
        "sequential": {
            "call": 0.000266,
            "step ops": 1.86e-09,
            "lane ops": 3.04e-10,
        },
        "scan": {
            "stages": 0.000848,
            "ops": 7.05e-06,
            "levels": 5.49e-05,
            "steps": 1.2e-08,
            "step ops": 6.74e-09,
            "lane ops": 6.39e-10,
            "scanned": 2.07e-09,
            "looped": 1.29e-09,
        },
        "fft": {
            "stages": 0.00207,
            "ops": 5.63e-15,
            "steps": 3.03e-07,
            "lane ops": 3.33e-09,
            "transformed": 3.96e-10,
        },
    },
    "torch without a compiler": {
        "eager": {
            "call": 0.000505,
            "step ops": 8.26e-06,
            "lane steps": 5.72e-09,
            "lane ops": 1.09e-09,
        },
        "scan": {
            "stages": 0.000423,
            "ops": 9.82e-06,
            "levels": 6.1e-05,
            "steps": 1.51e-08,
            "step ops": 2.59e-06,
            "lane ops": 7.2e-10,
            "scanned": 9.4e-10,
            "looped": 4.54e-10,
        },
        "fft": {
            "stages": 0.0011,
            "ops": 9.9e-06,
            "steps": 2.55e-07,
            "lane ops": 2.39e-09,
            "transformed": 6.52e-10,
        },
    },
    "jax": {
        "eager": {
            "call": 8.1e-05,
            "steps": 3.13e-08,
            "step ops": 1.26e-09,
            "lane steps": 2.26e-09,
            "lane ops": 3.94e-10,
        },
        "scan": {
            "stages": 5.23e-05,
            "ops": 7.62e-07,
            "steps": 1.2e-08,
            "lane ops": 4.21e-10,
            "scanned": 4.7e-09,
        },
        "fft": {
            "stages": 6.99e-05,
            "steps": 2.62e-08,
            "lane ops": 5.02e-09,
        },
    },
}
