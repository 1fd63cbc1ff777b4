"""Harmonic infrared spectrum of a molecule at its minimum, from full density-functional theory.

Second derivatives of the energy and first derivatives of the dipole come from one set of
coupled-perturbed Kohn–Sham equations. Translations and rotations are projected out of the
mass-weighted Hessian (Eckart), so that a linear molecule has 3N−5 modes and any other 3N−6.

Masses are the standard atomic weights that ASE gives to a trajectory, so that both spectra belong
to the same oscillator.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import ArrayLike, NDArray
from pyscf import dft

from dft2spectra.molecules.pyscf_input import (
    build_mean_field,
    build_molecule,
    complete_settings,
    settings_hash,
)
from dft2spectra.molecules.shape import inertia, is_straight
from dft2spectra.units import (
    AMU_ME,
    BOHR_ANG,
    EBOHR_DEBYE,
    HARTREE_CM1,
    HARTREE_EV,
    KM_MOL_PER_E2_AMU,
)

METHOD_VERSION = 2

# A reference away from the minimum mixes the gradient into the second derivatives.
LARGEST_FORCE_EV_ANG = 0.05


# What a relaxed molecule says of its isomer; see dft2spectra.molecules.equilibrium.relax.
ABOUT_ISOMER = ("inchikey", "isomer", "conformers", "notes")


def harmonic_reference(
    molecule: Mapping[str, Any],
    settings: Mapping[str, Any],
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Frequencies, modes and infrared intensities of a relaxed molecule, ready for JSON.

    Parameters
    ----------
    molecule
        As :func:`dft2spectra.molecules.equilibrium.relax` returns it.
    settings
        The ``pyscf`` section; see :func:`dft2spectra.molecules.pyscf_input.build_molecule`.
    progress
        Receives one line per stage.

    Returns
    -------
    dict
        Keys of ``molecule`` that describe it, and ``masses_amu``; ``frequencies_cm1`` (ascending,
        an imaginary one as a negative number); ``intensities_km_mol``; ``modes`` (modes, atoms, 3),
        orthonormal in mass-weighted coordinates; ``dipole_derivatives_e`` (3 atoms, 3);
        ``hessian_ha_bohr2`` (3 atoms, 3 atoms); ``rigid_cm1``, what translations and rotations
        show before they are projected out, a measure of the grid; ``n_imaginary``, ``energy_ev``,
        ``dipole_debye`` about the centre of mass, ``max_force_ev_ang``, ``settings`` and
        ``settings_hash``.

    Raises
    ------
    ValueError
        One atom, no convergence, or forces that say the molecule is not relaxed.
    """
    symbols = list(molecule["symbols"])
    positions = np.asarray(molecule["positions_ang"], dtype=float)
    name = molecule["name"]
    if len(symbols) < 2:
        raise ValueError(f"{name}: one atom has no vibration")
    built = build_molecule(symbols, positions, molecule["charge"], settings)
    mean_field = build_mean_field(built, settings)
    energy = mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"{name}: not converged in {mean_field.max_cycle} cycles")
    progress(f"{name}: energy {energy:.8f} Ha in {mean_field.cycles} cycles")
    gradients = mean_field.nuc_grad_method()
    gradients.grid_response = True
    largest = float(np.abs(gradients.kernel()).max()) * HARTREE_EV / BOHR_ANG
    if largest > LARGEST_FORCE_EV_ANG:
        raise ValueError(
            f"{name}: a force of {largest:.3f} eV/Å is left; relax it with the same settings first"
        )
    hessian, dipole_derivatives = second_derivatives(mean_field)
    progress(f"{name}: second derivatives done")
    natural = [float(atomic_masses[atomic_numbers[symbol]]) for symbol in symbols]
    masses = np.array(molecule.get("masses_amu", natural), dtype=float)  # of isotopes, if named
    frequencies, modes, rigid = normal_modes(hessian, masses, positions)
    origin = masses @ built.atom_coords() / masses.sum()
    dipole = mean_field.dip_moment(unit="AU", origin=origin, verbose=0)
    return {
        "name": name,
        "formula": molecule["formula"],
        "symbols": symbols,
        "positions_ang": positions.tolist(),
        "charge": molecule["charge"],
        "spin": molecule.get("spin", 0),
        **{key: molecule[key] for key in ABOUT_ISOMER if key in molecule},
        "masses_amu": masses.tolist(),
        "frequencies_cm1": frequencies.tolist(),
        "intensities_km_mol": intensities_km_mol(dipole_derivatives, modes, masses).tolist(),
        "n_imaginary": int((frequencies < 0).sum()),
        "rigid_cm1": rigid.tolist(),
        "modes": modes.tolist(),
        "dipole_derivatives_e": dipole_derivatives.tolist(),
        "hessian_ha_bohr2": hessian.tolist(),
        "energy_ev": float(energy) * HARTREE_EV,
        "dipole_debye": (dipole * EBOHR_DEBYE).tolist(),
        "max_force_ev_ang": largest,
        "settings": complete_settings(settings),
        "settings_hash": settings_hash(settings),
        "method_version": METHOD_VERSION,
    }


def harmonic_table(reference: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per mode: ``mode`` from 1, ``frequency_cm1``, ``intensity_km_mol``, ``imaginary``."""
    pairs = zip(reference["frequencies_cm1"], reference["intensities_km_mol"], strict=True)
    return [
        {
            "mode": number,
            "frequency_cm1": frequency,
            "intensity_km_mol": intensity,
            "imaginary": frequency < 0,
        }
        for number, (frequency, intensity) in enumerate(pairs, start=1)
    ]


def second_derivatives(mean_field: dft.rks.RKS) -> tuple[NDArray, NDArray]:
    """Hessian (Ha/bohr²) and dipole derivatives (e) of a converged Kohn–Sham object.

    The Hessian has shape (3 atoms, 3 atoms), symmetric; the dipole derivatives (3 atoms, 3), rows
    for displacements, columns for components of the dipole:

        ∂µ_x/∂R = Z δ_x − 2 Σ_{µ,ν∈A} D_µν ⟨µ|x|∂ν/∂R⟩ − Tr(D⁽ᴿ⁾ x),

    where D⁽ᴿ⁾ is the response of the coefficients (Yamaguchi, Frisch et al., J. Chem. Phys. 84,
    2262 (1986)). PySCF moves no integration grid here, which ``rigid_cm1`` shows.
    """
    molecule = mean_field.mol
    hessian = mean_field.Hessian()
    coefficients, occupations = mean_field.mo_coeff, mean_field.mo_occ
    energies = mean_field.mo_energy
    first_order = hessian.make_h1(coefficients, occupations)
    responses, response_energies = hessian.solve_mo1(
        energies, coefficients, occupations, first_order
    )
    blocks = hessian.hess_elec(mo1=responses, mo_e1=response_energies, h1ao=first_order)
    blocks = blocks + hessian.hess_nuc()
    size = 3 * molecule.natm
    matrix = blocks.transpose(0, 2, 1, 3).reshape(size, size)

    occupied = coefficients[:, occupations > 0]
    density = 2.0 * occupied @ occupied.T
    n_basis = len(density)
    position = molecule.intor_symmetric("int1e_r", comp=3)
    # ⟨µ|x ∂/∂r_y|ν⟩; the function's derivative with its centre is minus that with r.
    moving = molecule.intor("int1e_irp", comp=9).reshape(3, 3, n_basis, n_basis)
    derivatives = np.zeros((molecule.natm, 3, 3))
    for atom, (_, _, first, last) in enumerate(molecule.aoslice_by_atom()):
        own = slice(first, last)
        # Factor 4: two electrons per orbital, and the complex conjugate.
        response = 4.0 * np.einsum("ypi,qi,xpq->yx", responses[atom], occupied, position)
        basis = 2.0 * np.einsum("xypq,pq->yx", moving[..., own], density[:, own])
        derivatives[atom] = molecule.atom_charge(atom) * np.eye(3) + basis - response
    return 0.5 * (matrix + matrix.T), derivatives.reshape(size, 3)


def rigid_motions(masses: ArrayLike, positions_ang: ArrayLike) -> NDArray:
    """Orthonormal mass-weighted translations and rotations, shape (3 atoms, 5 or 6).

    Rotations are infinitesimal ones about the centre of mass; the one about the axis of a linear
    molecule (:func:`~dft2spectra.molecules.shape.is_straight`) moves nothing and is left out.
    """
    masses = np.asarray(masses, dtype=float)
    root = np.sqrt(masses)[:, None]
    translations = [(root * axis).ravel() / np.sqrt(masses.sum()) for axis in np.eye(3)]
    moments, axes, centred = inertia(masses, positions_ang)
    first = 1 if is_straight(masses, positions_ang) else 0
    rotations = [
        (root * np.cross(axis, centred)).ravel() / np.sqrt(moment)
        for moment, axis in zip(moments[first:], axes.T[first:], strict=True)
    ]
    return np.array(translations + rotations).T


def normal_modes(
    hessian_ha_bohr2: ArrayLike, masses_amu: ArrayLike, positions_ang: ArrayLike
) -> tuple[NDArray, NDArray, NDArray]:
    """Frequencies (cm⁻¹), modes and the size of the rigid motions before they are removed (cm⁻¹).

    Frequencies ascend, imaginary ones are negative numbers; the modes, shape (modes, atoms, 3), are
    orthonormal in mass-weighted coordinates, each with its largest component positive. The third
    array holds the root mean curvature along each translation and rotation.

    Source: Wilson, Decius and Cross, Molecular Vibrations (1955), ch. 2 and 11.
    """
    masses = np.asarray(masses_amu, dtype=float)
    root = np.repeat(np.sqrt(masses * AMU_ME), 3)
    weighted = np.asarray(hessian_ha_bohr2, dtype=float) / np.outer(root, root)
    rigid = rigid_motions(masses, positions_ang)
    # The other left singular vectors span what is orthogonal to the rigid motions: the vibrations.
    internal = np.linalg.svd(rigid, full_matrices=True)[0][:, rigid.shape[1] :]
    curvatures, vectors = np.linalg.eigh(internal.T @ weighted @ internal)
    modes = (internal @ vectors).T
    largest = np.abs(modes).argmax(axis=1)
    modes *= np.sign(modes[np.arange(len(modes)), largest])[:, None]
    leftover = np.einsum("pi,pq,qi->i", rigid, weighted, rigid)
    return _wavenumbers(curvatures), modes.reshape(len(modes), -1, 3), _wavenumbers(leftover)


def intensities_km_mol(
    dipole_derivatives_e: ArrayLike, modes: ArrayLike, masses_amu: ArrayLike
) -> NDArray:
    """Infrared intensity of the fundamental of each mode in km/mol, from |∂µ/∂Q|²."""
    vectors = np.asarray(modes, dtype=float)
    displacements = vectors / np.sqrt(np.asarray(masses_amu, dtype=float))[:, None]
    slopes = displacements.reshape(len(vectors), -1) @ np.asarray(dipole_derivatives_e, dtype=float)
    return KM_MOL_PER_E2_AMU * (slopes**2).sum(axis=1)


def _wavenumbers(curvatures: NDArray) -> NDArray:
    """cm⁻¹ of curvatures in Ha/(mₑ bohr²); negative where the curvature is."""
    return np.sign(curvatures) * np.sqrt(np.abs(curvatures)) * HARTREE_CM1
