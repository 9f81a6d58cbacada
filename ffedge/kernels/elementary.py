"""exp, log and the like of float32, written out: the same everywhere, without a maths library.

Polynomials of Moshier's Cephes library (``expf.c``, ``logf.c``), in float32 throughout: within
2 units in the last place where they are used here.
"""

from __future__ import annotations

import numpy as np

from .provider import kernel

#: ln 2 in two parts, so that multiples of the first are exact.
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOG2_E = np.float32(1.44269504088896341)
_HALF, _ONE = np.float32(0.5), np.float32(1)

#: exp of less than this is zero: exp(-87.33) is the smallest normal float32.
_LOWEST = np.float32(-87.3)


@kernel()
def exp(x):
    """e**x for x <= 0, float32; 0 below -87.3, where the result would be denormal."""
    x = np.float32(x)
    if not x >= _LOWEST:
        return np.float32(0)
    n = np.int32(x * _LOG2_E - _HALF)
    whole = np.float32(n)
    r = x - whole * _LN2_HIGH
    r = r - whole * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    value = p * r * r + r + _ONE
    # 2**n as the bits of its exponent; n is at least -126.
    return value * np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


@kernel()
def log(x):
    """Natural logarithm of a normal number x > 0, float32."""
    bits = np.float32(x).view(np.int32)
    # x = m * 2**e with m in sqrt(1/2)..sqrt(2)
    e = np.int32((bits - np.int32(0x3F3504F3)) >> np.int32(23))
    m = np.int32(bits - np.int32(e << np.int32(23))).view(np.float32)
    r = m - _ONE
    z = r * r
    p = np.float32(7.0376836292e-2)
    p = p * r + np.float32(-1.1514610310e-1)
    p = p * r + np.float32(1.1676998740e-1)
    p = p * r + np.float32(-1.2420140846e-1)
    p = p * r + np.float32(1.4249322787e-1)
    p = p * r + np.float32(-1.6668057665e-1)
    p = p * r + np.float32(2.0000714765e-1)
    p = p * r + np.float32(-2.4999993993e-1)
    p = p * r + np.float32(3.3333331174e-1)
    whole = np.float32(e)
    y = p * r * z + whole * _LN2_LOW - _HALF * z
    return r + y + whole * _LN2_HIGH


@kernel()
def log1p(x):
    """log(1 + x) for x >= 0, float32; keeps its digits for small x (Kahan's correction)."""
    x = np.float32(x)
    u = x + _ONE
    if u == _ONE:
        return x
    return log(u) * (x / (u - _ONE))


@kernel()
def softplus(value):
    """``log(1 + exp(value))`` without overflow."""
    return max(value, np.float32(0)) + log1p(exp(-abs(value)))


@kernel()
def sigmoid(value):
    """``1 / (1 + exp(-value))`` without overflow."""
    small = exp(-abs(value))
    return _ONE / (_ONE + small) if value >= np.float32(0) else small / (_ONE + small)
