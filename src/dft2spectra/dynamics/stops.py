"""When a trajectory has to end early: what a calculator raises and what every run is checked for.

An early end is a result with a status and a reason. Faults of the machine are other exceptions.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from scipy.stats import chi2

# Atoms collide below this fraction of the sum of their covalent radii (O–H: 0.49 Å, against a
# classical turning point of the stretch above 0.8 Å at any temperature in use).
CLOSEST = 0.5
# A molecule fell apart when no chain of pairs closer than this multiple holds it (O–H: 2.4 Å).
FARTHEST = 2.5
# The temperature exploded above this multiple of the target ...
HOTTEST = 10.0
# ... or, where few degrees of freedom fluctuate widely, where chance reaches it this rarely.
HOTTEST_CHANCE = 1e-9


class TrajectoryStopped(Exception):
    """The physics left what the calculator can describe; the trajectory ends here with a record.

    Parameters
    ----------
    reason
        One sentence for the record.
    atoms
        The geometry to keep, such as one to train on; ``None`` for that of the step at hand.
    """

    def __init__(self, reason: str, atoms: Atoms | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.atoms = atoms


@dataclass(frozen=True)
class Limits:
    """What every step is checked for; see :func:`limits_of`.

    Lengths are (n_atoms, n_atoms) in Å, ``energy_change_ev`` is of the molecule, infinite for a
    run with a thermostat.
    """

    hottest_k: float
    energy_change_ev: float
    closest_ang: NDArray
    farthest_ang: NDArray
    fragments: int

    def check_geometry(self, positions_ang: NDArray) -> None:
        """Raise :class:`TrajectoryStopped` if atoms collided, fell apart or left all numbers."""
        if not np.isfinite(positions_ang).all():
            raise TrajectoryStopped("positions are not finite")
        distances = cdist(positions_ang, positions_ang)
        if np.any(distances < self.closest_ang):
            i, j = np.argwhere(distances < self.closest_ang)[0]
            raise TrajectoryStopped(
                f"atoms {i} and {j} collided: {distances[i, j]:.3f} Å,"
                f" limit {self.closest_ang[i, j]:.3f} Å"
            )
        near = distances < self.farthest_ang
        # Most molecules have every atom near a common one: no graph needed.
        if not near.all(axis=1).any() and _fragments(near) > self.fragments:
            raise TrajectoryStopped(
                f"the molecule fell into {_fragments(near)} fragments"
                f" farther apart than {FARTHEST} times the sums of covalent radii"
            )

    def check_energy(self, temperature_k: float, energy_change_ev: float, n_atoms: int) -> None:
        """Raise :class:`TrajectoryStopped` if the run is too hot or its energy not conserved."""
        if temperature_k > self.hottest_k:
            raise TrajectoryStopped(
                f"temperature {temperature_k:.0f} K, limit {self.hottest_k:.0f} K"
            )
        if abs(energy_change_ev) > self.energy_change_ev:
            raise TrajectoryStopped(
                f"total energy changed by {1e3 * energy_change_ev / n_atoms:+.1f} meV/atom since"
                f" the start, limit {1e3 * self.energy_change_ev / n_atoms:.1f} meV/atom"
            )


def limits_of(
    atoms: Atoms, degrees_of_freedom: int, temperature_k: float, energy_change_ev: float
) -> Limits:
    """Limits of a run that starts at ``atoms``.

    A complex of several molecules may start in fragments; only more of them count as broken. The
    limit of the temperature is ``HOTTEST`` times the target, or where a χ² distributed kinetic
    energy exceeds it with probability ``HOTTEST_CHANCE`` if that is higher: 37 times the target for
    one degree of freedom, 15 times for the three of a triatomic molecule.
    """
    radii = covalent_radii[atoms.numbers]
    sums = radii[:, None] + radii[None, :]
    np.fill_diagonal(sums, 0.0)
    farthest = FARTHEST * sums
    np.fill_diagonal(farthest, np.inf)
    positions = atoms.get_positions()
    chance = float(chi2.isf(HOTTEST_CHANCE, degrees_of_freedom)) / degrees_of_freedom
    limits = Limits(
        hottest_k=max(HOTTEST, chance) * temperature_k,
        energy_change_ev=energy_change_ev,
        closest_ang=CLOSEST * sums,
        farthest_ang=farthest,
        fragments=_fragments(cdist(positions, positions) < farthest),
    )
    try:
        limits.check_geometry(positions)
    except TrajectoryStopped as stop:
        raise ValueError(f"start of the trajectory: {stop.reason}") from stop
    return limits


def _fragments(near: NDArray) -> int:
    return int(connected_components(near, directed=False)[0])
