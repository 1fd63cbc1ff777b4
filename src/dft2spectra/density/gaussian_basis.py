"""The functions of a density model in coefficients: Gaussians on atoms, by rule, then contracted.

Standard fitting bases are made for Coulomb energies, and leave 0.4 to 1 % of a density unfitted.
Here each element gets even-tempered Gaussians of every degree, between exponents that follow from
its orbital basis. Orthonormalised on their atom in the Coulomb metric, their coefficients in fits
of real densities have a few large principal components, which are kept as contracted functions:

    χ_klm(d) = S_lm(d) Σ_p C_pk exp(−a_p d²),   ⟨χ_k|1/r₁₂|χ_k'⟩ = δ_kk' on one atom.

Coulomb integrals with these functions are PySCF's.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from pyscf import df, gto

from dft2spectra.density.free_atom import Gaussians
from dft2spectra.density.shells import harmonic_components

# Ratio of neighbouring exponents.
RATIO = 1.5
# Lowest exponents as parts of the lowest one of the orbitals, by degree; hydrogen, whose difference
# density is that of its bonds, has steeper ones of high degree.
LOWEST = (0.65, 0.78, 1.05, 1.6, 2.6)
LOWEST_LIGHT = (0.65, 1.2, 2.4, 4.9)
# Highest exponents as multiples of the highest of the s, p and outermost occupied orbitals. What
# the functions of the valence leave is small, and of high degree smaller.
HIGHEST = (1.2, 12.0, 3.0, 1.5, 1.2)
HIGHEST_LIGHT = (2.0, 24.0, 10.0, 6.0)
LIGHT = 2  # up to helium
# Two exponents at least, so that a radial shape can change.
FEWEST = 2
# In fits the functions of neighbours nearly depend on each other. What this takes away, relative to
# the unit diagonal, are shapes near the nuclei with little energy and much density: after fits with
# 1e-5 water's functions leave 0.08 % of its density, after these 0.05 %.
FIT_RIDGE = 1e-7
MEMORY_BYTES = 3e8


class AtomFunctions(NamedTuple):
    """Functions on the atoms of one element.

    Attributes
    ----------
    exponents
        For each degree, shape (primitives,), 1/bohr².
    contraction
        For each degree, shape (primitives, functions): with the factor of normalisation, so that
        they multiply ``exp(−a d²) S_lm(d)``.
    """

    exponents: tuple[np.ndarray, ...]
    contraction: tuple[np.ndarray, ...]

    @property
    def counts(self) -> list[int]:
        """Radial functions of each degree."""
        return [c.shape[1] for c in self.contraction]

    @property
    def size(self) -> int:
        """Number of functions, components counted."""
        return sum((2 * l + 1) * count for l, count in enumerate(self.counts))


def primitive_functions(symbol: str, basis: str) -> AtomFunctions:
    """Even-tempered Gaussians of an element, orthonormal in the Coulomb metric of their atom.

    Parameters
    ----------
    symbol, basis
        The element and the orbital basis from whose exponents theirs follow.
    """
    atom = gto.M(atom=symbol, basis=basis, spin=None, verbose=0)
    of_degree: dict[int, np.ndarray] = {}
    for shell in range(atom.nbas):
        l = atom.bas_angular(shell)
        of_degree[l] = np.concatenate([of_degree.get(l, np.empty(0)), atom.bas_exp(shell)])
    number = gto.charge(symbol)
    lowest = min(e.min() for l, e in of_degree.items() if l < 2)
    s_highest, p_highest = (of_degree.get(l, of_degree[0]).max() for l in (0, 1))
    d_highest = max(p_highest, of_degree[2].max()) if number > 20 and 2 in of_degree else p_highest
    highest = (s_highest, p_highest, *[d_highest] * 3)
    light = number <= LIGHT
    limits = zip(
        LOWEST_LIGHT if light else LOWEST, HIGHEST_LIGHT if light else HIGHEST, strict=True
    )
    exponents, contraction = [], []
    for l, (low, high) in enumerate(limits):
        first, last = low * lowest, high * highest[l]
        count = max(FEWEST, 1 + round(math.log(max(last / first, 1.0)) / math.log(RATIO)))
        exponents.append(first * RATIO ** np.arange(count))
        norms = np.array([gto.gto_norm(l, a) for a in exponents[-1]])
        metric = _own_metric(l, exponents[-1], np.diag(norms))
        # columns of (norm) L⁻ᵀ, M = L Lᵀ
        factor_l = np.linalg.cholesky(metric)
        orthonormal = scipy.linalg.solve_triangular(factor_l, np.eye(count), lower=True).T
        contraction.append(norms[:, None] * orthonormal)
    return AtomFunctions(tuple(exponents), tuple(contraction))


def contracted(functions: AtomFunctions, kept: Sequence[np.ndarray]) -> AtomFunctions:
    """The combinations ``kept`` (functions, fewer) of each degree; orthonormal if they are."""
    pairs = zip(functions.contraction, kept, strict=True)
    return AtomFunctions(functions.exponents, tuple(c @ u for c, u in pairs))


def _own_metric(l: int, exponents: np.ndarray, contraction: np.ndarray) -> np.ndarray:
    functions = AtomFunctions(
        (*[np.empty(0)] * l, exponents), (*[np.empty((0, 0))] * l, contraction)
    )
    whole = place_functions([functions], np.zeros((1, 3))).intor("int2c2e")
    return whole[:: 2 * l + 1, :: 2 * l + 1]


def place_functions(functions: Sequence[AtomFunctions], positions: np.ndarray) -> gto.Mole:
    """The functions of all atoms at ``positions`` (atoms, 3), bohr, for PySCF's integrals.

    Written as PySCF's tables directly: its own way would normalise contracted functions. The order
    is atom, degree, radial function, component.
    """
    mol = gto.Mole()
    mol.verbose = 0
    table, shells, env = [], [], [np.zeros(gto.PTR_ENV_START)]
    end = gto.PTR_ENV_START
    for index, (atom, position) in enumerate(zip(functions, positions, strict=True)):
        table.append([0, end, 1, 0, 0, 0])
        env.append(np.asarray(position, dtype=float))
        end += 3
        for l, (exponents, columns) in enumerate(zip(*atom, strict=True)):
            count, kept = columns.shape
            if count:
                shells.append([index, l, count, kept, 0, end, end + count, 0])
                env += [exponents, columns.T.ravel()]
                end += count * (1 + kept)
    mol._atm = np.array(table, dtype=np.int32)
    mol._bas = np.array(shells, dtype=np.int32)
    mol._env = np.concatenate(env)
    mol._built = True
    return mol


def places(functions: Sequence[AtomFunctions]) -> list[list[np.ndarray]]:
    """Where the coefficients of each atom and degree stand, (functions, 2 l + 1), m ascending."""
    result, start = [], 0
    components = harmonic_components(max(len(f.exponents) for f in functions) - 1)
    for atom in functions:
        own = []
        for l, count in enumerate(atom.counts):
            width = 2 * l + 1
            rows = start + np.arange(count * width).reshape(count, width)
            turned = np.empty_like(rows)
            turned[:, components[l * l : (l + 1) ** 2] - l * l] = rows
            own.append(turned)
            start += count * width
        result.append(own)
    return result


def charges(functions: Sequence[AtomFunctions]) -> np.ndarray:
    """Integrals (size,) of all functions, electrons: those of degree 0 alone have any."""
    result = np.zeros(sum(f.size for f in functions))
    for atom, own in zip(functions, places(functions), strict=True):
        of_primitives = (np.pi / atom.exponents[0]) ** 1.5 / math.sqrt(4.0 * math.pi)
        result[own[0][:, 0]] = of_primitives @ atom.contraction[0]
    return result


def coulomb_metric(placed: gto.Mole) -> np.ndarray:
    """``⟨χ|1/r₁₂|χ'⟩`` of all functions, (size, size), hartree."""
    return np.asarray(placed.intor("int2c2e"))


def coulomb_projections(
    placed: gto.Mole, mol: gto.Mole, density_matrix: np.ndarray, atoms: Sequence[Gaussians]
) -> np.ndarray:
    """``⟨χ|1/r₁₂|n − n_at⟩`` (size,) of a density matrix and the free atoms, without any grid."""
    lower = np.tril_indices(mol.nao)
    packed = (2.0 * density_matrix - np.diag(np.diag(density_matrix)))[lower]
    found = []
    group = max(1, int(MEMORY_BYTES / (8 * len(packed) * 9)))  # shells at once, of 9 functions
    for start in range(0, placed.nbas, group):
        shells = (0, mol.nbas, 0, mol.nbas, start, min(start + group, placed.nbas))
        integrals = df.incore.aux_e2(mol, placed, "int3c2e", aosym="s2ij", shls_slice=shells)
        found.append(packed @ integrals)
    free = gto.intor_cross("int2c2e", placed, _free_atoms(mol, atoms)).sum(axis=1)
    return np.concatenate(found) - free


def _free_atoms(mol: gto.Mole, atoms: Sequence[Gaussians]) -> gto.Mole:
    """One s function per atom that is its density."""
    functions = [
        AtomFunctions(
            (atom.exponents,),
            # The integral library multiplies s functions by 1/√4π.
            ((atom.charges * (atom.exponents / np.pi) ** 1.5 * math.sqrt(4 * math.pi))[:, None],),
        )
        for atom in atoms
    ]
    return place_functions(functions, mol.atom_coords())


def fitted(metric: np.ndarray, projections: np.ndarray, ridge: float = FIT_RIDGE) -> np.ndarray:
    """Coefficients of the fit in the Coulomb metric, ``(V + ridge)⁻¹ b``."""
    matrix = metric.astype(float)
    matrix[np.diag_indices(len(matrix))] += ridge
    return np.asarray(scipy.linalg.solve(matrix, projections, assume_a="pos", overwrite_a=True))


def principal_contraction(
    functions: Mapping[str, AtomFunctions],
    symbols: Sequence[str],
    fits: Sequence[np.ndarray],
    smallest: float,
) -> dict[str, AtomFunctions]:
    """Functions that carry the variance of fitted coefficients, those above ``smallest`` hartree.

    Parameters
    ----------
    functions
        Orthonormal functions of each element.
    symbols
        The atoms.
    fits
        Coefficients of geometries, each (size,).
    smallest
        Twice the mean Coulomb energy that a function must carry on one atom.
    """
    where = places([functions[symbol] for symbol in symbols])
    result = {}
    for symbol, own in functions.items():
        of_element = [w for w, s in zip(where, symbols, strict=True) if s == symbol]
        kept = []
        for l in range(len(own.exponents)):
            rows = np.concatenate([c[w[l]].T for c in fits for w in of_element])
            energies, axes = np.linalg.eigh(rows.T @ rows / (len(fits) * len(of_element)))
            count = max(1, int((energies > smallest).sum()))
            kept.append(axes[:, ::-1][:, :count])
        result[symbol] = contracted(own, kept)
    return result
