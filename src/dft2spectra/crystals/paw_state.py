"""What a converged GPAW calculation says about the surroundings of its nuclei, as plain arrays.

Everything is in Hartree atomic units. GPAW counts electrons as positive charge, so its
``electrostatic potential`` is the potential *energy* of an electron.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import spherical_jn


@dataclass(frozen=True)
class PlaneWaves:
    """Real periodic function f(r) = Re Σ_G c_G exp(iG·r), every coefficient counted once.

    Attributes
    ----------
    vectors : (n, 3) array
        Reciprocal vectors G in 1/bohr.
    coefficients : (n,) complex array
        c_G, in the unit of f.
    """

    vectors: NDArray[np.float64]
    coefficients: NDArray[np.complex128]

    @classmethod
    def from_half_space(cls, vectors: NDArray, coefficients: NDArray) -> "PlaneWaves":
        """Full series from the half of reciprocal space that GPAW stores of a real function.

        The missing half holds the complex conjugates, so every coefficient counts twice except the
        one of G = 0.
        """
        weights = np.where(np.linalg.norm(vectors, axis=1) > 1e-12, 2.0, 1.0)
        return cls(vectors, coefficients * weights)

    @classmethod
    def from_grid(cls, values: NDArray, cell: NDArray) -> "PlaneWaves":
        """Fourier series of values on a uniform grid over ``cell`` (rows, bohr).

        Indices of the Nyquist planes are left out: there the sign of G is not defined.
        """
        shape = values.shape
        coefficients = np.fft.fftn(values) / values.size
        indices = [np.fft.fftfreq(n, 1.0 / n) for n in shape]
        grid = np.stack(np.meshgrid(*indices, indexing="ij"), axis=-1)
        below_nyquist = np.all(np.abs(grid) < np.array(shape) / 2.0, axis=-1)
        reciprocal = 2.0 * np.pi * np.linalg.inv(cell).T
        return cls(grid[below_nyquist] @ reciprocal, coefficients[below_nyquist])

    def _waves(self, position: NDArray) -> NDArray:
        return self.coefficients * np.exp(1j * self.vectors @ position)

    def value(self, position: NDArray) -> float:
        """f at ``position`` (bohr)."""
        return float(self._waves(position).sum().real)

    def hessian(self, position: NDArray) -> NDArray:
        """∂²f/∂x_i∂x_j at ``position``, (3, 3)."""
        return -np.einsum(
            "g,gi,gj->ij", self._waves(position), self.vectors, self.vectors, optimize=True
        ).real

    def sphere_integral(self, position: NDArray, radius: float) -> float:
        """∫ f over the sphere of ``radius`` (bohr) round ``position``, with the closed form

        4π R³ j₁(GR)/(GR) for each plane wave.
        """
        gr = np.linalg.norm(self.vectors, axis=1) * radius
        safe = np.where(gr > 1e-8, gr, 1.0)
        kernel = np.where(gr > 1e-8, spherical_jn(1, safe) / safe, 1.0 / 3.0)
        return float(4.0 * np.pi * radius**3 * (self._waves(position) @ kernel).real)


@dataclass(frozen=True)
class PawState:
    """Densities and potential of one calculation.

    Attributes
    ----------
    symbols : list of str
    positions : (n_atoms, 3) array, bohr
    potential : PlaneWaves
        Smooth electrostatic potential energy of an electron (Ha), made by the pseudo-density and
        the compensation charges.
    density, spin_density : PlaneWaves
        Pseudo-density (with pseudo-core) and pseudo spin density, e/bohr³.
    atomic_density_matrices : list of (2, n_i, n_i) arrays
        Occupations of the partial waves for spin up and down.
    multipoles : list of (9,) or longer arrays
        Compensation-charge multipoles Q_L, L = (l, m) with l up to 2 at least.
    setups : list
        GPAW's PAW datasets, one per atom.
    xc : object
        GPAW's functional, for the potential in the sphere.
    """

    symbols: list[str]
    positions: NDArray[np.float64]
    potential: PlaneWaves
    density: PlaneWaves
    spin_density: PlaneWaves
    atomic_density_matrices: list[NDArray[np.float64]]
    multipoles: list[NDArray[np.float64]]
    setups: list
    xc: object


def paw_state(dft) -> PawState | None:
    """Collect a :class:`PawState` from ``GPAW(...).dft``; under MPI ``None`` but on rank 0."""
    density = dft.density
    spin_densities = density.nt_sR.gather()
    potential = dft.potential.vHt_x.gather()
    occupations = density.D_asii.gather(broadcast=True)
    compensation = density.calculate_compensation_charge_coefficients().gather(broadcast=True)
    if dft.comm.rank != 0:
        return None
    grid = spin_densities.desc
    cell = np.array(grid.cell_cv)
    nt = spin_densities.data
    matrices = []
    for a in range(len(dft.setups)):
        d_sii = np.asarray(occupations[a]).real
        matrices.append(np.array([d_sii[0], d_sii[1]] if len(d_sii) == 2 else [d_sii[0] / 2] * 2))
    return PawState(
        symbols=[setup.symbol for setup in dft.setups],
        positions=np.asarray(dft.relpos_ac) @ cell,
        potential=PlaneWaves.from_half_space(
            np.array(potential.desc.reciprocal_vectors()), np.array(potential.data)
        ),
        density=PlaneWaves.from_grid(nt[:2].sum(axis=0), cell),
        spin_density=PlaneWaves.from_grid(nt[0] - nt[1] if len(nt) == 2 else 0.0 * nt[0], cell),
        atomic_density_matrices=matrices,
        multipoles=[np.array(compensation[a]) for a in range(len(dft.setups))],
        setups=list(dft.setups),
        xc=dft.pot_calc.xc.xc,
    )
