"""Rules in which a right declaration stands close to a wrong one."""

from __future__ import annotations

import copy
import pickle

import pytest

from neuroode import SpecError
from neuroode.expr.parse import parse_expr
from neuroode.spec.read_yaml import read_text

HEAD = "neuron: x\naxes: {k: 4, l: k, j: 4, lag: 3}\n"


@pytest.mark.parametrize(
    "text",
    [
        "equations: |\n  dm/dt = -m + I\nspike: m > 1\nsurrogate: max(0, 1 - abs(m))\n",
        'equations: |\n  dz[k]/dt = -z[k] + I\nevents: {p: {when: "z[k] > 1", axes: [k], reset: "z[k] = 0"}}\n',
        'parameters: {W: {init: "normal(0, 1)", per: [k, l]}}\n'
        'equations: |\n  dz[k]/dt = -z[k] + sum_l(W[k, l]*tanh(z[l])) + I\noutputs: "z[k]"\n',
        "equations: |\n  v[t] = 0.5*v[t-1] + I\n  h = sum_lag(v[t-lag])\nspike: h + v > 1\n",
        "equations: |\n  v[t] = 0.5*v[t-1] + I\n  a = 0.9*a[t-1] + v\noutputs: a\n",
        "equations: |\n  dv/dt = -v + I\n  q[t] = after(v)\nspike: v > 1\nreset: v = 0\noutputs: {s: s, q: q}\n",
        "noise: {U: uniform}\nequations: |\n  dv/dt = -v + I\n"
        'events: {s: {when: "clip(v, 0, 1) > U", gradient: expected}}\n',
        "operators: {net: external}\nequations: |\n  U = net(q) + q^2\n  dq = -grad(U, q)*dt + sqrt(2)*dW\n",
        "parameters: {c: {value: [1, 2, 3, 4], per: [k]}}\nequations: |\n  dv/dt = poly(c, v) + I\n",
        'parameters: {d: {value: 2, domain: "interval(0, 5)"}}\nequations: |\n  dv/dt = -v + delay(I, d)\n',
        "parameters: {d: 2}\nequations: |\n  h = sum_k(I[t-k*d])\nspike: h > 1\n",
        "equations: |\n  dv/dt = -v + I\nspike: v > 1\nrefractory: {duration: 3*dt, hold: [v]}\n",
        "inputs: {x: {kind: impulse, at: end}}\nequations: |\n  dv/dt = -v + 2*(x + 3*x)/4\n",
        'parameters: {a: {value: 0.7, domain: "interval(0.05, 1)"}}\nequations: |\n  D^(1 - a) v = -v + I\n',
        'parameters: {a: {value: 0.2, domain: "interval(0, 0.5)"}}\nequations: |\n  2*D^(2*a) v = -v + I\n',
        "dt: 1 ms\nequations: |\n  D^0.5 v = -v/(1 ms)^0.5 + I/(1 ms)^(1/2)\n",
        "dt: 1 ms\nstates: {v: -65 mV}\nequations: |\n  dv/dt = -(v + 65 mV)/(20 ms)\n"
        "spike: v > -50 mV\nreset: v = -65 mV\n",
    ],
)
def test_right(text: str) -> None:
    read_text(HEAD + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equations: |\n  dz[k]/dt = -z[j]\n", "index j appears on the right only"),
        ("equations: |\n  dz[k]/dt = -sum_j(z[j])\n", "index j of z does not run over axis k"),
        ("equations: |\n  dz[k]/dt = -sum_k(z[k])\n", "index k is bound twice"),
        ("equations: |\n  dz[k]/dt = -z[4]\n", "index 4 of z is beyond axis k"),
        ("equations: |\n  dz[k, k]/dt = -z[k, k]\n", "the index 'k' twice"),
        ("equations: |\n  dz[n]/dt = -z[n]\n", "'n', which is not an axis"),
        ("equations: |\n  dv/dt = -v[k]\n", "index k appears on the right only"),
        ("equations: |\n  dv/dt = -v[0]\n", "v has no axis"),
        ("equations: |\n  dv/dt = -sum_n(v)\n", "runs over 'n', which is not an axis"),
        ("equations: |\n  dz[k]/dt = I\nspike: sum_k(z[k]) > 1\nreset: z = 0\n", "z has axis k"),
        ("parameters: {w: {value: 1, per: neurn}}\nequations: |\n  dv/dt = -w*v\n", "did you mean 'neuron'"),
        ("equations: |\n  a = b\n  b = a + I\noutputs: a\n", "within step t: "),
        ("equations: |\n  b = 0.5*b + I\noutputs: b\n", "b is defined by itself"),
        ("equations: |\n  dv/dt = -v[t] + I\n", "the end of this flow"),
        ("equations: |\n  h = sum_lag(s[t-lag])\nspike: h + I > 1\n", "within step t: s needs h, h needs s"),
        ("equations: |\n  dv/dt = -v + I\nspike: v[t-0.5] > 1\n", "a lag counts whole steps"),
        ("equations: |\n  dv/dt = -v + I\nspike: v[t-I] > 1\n", "is not a constant integer"),
        ("noise: {U: uniform}\nequations: |\n  v[t] = U[t-1] + v[t-1]\n", "is fresh each step"),
        (
            "parameters: {d: {value: 2}}\nequations: |\n  dv/dt = -v + delay(I, d)\n",
            "the trained delay d has no interval",
        ),
        ("parameters: {c: 3}\nequations: |\n  dv/dt = -c[t]*v\n", "does not vary with time"),
        ("equations: |\n  dv/dt = -v + x' + I\n  dx/dt = 1\n", "x' in the equation of v is not a state"),
        ('states: {"v\'": 1}\nequations: |\n  dv/dt = -v + I\n', "needs an equation of v''"),
        ("states: {v: I}\nequations: |\n  dv/dt = -v + I\n", "the init of v reads I"),
        ("parameters: {a: {init: b}, b: {init: a}}\nequations: |\n  dv/dt = -a*b*v\n", "in a circle"),
        ('parameters: {a: {init: "uniform(2, 1)"}}\nequations: |\n  dv/dt = -a*v\n', "is empty"),
        (
            "parameters: {a: {value: 1, type: integer, trainable: true}}\nequations: |\n  dv/dt = -a*v\n",
            "never trained",
        ),
        ("parameters: {a: {value: 1.5, type: integer}}\nequations: |\n  dv/dt = -a*v\n", "not a whole number"),
        ("parameters: {a: {value: 1, init: 2}}\nequations: |\n  dv/dt = -a*v\n", "both value and init"),
        ('parameters: {a: {value: "normal(0, 1)"}}\nequations: |\n  dv/dt = -a*v\n', "draws a number"),
        (
            'parameters: {a: {value: 2, domain: "interval(0, 1)"}}\nequations: |\n  dv/dt = -a*v\n',
            "is outside interval",
        ),
        ("parameters: {C: 2i}\nequations: |\n  dv/dt = -abs(C)*v\n", "C is real but its value is complex"),
        ("equations: |\n  du/dt = i*u : complex\n  v[t] = max(u, 1)\nspike: v > 1\n", "max takes real numbers"),
        ("equations: |\n  du/dt = i*u : complex\n  h = 2*u\n  dv/dt = h\n", "complex definition h"),
        ("equations: |\n  dv/dt = I\nspike: v > 1\nreset: v = 0; v = 1\n", "assigns v twice"),
        ("equations: |\n  dv/dt = I\nspike: v > 1\nreset: I = 0\n", "which is an input"),
        ("equations: |\n  dv/dt = I\nspike: v > 1\nrefractory: {duration: 2, hold: [w]}\n", "holds 'w'"),
        ("equations: |\n  dv/dt = I\nspike: v > 1\nsurrogate: v*m\n", "the surrogate of s reads v"),
        ("equations: |\n  dv/dt = I\nevents: {s: {when: v > 1, gradient: expected}}\n", "reads no noise"),
        ("equations: |\n  D^2 v = I\n", "is not in \\(0, 1\\]"),
        ("equations: |\n  D^0.5 v = x\ninputs: {x: impulse}\n", "takes currents"),
        ("method: soe\nequations: dv/dt = I\n", "for D\\^alpha lines"),
        ("method: baoab\nequations: dv/dt = I\n", "for differentials"),
        ("equations: dv/dt = exq(I)\n", "unknown function 'exq'"),
        ("equations: dv/dt = exp\n", "is a function and needs arguments"),
        ("equations: dv/dt = pi[0]\n", "takes no index"),
        ("dt: 1 V\nequations: dv/dt = -v/(1 s)\n", "not a time"),
        ("dt: 1 s\nequations: dv/dt = -v\n", "where dv/dt is"),
        ("dt: 1 s\nstates: {v: 1 mV}\nequations: v[t] = v[t-1]^(1 s)\n", "exponent"),
        ("dt: 1 s\nequations: |\n  D^0.5 v = -v/(1 s)\n", "where D\\^0.5 v is"),
        ("equations: |\n  dv/dt = -v : complex : complex\n", "expected the end of the statement"),
        ("dt: -1\nequations: dv/dt = I\n", "not positive"),
        ("horizon: 1.5\nequations: dv/dt = I\n", "not a whole number"),
        ("cite: [[a]]\nequations: dv/dt = I\n", "is a list"),
        ("equations: {v: 1}\n", "equations is a mapping"),
        ("inputs: [I]\nequations: dv/dt = I\n", "not a mapping"),
        ("add: {}\nequations: dv/dt = I\n", "without 'extends'"),
        ("spike:\nequations: dv/dt = I\n", "has no value"),
    ],
)
def test_wrong(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_text(HEAD + text)


def test_specs_can_be_copied_and_pickled() -> None:
    spec = read_text("neuron: x\nequations: |\n  dv/dt = " + " + ".join(["v*I"] * 3000) + "\n")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec
    node = parse_expr("where(x > 1 and not y < 2, z'[k, t-1-lag], -2i) + 3 mV")
    assert pickle.loads(pickle.dumps(node)) == node
