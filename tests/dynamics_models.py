"""Textbook neurons for tests of nonlinear analysis, written for the tests alone (constants: any textbook)."""

from __future__ import annotations

HODGKIN_HUXLEY = """
dt: 0.01 ms
inputs: {I: current}
states: {v: -65, m: 0.05, h: 0.6, n: 0.32}
parameters: {C: 1, g_Na: 120, g_K: 36, g_L: 0.3, E_Na: 50, E_K: -77, E_L: -54.387}
equations: |
  a_n = 0.01*(v + 55)/(1 - exp(-(v + 55)/10)); b_n = 0.125*exp(-(v + 65)/80)
  a_m = 0.1*(v + 40)/(1 - exp(-(v + 40)/10)); b_m = 4*exp(-(v + 65)/18)
  a_h = 0.07*exp(-(v + 65)/20); b_h = 1/(1 + exp(-(v + 35)/10))
  dv/dt = (I - g_Na*m^3*h*(v - E_Na) - g_K*n^4*(v - E_K) - g_L*(v - E_L))/(C*1 ms)
  dm/dt = (a_m*(1 - m) - b_m*m)/(1 ms)
  dh/dt = (a_h*(1 - h) - b_h*h)/(1 ms)
  dn/dt = (a_n*(1 - n) - b_n*n)/(1 ms)
spike: v > 0
"""
FITZHUGH_NAGUMO = """
dt: 0.05
states: {v: -1.2, w: -0.62}
parameters: {eps: {value: 0.08, domain: positive}, a: 0.7, b: {value: 0.8, domain: positive}}
equations: |
  dv/dt = v - v^3/3 - w + I
  dw/dt = eps*(v + a - b*w)
spike: v > 0
"""
MORRIS_LECAR = """
dt: 0.05
states: {v: -60, n: 0.015}
parameters: {C: 20, g_L: 2, g_K: 8, g_Ca: G_CA, E_L: -60, E_K: -84, E_Ca: 120, rate: RATE, V_1: -1.2, V_2: 18, V_3: AT,
             V_4: WIDTH}
equations: |
  m_inf = (1 + tanh((v - V_1)/V_2))/2
  n_inf = (1 + tanh((v - V_3)/V_4))/2
  dv/dt = (I - g_L*(v - E_L) - g_Ca*m_inf*(v - E_Ca) - g_K*n*(v - E_K))/C
  dn/dt = rate*(n_inf - n)*cosh((v - V_3)/(2*V_4))
spike: v > 0
"""
EIF = """
dt: 0.01 ms
inputs: {I: current}
states: {v: {init: E_L, unit: mV}}
parameters: {C: {value: 1, domain: positive}, g_L: {value: 0.1, domain: positive}, E_L: -65 mV, V_T: -59.9 mV,
             D: {value: 3.48 mV, domain: positive}, V_r: -68 mV}
equations: dv/dt = (-g_L*(v - E_L) + g_L*D*exp((v - V_T)/D) + I*1 mV)/(C*1 ms)
spike: v > 0 mV
reset: v = V_r
refractory: {duration: 1.7 ms, hold: [v]}
"""
THETA = """
dt: 0.05
equations: dth/dt = 1 - cos(th) + (1 + cos(th))*I
spike: th > 3.141592653589793
reset: th -= 6.283185307179586
"""
#: excitatory and inhibitory populations, linear in neither (Wilson and Cowan 1972, with a logistic function)
WILSON_COWAN = """
dt: 0.05
inputs: {P: current}
equations: |
  dE/dt = -E + sigmoid(12*E - 12*J + P - 4)
  dJ/dt = (-J + sigmoid(13*E - 11*J - 9))/2
outputs: E
"""


def morris_lecar(kind: str) -> str:
    """The sets of Rinzel and Ermentrout: hopf, snlc or homoclinic."""
    sets = {"hopf": (4.4, 0.04, 2, 30), "snlc": (4, 0.067, 12, 17.4), "homoclinic": (4, 0.23, 12, 17.4)}
    text = MORRIS_LECAR
    for word, number in zip(("G_CA", "RATE", "AT", "WIDTH"), sets[kind], strict=True):
        text = text.replace(word, str(number))
    return text
