"""Constants of the cost model that the package comes with: seconds, one core of an AMD EPYC, float32 (`neuroode bench
--calibrate` measures those of another machine)."""

from __future__ import annotations

MEASURED: dict[str, dict[str, dict[str, float]]] = {
    "torch": {
        "sequential": {
            "call": 0.000217,
            "step ops": 1.59e-09,
            "lane ops": 2.68e-10,
        },
        "scan": {
            "stages": 0.000542,
            "ops": 9.46e-06,
            "levels": 5.63e-05,
            "lane ops": 7.09e-10,
            "scanned": 7.21e-10,
        },
        "fft": {
            "stages": 0.0015,
            "ops": 1.83e-06,
            "lane ops": 2.28e-09,
            "transformed": 9.72e-10,
        },
    },
    "torch without a compiler": {
        "eager": {
            "call": 0.000188,
            "step ops": 8.5e-06,
            "lane steps": 8.21e-09,
            "lane ops": 1.01e-09,
        },
        "scan": {
            "stages": 0.000774,
            "ops": 6.62e-06,
            "levels": 4.71e-05,
            "step ops": 1.74e-06,
            "lane ops": 5.36e-10,
            "scanned": 1.94e-09,
            "looped": 6.02e-10,
        },
        "fft": {
            "stages": 0.00152,
            "ops": 2.81e-06,
            "lane ops": 2.17e-09,
            "transformed": 1.39e-09,
        },
    },
    "jax": {
        "eager": {
            "call": 7.07e-05,
            "steps": 2.21e-08,
            "step ops": 2.8e-09,
            "lane steps": 1.07e-09,
            "lane ops": 4.39e-10,
        },
        "scan": {
            "stages": 6.75e-05,
            "ops": 3.76e-07,
            "step ops": 8.08e-10,
            "lane ops": 3.95e-10,
            "scanned": 5.42e-09,
        },
        "fft": {
            "stages": 6.56e-05,
            "lane ops": 4.79e-09,
            "transformed": 1.33e-09,
        },
    },
}
