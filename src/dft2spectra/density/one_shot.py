"""Energy, forces, dipole and gap from one diagonalisation in the potential of a predicted density.

:class:`OneShot` holds what all geometries of a molecule share; energy and gradient of one geometry
are those of :mod:`dft2spectra.density.harris_foulkes`.
"""

from typing import Any

import numpy as np
from pyscf import dft, gto

from dft2spectra.density import pauli_atoms
from dft2spectra.density.frame import FrameError, Reference
from dft2spectra.density.free_atom import atomic_density
from dft2spectra.density.harris_foulkes import OneShotError, Result, Step
from dft2spectra.density.predictor import ModelError, Predictor

__all__ = ["OneShot", "OneShotError", "Result"]

# Covers atoms, coulomb, exchange_correlation, frame, free_atom, grid, harris_foulkes, pauli_atoms,
# orbitals, shells and tables.
METHOD_VERSION = 3


class OneShot:
    """One-diagonalisation Kohn–Sham for one molecule and one density model.

    Parameters
    ----------
    mol
        The molecule: elements, order, basis and charge, and the geometry on which the axes of all
        others rest, its equilibrium in a trajectory.
    model
        Gives the difference density; anything with the methods of
        :class:`~dft2spectra.density.predictor.Predictor`.
    settings
        The ``pyscf`` section: xc, auxiliary_basis, grid_level.
    laboratory_axes
        Lay the grid along the axes of the laboratory, as for a linear molecule, instead of
        Eckart's. None decides by the geometry of ``mol``.

    Raises
    ------
    OneShotError
        The molecule is no closed shell.
    ModelError
        The functional depends on the kinetic energy density, and the model has none.
    """

    def __init__(
        self,
        mol: gto.Mole,
        model: Predictor,
        settings: dict[str, Any],
        laboratory_axes: bool | None = None,
    ) -> None:
        if mol.spin or mol.nelectron % 2:
            raise OneShotError(
                f"{mol.nelectron} electrons with {mol.spin} unpaired: only closed shells"
            )
        self.mol = mol.copy()
        self.mol.verbose = 0
        self.model = model
        self.settings = settings
        self.symbols = [mol.atom_pure_symbol(i) for i in range(mol.natm)]
        self.numbers = np.array([gto.charge(symbol) for symbol in self.symbols])
        self.atoms = [
            atomic_density(symbol, settings["xc"], settings["basis"]) for symbol in self.symbols
        ]
        self.reference = Reference(self.numbers, mol.atom_coords())
        self.kind = dft.libxc.xc_type(settings["xc"])
        self.pauli_atoms = []
        if self.kind == "MGGA":
            if model.pauli is None:
                raise ModelError(
                    f"{settings['xc']} depends on the kinetic energy density, which this density"
                    " model does not predict: fit one to labels of this functional"
                )
            self.pauli_atoms = [
                pauli_atoms.atomic_pauli_density(symbol, settings["xc"], settings["basis"])
                for symbol in self.symbols
            ]
        if laboratory_axes is None:
            laboratory_axes = self.reference.linear
        self.laboratory_axes = laboratory_axes
        # Memory of the basis functions on the grid, used again by the next step.
        self.buffers: list[np.ndarray] = []

    def step(self, positions: np.ndarray, forces: bool = True) -> Result:
        """The result at ``positions`` (atoms, 3), bohr; without ``forces`` it has no gradient.

        Raises
        ------
        OneShotError
            The geometry has broken down, or is so far from the reference that it has no axes.
        """
        positions = np.asarray(positions, dtype=float)
        rotation, centre = np.eye(3), np.zeros(3)
        if not self.laboratory_axes:
            try:
                rotation, centre = self.reference.frame(positions)
            except FrameError as error:
                raise OneShotError(str(error)) from error
        inside = (positions - centre) @ rotation.T
        mol = self.mol.set_geom_(inside, unit="Bohr", inplace=False)
        result = Step(self, mol, inside).run(forces)
        if result.gradient is not None:
            if not self.laboratory_axes:
                result.gradient = self.reference.gradient(result.gradient, inside)
            result.gradient = result.gradient @ rotation
        result.dipole = result.dipole @ rotation
        result.input_dipole = result.input_dipole @ rotation
        return result
