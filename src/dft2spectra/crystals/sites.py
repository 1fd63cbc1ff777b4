"""Rows of hyperfine parameters: one per symmetry-distinct site of the asked-for elements."""

from collections.abc import Collection
from string import ascii_lowercase
from typing import Any

import numpy as np
from gpaw.mpi import broadcast
from numpy.typing import NDArray

from dft2spectra.columns import EFG_COMPONENTS, Site
from dft2spectra.crystals.contact import contact_density, dipolar_tensor, local_moment
from dft2spectra.crystals.efg import efg_tensor, principal_values
from dft2spectra.crystals.paw_state import PawState, paw_state

# Atoms of one crystallographic orbit whose moments differ by more than this are told apart.
SAME_MOMENT_MUB = 0.05
MOSSBAUER_ELEMENT = "Fe"


def components(tensor: NDArray) -> list[float]:
    """The six independent components xx, yy, zz, xy, xz, yz of a symmetric tensor."""
    return [float(tensor[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]


def orbit_label(site: str, labels: Collection[str]) -> str:
    """Label in the structure file of a site; its name has a letter more if its orbit was split."""
    return site if site in labels else site[:-1]


def split_by_moment(moments: dict[int, float]) -> list[list[int]]:
    """Groups of atoms with equal size of the moment, in the order of the first atom of each.

    Two atoms with opposite moments have the same hyperfine parameters up to the sign of the field.
    """
    groups: list[list[int]] = []
    for atom, moment in moments.items():
        for group in groups:
            if abs(abs(moments[group[0]]) - abs(moment)) < SAME_MOMENT_MUB:
                group.append(atom)
                break
        else:
            groups.append([atom])
    return groups


def _row(
    state: PawState, efg_state: PawState, atoms: list[int], label: str, moments: list[float]
) -> dict[str, Any]:
    first = atoms[0]
    tensors = [efg_tensor(efg_state, a) for a in atoms]
    vzz, eta = principal_values(tensors[0])
    row: dict[str, Any] = {
        Site.SITE: label,
        "element": state.symbols[first],
        "atom_indices": atoms,
        Site.MULTIPLICITY: len(atoms),
        Site.MOMENT: moments[0],
        **dict(zip(EFG_COMPONENTS, components(tensors[0]), strict=True)),
        Site.EFG_ORBIT: [components(tensor) for tensor in tensors],
        Site.VZZ: vzz,
        Site.ETA: eta,
        "vzz_frozen_core_1e21_v_m2": principal_values(efg_tensor(state, first))[0],
    }
    if state.symbols[first] == MOSSBAUER_ELEMENT:
        density = contact_density(state, first)
        # All in the spin sense of the first atom, whose contact field stands for the group.
        signs = [-1.0 if m * moments[0] < 0 else 1.0 for m in moments]
        dipolar = [s * dipolar_tensor(state, a) for s, a in zip(signs, atoms, strict=True)]
        row |= {
            Site.CONTACT_DENSITY: density.total,
            "valence_contact_density_e_per_bohr3": float(density.valence.sum()),
            Site.BHF_CONTACT: density.field_t,
            "bhf_valence_t": density.valence_field_t,
            "bhf_core_t": density.core_field_t,
            Site.BHF_DIPOLAR: principal_values(dipolar[0])[0],
            Site.BHF_DIPOLAR_ORBIT: [components(tensor) for tensor in dipolar],
            # Without spin–orbit coupling the moment has no direction: the isotropic field is the
            # contact one, and the traceless dipolar tensor is added where a direction is chosen.
            Site.BHF: density.field_t,
        }
    return {str(key): value for key, value in row.items()}


def site_table(
    dft, structure: dict[str, Any], elements: list[str], efg_dft=None
) -> list[dict[str, Any]]:
    """Hyperfine parameters of every distinct site of ``elements`` (or of ``["all"]``).

    The electric field gradient comes from ``efg_dft`` where one is given (a calculation with
    semicore states in the valence), everything else from ``dft``. Under MPI every rank returns the
    same rows.

    Raises
    ------
    ArithmeticError
        If a number that must be finite is not.
    """
    state = paw_state(dft)
    efg_state = state if efg_dft is None else paw_state(efg_dft)
    rows: list[dict[str, Any]] = []
    error = None
    if state is not None and efg_state is not None:
        try:
            rows = _rows(state, efg_state, structure["site_labels"], elements)
        except (ArithmeticError, ValueError, LookupError) as failure:
            # Told to every rank, which would else wait for ever.
            error = f"{type(failure).__name__}: {failure}"
    rows, error = broadcast((rows, error) if dft.comm.rank == 0 else None, 0, comm=dft.comm)
    if error:
        raise ArithmeticError(error)
    return rows


def _rows(
    state: PawState, efg_state: PawState, labels: list[str], elements: list[str]
) -> list[dict[str, Any]]:
    rows = []
    for label in dict.fromkeys(labels):
        atoms = [a for a, other in enumerate(labels) if other == label]
        if "all" not in elements and state.symbols[atoms[0]] not in elements:
            continue
        moments = {a: local_moment(state, a) for a in atoms}
        groups = split_by_moment(moments)
        for number, group in enumerate(groups):
            name = label if len(groups) == 1 else label + ascii_lowercase[number]
            row = _row(state, efg_state, group, name, [moments[a] for a in group])
            numbers = [value for value in row.values() if isinstance(value, float)]
            if not np.isfinite(numbers).all():
                raise ArithmeticError(f"site {name} has a parameter that is not finite")
            rows.append(row)
    return rows
