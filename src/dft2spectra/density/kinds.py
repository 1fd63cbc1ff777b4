"""The kinds of density models by their names: a model from its file, whatever its kind."""

import json
from pathlib import Path

from dft2spectra.arrays import DamagedFileError, read_arrays, refuse_not_finite
from dft2spectra.density import coefficient_model, model
from dft2spectra.density.coefficient_model import CoefficientModel
from dft2spectra.density.model import DensityModel
from dft2spectra.density.predictor import (
    COEFFICIENTS,
    FORMAT,
    JACOBI_LEGENDRE,
    ModelError,
    Predictor,
)

MODELS: dict[str, type[DensityModel] | type[CoefficientModel]] = {
    JACOBI_LEGENDRE: DensityModel,
    COEFFICIENTS: CoefficientModel,
}
METHOD_VERSIONS = {
    JACOBI_LEGENDRE: model.METHOD_VERSION,
    COEFFICIENTS: coefficient_model.METHOD_VERSION,
}
OUTSIDE_CARD = ("format", "format_version", "kind", "species", "settings")


def read_model(path: str | Path) -> Predictor:
    """A model from its file.

    Raises
    ------
    ModelError
        The file is damaged or no density model, of another version, or holds a number that is not
        finite.
    """
    try:
        arrays = read_arrays(path)
        card = json.loads(str(arrays.pop("card")))
        if not isinstance(card, dict):
            raise TypeError("its card is no table of keys")
        refuse_not_finite(path, arrays, arrays)
    except DamagedFileError as error:
        raise _unreadable(path, error.why) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    # Files of the time when there was one kind do not name it.
    kind = MODELS.get(card.get("kind", JACOBI_LEGENDRE))
    wanted = kind.format_version if kind else None
    if kind is None or card.get("format") != FORMAT or card.get("format_version") != wanted:
        raise ModelError(
            f"{path}: format {card.get('format')!r} version {card.get('format_version')}; this "
            f"library reads {FORMAT!r} version {wanted}, so fit the model again"
        )
    kept = {k: v for k, v in card.items() if k not in OUTSIDE_CARD}
    try:
        return kind.from_file(tuple(card["species"]), card["settings"], arrays, kept)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: str | Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is no readable density model: {why}; remove it and start again, and it is fitted "
        "anew"
    )
