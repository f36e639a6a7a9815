"""Functions of one number for Triton kernels, the same in its interpreter as on a device.

Triton itself has exp, log, sin, cos, sqrt, erf and floor; what else its device library has, its interpreter has not.
Emitted files hold those of these functions that they call: this file imports triton only.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def exp_single(x):
    x = tl.where(x > 89.0, x * 0.0 + 89.0, x)
    x = tl.where(x < -87.3, x * 0.0 - 87.3, x)
    k = tl.floor(x * 1.44269504 + 0.5)
    r = (x - k * 0.693359375) + k * 2.12194440e-4
    p = 1.0 / 720 + r * (1.0 / 5040)
    p = 1.0 / 120 + r * p
    p = 1.0 / 24 + r * p
    p = 1.0 / 6 + r * p
    p = 1.0 + (r + r * r * (0.5 + r * p))
    power = ((k.to(tl.int32) + 126) << 23).to(tl.float32, bitcast=True)  # 2^(k - 1)
    return (p + p) * power


@triton.jit
def real_exp(x):
    """e^x; in float32 within 2 units of the last place (Triton's own multiplies by log2(e) first and loses digits)."""
    return tl.exp(x) if x.dtype == tl.float64 else exp_single(x)


@triton.jit
def expm1_single(x):
    y = tl.where(x > 89.0, x * 0.0 + 89.0, x)
    y = tl.where(y < -20.0, y * 0.0 - 20.0, y)
    k = tl.floor(y * 1.44269504 + 0.5)
    r = (y - k * 0.693359375) + k * 2.12194440e-4
    p = 1.0 / 720 + r * (1.0 / 5040)
    p = 1.0 / 120 + r * p
    p = 1.0 / 24 + r * p
    p = 1.0 / 6 + r * p
    p = r + r * r * (0.5 + r * p)
    n = k.to(tl.int32)
    one = ((127 - tl.where(n > 126, 126, n)) << 23).to(tl.float32, bitcast=True)  # 1 in units of 2^k
    p = p + (1.0 - one)
    value = (p + p) * ((n + 126) << 23).to(tl.float32, bitcast=True)
    return tl.where(x == 0.0, x, value)


@triton.jit
def expm1_double(x):
    """Kahan: the rounding of u and that of log(u) cancel."""
    u = tl.exp(x)
    inside = (u != 1.0) & (u > 1e-17) & (u < 1e300)
    safe = tl.where(inside, u, x * 0.0 + 2.0)
    return tl.where(inside, (safe - 1.0) * x / tl.log(safe), tl.where(u == 1.0, x, u - 1.0))


@triton.jit
def real_expm1(x):
    """e^x - 1, also where it is small."""
    return expm1_double(x) if x.dtype == tl.float64 else expm1_single(x)


@triton.jit
def real_log1p(x):
    """log(1 + x), also where x is small: the logarithm of the rounded sum, and what the rounding left out."""
    u = 1.0 + x
    fine = (u > 0.0) & (u < 1e30)
    safe = tl.where(fine, u, x * 0.0 + 1.0)
    return tl.where(fine, tl.log(safe) + (x - (safe - 1.0)) / safe, tl.log(u))


@triton.jit
def real_sqrt(x):
    """The square root, correctly rounded."""
    return tl.sqrt(x) if x.dtype == tl.float64 else tl.sqrt_rn(x)


@triton.jit
def real_tanh(x):
    t = real_expm1(-2.0 * tl.abs(x))
    y = -t / (2.0 + t)
    return tl.where(x < 0.0, -y, y)


@triton.jit
def real_sinh(x):
    t = real_expm1(tl.abs(x))
    half = 0.5 * real_exp(0.5 * tl.abs(x))  # where e^|x| would be infinite already
    y = tl.where(tl.abs(x) > 80.0, half * (half + half), 0.5 * (t + t / (t + 1.0)))
    return tl.where(x < 0.0, -y, y)


@triton.jit
def real_cosh(x):
    half = 0.5 * real_exp(0.5 * tl.abs(x))
    t = real_exp(tl.abs(x))
    return tl.where(tl.abs(x) > 80.0, half * (half + half), 0.5 * (t + 1.0 / t))


@triton.jit
def real_sigmoid(x):
    return 1.0 / (1.0 + real_exp(-x))


@triton.jit
def real_softplus(x):
    """log(1 + e^x)"""
    return tl.where(x < 0.0, x * 0.0, x) + real_log1p(real_exp(-tl.abs(x)))


@triton.jit
def real_sign(x):
    return tl.where(x > 0.0, x * 0.0 + 1.0, tl.where(x < 0.0, x * 0.0 - 1.0, x))


@triton.jit
def real_round(x):
    """To the nearest whole number, halves to the even one: adding a large number rounds."""
    size = tl.abs(x)
    large = size * 0.0 + 8388608.0
    if x.dtype == tl.float64:
        large = size * 0.0 + 4503599627370496.0
    near = (size + large) - large
    return tl.where(size < large, tl.where(x < 0.0, -near, near), x)


@triton.jit
def real_tan(x):
    return tl.sin(x) / tl.cos(x)


@triton.jit
def real_min(a, b):
    """A NaN on either side is the result, as in numpy."""
    return tl.where((a < b) | (a != a), a, b)


@triton.jit
def real_max(a, b):
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def real_pow(x, y):
    """x^y by logarithms in float64: within 2 + |y log x| units of the last place of float64."""
    a = x.to(tl.float64)
    b = y.to(tl.float64)
    size = tl.exp(b * tl.log(tl.abs(a)))
    whole = tl.floor(b) == b
    odd = tl.floor(b * 0.5) * 2.0 != b
    signed = tl.where(whole, tl.where(odd, -size, size), size + float("nan"))
    value = tl.where(a < 0.0, signed, size)
    value = tl.where((b == 0.0) | (a == 1.0), a * 0.0 + 1.0, value)
    return value.to(x.dtype)


@triton.jit
def real_atan2(y, x):
    """The angle of (x, y): the smaller part over the larger one, turned by pi/8 into the reach of the series."""
    a = tl.abs(y).to(tl.float64)
    b = tl.abs(x).to(tl.float64)
    larger = tl.where(a > b, a, b)
    q = tl.where(a > b, b, a) / tl.where(larger == 0.0, larger + 1.0, larger)
    turned = q > 0.41421356237309503
    z = tl.where(turned, (q - 1.0) / (q + 1.0), q)
    s = z * z
    p = 1.0 / 41
    for i in tl.static_range(1, 21):
        p = 1.0 / (41 - 2 * i) - s * p
    angle = z * p + tl.where(turned, s * 0.0 + 0.7853981633974483, s * 0.0)
    angle = tl.where(a > b, 1.5707963267948966 - angle, angle)
    left = x.to(tl.float64).to(tl.int64, bitcast=True) < 0  # by the sign bit: -0.0 is on the left, or below
    below = y.to(tl.float64).to(tl.int64, bitcast=True) < 0
    angle = tl.where(left, 3.141592653589793 - angle, angle)
    return tl.where(below, -angle, angle).to(x.dtype)


@triton.jit
def real_phi(K: tl.constexpr, x):
    """phi_1(z) = (e^z - 1)/z, phi_{k+1} = (phi_k - 1/k!)/z, in float64; the series where that would cancel."""
    z = x.to(tl.float64)
    near = tl.abs(z) < 2.0
    far = tl.where(near, z * 0.0 + 2.0, z)
    value = real_expm1(far) / far
    factorial = z * 0.0 + 1.0
    for j in tl.static_range(1, K):
        factorial = factorial * j
        value = (value - 1.0 / factorial) / far
    term = 1.0 / (factorial * K)
    total = z * 0.0
    inner = tl.where(near, z, z * 0.0)
    for j in tl.static_range(1, 28):
        total = total + term
        term = term * inner / (K + j)
    return tl.where(near, total, value).to(x.dtype)


@triton.jit
def complex_phi(K: tl.constexpr, x, y):
    """Real and imaginary part of phi_k(x + i y), in float64."""
    a = x.to(tl.float64)
    b = y.to(tl.float64)
    size = a * a + b * b
    near = size < 4.0
    norm = tl.where(near, size * 0.0 + 1.0, size)
    u = tl.exp(a) * tl.cos(b)
    v = tl.exp(a) * tl.sin(b)
    factorial = size * 0.0 + 1.0
    for j in tl.static_range(0, K):
        if j > 1:
            factorial = factorial * j
        low = u - 1.0 / factorial
        u = (low * a + v * b) / norm
        v = (v * a - low * b) / norm
    p = 1.0 / (factorial * K)
    q = size * 0.0
    re = size * 0.0
    im = size * 0.0
    c = tl.where(near, a, size * 0.0)
    d = tl.where(near, b, size * 0.0)
    for j in tl.static_range(1, 28):
        re = re + p
        im = im + q
        step = (p * c - q * d) / (K + j)
        q = (p * d + q * c) / (K + j)
        p = step
    return tl.where(near, re, u).to(x.dtype), tl.where(near, im, v).to(x.dtype)


@triton.jit
def real_cphi_re(K: tl.constexpr, x, y):
    re, _im = complex_phi(K, x, y)
    return re


@triton.jit
def real_cphi_im(K: tl.constexpr, x, y):
    _re, im = complex_phi(K, x, y)
    return im


@triton.jit
def pair_series(d):
    """sinh(sqrt d)/sqrt d and its derivative for |d| < 1, any sign: sum d^n/(2n+1)!."""
    value = d * 0.0
    slope = d * 0.0
    for i in tl.static_range(0, 14):
        slope = (slope * d + value) / ((28 - 2 * i) * (29 - 2 * i))
        value = value * d / ((28 - 2 * i) * (29 - 2 * i)) + 1.0
    return value, slope


@triton.jit
def real_pair(m, d):
    """exp(m + j) = C + S j with j^2 = d, of any sign, and T = dS/dd, in float64."""
    m = m.to(tl.float64)
    d = d.to(tl.float64)
    near = tl.abs(d) < 1.0
    far = tl.where(near, d * 0.0 + 1.0, d)
    w = tl.sqrt(tl.abs(far))
    size = tl.exp(m)
    up = tl.exp(tl.where(far > 0.0, m + w, m))
    down = tl.exp(tl.where(far > 0.0, m - w, m))
    c = tl.where(far > 0.0, 0.5 * (up + down), size * tl.cos(w))
    s = tl.where(far > 0.0, 0.5 * (up - down), size * tl.sin(w)) / w
    inner = tl.where(near, d, d * 0.0)
    series, slope = pair_series(inner)
    t = tl.where(near, size * slope, (c - s) / (2.0 * far))
    c = tl.where(near, size * (series + 2.0 * inner * slope), c)
    return c, tl.where(near, size * series, s), t


@triton.jit
def real_pair_c(m, d):
    c, _s, _t = real_pair(m, d)
    return c.to(m.dtype)


@triton.jit
def real_pair_s(m, d):
    _c, s, _t = real_pair(m, d)
    return s.to(m.dtype)


@triton.jit
def real_pair_t(m, d):
    _c, _s, t = real_pair(m, d)
    return t.to(m.dtype)
