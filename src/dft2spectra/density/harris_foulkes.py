"""Harris–Foulkes energy of a predicted density at one geometry, and its exact gradient.

The input density ``n_in = n_at + δn`` is a superposition of free atoms plus what a model predicts,
brought to the right number of electrons. With D, n_out from one diagonalisation in its potential
the Harris–Foulkes energy (Harris, Phys. Rev. B 31, 1770 (1985); Foulkes and Haydock, Phys. Rev. B
39, 12520 (1989)) is

    E = Tr D (T + V_at) + E_pairs
        + Σ_g w_g (n_out − n_at) V_δ − ½ cᵀ b
        + Σ_g w_g [v_xc[n_in]·(n_out − n_in) + e_xc[n_in]].

V_at is the potential of nuclei and free atoms, analytic, E_pairs the nuclear repulsion minus the
Coulomb energy of the free atoms, analytic. V_δ is the potential of the Coulomb-metric fit
``c = V⁻¹ b``, ``b_P = Σ_g w_g δn v_P``, of δn (Dunlap, J. Chem. Phys. 78, 3140 (1983): the error of
the energy is quadratic in that of the fit). The dot stands for the density, its gradient and, in a
meta-GGA, the kinetic energy density τ. That of the input is ``|∇n_in|²/(8 n_in) + τ_P``, with
τ_P that of the free atoms plus what the model predicts; the correction of the number of electrons
leaves τ_P alone.

E is stationary in D, so that its gradient needs no response of the orbitals; but n_in is not
self-consistent and moves with the atoms. What multiplies ∂n_in is ``f_xc·(n_out − n_in)`` and the
potential of ``c̃ − c``, c̃ the fit of ``n_out − n_at``; the row of f_xc that belongs to τ acts on
∂τ_P and through ``|∇n_in|²/(8 n_in)``. Grid points ride on their atoms, and the weights change with
them; both are part of the gradient, which is exact. Atomic units throughout.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
from pyscf import gto

from dft2spectra.density import atoms as free_atoms
from dft2spectra.density import pauli_atoms
from dft2spectra.density.coulomb import AuxiliaryBasis
from dft2spectra.density.exchange_correlation import (
    TAU,
    evaluate_functional,
    half_matrix,
    occupied_orbitals,
    output_density,
)
from dft2spectra.density.frame import centre_of_mass
from dft2spectra.density.grid import Grid, build_grid, weight_gradient
from dft2spectra.density.orbitals import density_force, evaluate

if TYPE_CHECKING:
    from dft2spectra.density.one_shot import OneShot

# Points of the grid with fewer electrons of the free atoms are left out. Gradients are those of the
# points that are left, to 1e-8 hartree/bohr; at 1e-10 electrons they were off by up to 1e-7.
SMALLEST_SHARE = 1e-13  # electrons
# Basis functions on the grid are kept between the two passes up to this size.
KEPT_BYTES = 1.5e9
CHUNK = 16_000  # points at once


class OneShotError(RuntimeError):
    """A geometry for which one diagonalisation gives no usable result."""


@dataclass
class Result:
    """What one step gives; atomic units.

    Attributes
    ----------
    energy, gradient
        Hartree, and hartree/bohr with shape (atoms, 3) or None.
    dipole
        e bohr, shape (3,), of the density matrix about the centre of mass.
    input_dipole
        The same of the input density.
    density_matrix, orbitals, orbital_energies, occupied
        In the frame of :attr:`mol`.
    excess_electrons
        Electrons that the predicted density had too many before it was corrected.
    """

    energy: float
    gradient: np.ndarray | None
    dipole: np.ndarray
    input_dipole: np.ndarray
    density_matrix: np.ndarray
    orbitals: np.ndarray
    orbital_energies: np.ndarray
    occupied: int
    excess_electrons: float
    mol: gto.Mole

    @property
    def gap(self) -> float:
        """Energy between the highest occupied and the lowest empty orbital, hartree."""
        if self.occupied == len(self.orbital_energies):
            return float("inf")
        levels = self.orbital_energies[self.occupied - 1 : self.occupied + 1]
        return float(levels[1] - levels[0])


class Step:
    """One geometry: what the energy and the gradient share."""

    def __init__(self, shot: "OneShot", mol: gto.Mole, positions: np.ndarray) -> None:
        self.shot, self.mol, self.positions = shot, mol, positions
        self._make_grid()
        self.auxiliary = AuxiliaryBasis(mol, shot.settings["auxiliary_basis"])
        self.chunks = _chunks(self.grid.owner)
        size = len(self.grid.weights) * mol.nao * 8 * (1 if shot.kind == "LDA" else 4)
        self.kept: list[np.ndarray] | None = [] if size < KEPT_BYTES else None
        self.predict()

    # --- the input density and its potential -----------------------------------------------------

    def _make_grid(self) -> None:
        """The points that carry electrons, and the density of the free atoms there."""
        shot = self.shot
        grid = build_grid(shot.numbers, self.positions, shot.settings["grid_level"])
        density, slope = free_atoms.density_on_grid(shot.atoms, self.positions, grid.points)
        kept = np.flatnonzero(np.abs(grid.weights) * density > SMALLEST_SHARE)
        self.grid = Grid(*(part[kept] for part in grid))
        self.n_at, self.slope_at = density[kept], slope[kept]

    def predict(self) -> None:
        """The input density, its potential on the grid and its electrostatic fit."""
        shot, grid = self.shot, self.grid
        w = grid.weights
        self.raw, slope = self.difference()
        if not np.isfinite(self.raw).all():
            raise OneShotError("the predicted density is not finite: the model is broken")
        self.electrons = float(sum(atom.charges.sum() for atom in shot.atoms))
        # A model of the full density replaces the free atoms instead of correcting them.
        self.base = 0.0 if shot.model.card.get("target") == "full" else 1.0
        difference = self.raw + (self.base - 1) * self.n_at
        self.excess = float(w @ difference) + shot.mol.charge
        self.kappa = self.excess / self.electrons
        self.delta = difference - self.kappa * self.n_at
        n_in = self.n_at + self.delta
        slope_in = (self.base - self.kappa) * self.slope_at + slope
        rows, pauli = [n_in[None]], None
        if shot.kind != "LDA":
            rows.append(slope_in.T)
        if shot.kind == "MGGA":
            pauli = self.pauli()
        self.xc = evaluate_functional(shot.settings["xc"], np.vstack(rows), pauli)
        self.b = self.auxiliary.project(grid.points, w * self.delta)
        self.c = self.auxiliary.solve(self.b)
        self.v_delta = self.auxiliary.potential(grid.points, self.c)

    def difference(self) -> tuple[np.ndarray, np.ndarray]:
        """What the model gives on the grid, (N,), and its gradient (N, 3)."""
        return self.shot.model.evaluate(
            self.shot.symbols, self.positions, self.grid.points, self.grid.owner
        )

    def pauli(self) -> np.ndarray:
        """Pauli kinetic energy density τ_P (N,) of the input, as atoms and model give it."""
        shot, grid = self.shot, self.grid
        total = np.zeros(len(grid.weights))
        if self.base:
            total += pauli_atoms.pauli_on_grid(shot.pauli_atoms, self.positions, grid.points)
        predicted, _ = shot.model.pauli.evaluate(  # type: ignore[union-attr]
            shot.symbols, self.positions, grid.points, grid.owner
        )
        return np.asarray(total + predicted)

    def orbitals_on_grid(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Chunks of points with the basis functions (and their gradients) on them."""
        deriv = 0 if self.shot.kind == "LDA" else 1
        for number, part in enumerate(self.chunks):
            if self.kept is not None and number < len(self.kept):
                yield part, self.kept[number]
                continue
            points = self.grid.points[part]
            memory = None if self.kept is None else self._memory(number, len(points), 1 + 3 * deriv)
            values = evaluate(self.mol, points, deriv, memory)
            if self.kept is not None:
                self.kept.append(values)
            yield part, values

    def _memory(self, number: int, points: int, rows: int) -> np.ndarray:
        """Memory of the step before for the basis functions of a chunk; it saves page faults."""
        buffers, nao = self.shot.buffers, self.mol.nao
        if number == len(buffers):
            buffers.append(np.empty(rows * nao * CHUNK))
        used = buffers[number][: rows * nao * points]
        return used.reshape(rows, nao, points).transpose(0, 2, 1)

    @cached_property
    def core(self) -> np.ndarray:
        """Matrix of the kinetic energy, the nuclei and the free atoms, hartree."""
        potential = free_atoms.potential_matrix(self.mol, self.shot.atoms)
        return self.mol.intor("int1e_kin") + potential

    def hamiltonian(self) -> np.ndarray:
        """Kohn–Sham matrix in the potential of the input density, hartree."""
        matrix = np.zeros((self.mol.nao, self.mol.nao))
        w, v_xc = self.grid.weights, self.xc.potential
        u = w * (v_xc[0] + self.v_delta)
        for part, values in self.orbitals_on_grid():
            matrix += half_matrix(values, w[part], u[part], v_xc[:, part])
        return self.core + matrix + matrix.T

    # --- energy and gradient ---------------------------------------------------------------------

    def run(self, forces: bool) -> Result:
        """One diagonalisation and what follows from it, in the frame of the grid."""
        shot, mol, w = self.shot, self.mol, self.grid.weights
        hamiltonian = self.hamiltonian()
        if not np.isfinite(hamiltonian).all():
            raise OneShotError("the Hamiltonian is not finite: the geometry has broken down")
        levels, orbitals = scipy.linalg.eigh(hamiltonian, mol.intor("int1e_ovlp"))
        occupied = mol.nelectron // 2
        half = orbitals[:, :occupied]
        dm = 2 * half @ half.T
        rho_out, occupied_values = np.empty_like(self.xc.rho), []
        for part, values in self.orbitals_on_grid():
            occupied_values.append(occupied_orbitals(values, half))
            rho_out[:, part] = output_density(occupied_values[-1], len(rho_out))
        change = self.xc.change(rho_out)
        bare = rho_out[0] - self.n_at
        pairs, pairs_gradient = free_atoms.hartree_pairs(shot.atoms, shot.numbers, self.positions)
        exchange = np.einsum("xp,xp->p", self.xc.potential, change) + self.xc.energy
        energy = (
            float(np.einsum("ij,ij", dm, self.core))
            + pairs
            + float((w * bare) @ self.v_delta)
            - 0.5 * float(self.c @ self.b)
            + float(w @ exchange)
        )
        gradient = None
        if forces:
            weighted = 2 * (half * levels[:occupied]) @ half.T
            gradient = (
                pairs_gradient
                + free_atoms.potential_gradient(mol, shot.atoms, dm)
                - free_atoms.overlap_gradient(mol, weighted)
                + self._grid_gradient(half, occupied_values, change, bare, exchange)
            )
        return Result(
            energy=energy,
            gradient=gradient,
            dipole=_dipole(mol, dm),
            input_dipole=self._input_dipole(),
            density_matrix=dm,
            orbitals=orbitals,
            orbital_energies=levels,
            occupied=occupied,
            excess_electrons=self.excess,
            mol=mol,
        )

    def _input_dipole(self) -> np.ndarray:
        """Dipole of nuclei and input density about the centre of mass, e bohr.

        The free atoms, round and neutral, have none.
        """
        centre = centre_of_mass(self.shot.numbers, self.positions)
        return -(self.grid.weights * self.delta) @ (self.grid.points - centre)

    def _grid_gradient(
        self,
        half: np.ndarray,
        occupied_values: list[np.ndarray],
        change: np.ndarray,
        bare: np.ndarray,
        exchange: np.ndarray,
    ) -> np.ndarray:
        """Derivatives of all sums over the grid at fixed D = 2 ``half`` ``half``ᵀ."""
        shot, grid, w = self.shot, self.grid, self.grid.weights
        points, owner = grid.points, grid.owner
        # the response of the predicted density: W from electrostatics, K from f_xc
        other = self.auxiliary.solve(self.auxiliary.project(points, w * bare)) - self.c
        w_field = self.auxiliary.potential(points, other)
        k_field = self.xc.response(change)
        toward = np.zeros((len(w), 3)) if len(k_field) == 1 else k_field[1:TAU].T
        pull = w_field + k_field[0]
        kappa_pull = (
            -float(w @ (pull * self.n_at + np.einsum("pk,pk->p", toward, self.slope_at)))
            / self.electrons
        )
        gradient = self.auxiliary.potential_gradient(
            points, owner, self.c, w * bare, other, w * self.delta
        )
        gradient -= self.auxiliary.metric_gradient(other + 0.5 * self.c, self.c)
        gradient += free_atoms.density_gradient(
            shot.atoms,
            self.positions,
            points,
            owner,
            w * ((self.base - self.kappa) * pull + (self.base - 1) * kappa_pull)
            - w * (self.v_delta + w_field),
            w[:, None] * (self.base - self.kappa) * toward,
        )
        gradient += shot.model.gradient(
            shot.symbols,
            self.positions,
            points,
            owner,
            w * (pull + kappa_pull),
            w[:, None] * toward,
        )
        if shot.kind == "MGGA":
            gradient += self._pauli_gradient(w * k_field[TAU])
        gradient += weight_gradient(
            grid,
            shot.numbers,
            self.positions,
            bare * self.v_delta
            + w_field * self.delta
            + exchange
            + kappa_pull * (self.raw + (self.base - 1) * self.n_at),
        )
        for part, orbitals in zip(self.chunks, occupied_values, strict=True):
            gradient += self._orbital_gradient(half, part, orbitals)
        return gradient

    def _pauli_gradient(self, weight: np.ndarray) -> np.ndarray:
        """Derivatives of ``Σ_g weight_g τ_P(r_g)``."""
        shot, owner = self.shot, self.grid.owner
        gradient = shot.model.pauli.gradient(  # type: ignore[union-attr]
            shot.symbols,
            self.positions,
            self.grid.points,
            owner,
            weight,
            np.zeros_like(self.grid.points),
        )
        if self.base:
            gradient += pauli_atoms.pauli_gradient(
                shot.pauli_atoms, self.positions, self.grid.points, owner, weight
            )
        return gradient

    def _orbital_gradient(self, half: np.ndarray, part: slice, orbitals: np.ndarray) -> np.ndarray:
        """Derivatives of the sums over a chunk of points with the basis functions, at fixed D.

        ``D φ = 2 half (halfᵀ φ)``: all is made from the occupied orbitals (rows, occupied, N).
        """
        w, v_xc = self.grid.weights[part], self.xc.potential[:, part]
        points, owner = self.grid.points[part], self.grid.owner[part]
        psi = orbitals[0]
        p = psi * (w * (v_xc[0] + self.v_delta[part]))
        q = slope = None
        if len(orbitals) > 1:
            for axis in range(3):
                p += orbitals[1 + axis] * (w * v_xc[1 + axis])
            q, slope = (4.0 * half @ (psi * w)).T, v_xc[1:TAU].T
        gradient = density_force(self.mol, points, owner, (4.0 * half @ p).T, q, slope)
        if len(v_xc) > TAU:
            nothing = np.zeros((len(w), self.mol.nao))
            for axis in range(3):
                q = (2.0 * half @ (orbitals[1 + axis] * (w * v_xc[TAU]))).T
                unit = np.broadcast_to(np.eye(3)[axis], (len(w), 3))
                gradient += density_force(self.mol, points, owner, nothing, q, unit)
        return gradient


def _chunks(owner: np.ndarray) -> list[slice]:
    return [slice(i, min(i + CHUNK, len(owner))) for i in range(0, len(owner), CHUNK)]


def _dipole(mol: gto.Mole, dm: np.ndarray) -> np.ndarray:
    """Dipole in e bohr about the centre of mass."""
    charges, positions = mol.atom_charges(), mol.atom_coords()
    centre = centre_of_mass(charges, positions)
    with mol.with_common_orig(centre):
        electrons = np.einsum("xij,ji->x", mol.intor("int1e_r"), dm)
    return charges @ (positions - centre) - electrons
