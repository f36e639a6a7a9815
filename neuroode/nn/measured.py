"""Constants of the cost model that the package comes with: seconds, one core of an AMD EPYC, float32 (`neuroode bench
--calibrate` measures those of another machine)."""

from __future__ import annotations

MEASURED: dict[str, dict[str, dict[str, float]]] = {
    "torch": {
        "sequential": {
            "call": 0.000304,
            "steps": 2.33e-09,
            "step ops": 1.62e-09,
            "lane steps": 1.32e-09,
            "lane ops": 2.56e-10,
        },
        "scan": {
            "stages": 0.00154,
            "ops": 2.61e-06,
            "levels": 5.34e-05,
            "step ops": 8.63e-10,
            "lane ops": 6.5e-10,
            "scanned": 2.64e-09,
            "looped": 3.75e-10,
        },
        "fft": {
            "stages": 0.00245,
            "lane ops": 2.93e-09,
            "transformed": 5.19e-10,
        },
    },
    "torch without a compiler": {
        "eager": {
            "call": 0.00222,
            "step ops": 9.18e-06,
            "lane ops": 1.46e-09,
        },
        "scan": {
            "stages": 0.00136,
            "ops": 6.45e-06,
            "levels": 5.67e-05,
            "step ops": 2.15e-06,
            "lane ops": 7.37e-10,
            "scanned": 2.17e-09,
            "looped": 8.48e-10,
        },
        "fft": {
            "stages": 0.00238,
            "ops": 6.84e-06,
            "lane ops": 2.44e-09,
            "transformed": 1.25e-09,
        },
    },
    "jax": {
        "eager": {
            "call": 9.18e-05,
            "steps": 3.84e-08,
            "step ops": 2.18e-09,
            "lane steps": 3.64e-09,
            "lane ops": 5.79e-10,
        },
        "scan": {
            "stages": 4.11e-05,
            "ops": 3.34e-06,
            "lane ops": 4.82e-10,
            "scanned": 7.98e-09,
        },
        "fft": {
            "stages": 0.000117,
            "transformed": 7.01e-09,
        },
    },
}
