"""Choice of the ridge of a density model by what one diagonalisation on its density gives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dft2spectra.density.comparison import OneShotErrors, one_shot_errors
from dft2spectra.density.least_squares import SingularFitError
from dft2spectra.density.one_shot import OneShotError
from dft2spectra.density.predictor import Predictor

# So many validation geometries judge a ridge: each takes one diagonalisation per ridge.
RIDGE_GEOMETRIES = 10


class Fit(Protocol):
    """What every kind of fit offers."""

    def model(self, ridge: float, card: dict[str, Any]) -> Predictor:
        """The model at a ridge, without a committee."""


def compare_ridges(
    fit: Fit,
    card: dict[str, Any],
    validation: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    progress: Callable[[str], None],
) -> tuple[list[dict[str, Any]], dict[float, tuple[Predictor, np.ndarray, np.ndarray]]]:
    """Table of the ridges, strongest first; models and errors of the usable ones.

    The errors are those of forces and of mixed dipoles, one per geometry; see :func:`best_mixing`.
    """
    # Spread over the list, in which temperatures take turns.
    count = min(RIDGE_GEOMETRIES, len(validation))
    judges = [validation[i] for i in np.linspace(0, len(validation) - 1, count).round().astype(int)]
    table: list[dict[str, Any]] = []
    fits: dict[float, tuple[Predictor, np.ndarray, np.ndarray]] = {}
    for ridge in sorted(set(settings["ridge"]), reverse=True):
        row: dict[str, Any] = {"ridge": float(ridge), "geometries": count}
        try:
            model = fit.model(ridge, card)
            errors = [one_shot_errors(model, label, pyscf_settings) for label in judges]
            row |= _scores(errors)
            fits[ridge] = (
                model,
                np.array([error.force_mae_mev_ang for error in errors]),
                mixed_errors(errors, row["dipole_mixing"]),
            )
            progress(
                f"{card['molecule']}: ridge {ridge:g}, forces {row['force_mae_mev_ang']:.3g} meV/Å,"
                f" energies {row['energy_rms_mev']:.3g} meV"
            )
        except (SingularFitError, OneShotError) as error:
            row["failure"] = str(error)
            progress(f"{card['molecule']}: ridge {ridge:g} is of no use: {error}")
        table.append(row)
    if not fits:
        raise SingularFitError(f"no ridge of density_model.ridge is usable: {table[0]['failure']}")
    return table, fits


def choose_ridge(errors: Mapping[float, tuple[np.ndarray, np.ndarray]]) -> float:
    """Ridge with the best dipoles among those whose forces are as good as the best ones.

    As good means: worse by no more than the standard error of the mean difference, geometry by
    geometry. Forces decide on the positions of bands, dipoles on their intensities.

    Parameters
    ----------
    errors
        For each ridge the force errors and the dipole errors, one per geometry, the same
        geometries for all.
    """
    best = min(errors, key=lambda ridge: errors[ridge][0].mean())
    as_good = []
    for ridge, (forces, _) in errors.items():
        worse = forces - errors[best][0]
        # Of one geometry nothing is known about the scatter.
        allowed = worse.std(ddof=1) / np.sqrt(len(worse)) if len(worse) > 1 else 0.0
        if worse.mean() <= allowed:
            as_good.append(ridge)
    return min(as_good, key=lambda ridge: errors[ridge][1].mean())


def best_mixing(errors: Sequence[OneShotErrors]) -> float:
    """Part of the dipole of the density matrix in the mean with that of the input density, 0 to 1.

    The errors of input and output have opposite signs: the electrons of the one diagonalisation
    answer to the error of the potential without screening it. As in the linear mixing of a
    self-consistent cycle, a mean of both is nearer to the solution; least squares over vectors.
    """
    inner = np.array([error.input_dipole_vector_debye for error in errors])
    step = np.array([error.dipole_vector_debye for error in errors]) - inner
    length = float(np.sum(step * step))
    return float(np.clip(-np.sum(inner * step) / length, 0.0, 1.0)) if length > 0.0 else 1.0


def mixed_errors(errors: Sequence[OneShotErrors], mixing: float) -> np.ndarray:
    """Length of the errors of the mixed dipoles, debye, one per geometry."""
    vectors = [
        mixing * error.dipole_vector_debye + (1.0 - mixing) * error.input_dipole_vector_debye
        for error in errors
    ]
    return np.linalg.norm(vectors, axis=1)


def _scores(errors: Sequence[OneShotErrors]) -> dict[str, Any]:
    energies = np.array([error.energy_mev for error in errors])
    mixing = best_mixing(errors)
    return {
        "dipole_mixing": mixing,
        "mixed_dipole_mae_debye": float(mixed_errors(errors, mixing).mean()),
        "force_mae_mev_ang": float(np.mean([error.force_mae_mev_ang for error in errors])),
        "energy_mean_mev": float(energies.mean()),
        "energy_rms_mev": float(energies.std()),
        "dipole_mae_debye": float(np.mean([error.dipole_debye for error in errors])),
    }
