"""Superposed free atoms: their density on a grid, their electrostatics, and all derivatives.

As sums of s Gaussians (:mod:`dft2spectra.density.free_atom`) they are neutral, smooth,
non-negative, and have analytic potentials.
"""

import math
from collections.abc import Iterator

import numba as nb
import numpy as np
from pyscf import df, gto, lib

from dft2spectra.density.free_atom import Gaussians
from dft2spectra.density.grid import BLOCK_POINTS, point_blocks
from dft2spectra.density.shells import displacements
from dft2spectra.density.tables import gaussians as exponentials

# A nucleus among the Gaussians of its atom: PySCF's exponent for point charges.
POINT_EXPONENT = 1e16
NEGLIGIBLE = 1e-17
# What the three-centre integrals of one group of atoms may take.
MEMORY_BYTES = 3e8


def density_on_grid(
    atoms: list[Gaussians], positions: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Superposed density, shape (N,), and its gradient (N, 3) at ``points`` (N, 3).

    ``atoms`` holds the density of each atom at ``positions`` (atoms, 3), bohr.
    """
    values, slopes = np.zeros(len(points)), np.zeros((len(points), 3))
    _density(
        np.ascontiguousarray(points, dtype=float),
        point_blocks(np.zeros(len(points), dtype=np.int64)),
        np.ascontiguousarray(positions, dtype=float),
        *_amplitudes(atoms),
        values,
        slopes,
    )
    return values, slopes


def density_gradient(
    atoms: list[Gaussians],
    positions: np.ndarray,
    points: np.ndarray,
    owner: np.ndarray,
    a: np.ndarray,
    b: np.ndarray | None = None,
) -> np.ndarray:
    """Derivatives ``Σ_g [a_g dn(r_g)/dR_A + b_g·d∇n(r_g)/dR_A]``, points moving with owners.

    ``a`` (N,) and ``b`` (N, 3) are not differentiated; shape (atoms, 3), zero in sum.
    """
    result = np.zeros((len(positions), 3))
    _density_gradient(
        np.ascontiguousarray(points, dtype=float),
        point_blocks(owner),
        np.ascontiguousarray(positions, dtype=float),
        *_amplitudes(atoms),
        np.ascontiguousarray(a, dtype=float),
        np.zeros((1, 3)) if b is None else np.ascontiguousarray(b, dtype=float),
        b is not None,
        result,
    )
    return result


def hartree_pairs(
    atoms: list[Gaussians], numbers: np.ndarray, positions: np.ndarray
) -> tuple[float, np.ndarray]:
    """Nuclear repulsion minus the Coulomb energy of the superposed density, and its gradient.

    ``E_nn − ½ ∫∫ n n/r12`` with the self-energy of each atom's density; energy in hartree, gradient
    (atoms, 3) in hartree/bohr. Two Gaussians of charges q at distance R repel with
    ``q q' erf(√p R)/R``, ``p = a a'/(a + a')``.
    """
    exponents = np.array([atom.exponents for atom in atoms])
    charges = np.array([atom.charges for atom in atoms])
    gradient = np.zeros((len(positions), 3))
    energy = _pairs(
        exponents,
        charges,
        np.asarray(numbers, dtype=float),
        np.ascontiguousarray(positions, dtype=float),
        gradient,
    )
    return energy, gradient


def potential_matrix(mol: gto.Mole, atoms: list[Gaussians]) -> np.ndarray:
    """Matrix of the potential of the nuclei and the superposed density, (nao, nao), hartree.

    Raises
    ------
    ValueError
        If the basis of the molecule has core potentials.
    """
    packed = np.zeros(mol.nao * (mol.nao + 1) // 2)
    for _, integrals in _integrals(mol, atoms, "int3c2e", "s2ij", 1):
        packed += integrals.sum(axis=1)
    return lib.unpack_tril(packed)


def potential_gradient(mol: gto.Mole, atoms: list[Gaussians], dm: np.ndarray) -> np.ndarray:
    """Derivatives of ``Tr D (T + V)``, V from :func:`potential_matrix`, at fixed symmetric D.

    Basis functions, nuclei and atomic densities move; shape (atoms, 3), hartree/bohr.
    """
    first = mol.aoslice_by_atom()[:, 2]
    slopes = np.einsum("xij,ij->xi", mol.intor("int1e_ipkin"), dm)
    result = np.zeros((mol.natm, 3))
    for group, integrals in _integrals(mol, atoms, "int3c2e_ip1", "s1", 6):
        per_function = np.einsum("xijA,ij->xiA", integrals, dm, optimize=True)
        slopes += per_function.sum(axis=2)
        # By translation, the derivative with respect to the charges of A is Σ (∇i j|A) + (i ∇j|A).
        result[group] += 2.0 * per_function.sum(axis=1).T
    return result - 2.0 * np.add.reduceat(slopes, first, axis=1).T


def overlap_gradient(mol: gto.Mole, weighted_dm: np.ndarray) -> np.ndarray:
    """Derivatives of ``Tr W S`` with respect to the atoms at fixed symmetric W, (atoms, 3)."""
    slopes = np.einsum("xij,ij->xi", mol.intor("int1e_ipovlp"), weighted_dm)
    return -2.0 * np.add.reduceat(slopes, mol.aoslice_by_atom()[:, 2], axis=1).T


def _integrals(
    mol: gto.Mole, atoms: list[Gaussians], name: str, symmetry: str, size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Three-centre integrals with the neutral atoms, as many atoms at once as memory allows.

    ``size``: numbers per integral and atom, relative to half the square of the basis.
    """
    fake = _neutral_atoms(mol, atoms)
    group = max(1, int(MEMORY_BYTES / (4 * size * mol.nao**2)))
    for start in range(0, mol.natm, group):
        end = min(start + group, mol.natm)
        shells = (0, mol.nbas, 0, mol.nbas, start, end)
        yield (
            slice(start, end),
            df.incore.aux_e2(mol, fake, name, aosym=symmetry, shls_slice=shells),
        )


def _neutral_atoms(mol: gto.Mole, atoms: list[Gaussians]) -> gto.Mole:
    """One contracted s function per atom: its electrons, and its nucleus as a narrow Gaussian."""
    if mol.has_ecp():
        raise ValueError("core potentials are not supported: choose an all-electron basis")
    fake = gto.Mole()
    fake.verbose = 0
    table, shells, env = [], [], [np.zeros(gto.PTR_ENV_START)]
    end = gto.PTR_ENV_START
    for index, (atom, position) in enumerate(zip(atoms, mol.atom_coords(), strict=True)):
        used = atom.charges != 0.0
        exponents = np.append(atom.exponents[used], POINT_EXPONENT)
        charges = np.append(atom.charges[used], -float(mol.atom_charge(index)))
        # The integral library multiplies s functions by 1/√4π.
        coefficients = charges * (exponents / np.pi) ** 1.5 * math.sqrt(4.0 * math.pi)
        count = len(exponents)
        table.append([0, end, 1, 0, 0, 0])
        shells.append([index, 0, count, 1, 0, end + 3, end + 3 + count, 0])
        env += [position, exponents, coefficients]
        end += 3 + 2 * count
    fake._atm = np.array(table, dtype=np.int32)
    fake._bas = np.array(shells, dtype=np.int32)
    fake._env = np.concatenate(env)
    fake._built = True
    return fake


def _amplitudes(atoms: list[Gaussians]) -> tuple[np.ndarray, np.ndarray]:
    """Exponents and heights of the Gaussians, each (atoms, k)."""
    exponents = np.array([atom.exponents for atom in atoms])
    charges = np.array([atom.charges for atom in atoms])
    return exponents, charges * (exponents / np.pi) ** 1.5


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _radial(exponents, heights, r2, nearest, count, order, bits, work, radial):
    """Fill ``radial[:order+1]`` with n, 2 n', 4 n'' (slopes with respect to r²) of one atom."""
    for k in range(order + 1):
        for p in range(count):
            radial[k, p] = 0.0
    for i in range(len(exponents)):
        c = heights[i]
        size = abs(c) * (1.0 + 2.0 * exponents[i]) ** order
        if c == 0.0 or size * np.exp(-exponents[i] * nearest) < NEGLIGIBLE:
            continue
        exponentials(exponents[i], r2, count, bits, work)
        for k in range(order + 1):
            for p in range(count):
                radial[k, p] += c * work[p]
            c *= -2.0 * exponents[i]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _density(points, blocks, centres, exponents, heights, values, slopes):
    d, r2, work = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    bits, radial = np.empty(BLOCK_POINTS, dtype=np.int64), np.empty((2, BLOCK_POINTS))
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        for atom in range(len(centres)):
            nearest = displacements(points, first, count, centres[atom], d, r2)
            _radial(exponents[atom], heights[atom], r2, nearest, count, 1, bits, work, radial)
            for p in range(count):
                values[first + p] += radial[0, p]
            for axis in range(3):
                for p in range(count):
                    slopes[first + p, axis] += radial[1, p] * d[axis, p]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _density_gradient(points, blocks, centres, exponents, heights, a, b, curved, result):
    d, r2, work = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    bits, radial = np.empty(BLOCK_POINTS, dtype=np.int64), np.empty((3, BLOCK_POINTS))
    outward = np.empty(BLOCK_POINTS)
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        owner = blocks[block, 2]
        for atom in range(len(centres)):
            if atom == owner:
                continue  # moves with the points
            nearest = displacements(points, first, count, centres[atom], d, r2)
            order = 2 if curved else 1
            _radial(exponents[atom], heights[atom], r2, nearest, count, order, bits, work, radial)
            for p in range(count):
                outward[p] = a[first + p] * radial[1, p]
            if curved:
                for p in range(count):
                    forward = (
                        b[first + p, 0] * d[0, p]
                        + b[first + p, 1] * d[1, p]
                        + b[first + p, 2] * d[2, p]
                    )
                    outward[p] += forward * radial[2, p]
            for axis in range(3):
                total = 0.0
                for p in range(count):
                    total += outward[p] * d[axis, p]
                if curved:
                    for p in range(count):
                        total += b[first + p, axis] * radial[1, p]
                result[atom, axis] -= total
                result[owner, axis] += total


@nb.njit(cache=True, error_model="numpy")
def _pairs(exponents, charges, numbers, centres, gradient):
    energy = 0.0
    atoms, count = exponents.shape
    for i in range(atoms):
        for k in range(count):
            for m in range(count):
                p = exponents[i, k] * exponents[i, m] / (exponents[i, k] + exponents[i, m])
                energy -= charges[i, k] * charges[i, m] * math.sqrt(p / math.pi)
        for j in range(i):
            d = centres[i] - centres[j]
            distance = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
            value = numbers[i] * numbers[j] / distance
            slope = -value / distance
            for k in range(count):
                for m in range(count):
                    a = exponents[i, k] + exponents[j, m]
                    root = math.sqrt(exponents[i, k] * exponents[j, m] / a)
                    x = root * distance
                    q = charges[i, k] * charges[j, m] / distance
                    shielded = math.erf(x) if x < 6.0 else 1.0
                    value -= q * shielded
                    slope += q * shielded / distance
                    if x < 6.0:
                        slope -= q * 2.0 * root / math.sqrt(math.pi) * math.exp(-x * x)
            energy += value
            for axis in range(3):
                gradient[i, axis] += slope * d[axis] / distance
                gradient[j, axis] -= slope * d[axis] / distance
    return energy
