"""Jacobi functions of the distance that vanish at the cutoff, on a logarithmic or the plain map.

With ``t = ln(1 + r/a) / ln(1 + rc/a)`` (logarithmic map) or ``t = r/rc`` (plain map) and
``x = cos(πt)``, running from 1 at the nucleus to −1 at the cutoff,

    f_n(r) = N_n ((1 − x)/2)^(α/2) ((1 + x)/2)^(β/2) P_n^(α,β)(x),

P_n the Jacobi polynomials. The weights make the functions orthonormal in x, let them vanish as
``(rc − r)^β`` at the cutoff (β = 4: three continuous derivatives, where the shifted polynomials of
Focassio et al., npj Comput. Mater. 9, 87 (2023) have one) and as ``r^α`` at the nucleus; a term of
degree l takes α = min(l, 2), as a smooth density does.
"""

import math

import numba as nb
import numpy as np

BETA = 4  # order of the zero at the cutoff
MAX_ALPHA = 2  # highest order of the zero at the nucleus


def recurrence(n_max: int, alpha: int, beta: int = BETA) -> np.ndarray:
    """Coefficients (n_max, 3) of the normalised recurrence ``p_n = (a x + b) p_(n−1) − c p_(n−2)``.

    Row 0 holds the constant p_0 in its second column. Orthonormal in x with the weight
    ``((1−x)/2)^α ((1+x)/2)^β``: the Jacobi matrix of Gautschi, "Orthogonal Polynomials" (2004),
    section 1.5.
    """
    mass = 2 * math.gamma(alpha + 1) * math.gamma(beta + 1) / math.gamma(alpha + beta + 2)
    rows = np.zeros((n_max, 3))
    rows[0, 1] = 1 / math.sqrt(mass)
    total = alpha + beta

    def diagonal(k: int) -> float:
        if k == 0:
            return (beta - alpha) / (total + 2)
        return (beta**2 - alpha**2) / ((2 * k + total) * (2 * k + total + 2))

    def off_diagonal(k: int) -> float:
        if k == 1:
            square = 4 * (1 + alpha) * (1 + beta) / ((2 + total) ** 2 * (3 + total))
        else:
            square = (
                4 * k * (k + alpha) * (k + beta) * (k + total)
                / ((2 * k + total) ** 2 * (2 * k + total + 1) * (2 * k + total - 1))
            )  # fmt: skip
        return math.sqrt(square)

    for n in range(1, n_max):
        lower = off_diagonal(n - 1) if n > 1 else 0.0
        upper = off_diagonal(n)
        rows[n] = 1 / upper, -diagonal(n - 1) / upper, lower / upper
    return rows


def recurrences(n_max: int, classes: int = MAX_ALPHA + 1) -> np.ndarray:
    """Recurrences for α = 0, 1, … classes − 1, shape (classes, n_max, 3)."""
    return np.stack([recurrence(n_max, alpha) for alpha in range(classes)])


# Taylor coefficients of sin(πt/2)/t and cos(πt/2) in t², exact to rounding for 0 ≤ t ≤ 1.
_SINE = np.array(
    [(-1) ** k * (math.pi / 2) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(12)]
)
_COSINE = np.array(
    [(-1) ** k * (math.pi / 2) ** (2 * k) / math.factorial(2 * k) for k in range(12)]
)
# 2 atanh(s) = 2 Σ s^(2k+1)/(2k+1), |s| ≤ 0.172
_LOGARITHM = np.array([2.0 / (2 * k + 1) for k in range(12)])
_MANTISSA, _ONE, _LN2 = (1 << 52) - 1, 1023 << 52, math.log(2.0)


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _map(r, cutoff, scale, s, c, t1, t2):  # type: ignore[no-untyped-def]
    """sin(πt/2), cos(πt/2) and the derivatives of t at the distances ``r``, without library calls.

    Calls of log, sin and cos would keep the loops from being vectorised.
    """
    count = r.shape[0]
    length = math.log1p(cutoff / scale) if scale > 0.0 else cutoff
    t = np.empty(count)
    if scale > 0.0:
        inverse = 1.0 / scale
        argument = np.empty(count)
        for p in range(count):
            argument[p] = 1.0 + min(r[p], cutoff) * inverse
        bits = argument.view(np.int64)
        for p in range(count):
            exponent = (bits[p] >> 52) - 1023
            t[p] = exponent * _LN2
            bits[p] = (bits[p] & _MANTISSA) | _ONE
        for p in range(count):
            m = argument[p]
            shift = 1.0 if m > 1.4142135623730951 else 0.0
            m = m * (1.0 - 0.5 * shift)
            z = (m - 1.0) / (m + 1.0)
            square = z * z
            sum_ = _LOGARITHM[11]
            for k in range(10, -1, -1):
                sum_ = sum_ * square + _LOGARITHM[k]
            t[p] = (t[p] + shift * _LN2 + z * sum_) / length
            t1[p] = 1.0 / ((scale + min(r[p], cutoff)) * length)
            t2[p] = -t1[p] / (scale + min(r[p], cutoff))
    else:
        for p in range(count):
            t[p] = min(r[p], cutoff) / length
            t1[p] = 1.0 / length
            t2[p] = 0.0
    for p in range(count):
        square = t[p] * t[p]
        sine, cosine = _SINE[11], _COSINE[11]
        for k in range(10, -1, -1):
            sine = sine * square + _SINE[k]
            cosine = cosine * square + _COSINE[k]
        s[p] = sine * t[p]
        c[p] = cosine if r[p] < cutoff else 0.0


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _argument(s, c, t1, t2, x, x1, x2):  # type: ignore[no-untyped-def]
    """x = cos(πt) and its derivatives with respect to r."""
    half_pi = 0.5 * math.pi
    for p in range(s.shape[0]):
        x[p] = 1.0 - 2.0 * s[p] * s[p]
        slope = -4.0 * half_pi * s[p] * c[p]  # of x with respect to t
        bend = -4.0 * half_pi * half_pi * (c[p] * c[p] - s[p] * s[p])
        x1[p] = slope * t1[p]
        x2[p] = bend * t1[p] * t1[p] + slope * t2[p]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _envelope(alpha, s, c, t1, t2, out):  # type: ignore[no-untyped-def]
    """s^α c^4 and its derivatives with respect to r, shape (3, P)."""
    half_pi = 0.5 * math.pi
    for p in range(s.shape[0]):
        c2, s2 = c[p] * c[p], s[p] * s[p]
        if alpha == 0:
            h, h1 = c2 * c2, -4.0 * half_pi * c2 * c[p] * s[p]
            h2 = half_pi * half_pi * (12.0 * c2 * s2 - 4.0 * c2 * c2)
        elif alpha == 1:
            h, h1 = s[p] * c2 * c2, half_pi * c2 * c[p] * (c2 - 4.0 * s2)
            h2 = half_pi * half_pi * s[p] * c2 * (12.0 * s2 - 13.0 * c2)
        else:
            h = s2 * c2 * c2
            h1 = half_pi * s[p] * c2 * c[p] * (2.0 * c2 - 4.0 * s2)
            h2 = half_pi * half_pi * c2 * (2.0 * c2 * c2 - 22.0 * s2 * c2 + 12.0 * s2 * s2)
        out[0, p] = h
        out[1, p] = h1 * t1[p]
        out[2, p] = h2 * t1[p] * t1[p] + h1 * t2[p]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _begin(constant, state):  # type: ignore[no-untyped-def]
    """The polynomials of order −1 and 0 with two derivatives in x: ``state`` (6, P)."""
    for p in range(state.shape[1]):
        for k in range(6):
            state[k, p] = 0.0
        state[3, p] = constant


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _advance(a, b, d, x, state):  # type: ignore[no-untyped-def]
    """One order further by the three-term recurrence, derivatives included."""
    for p in range(x.shape[0]):
        factor = a * x[p] + b
        new = factor * state[3, p] - d * state[0, p]
        new1 = a * state[3, p] + factor * state[4, p] - d * state[1, p]
        new2 = 2.0 * a * state[4, p] + factor * state[5, p] - d * state[2, p]
        state[0, p], state[1, p], state[2, p] = state[3, p], state[4, p], state[5, p]
        state[3, p], state[4, p], state[5, p] = new, new1, new2


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def radial_functions(r, cutoff, scale, rows, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (classes, n_max, 3, P) with f, df/dr and d²f/dr² at the distances ``r`` (P,).

    ``scale`` is the length a of the logarithmic map; 0 chooses the plain map. ``rows`` from
    :func:`recurrences`. Zero beyond the cutoff.
    """
    classes, n_max = rows.shape[0], rows.shape[1]
    count = r.shape[0]
    work, envelope, state = np.empty((7, count)), np.empty((3, count)), np.empty((6, count))
    s, c, x, x1, x2, t1, t2 = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    now, now1, now2 = state[3], state[4], state[5]
    _map(r, cutoff, scale, s, c, t1, t2)
    _argument(s, c, t1, t2, x, x1, x2)
    for k in range(classes):
        _envelope(k, s, c, t1, t2, envelope)
        _begin(rows[k, 0, 1], state)
        for n in range(n_max):
            if n > 0:
                _advance(rows[k, n, 0], rows[k, n, 1], rows[k, n, 2], x, state)
            for p in range(count):
                slope, bend = now1[p] * x1[p], now2[p] * x1[p] * x1[p] + now1[p] * x2[p]
                out[k, n, 0, p] = envelope[0, p] * now[p]
                out[k, n, 1, p] = envelope[1, p] * now[p] + envelope[0, p] * slope
                out[k, n, 2, p] = (
                    envelope[2, p] * now[p] + 2.0 * envelope[1, p] * slope + envelope[0, p] * bend
                )


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def radial_sum(r, cutoff, scale, rows, coefficients, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (3, P) with Σ c_n f_n of the first class and its two derivatives."""
    count = r.shape[0]
    work, envelope, state = np.empty((7, count)), np.empty((3, count)), np.empty((6, count))
    s, c, x, x1, x2, t1, t2 = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    sums = np.zeros((3, count))
    total, total1, total2 = sums[0], sums[1], sums[2]
    _map(r, cutoff, scale, s, c, t1, t2)
    _argument(s, c, t1, t2, x, x1, x2)
    _envelope(0, s, c, t1, t2, envelope)
    _begin(rows[0, 0, 1], state)
    for n in range(rows.shape[1]):
        if n > 0:
            _advance(rows[0, n, 0], rows[0, n, 1], rows[0, n, 2], x, state)
        for k in range(3):
            for p in range(count):
                sums[k, p] += coefficients[n] * state[3 + k, p]
    for p in range(count):
        slope, bend = total1[p] * x1[p], total2[p] * x1[p] * x1[p] + total1[p] * x2[p]
        out[0, p] = envelope[0, p] * total[p]
        out[1, p] = envelope[1, p] * total[p] + envelope[0, p] * slope
        out[2, p] = envelope[2, p] * total[p] + 2.0 * envelope[1, p] * slope + envelope[0, p] * bend
