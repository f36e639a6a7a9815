"""Constants of the cost model that the package comes with: seconds, one core of an AMD EPYC, float32 (`neuroode bench
--calibrate` measures those of another machine)."""

from __future__ import annotations

MEASURED: dict[str, dict[str, dict[str, float]]] = {
    "torch": {
        "sequential": {
            "call": 0.000263,
            "step ops": 1.91e-09,
            "lane steps": 1.06e-09,
            "lane ops": 2.85e-10,
        },
        "scan": {
            "stages": 0.000837,
            "ops": 1.42e-05,
            "levels": 6.31e-05,
            "lane ops": 5.93e-10,
            "scanned": 3.56e-09,
            "looped": 5.16e-10,
        },
        "fft": {
            "stages": 0.00153,
            "ops": 3.35e-05,
            "lane ops": 2.27e-09,
            "transformed": 1.91e-09,
        },
    },
    "torch without a compiler": {
        "eager": {
            "call": 0.000697,
            "step ops": 1.09e-05,
            "lane steps": 6.02e-10,
            "lane ops": 2.11e-09,
        },
        "scan": {
            "stages": 0.000814,
            "ops": 1.81e-05,
            "levels": 6.41e-05,
            "step ops": 2.24e-06,
            "lane ops": 6.92e-10,
            "scanned": 2.85e-09,
            "looped": 1.41e-10,
        },
        "fft": {
            "stages": 0.000927,
            "ops": 6.17e-05,
            "lane ops": 2.91e-09,
            "transformed": 7.79e-10,
        },
    },
}
