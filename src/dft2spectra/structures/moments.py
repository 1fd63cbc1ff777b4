"""Moments as vectors, of which collinear ones become numbers with a sign."""

import numpy as np

from dft2spectra.structures.raw import Reason, Rejected

# Of the largest moment: a part across the axis that is noise of a calculation or of a refinement.
CANTING = 0.1


def along_one_axis(vectors: np.ndarray) -> list[float]:
    """(n,) moments with their sign along the common axis of (n, 3) Cartesian vectors.

    The axis is that of the largest moment, its sense such that z, else y, else x is positive:
    moments along z keep their sign.

    Raises
    ------
    Rejected
        The moments have no common axis: the calculations here are collinear.
    """
    vectors = np.asarray(vectors, dtype=float)
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(vectors).all():
        raise Rejected(Reason.NOT_FINITE, "a magnetic moment is not a finite number")
    if not lengths.any():
        return [0.0] * len(vectors)
    axis = vectors[lengths.argmax()] / lengths.max()
    leading = next(component for component in axis[::-1] if abs(component) > 1e-6)
    axis = axis * np.sign(leading)
    along = vectors @ axis
    across = np.linalg.norm(vectors - along[:, None] * axis, axis=1)
    if across.max() > CANTING * lengths.max():
        raise Rejected(
            Reason.UNREADABLE,
            f"the magnetic moments have no common axis (up to {across.max():.2g} across it); only "
            "collinear order can be computed, so give collinear moments or none",
        )
    return [float(moment) for moment in along]
