"""What the infrared branch will cost, from the size of each molecule and the settings alone.

A Kohn–Sham cycle takes most of its time on the grid, which goes with its points G times the basis
functions N; forces with the motion of the grid, and second derivatives, do so for each of the A
atoms. A one-shot step is mostly the model, which is asked for at every point. So

    t_label = a + b A N G,   t_modes = c A N G,   t_step = d N^p G^q,

fitted to measured times by ``benchmarks/molecule_cost.py``; ``docs/molecule-cost.csv`` holds the
points.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pyscf import dft

from dft2spectra.molecules.batches import batches
from dft2spectra.molecules.conformers import start_geometries
from dft2spectra.molecules.pyscf_input import build_molecule, complete_settings

# Fitted by benchmarks/molecule_cost.py to processor times on one core of a shared virtual machine;
# A N G in millions, N in hundreds and G in ten thousands. Seven molecules of 3 to 24 atoms in
# STO-3G and def2-SVP.
LABEL_START_S, LABEL_S = 0.297, 0.141
MODES_S = 0.778
STEP_S, STEP_FUNCTIONS, STEP_POINTS = 0.125, 0.147, 1.513
MEMORY_MB, MEMORY_FUNCTIONS, MEMORY_POINTS = 411.0, 0.222, 0.257
# PySCF takes memory in blocks, so that molecules need up to so many times what others predict.
MEMORY_MARGIN = 1.8
# Quasi-Newton steps of a relaxation from one start, each of which takes about as long as a label:
# 9 and 24 of trans-N2H2 and cis-C2H2F2.
RELAXATION_STEPS = 12
# The step of a model in coefficients against one on the grid (uracil: 0.90 and 2.14 s).
COEFFICIENTS_FACTOR = 0.42


class Size(NamedTuple):
    """What decides on the cost of a molecule."""

    atoms: int
    functions: int
    points: int


def size_of(molecule: Mapping[str, Any], pyscf_settings: Mapping[str, Any]) -> Size:
    """Atoms, basis functions and points of the integration grid, before any is screened out."""
    settings = complete_settings(pyscf_settings)
    symbols, positions = molecule["symbols"], molecule["positions_ang"]
    mol = build_molecule(symbols, positions, molecule["charge"], settings)
    # Of the elements; an atom in a molecule has as many.
    grids = dft.gen_grid.gen_atomic_grids(mol, level=settings["grid_level"])
    points = sum(len(grids[mol.atom_symbol(atom)][1]) for atom in range(mol.natm))
    return Size(mol.natm, int(mol.nao), points)


def label_seconds(size: Size) -> float:
    """One self-consistent calculation with forces, in core seconds."""
    return LABEL_START_S + LABEL_S * _cells(size)


def modes_seconds(size: Size) -> float:
    """Second derivatives, in core seconds."""
    return MODES_S * _cells(size)


def step_seconds(size: Size, kind: str = "jacobi_legendre") -> float:
    """One step of the dynamics, in core seconds."""
    seconds = STEP_S * (size.functions / 100) ** STEP_FUNCTIONS * (size.points / 1e4) ** STEP_POINTS
    return seconds * (COEFFICIENTS_FACTOR if kind == "coefficients" else 1.0)


def memory_mb(size: Size) -> float:
    """Resident memory that is enough for a label."""
    functions, points = size.functions / 100, size.points / 1e4
    fitted = MEMORY_MB * functions**MEMORY_FUNCTIONS * points**MEMORY_POINTS
    return MEMORY_MARGIN * fitted


def _cells(size: Size) -> float:
    return size.atoms * size.functions * size.points / 1e6


def estimate(
    molecules: Iterable[Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, dict[str, float | None]]:
    """By rule: ``jobs``, ``core_hours`` of all, ``longest_job_h`` and ``memory_mb`` of the largest.

    ``None`` where nothing was measured: the fit of a density model, whose time goes with its
    settings more than with the molecule, and the memory of what computes no label.

    Parameters
    ----------
    molecules
        As :func:`dft2spectra.molecules.sources.read_molecule` returns them.
    config
        Complete configuration; read are ``pyscf``, ``sampling``, ``density_model`` and
        ``dynamics``.
    """
    dynamics = config["dynamics"]
    frames = [batch["count"] for batch in batches(config["sampling"]).values()]
    steps_per_ps = 1e3 / dynamics["timestep_fs"]
    spaced = dynamics["spacing_ps"] * dynamics["trajectories"]
    total: dict[str, dict[str, float | None]] = {}
    for molecule in molecules:
        size = size_of(molecule, config["pyscf"])
        label, memory = label_seconds(size), memory_mb(size)
        ps = steps_per_ps * step_seconds(size, config["density_model"]["kind"])
        starts = len(start_geometries(molecule))
        steps = RELAXATION_STEPS * (starts + 1 if starts > 1 else 1)
        _add(total, "relax_molecule", [steps * label], memory)
        _add(total, "harmonic_reference", [label + modes_seconds(size)], None)
        _add(total, "label_densities", [count * label for count in frames], memory)
        _add(total, "fit_density_model", [None], None)
        _add(total, "equilibrate", [(dynamics["equilibration_ps"] + spaced) * ps], None)
        trajectory = dynamics["trajectory_ps"] * ps
        _add(total, "run_trajectory", [trajectory] * dynamics["trajectories"], None)
    return total


def _add(
    total: dict[str, dict[str, float | None]],
    rule: str,
    seconds: Sequence[float | None],
    memory: float | None,
) -> None:
    """Add the jobs of one molecule to those of a rule."""
    row = total.setdefault(
        rule, {"jobs": 0, "core_hours": None, "longest_job_h": None, "memory_mb": None}
    )
    row["jobs"] = (row["jobs"] or 0) + len(seconds)
    known = [each / 3600 for each in seconds if each is not None]
    if known:
        row["core_hours"] = (row["core_hours"] or 0.0) + sum(known)
        row["longest_job_h"] = max(row["longest_job_h"] or 0.0, *known)
    if memory is not None:
        row["memory_mb"] = max(row["memory_mb"] or 0.0, memory)
