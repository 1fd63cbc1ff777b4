"""The field gradient with the 3s and 3p electrons of Fe in the valence, in the state found before.

The second run must end in the magnetic state of the standard one. Its total moment is therefore
kept fixed; let free it may go to another state of lower energy at its own cutoff and datasets
(FeGe in L1_0 does). The moments of the atoms are compared afterwards, one by one: the total alone
does not tell an antiferromagnet from a nonmagnet.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from gpaw.mpi import broadcast
from numpy.typing import ArrayLike, NDArray

from dft2spectra.columns import Status
from dft2spectra.crystals.contact import local_moment
from dft2spectra.crystals.paw_state import paw_state
from dft2spectra.crystals.scf import SOFT, Work, attempt, even_moments
from dft2spectra.crystals.starts import SEMICORE, SEMICORE_CUTOFF_EV, to_atoms
from dft2spectra.structures.site_symmetry import free_gradient_components

# Atoms of the two runs whose moments differ by more are in different states. Chosen: between the
# states of FeGe and FeGa lie 0.4 µB and more, between two runs of one state below 0.05 µB; the two
# runs have other datasets and cutoffs.
SAME_STATE_MUB = 0.15
# Below this the moments of a run are the rest of a start that died out.
NO_MOMENT_MUB = 0.05


def free_components(structure: dict[str, Any], moments: NDArray) -> list[int]:
    """Free components of the gradient at every atom in a magnetic order.

    Atoms of one element count as equal if their moments agree within :data:`NO_MOMENT_MUB`.
    """
    kinds: list[int] = []
    for atom, symbol in enumerate(structure["symbols"]):
        same = (
            kinds[other]
            for other in range(atom)
            if structure["symbols"][other] == symbol
            and abs(moments[other] - moments[atom]) < NO_MOMENT_MUB
        )
        kinds.append(next(same, atom))
    return free_gradient_components(structure, np.array(kinds))


def wants_semicore(structure: dict[str, Any], moments: NDArray) -> bool:
    """Whether an atom with semicore states may have a field gradient at all."""
    free = free_components(structure, moments)
    return any(n and s in SEMICORE for n, s in zip(free, structure["symbols"], strict=True))


def semicore_run(
    calculator: Any, structure: dict[str, Any], work: Work
) -> tuple[Any, dict[str, Any]]:
    """Run with semicore states in the state of ``calculator`` (or ``None``), and its record."""
    atoms = to_atoms(structure)
    moments = np.array(calculator.get_magnetic_moments())
    magnetic = np.abs(moments).max() > NO_MOMENT_MUB
    total = float(calculator.get_magnetic_moment())
    atoms.set_initial_magnetic_moments(
        even_moments(moments, total) if magnetic else np.zeros(len(atoms))
    )
    cutoff_ev = max(work.settings["cutoff_ev"], SEMICORE_CUTOFF_EV)
    finer = replace(
        work, settings=work.settings | {"cutoff_ev": cutoff_ev}, datasets=work.datasets | SEMICORE
    )
    record: dict[str, Any] = {"cutoff_ev": cutoff_ev, "attempts": []}
    # Fixed, fixed with softer mixing, and free.
    tries = [(True, {}), (True, SOFT), (False, SOFT)] if magnetic else [(False, {}), (False, SOFT)]
    reason = None
    for number, (fixed, rung) in enumerate(tries):
        work.log(f"semicore run, attempt {number + 1} of {len(tries)}, changes {rung}")
        found, outcome = attempt(atoms, finer, rung, f"semicore.{number}", fixed_moment=fixed)
        record["attempts"].append({"rung": number, **outcome})
        if found is None:
            reason = outcome["error"]
        elif (apart := largest_difference(calculator, found)) > SAME_STATE_MUB:
            reason = f"went to another magnetic state, {apart:.2f} µB away at one atom"
        else:
            record |= {"status": str(Status.CONVERGED), "reason": None}
            return found, record
        work.log(f"  {reason}")
    return None, record | {"status": str(Status.NOT_CONVERGED), "reason": f"semicore run: {reason}"}


def moment_difference(one: ArrayLike, other: ArrayLike) -> float:
    """Largest difference of an atom's moment (µB) between two states, whichever way is up.

    All moments turned at once are the same state; some turned are another one.
    """
    first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(min(np.abs(first - second).max(), np.abs(first + second).max()))


def largest_difference(one: Any, other: Any) -> float:
    """Largest difference of an atom's moment (µB) between two calculations."""
    first, second = (paw_state(calculator.dft) for calculator in (one, other))
    found = None
    if first is not None and second is not None:  # under MPI on rank 0 alone
        moments = (
            [local_moment(state, atom) for atom in range(len(state.symbols))]
            for state in (first, second)
        )
        found = moment_difference(*moments)
    return float(broadcast(found, 0, comm=one.dft.comm))
