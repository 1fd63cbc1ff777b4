"""The tensor model of all training sites in a file, and what it says of other sites.

The file holds what the model was made from and the choices that were made; it is solved again when
it is read, in less time than the features of one candidate take.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dft2spectra.arrays import read_arrays, refuse_not_finite
from dft2spectra.learning.splits import Folds
from dft2spectra.learning.tensor_features import L_MAX, Moments, to_tensor
from dft2spectra.learning.tensor_model import (
    Reduction,
    TensorModel,
    describe,
    fit_tensor,
    reduction,
    solve_tensor,
)
from dft2spectra.records import whole_file

_DEGREES = tuple(f"moments_{degree}" for degree in range(L_MAX + 1))
_CHOICES = ("length", "bands_weight", "penalty")
_NAMES = (*_DEGREES, *_CHOICES, "bands", "points", "scale", "tensors", "vzz_errors")


class TensorPredictor(NamedTuple):
    """The model, and what it needs to describe a new site."""

    model: TensorModel
    made: Reduction
    scale: np.ndarray  # (n_features,): of the ordinary fingerprints
    vzz_errors: np.ndarray  # (n,): |error| of Vzz at sites of unseen structure types, 10²¹ V/m²

    def predict(self, moments: Sequence[Moments], values: np.ndarray) -> np.ndarray:
        """Tensors (n, 3, 3) in 10²¹ V/m² of sites with these fingerprints (n, n_features)."""
        found = describe(np.asarray(values, dtype=float) * self.scale, moments, self.made)
        return to_tensor(self.model.predict(found))

    def half_width(self, coverage: float) -> float:
        """Half of an interval of Vzz that holds this share of the errors (split conformal)."""
        number = len(self.vzz_errors)
        rank = min(int(np.ceil(coverage * (number + 1))), number)
        return float(np.sort(self.vzz_errors)[rank - 1])


def write_tensor_model(
    path: str | Path,
    moments: Sequence[Moments],
    points: np.ndarray,
    scale: np.ndarray,
    tensors: np.ndarray,
    folds: Folds,
    vzz_errors: np.ndarray,
) -> None:
    """Choose and write the model of all training sites.

    Parameters
    ----------
    points, scale
        Scaled fingerprints (n_sites, n_features) and their factors.
    tensors
        Components (n_sites, 5).
    folds
        Parts of the sites, by which length, weight and penalty are chosen.
    vzz_errors
        As in :class:`TensorPredictor`, at least one.
    """
    model = fit_tensor(describe(points, moments, reduction(moments)), tensors, folds)
    arrays: dict[str, Any] = {name: getattr(model, name) for name in _CHOICES}
    for degree, name in enumerate(_DEGREES):
        arrays[name] = np.array([site.by_degree[degree] for site in moments])
    arrays["bands"] = np.array([site.bands for site in moments])
    arrays |= {"points": points, "scale": scale, "tensors": tensors, "vzz_errors": vzz_errors}
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, n_sites=len(moments), **arrays)


def write_nothing(path: str | Path) -> None:
    """A file that says that there were too few sites to learn from."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, n_sites=0)


def read_tensor_model(path: str | Path) -> TensorPredictor | None:
    """What :func:`write_tensor_model` wrote; ``None`` where there were too few sites to learn from.

    Raises
    ------
    DamagedFileError
        The file is cut off, or holds numbers that are not finite.
    """
    if not int(read_arrays(path, ["n_sites"])["n_sites"]):
        return None
    stored = read_arrays(path, _NAMES)
    refuse_not_finite(path, stored, _NAMES)
    degrees = zip(*(stored[name] for name in _DEGREES), strict=True)
    moments = [
        Moments(tuple(parts), bands) for parts, bands in zip(degrees, stored["bands"], strict=True)
    ]
    made = reduction(moments)
    sites = describe(stored["points"], moments, made)
    choices = (float(stored[name]) for name in _CHOICES)
    model = solve_tensor(sites, stored["tensors"], *choices)
    return TensorPredictor(model, made, stored["scale"], stored["vzz_errors"])
