"""Ridge regression from normal equations, as a whole and with parts of the data left out.

The normal equations of each part are added up geometry by geometry, so that the memory does not
grow with the number of points. Those of a finished part go to a temporary file: two matrices are
in memory at a time, whatever the number of parts. The columns are scaled to unit length, so that a
ridge is relative to the diagonal and means the same for all terms.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.linalg.blas import dsymv, dsyrk
from scipy.linalg.lapack import dpotrf, dpotrs


class SingularFitError(ValueError):
    """Normal equations that do not determine the coefficients at this ridge."""


class NormalEquations:
    """Sums ``XᵀX`` and ``Xᵀy`` over rows, in parts that can be left out again.

    Parameters
    ----------
    terms
        Number of columns of X.

    Notes
    -----
    Use it as a context: the files of the parts go when it ends.
    """

    def __init__(self, terms: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="normal-equations-")
        self.total = np.zeros((terms, terms), order="F")  # lower triangle
        self.right = np.zeros(terms)
        self.square = 0.0  # Σ y²
        self.rows = 0
        self._parts: list[tuple[Path, np.ndarray]] = []

    def __enter__(self) -> "NormalEquations":
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    @property
    def parts(self) -> int:
        """Number of parts added so far."""
        return len(self._parts)

    def add_part(self, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Add a part: blocks of weighted rows X (n, terms) and targets y (n,)."""
        matrix = np.zeros_like(self.total)
        right = np.zeros_like(self.right)
        for x, y in blocks:
            # XᵀX as A Aᵀ with A = Xᵀ, which has the order of memory that BLAS wants.
            matrix = dsyrk(1.0, np.ascontiguousarray(x).T, 1.0, matrix, lower=1, overwrite_c=1)
            right += x.T @ y
            self.square += float(y @ y)
            self.rows += len(y)
        path = Path(self._folder.name) / f"{len(self._parts)}.npy"
        np.save(path, matrix)
        self._parts.append((path, right))
        self.total += matrix
        self.right += right

    def solve(self, ridge: float, without: int | None = None) -> np.ndarray:
        """Coefficients (terms,) at a relative ridge, with one part left out if named.

        Raises
        ------
        SingularFitError
            The equations are singular to working precision.
        """
        matrix, right = self.total.copy(order="F"), self.right
        if without is not None:
            path, own = self._parts[without]
            matrix -= np.load(path, mmap_mode="r")
            right = right - own
        return solve_ridge(matrix, right, ridge)

    def r2(self, coefficients: np.ndarray) -> float:
        """Share of the weighted sum of squares of the rows that the coefficients explain."""
        fitted = dsymv(1.0, self.total, coefficients, lower=1)
        rest = self.square - 2.0 * self.right @ coefficients + coefficients @ fitted
        return float(1.0 - rest / self.square)


def solve_ridge(matrix: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    """Solution of ``(S⁻¹ M S⁻¹ + ridge) S c = S⁻¹ b`` with ``S² = diag M``.

    Parameters
    ----------
    matrix
        Shape (n, n) in Fortran order, of which the lower triangle counts; overwritten.
    right
        Shape (n,).
    ridge
        Relative to the diagonal, not negative. A term that no row contains gets zero.

    Raises
    ------
    SingularFitError
        Singular to working precision.
    ValueError
        A number is not finite or the ridge is negative.
    """
    if not ridge >= 0.0:
        raise ValueError(f"a ridge must not be negative, as {ridge} is")
    scale = np.sqrt(np.diag(matrix))
    if not (np.isfinite(scale).all() and np.isfinite(right).all()):
        raise ValueError("the normal equations are not finite: a label holds NaN")
    scale[scale == 0.0] = 1.0
    matrix /= scale
    matrix /= scale[:, None]
    np.fill_diagonal(matrix, 1.0 + ridge)
    factor, failed_at = dpotrf(matrix, lower=1, overwrite_a=1, clean=0)
    # A pivot is one minus the share of a column that the columns before it explain.
    smallest = 0.0 if failed_at else float(np.diag(factor).min() ** 2)
    if smallest < len(right) * np.finfo(float).eps:
        raise SingularFitError(
            f"the training set does not determine all {len(right)} terms at ridge {ridge:g}: raise "
            "density_model.ridge, train on more geometries or points, or take fewer terms"
        )
    return dpotrs(factor, right / scale, lower=1)[0] / scale
