"""Surrogate derivatives as text of the language: shape in x = margin/width, and the terms of the Gaussian kinds.

The derivative of the step is height*shape(m/width) (language.md, section 7).
"""

from __future__ import annotations

SHAPES: dict[str, str] = {
    "fast_sigmoid": "1/(1 + abs(x))^2",
    "sigmoid": "4*sigmoid(x)*(1 - sigmoid(x))",
    "atan": "1/(1 + x^2)",
    "triangle": "max(0, 1 - abs(x))",
    "rectangle": "where(abs(x) <= 1, 1, 0)",
    "gaussian": "exp(-x^2/2)",
    "exponential": "exp(-abs(x))",
    "straight_through": "1",
    "none": "0",
}

#: kind -> (weight, centre, radius) of each Gaussian lobe; `h` and `r` are the options h and ratio
LOBES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "double_gaussian": (("1 + h", "0", "1"), ("-2*h", "0", "r")),
    "multi_gaussian": (("1 + h", "0", "1"), ("-h", "1", "r"), ("-h", "-1", "r")),
}

DEFAULTS: dict[str, str] = {"width": "0.5", "height": "1", "h": "0.15", "ratio": "6"}


def shape_text(kind: str, normalised: bool) -> str:
    """The shape of `kind` as text in x, width, h, r.

    Raises:
        KeyError: no such kind.
    """
    if kind not in LOBES:
        return SHAPES[kind]
    area = "/(sqrt(2*pi)*({radius})*width)" if normalised else ""
    lobe = "({weight})*exp(-(x - ({centre}))^2/(2*({radius})^2))" + area
    return " + ".join(lobe.format(weight=w, centre=c, radius=r) for w, c, r in LOBES[kind])
