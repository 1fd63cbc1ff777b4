r"""What the DFT of a crystal will cost, from its structure and the settings alone.

A plane-wave calculation applies the Hamiltonian to every band at every irreducible k-point and spin
in every iteration of its self-consistency, so that

.. math:: t = \sum_\text{runs} n_\text{it} N_k N_s (a + b\, N_b N_G)

with the bands :math:`N_b` and plane waves :math:`N_G` of one k-point. :math:`N_k` is exact (the
mesh and the symmetry operations that GPAW uses), so are the electrons and bands (from the PAW
datasets). a, b and :math:`n_\text{it}`, which grows with the atoms, are fitted to measured runs by
``benchmarks/cost.py``; its table ``docs/cost.csv`` holds the points. A term :math:`N_b^2 N_G` and
one per atom were tried: in the cells of up to 16 atoms that were measured neither is seen behind
the scatter.

Nothing here loads GPAW: the Snakefile asks for every crystal at every start.
"""

import gzip
import math
import re
import statistics
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.geometry.minkowski_reduction import minkowski_reduce

from dft2spectra.crystals.identity import dataset_path
from dft2spectra.crystals.mesh import atom_kinds, kpoint_mesh, mesh_size
from dft2spectra.crystals.starts import SEMICORE, SEMICORE_CUTOFF_EV, start_moments
from dft2spectra.structures.site_symmetry import free_gradient_components
from dft2spectra.units import BOHR_ANG, HARTREE_EV

# Fitted by benchmarks/cost.py to processor times of the reference set on one core of a shared
# virtual machine, GPAW with FFTW. 90 % of the records took 0.7 to 1.6 times what the other
# compounds predict. Larger cells than those of up to 12 atoms were not measured.
SECONDS_PER_KPOINT = 0.000612
SECONDS_PER_COEFFICIENT = 9.78e-7
ITERATIONS = 13.4
ITERATIONS_PER_ATOM = 0.0577
# Python and GPAW before the first and after the last iteration.
STARTUP_S = 3.0
# Resident memory of GPAW without wave functions (MB) and copies of the wave functions; measured
# peaks lie within −16 and +27 % of it.
BASE_MB = 220.0
COPIES = 1.0
MB = 1e6
# Records of its own that a campaign needs before it corrects the speed of the machine.
ENOUGH_RECORDS = 3

GPAW_EXTRA_BANDS = 4
GPAW_BAND_FACTOR = 1.2


@dataclass(frozen=True)
class Dataset:
    """What the cost depends on in a PAW dataset."""

    electrons: float
    """Valence electrons."""
    bound: int
    """Bands of the bound partial waves: 1 for s, 3 for p, 5 for d."""


@dataclass(frozen=True)
class Scf:
    """Size of one self-consistent calculation."""

    atoms: int
    electrons: float
    kpoints: int
    """Irreducible k-points."""
    spins: int
    bands: int
    """Bands per k-point and spin."""
    plane_waves: float
    """Plane waves per band: the volume of the cutoff sphere over that of a reciprocal cell."""

    @property
    def coefficients(self) -> float:
        """Plane-wave coefficients of all wave functions."""
        return self.kpoints * self.spins * self.bands * self.plane_waves

    @property
    def seconds(self) -> float:
        """Time on one core of the reference machine."""
        iterations = ITERATIONS + ITERATIONS_PER_ATOM * self.atoms
        return iterations * (
            SECONDS_PER_KPOINT * self.kpoints * self.spins
            + SECONDS_PER_COEFFICIENT * self.coefficients
        )


@dataclass(frozen=True)
class Cost:
    """Predicted cost of the record of one crystal."""

    electrons: float
    """Valence electrons of the standard run."""
    kpoints: int
    """Irreducible k-points of the standard run."""
    core_seconds: float
    """Time on one core, all starts and the semicore run, if every run converges at once."""
    memory_mb: float
    """Peak resident memory of one process."""


@cache
def dataset(element: str, xc: str, name: str = "") -> Dataset:
    """PAW dataset of an element, from the head of the file that GPAW would read.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    path = dataset_path(element, xc, name)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        head = file.read(10000).split("</valence_states>")[0]
    (valence,) = re.findall(r'<atom [^>]*valence="([\d.]+)"', head)
    # States without a principal quantum number are unbound projectors.
    bound = re.findall(r'<state\s+n="(\d+)"\s+l="(\d)"', head)
    return Dataset(float(valence), sum(2 * int(l) + 1 for n, l in bound if int(n) > 0))


def scf_runs(
    structure: dict[str, Any], settings: dict[str, Any], symmetry: bool = True
) -> list[Scf]:
    """Every self-consistent calculation behind a record: the starts, then the semicore run.

    Parameters
    ----------
    structure
        Structure record.
    settings
        The ``gpaw`` section of the configuration.
    symmetry
        Whether to find the irreducible k-points and the sites without a field gradient; the whole
        mesh of the cell as it is given, but for time reversal, is known sooner, and more.

    Raises
    ------
    FileNotFoundError
        An element has no PAW dataset.
    """
    given = np.array(structure["cell_ang"])
    cell, scaled = given, np.array(structure["scaled_positions"])
    if symmetry:
        cell, _ = minkowski_reduce(given)  # as GPAW is given it
        scaled = scaled @ given @ np.linalg.inv(cell)
    volume = abs(np.linalg.det(given)) / BOHR_ANG**3
    symbols = structure["symbols"]
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    starts = [start_moments(name, structure) for name in settings["starts"]]
    runs: list[tuple[np.ndarray, dict[str, str], float]] = [
        (moments, {}, settings["cutoff_ev"]) for moments in starts if moments is not None
    ]
    if runs and settings["semicore_efg"] and (not symmetry or _has_gradient(structure)):
        runs.append((runs[0][0], SEMICORE, max(settings["cutoff_ev"], SEMICORE_CUTOFF_EV)))
    kpoints: dict[tuple[int, ...], int] = {}
    result = []
    for moments, names, cutoff_ev in runs:
        kinds = tuple(atom_kinds(numbers, moments).tolist())
        if not symmetry:
            # up to eight points are their own partners
            size = mesh_size(cell, settings["kpoint_density_ang"])
            kpoints[kinds] = (int(size.prod()) + 8) // 2
        elif kinds not in kpoints:
            _, kpoints[kinds] = kpoint_mesh(
                cell, scaled, np.array(kinds), settings["kpoint_density_ang"]
            )
        datasets = [dataset(symbol, settings["xc"], names.get(symbol, "")) for symbol in symbols]
        electrons = sum(data.electrons for data in datasets)
        wanted = math.ceil(GPAW_BAND_FACTOR * (electrons + abs(sum(moments))) / 2)
        wavenumber = math.sqrt(2.0 * cutoff_ev / HARTREE_EV)  # 1/bohr
        result.append(
            Scf(
                atoms=len(symbols),
                electrons=electrons,
                kpoints=kpoints[kinds],
                spins=2 if np.any(moments) else 1,
                bands=min(wanted + GPAW_EXTRA_BANDS, sum(data.bound for data in datasets)),
                plane_waves=float(volume * wavenumber**3 / (6.0 * math.pi**2)),
            )
        )
    return result


def _has_gradient(structure: dict[str, Any]) -> bool:
    """Whether symmetry allows a field gradient where there is a semicore dataset."""
    free = free_gradient_components(structure)
    return any(n and s in SEMICORE for n, s in zip(free, structure["symbols"], strict=True))


def estimate(
    structure: dict[str, Any],
    settings: dict[str, Any],
    machine_factor: float = 1.0,
    symmetry: bool = True,
) -> Cost:
    """Predicted cost of the record of one crystal.

    Parameters
    ----------
    structure, settings, symmetry
        As for :func:`scf_runs`.
    machine_factor
        Time on this machine over that on the reference machine; see :func:`machine_factor`.
    """
    runs = scf_runs(structure, settings, symmetry)
    coefficients = [run.coefficients for run in runs]
    # The chosen start is kept during the semicore run.
    held = sum(sorted(coefficients)[-2:])
    return Cost(
        electrons=runs[0].electrons if runs else 0.0,
        kpoints=runs[0].kpoints if runs else 0,
        core_seconds=STARTUP_S + machine_factor * sum(run.seconds for run in runs),
        memory_mb=BASE_MB + COPIES * held * np.dtype(complex).itemsize / MB,
    )


def machine_factor(measured_s: list[float], predicted_s: list[float]) -> float:
    """Median of measured over predicted core seconds; 1 with fewer than ``ENOUGH_RECORDS``."""
    ratios = [m / p for m, p in zip(measured_s, predicted_s, strict=True)]
    return statistics.median(ratios) if len(ratios) >= ENOUGH_RECORDS else 1.0
