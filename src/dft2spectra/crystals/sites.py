"""Rows of hyperfine parameters: one per symmetry-distinct site of the asked-for elements."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
from gpaw.mpi import broadcast
from numpy.typing import NDArray

from dft2spectra.columns import EFG_COMPONENTS, Site, Status
from dft2spectra.crystals.contact import (
    contact_density,
    dipolar_tensor,
    local_moment,
    lorentz_field,
)
from dft2spectra.crystals.efg import efg_tensor, partial_wave_gradient, principal_values
from dft2spectra.crystals.orbital import Orbital
from dft2spectra.crystals.paw_state import PawState, paw_state
from dft2spectra.crystals.starts import SEMICORE

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


@dataclass(frozen=True)
class Sources:
    """What the parameters of the sites are read from.

    Attributes
    ----------
    state : PawState
        Standard run.
    efg_state : PawState or None
        Run with semicore states; ``None`` if there is none.
    efg_problem : str or None
        Why a semicore run that was wanted gave nothing.
    free_components : list of int
        Free components of the gradient at every atom.
    orbital : list of Orbital or None
        Orbital part of every atom; ``None`` where it could not be computed.
    total_moment_mub : float
        Spin moment of the cell.
    volume_bohr3 : float
        Volume of the cell.
    """

    state: PawState
    efg_state: PawState | None
    efg_problem: str | None
    free_components: list[int]
    orbital: list[Orbital] | None
    total_moment_mub: float
    volume_bohr3: float


def _row(sources: Sources, atoms: list[int], label: str, moments: list[float]) -> dict[str, Any]:
    """Parameters of one site; a quantity that cannot be had is left out, with status and reason."""
    first = atoms[0]
    row: dict[str, Any] = {
        Site.SITE: label,
        "element": sources.state.symbols[first],
        "atom_indices": atoms,
        Site.MULTIPLICITY: len(atoms),
        Site.MOMENT: moments[0],
        Site.MOMENT_STATUS: str(Status.CONVERGED),
        Site.EFG_FREE_COMPONENTS: sources.free_components[first],
        "reasons": {},
    }
    quantities: list[tuple[Site, Callable[[], dict[str, Any]], tuple[Site, ...]]] = [
        (Site.VZZ_STATUS, lambda: _gradient(sources, atoms), ())
    ]
    if sources.state.symbols[first] == MOSSBAUER_ELEMENT:
        fields = (Site.ISOMER_SHIFT_STATUS, Site.BHF_STATUS)
        quantities.append((fields[0], lambda: _fields(sources, atoms, moments), fields[1:]))
    for status, quantity, also in quantities:
        try:
            values, state, reason = quantity(), str(Status.CONVERGED), None
        except _MissingError as missing:
            values, state, reason = missing.values, str(Status.NOT_CONVERGED), str(missing)
        except (ArithmeticError, ValueError, LookupError) as error:
            values, state, reason = {}, str(Status.FAILED), f"{type(error).__name__}: {error}"
        row |= values
        for name in (status, *also):
            row[name] = state
            if reason:
                row["reasons"][str(name)] = reason
    return {str(key): value for key, value in row.items()}


class _MissingError(Exception):
    """A quantity without a value, for a reason that is known, and what there is in its place."""

    def __init__(self, reason: str, values: dict[str, Any]) -> None:
        super().__init__(reason)
        self.values = values


def _gradient(sources: Sources, atoms: list[int]) -> dict[str, Any]:
    first = atoms[0]
    state, setup = sources.state, sources.state.setups[first]
    frozen = efg_tensor(state, first)
    part: dict[str, Any] = {
        "vzz_frozen_core_1e21_v_m2": principal_values(frozen)[0],
        "efg_frozen_core_1e21_v_m2": components(frozen),
        # What each spin's partial waves make: the polarisation of the semicore follows from them.
        "efg_partial_waves_1e21_v_m2": [
            components(partial_wave_gradient(matrix, setup))
            for matrix in state.atomic_density_matrices[first]
        ],
    }
    has_semicore = state.symbols[first] in SEMICORE and sources.free_components[first] > 0
    if has_semicore and sources.efg_problem:
        raise _MissingError(sources.efg_problem, part)
    chosen = sources.efg_state if has_semicore and sources.efg_state is not None else state
    tensors = [efg_tensor(chosen, atom) for atom in atoms]
    vzz, eta = principal_values(tensors[0])
    return _finite(
        part
        | dict(zip(EFG_COMPONENTS, components(tensors[0]), strict=True))
        | {
            Site.EFG_ORBIT: [components(tensor) for tensor in tensors],
            Site.VZZ: vzz,
            Site.ETA: eta,
        }
    )


def _fields(sources: Sources, atoms: list[int], moments: list[float]) -> dict[str, Any]:
    state, first = sources.state, atoms[0]
    density = contact_density(state, first)
    # All in the spin sense of the first atom, whose contact field stands for the group.
    signs = [-1.0 if m * moments[0] < 0 else 1.0 for m in moments]
    dipolar = [s * dipolar_tensor(state, a) for s, a in zip(signs, atoms, strict=True)]
    orbital = {}
    if sources.orbital is not None:
        moment, field = sources.orbital[first]
        orbital = {Site.BHF_ORBITAL: field, Site.ORBITAL_MOMENT: moment}
    return _finite(
        orbital
        | {
            Site.CONTACT_DENSITY: density.total,
            "valence_contact_density_e_per_bohr3": float(density.valence.sum()),
            Site.BHF_CONTACT: density.field_t,
            Site.BHF_VALENCE: density.valence_field_t,
            Site.BHF_CORE: density.core_field_t,
            Site.BHF_DIPOLAR: principal_values(dipolar[0])[0],
            Site.BHF_DIPOLAR_ORBIT: [components(tensor) for tensor in dipolar],
            Site.BHF_LORENTZ: lorentz_field(sources.total_moment_mub, sources.volume_bohr3),
            # Without spin–orbit coupling the moment has no direction: the isotropic field is the
            # contact one, and the traceless dipolar tensor is added where a direction is chosen.
            Site.BHF: density.field_t,
        }
    )


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The values, if all numbers among them are finite."""
    wrong = [name for name, v in values.items() if isinstance(v, float) and not np.isfinite(v)]
    if wrong:
        raise ArithmeticError(f"not finite: {', '.join(wrong)}")
    return values


def site_table(
    calculator: Any,
    structure: dict[str, Any],
    elements: list[str],
    free_components: list[int],
    semicore: Any = None,
    efg_problem: str | None = None,
    orbital: list[Orbital] | None = None,
) -> list[dict[str, Any]]:
    """Hyperfine parameters of every distinct site of ``elements`` (or of ``["all"]``).

    Under MPI every rank returns the same rows.

    Parameters
    ----------
    calculator
        Standard run.
    structure
        Structure record, for the labels of the sites.
    elements
        Elements whose sites are wanted.
    free_components
        Free components of the gradient at every atom.
    semicore
        Calculator of the run with semicore states; gradients come from it where there is one.
    efg_problem
        Why a semicore run that was wanted gave nothing.
    orbital
        Orbital part of every atom, if it is known.

    Raises
    ------
    ArithmeticError
        If the moments of the atoms cannot be told.
    """
    state = paw_state(calculator.dft)
    efg_state = None if semicore is None else paw_state(semicore.dft)
    rows: list[dict[str, Any]] = []
    error = None
    if state is not None:
        sources = Sources(
            state,
            efg_state,
            efg_problem,
            free_components,
            orbital,
            float(calculator.get_magnetic_moment()),
            float(abs(np.linalg.det(calculator.dft.density.nt_sR.desc.cell_cv))),
        )
        try:
            rows = _rows(sources, structure["site_labels"], elements)
        except (ArithmeticError, ValueError, LookupError) as failure:
            # Told to every rank, which would else wait for ever.
            error = f"{type(failure).__name__}: {failure}"
    comm = calculator.dft.comm
    rows, error = broadcast((rows, error) if comm.rank == 0 else None, 0, comm=comm)
    if error:
        raise ArithmeticError(error)
    return rows


def _rows(sources: Sources, labels: list[str], elements: list[str]) -> list[dict[str, Any]]:
    rows = []
    symbols = sources.state.symbols
    for label in dict.fromkeys(labels):
        atoms = [a for a, other in enumerate(labels) if other == label]
        if "all" not in elements and symbols[atoms[0]] not in elements:
            continue
        moments = {a: local_moment(sources.state, a) for a in atoms}
        if not np.isfinite(list(moments.values())).all():
            raise ArithmeticError(f"site {label} has a moment that is not finite")
        groups = split_by_moment(moments)
        for number, group in enumerate(groups):
            name = label if len(groups) == 1 else label + ascii_lowercase[number]
            rows.append(_row(sources, group, name, [moments[a] for a in group]))
    return rows
