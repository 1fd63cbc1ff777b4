"""Real solid harmonics and their gradients, with the points as the vector axis.

``S_lm(d) = r^l Y_lm`` with orthonormal real ``Y_lm`` and no Condon–Shortley sign, at index
``l² + l + m``. The same convention as PySCF, except that PySCF lists p functions as x, y, z
(``PYSCF_P_ORDER``).
"""

import math
from functools import cache

import numba as nb
import numpy as np

# Where the p functions (x, y, z) of PySCF stand among m = −1, 0, 1.
PYSCF_P_ORDER = (2, 0, 1)


@cache
def normalisation(lmax: int) -> np.ndarray:
    """Factors N_lm, shape ((lmax+1)²,): ``Y_lm`` from unnormalised Legendre functions."""
    factors = np.empty((lmax + 1) ** 2)
    for degree in range(lmax + 1):
        for order in range(-degree, degree + 1):
            m = abs(order)
            ratio = math.factorial(degree - m) / math.factorial(degree + m)
            factors[degree * degree + degree + order] = math.sqrt(
                (2 * degree + 1) / (4 * math.pi) * ratio * (2 if m else 1)
            )
    return factors


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def solid_harmonics(lmax, factors, d, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` ((lmax+1)², P) with the harmonics of the vectors ``d`` (3, P).

    Recurrences of the associated Legendre functions times powers of x + iy; ``factors`` from
    :func:`normalisation`.
    """
    count = d.shape[1]
    for p in range(count):
        out[0, p] = 1.0
    for m in range(1, lmax + 1):
        # (x + iy)^m (2m − 1)!!, real part at +m, imaginary part at −m
        new, old = m * m + m, (m - 1) * (m - 1) + (m - 1)
        for p in range(count):
            x, y = d[0, p], d[1, p]
            real = out[old + (m - 1), p]
            imag = out[old - (m - 1), p] if m > 1 else 0.0
            out[new + m, p] = (2 * m - 1) * (x * real - y * imag)
            out[new - m, p] = (2 * m - 1) * (x * imag + y * real)
    for m in range(lmax + 1):
        for l in range(m + 1, lmax + 1):
            new, old, older = l * l + l, (l - 1) * l, (l - 2) * (l - 1)
            first, second = (2 * l - 1) / (l - m), (l + m - 1) / (l - m)
            for sign in range(-1, 2, 2):
                if m == 0 and sign < 0:
                    continue
                k = sign * m
                if l == m + 1:
                    for p in range(count):
                        out[new + k, p] = first * d[2, p] * out[old + k, p]
                else:
                    for p in range(count):
                        r2 = d[0, p] * d[0, p] + d[1, p] * d[1, p] + d[2, p] * d[2, p]
                        out[new + k, p] = (
                            first * d[2, p] * out[old + k, p] - second * r2 * out[older + k, p]
                        )
    for index in range((lmax + 1) * (lmax + 1)):
        for p in range(count):
            out[index, p] *= factors[index]


@cache
def gradient_table(lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """``∂_k S_i = Σ_j values[k, i, j] S_indices[k, i, j]``, two terms at most.

    Returns
    -------
    indices, values
        Shape (3, (lmax+1)², 2); unused terms have value 0 and index 0.

    Notes
    -----
    A derivative of a harmonic polynomial of degree l is harmonic of degree l − 1, so a
    least-squares fit at random points is exact; derivatives at those points by complex step.
    """
    size = (lmax + 1) ** 2
    indices, values = np.zeros((3, size, 2), dtype=np.int64), np.zeros((3, size, 2))
    points = np.random.default_rng(0).standard_normal((3, 40 + 2 * lmax))
    harmonics = _evaluate(lmax, points).real
    for k in range(3):
        shifted = points.astype(complex)
        shifted[k] += 1e-30j
        slopes = _evaluate(lmax, shifted).imag / 1e-30
        for l in range(1, lmax + 1):
            lower = slice((l - 1) ** 2, l * l)
            for i in range(l * l, (l + 1) ** 2):
                row = np.linalg.lstsq(harmonics[lower].T, slopes[i], rcond=None)[0]
                used = np.flatnonzero(np.abs(row) > 1e-9)
                indices[k, i, : len(used)] = used + (l - 1) ** 2
                values[k, i, : len(used)] = row[used]
    return indices, values


def _evaluate(lmax: int, d: np.ndarray) -> np.ndarray:
    """The harmonics in plain numpy, complex arguments too; (lmax+1)² × P."""
    out = np.empty(((lmax + 1) ** 2, d.shape[1]), dtype=d.dtype)
    solid_harmonics.py_func(lmax, normalisation(lmax), d, out)
    return out
