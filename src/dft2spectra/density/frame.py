"""The frame in which a molecule's integration grid is laid: Eckart's, on a reference geometry.

Lebedev spheres are fixed in space, so that an energy from the grid changes by some 1e-5 hartree as
the molecule turns. Seen from axes that turn with the molecule a turned molecule is the same
molecule, and the energy is exactly invariant. Eckart's axes (Phys. Rev. 47, 552 (1935)) are those
from which the vibrations carry no angular momentum to first order: small displacements along normal
modes do not turn them, unlike principal axes, which turn with an antisymmetric stretch and have no
limit where two moments of inertia are equal. With masses m, the reference r about its centre of
mass, and ``x_a = Q (R_a − c)``, c the centre of mass,

    C = Σ m_a x_a r_aᵀ  is symmetric, and  Σ m_a |x_a − r_a|²  as small as it gets,

which a singular value decomposition finds (Kabsch, Acta Cryst. A 32, 922 (1976)). The axes follow
the atoms, and the gradient has to know. With G the gradient at fixed axes, for displacements q_a
along them, dQ Qᵀ is the rotation by ω and

    (tr C − C) ω = −Σ m_a r_a × q_a,
    dE/dx_a = G_a + m_a r_a × k,   (tr C − C) k = Σ_b x_b × G_b.

The axes are undefined where ``tr C − C``, the tensor of inertia at the reference, is singular: a
linear molecule, or one that has moved so far from its reference that no turn is nearest.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from ase.data import atomic_masses

from dft2spectra.molecules.shape import is_straight
from dft2spectra.units import BOHR_ANG

# Smallest eigenvalue of tr C − C, as a part of that of the reference, with which axes are taken.
# Below it a displacement turns them ten times as far as at the reference.
SMALLEST_INERTIA = 0.1


class FrameError(ValueError):
    """A geometry for which the axes of the molecule are not defined."""


class Frame(NamedTuple):
    """Axes of a molecule: ``positions_in_frame = (positions − centre) @ rotation.T``.

    Attributes
    ----------
    rotation
        Shape (3, 3): the axes as rows, determinant +1.
    centre
        Shape (3,): centre of mass, bohr.
    """

    rotation: np.ndarray
    centre: np.ndarray


def centre_of_mass(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Centre of mass (3,) with standard atomic weights, in the unit of ``positions`` (atoms, 3).

    The origin of every dipole of the step: that of an ion depends on it, and the spectrum is that
    of a molecule whose centre of mass rests.
    """
    masses = atomic_masses[np.asarray(numbers)]
    return masses @ positions / masses.sum()


@dataclass(frozen=True)
class Reference:
    """A geometry on which the axes of all others rest.

    Parameters
    ----------
    numbers
        Shape (atoms,), atomic numbers.
    positions
        Shape (atoms, 3), bohr. Its own axes are those of its coordinates.

    Attributes
    ----------
    linear
        Whether it is linear and has no axes: those of the laboratory are then taken.
    """

    numbers: np.ndarray
    positions: np.ndarray
    masses: np.ndarray = field(init=False)
    inertia: float = field(init=False)
    linear: bool = field(init=False)

    def __post_init__(self) -> None:
        centred = self.positions - centre_of_mass(self.numbers, self.positions)
        object.__setattr__(self, "positions", centred)
        object.__setattr__(self, "masses", atomic_masses[np.asarray(self.numbers)])
        object.__setattr__(self, "inertia", float(self._tensor(centred)[0][0]))
        straight = is_straight(self.masses, centred * BOHR_ANG)
        object.__setattr__(self, "linear", straight)

    def frame(self, positions: np.ndarray) -> Frame:
        """Eckart's axes at ``positions`` (atoms, 3), bohr.

        Raises
        ------
        FrameError
            They are not defined, or so badly that noise of the grid would become a force.
        """
        centre = centre_of_mass(self.numbers, positions)
        moment = (positions - centre).T @ (self.masses[:, None] * self.positions)
        left, _, right = np.linalg.svd(moment)
        right[2] *= np.sign(np.linalg.det(left @ right))
        frame = Frame((left @ right).T, centre)
        self._solvable((positions - centre) @ frame.rotation.T)
        return frame

    def gradient(self, gradient: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """The gradient with the turning of the axes included: no net force, no net torque.

        Parameters
        ----------
        gradient
            Shape (atoms, 3): at fixed axes, components along the axes; without net force.
        inside
            Shape (atoms, 3), bohr, in the frame: about the centre, along the axes.

        Returns
        -------
        numpy.ndarray
            Shape (atoms, 3), components along the axes; ``gradient @ rotation`` leads back.

        Raises
        ------
        FrameError
            As :meth:`frame`.
        """
        values, vectors = self._solvable(inside)
        torque = np.cross(inside, gradient).sum(axis=0)
        turn = vectors @ (vectors.T @ torque / values)
        return gradient + self.masses[:, None] * np.cross(self.positions, turn)

    def _tensor(self, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors of tr C − C."""
        moment = inside.T @ (self.masses[:, None] * self.positions)
        moment = 0.5 * (moment + moment.T)
        values, vectors = np.linalg.eigh(np.trace(moment) * np.eye(3) - moment)
        return values, vectors

    def _solvable(self, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = self._tensor(inside)
        if self.linear or values[0] < SMALLEST_INERTIA * self.inertia:
            why = "the molecule is linear" if self.linear else "it is too far from its reference"
            raise FrameError(
                f"the axes of this molecule are not defined, {why}: use those of the laboratory"
            )
        return values, vectors
