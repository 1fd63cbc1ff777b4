"""The one-shot step as a PySCF mean-field object, for PySCF's own tools and as a guess."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto
from pyscf.grad import rks as rks_gradients
from pyscf.lib import logger

from dft2spectra.density.guards import check_compatible
from dft2spectra.density.one_shot import OneShot, Result
from dft2spectra.density.predictor import Predictor
from dft2spectra.molecules.pyscf_input import build_molecule, complete_settings
from dft2spectra.units import BOHR_ANG


class OneShotRKS(dft.rks.RKS):
    """Restricted Kohn–Sham object whose ``kernel`` is one diagonalisation.

    After ``kernel()`` (or ``run()``) it carries ``mo_coeff``, ``mo_energy``, ``mo_occ`` in the
    basis of ``mol`` and ``e_tot``, the Harris–Foulkes energy in hartree; density matrix, dipole
    moment, populations and cube files follow by PySCF's own methods, gradients by
    ``nuc_grad_method()``, and ``as_scanner()`` works for both.
    ``converged`` then says that the diagonalisation was done: nothing was iterated. The grid lies
    along the axes of the laboratory, as in PySCF, and energies carry its orientation noise (1e-5
    hartree), as there.

    ``energy_tot()``, ``get_fock()`` and the like are those of self-consistent theory at the
    one-shot density matrix, with exact Coulomb integrals; ``energy_tot()`` is therefore not
    ``e_tot``. To go on to self-consistency hand ``make_rdm1()`` to another object's
    ``kernel(dm0=...)``.

    Parameters
    ----------
    mol
        Closed-shell molecule with the basis of ``settings``, spherical functions, no symmetry.
    model
        Density model made for this molecule's elements and charge and for these settings.
    settings
        The ``pyscf`` section.

    Raises
    ------
    ValueError
        Unpaired electrons, Cartesian functions, symmetry, or not the basis of ``settings``.
    ModelError
        The model does not fit molecule or settings.
    """

    _keys = {"model", "one_shot_settings", "one_shot"}  # noqa: RUF012  (the name is PySCF's)

    def __init__(self, mol: gto.Mole, model: Predictor, settings: Mapping[str, Any]) -> None:
        chosen = complete_settings(settings)
        if mol.spin:
            raise ValueError(
                f"{mol.spin} unpaired electrons: the one-shot step is closed-shell only"
            )
        symbols = [mol.atom_pure_symbol(i) for i in range(mol.natm)]
        check_compatible(model, chosen, mol.charge, symbols)
        _check_basis(mol, symbols, chosen)
        super().__init__(mol, xc=chosen["xc"])
        self.grids.level = chosen["grid_level"]
        # The checkpoint file of PySCF is for cycles that can be continued.
        self.chkfile = self._chkfile = None
        self.model = model
        self.one_shot_settings = chosen
        self.one_shot = OneShot(mol, model, chosen, laboratory_axes=True)

    def scf(self, dm0: Any = None, **kwargs: Any) -> float:
        """Run the step; the energy in hartree. A guess ``dm0`` is not needed and ignored."""
        result = self.step(forces=False)
        self.mo_energy, self.mo_coeff = result.orbital_energies, result.orbitals
        self.mo_occ = np.zeros(len(self.mo_energy))
        self.mo_occ[: result.occupied] = 2.0
        self.e_tot = result.energy
        self.cycles = 1
        self.converged = True
        logger.note(self, "one-shot energy = %.15g", self.e_tot)
        return self.e_tot

    def step(self, forces: bool) -> Result:
        """One-shot result at the present geometry of ``mol``."""
        return self.one_shot.step(self.mol.atom_coords(), forces=forces)

    def reset(self, mol: gto.Mole | None = None) -> "OneShotRKS":
        """Forget results; take another geometry of the same molecule."""
        if mol is not None:
            same = [mol.atom_pure_symbol(i) for i in range(mol.natm)] == self.one_shot.symbols
            if not same or mol.charge != self.mol.charge or mol.nao != self.mol.nao:
                raise ValueError("another molecule needs another OneShotRKS, not a reset")
        super().reset(mol)
        self.converged = False
        return self

    def nuc_grad_method(self) -> "OneShotGradients":
        """Gradients of ``e_tot``."""
        return OneShotGradients(self)

    # PySCF sets this one on its own class; left alone it would give gradients of another energy.
    Gradients = nuc_grad_method

    def Hessian(self) -> None:
        """Refused: PySCF's second derivatives hold for self-consistent orbitals only."""
        raise NotImplementedError(
            "no analytic second derivatives of a one-shot energy: take differences of gradients"
        )


class OneShotGradients(rks_gradients.Gradients):
    """Exact gradient of the Harris–Foulkes energy in PySCF's order and units (hartree/bohr).

    The response of predicted density, grid and weights included; a step of its own.
    """

    def kernel(
        self, mo_energy: Any = None, mo_coeff: Any = None, mo_occ: Any = None, atmlst: Any = None
    ) -> NDArray:
        """Gradient (atoms, 3), or of the atoms in ``atmlst``; orbitals handed in are ignored."""
        chosen = atmlst if atmlst is not None else self.atmlst
        gradient = np.asarray(self.base.step(forces=True).gradient)
        self.de = gradient if chosen is None else gradient[list(chosen)]
        self._finalize()
        return self.de


def _check_basis(mol: gto.Mole, symbols: list[str], settings: Mapping[str, Any]) -> None:
    if mol.symmetry or mol.cart:
        raise ValueError("build the molecule with symmetry=False and cart=False")
    expected = build_molecule(symbols, mol.atom_coords() * BOHR_ANG, mol.charge, settings)
    if mol.nao != expected.nao or not np.allclose(
        mol.intor("int1e_ovlp"), expected.intor("int1e_ovlp"), atol=1e-8
    ):
        raise ValueError(
            f"the molecule has another basis than {settings['basis']}, for which the model was made"
        )
