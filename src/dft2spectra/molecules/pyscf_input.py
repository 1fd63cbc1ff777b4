"""What PySCF is given: molecule, density-fitted Kohn–Sham object, and the checks before both.

One setting must hold for everything that is compared: labels, harmonic reference and the Kohn–Sham
step on a predicted density share functional, basis and auxiliary basis.
"""

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import ArrayLike
from pyscf import dft, gto
from pyscf.dft import libxc
from pyscf.gto.basis import ALIAS
from pyscf.lib.exceptions import BasisNotFoundError

from dft2spectra.records import content_hash
from dft2spectra.units import BOHR_ANG

# Counts for labels, relaxations and harmonic references too: what turns settings into numbers.
METHOD_VERSION = 1

DEFAULT_AUXILIARY_BASIS = "def2-universal-jfit"
# Keys of the settings that change a number.
PHYSICAL_KEYS = ("xc", "basis", "auxiliary_basis", "grid_level", "conv_tol", "max_cycles")


class SettingsError(ValueError):
    """A setting of the ``pyscf`` section that no calculation can follow."""


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Hash of everything in the settings that changes a number, and of the method's version."""
    chosen = {key: complete_settings(settings)[key] for key in PHYSICAL_KEYS}
    return content_hash({**chosen, "method_version": METHOD_VERSION})


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with defaults filled in: auxiliary basis, convergence (hartree), cycles.

    Raises
    ------
    SettingsError
        A key is missing, or a number is out of its range.
    """
    missing = [key for key in ("xc", "basis", "grid_level") if key not in settings]
    if missing:
        raise SettingsError(f"pyscf: {', '.join(missing)} not given")
    chosen = {
        "auxiliary_basis": DEFAULT_AUXILIARY_BASIS,
        "conv_tol": 1e-9,
        "max_cycles": 100,
        **settings,
    }
    level, cycles, tolerance = chosen["grid_level"], chosen["max_cycles"], chosen["conv_tol"]
    if not (isinstance(level, int) and 0 <= level <= 9):
        raise SettingsError(f"pyscf.grid_level must be a whole number from 0 to 9, not {level!r}")
    if not (isinstance(cycles, int) and cycles >= 1):
        raise SettingsError(f"pyscf.max_cycles must be a positive whole number, not {cycles!r}")
    # Beyond the upper end forces are noise; below the lower one no energy in doubles converges.
    if not 1e-13 <= float(tolerance) <= 1e-5:
        raise SettingsError(f"pyscf.conv_tol must lie between 1e-13 and 1e-5 Ha, not {tolerance!r}")
    return chosen


def build_molecule(
    symbols: Sequence[str], positions_ang: ArrayLike, charge: int, settings: Mapping[str, Any]
) -> gto.Mole:
    """Closed-shell PySCF molecule.

    Parameters
    ----------
    symbols
        Chemical symbols, one per atom.
    positions_ang
        Cartesian coordinates in Å, shape (atoms, 3).
    charge
        Total charge in elementary charges.
    settings
        ``xc``, ``basis``, ``grid_level``; optional ``auxiliary_basis``, ``conv_tol``,
        ``max_cycles``.

    Raises
    ------
    ValueError
        Coordinates are not finite or of the wrong shape, or the number of electrons is odd.
    SettingsError
        An element is missing in a basis, or the basis replaces its core by a potential.
    """
    positions = np.asarray(positions_ang, dtype=float)
    if positions.shape != (len(symbols), 3):
        raise ValueError(f"{len(symbols)} atoms, but positions of shape {positions.shape}")
    # Foreign code must not see these: integrals over NaN end in a crash or in silence.
    if not np.isfinite(positions).all():
        raise ValueError("positions are not finite")
    chosen = complete_settings(settings)
    electrons = sum(atomic_numbers[symbol] for symbol in symbols) - charge
    if electrons < 2 or electrons % 2:
        raise ValueError(f"{electrons} electrons at charge {charge:+d} are no closed shell")
    for element in sorted(set(symbols)):
        _check_basis(chosen["basis"], element, "basis")
        _check_basis(chosen["auxiliary_basis"], element, "auxiliary_basis")
    molecule = gto.Mole()
    molecule.atom = list(zip(symbols, (positions / BOHR_ANG).tolist(), strict=True))
    molecule.unit = "Bohr"
    molecule.basis = chosen["basis"]
    molecule.charge = charge
    molecule.spin = 0
    molecule.verbose = 0
    molecule.symmetry = False
    molecule.build(dump_input=False, parse_arg=False)
    return molecule


def build_mean_field(molecule: gto.Mole, settings: Mapping[str, Any]) -> dft.rks.RKS:
    """Density-fitted restricted Kohn–Sham object, not yet run; it leaves no file behind.

    Raises
    ------
    SettingsError
        The functional is unknown, or needs more than density, gradient and kinetic energy density.
    """
    chosen = complete_settings(settings)
    check_functional(chosen["xc"])
    mean_field = dft.RKS(molecule, xc=chosen["xc"]).density_fit(auxbasis=chosen["auxiliary_basis"])
    mean_field.grids.level = chosen["grid_level"]
    mean_field.conv_tol = float(chosen["conv_tol"])
    mean_field.max_cycle = chosen["max_cycles"]
    mean_field.verbose = 0
    mean_field.init_guess = "minao"
    # The checkpoint of PySCF would stay in the temporary folder of a killed job.
    mean_field.chkfile = None
    mean_field._chkfile = None
    return mean_field


def check_functional(xc: str) -> None:
    """Refuse a functional that the one-diagonalisation step cannot use.

    That step knows the density, its gradient and the kinetic energy density τ, which models
    predict: exact exchange needs orbitals, no model is fitted to the Laplacian of the density, a
    nonlocal correlation is a double integral that is not built there, and a dispersion correction
    belongs to the nuclei, so that forces of labels and of the step would differ.

    Raises
    ------
    SettingsError
        With the reason, or with the nearest known name.
    """
    reason = None
    if re.search(r"-d[234]", xc.lower()) or re.search(r"d[34](bj|zero|m|bjm|op)", xc.lower()):
        raise SettingsError(f"pyscf.xc: {xc} carries a dispersion correction; leave it out")
    try:
        terms = libxc.parse_xc(xc)[1]
    except (KeyError, ValueError) as error:
        names = sorted({*libxc.XC_ALIAS, *libxc.XC_CODES})
        near = difflib.get_close_matches(xc.upper(), names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"pyscf.xc: unknown functional {xc!r}{hint}") from error
    if libxc.is_hybrid_xc(xc):
        reason = "has exact exchange, which needs orbitals"
    elif libxc.is_nlc(xc):
        reason = "has a nonlocal correlation"
    elif libxc.needs_laplacian(xc):
        reason = "depends on the Laplacian of the density, which no model predicts"
    elif not terms:
        reason = "has no exchange and no correlation"
    if reason:
        raise SettingsError(
            f"pyscf.xc: {xc} {reason}; the Kohn–Sham step knows the density, its gradient and the"
            " kinetic energy density as models predict them: use a functional of these, such as PBE"
            " or r2SCAN"
        )


def _check_basis(name: str, element: str, key: str) -> None:
    with warnings.catch_warnings():
        # PySCF advises to install another package before it raises.
        warnings.simplefilter("ignore", UserWarning)
        try:
            gto.basis.load(name, element)
        except (BasisNotFoundError, KeyError) as error:
            if _plain(name) in ALIAS:
                message = f"pyscf.{key}: {name} has no functions for {element}"
            else:
                near = difflib.get_close_matches(_plain(name), list(ALIAS), n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                message = f"pyscf.{key}: unknown basis {name!r}{hint}"
            raise SettingsError(message) from error
        if _plain(name).startswith("gth") or (key == "basis" and gto.basis.load_ecp(name, element)):
            raise SettingsError(
                f"pyscf.{key}: {name} replaces the core of {element} by a potential; only"
                " all-electron bases are supported, because the model learns the whole density"
            )


def _plain(name: str) -> str:
    """Basis name as PySCF keys it."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
