"""What every kind of density model can do, and what the rest of the room asks of it.

The one-shot step, its guards, the evaluation and the calculator know no more than this.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dft2spectra.records import content_hash, whole_file

FORMAT = "dft2spectra density model"

# Names of the kinds, in the card and in the configuration.
JACOBI_LEGENDRE = "jacobi_legendre"
COEFFICIENTS = "coefficients"
KINDS = (JACOBI_LEGENDRE, COEFFICIENTS)


class ModelError(ValueError):
    """A density model that does not fit what it is asked for."""


class Predictor(ABC):
    """Predicts the density of molecules of the elements that it knows.

    Attributes
    ----------
    card
        What the model was made from and for: functional, basis, charge, scores, hashes.
    committee
        Fits that each left a part of the training set out.
    pauli
        Model of the Pauli kinetic energy density, hartree per bohr³; None without one.
    """

    kind: ClassVar[str]
    format_version: ClassVar[int]
    card: dict[str, Any]
    committee: np.ndarray
    pauli: "Predictor | None"

    @property
    @abstractmethod
    def species(self) -> tuple[str, ...]:
        """Elements that the model knows, in alphabetical order."""

    @abstractmethod
    def evaluate(
        self, symbols: list[str], positions: np.ndarray, points: np.ndarray, owner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Density (N,) and its gradient (N, 3) at points; atomic units.

        That of the molecule minus superposed free atoms, unless the card's ``target`` is ``full``.
        ``owner``, ascending, says near which atom each point is, and only helps the speed.
        """

    @abstractmethod
    def gradient(
        self,
        symbols: list[str],
        positions: np.ndarray,
        points: np.ndarray,
        owner: np.ndarray,
        weight: np.ndarray,
        direction: np.ndarray,
    ) -> np.ndarray:
        """Gradient (atoms, 3) of ``Σ_g weight_g n_g + direction_g·∇n_g``; points ride on atoms.

        Parameters
        ----------
        points, owner
            Points, and the atom that each moves with; ascending. The array of points of the last
            evaluation, at the same positions, saves time.
        weight, direction
            Shapes (N,) and (N, 3), held fixed.
        """

    @abstractmethod
    def spread(
        self, symbols: list[str], positions: np.ndarray, points: np.ndarray, owner: np.ndarray
    ) -> np.ndarray:
        """Standard deviation (N,) of the committee at points, e/bohr³."""

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """What stands in the card of the file beside ``card``: species and settings."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Numbers of the file."""

    def check_species(self, symbols: Sequence[str]) -> None:
        """Refuse elements that the model was not made for.

        Raises
        ------
        ModelError
            Naming the elements.
        """
        foreign = sorted(set(symbols) - set(self.species))
        if foreign:
            raise ModelError(
                f"the density model knows {', '.join(self.species)}, not {', '.join(foreign)}; "
                "train one on molecules with these elements"
            )

    @abstractmethod
    def judged_by(self, committee: np.ndarray, card: dict[str, Any]) -> "Predictor":
        """The same model with a committee and another card."""

    def identity(self) -> str:
        """Hash of what decides on the predictions."""
        keys = ("target", "charge", "uncertainty_scale", "dipole_mixing")
        return content_hash(
            {
                "kind": self.kind,
                **self.header(),
                "card": {key: self.card.get(key) for key in keys},
                "arrays": {
                    name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
                    for name, array in self.arrays().items()
                },
            }
        )

    def write(self, path: str | Path) -> None:
        """Write the model as .npz with its card inside, under a temporary name first."""
        card = {
            "format": FORMAT,
            "format_version": self.format_version,
            "kind": self.kind,
            **self.header(),
            **self.card,
        }
        with whole_file(path) as temporary:
            arrays: dict[str, Any] = self.arrays()
            arrays["card"] = np.array(json.dumps(card, sort_keys=True))
            np.savez_compressed(temporary, **arrays)


def jackknife_spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation (N,) of fits (members, N) that each left one part out."""
    # delete-a-part jackknife: (K − 1)/K times the sum of squared deviations
    return np.sqrt((len(values) - 1) * values.var(axis=0))
