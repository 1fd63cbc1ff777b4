"""What GPAW is given: keywords, and where it finds the semicore dataset."""

from typing import Any

import numpy as np
from ase import Atoms
from gpaw import PW, setup_paths

from dft2spectra.crystals.mesh import atom_kinds, kpoint_mesh, operations
from dft2spectra.crystals.starts import DATASETS

setup_paths.insert(0, str(DATASETS))


def gpaw_parameters(
    atoms: Atoms,
    settings: dict[str, Any],
    rung: dict[str, Any],
    *,
    fixed_moment: bool = False,
    datasets: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Keywords of GPAW for the campaign's settings with one rung of the ladder laid over them.

    Parameters
    ----------
    atoms
        The crystal in a reduced cell with its initial moments (µB); without any the run is spin
        paired.
    settings
        The ``gpaw`` section of the configuration.
    rung
        What is changed in this attempt.
    fixed_moment
        Whether the total moment stays what the initial moments sum to.
    datasets
        Names of the PAW datasets of elements that do not take the standard one.
    """
    chosen = {**settings, **rung}
    moments = atoms.get_initial_magnetic_moments()
    magnetic = bool(np.any(moments != 0))
    occupations: dict[str, Any] = {"name": "fermi-dirac", "width": chosen["smearing_ev"]}
    if magnetic and fixed_moment:
        occupations["fixmagmom"] = True
    kinds = atom_kinds(atoms.numbers, moments)
    crystal = atoms.cell.array, atoms.get_scaled_positions(), kinds
    size, _ = kpoint_mesh(*crystal, chosen["kpoint_density_ang"])
    rotations, translations, images = operations(*crystal)
    parameters: dict[str, Any] = {
        "mode": PW(chosen["cutoff_ev"]),
        "xc": chosen["xc"],
        "kpts": {"size": tuple(map(int, size)), "gamma": True},
        "symmetry": {"rotations": rotations, "translations": translations, "atommaps": images},
        "eigensolver": {"name": chosen["eigensolver"], "niter": 2},
        "occupations": occupations,
        "maxiter": chosen["max_iterations"],
        "convergence": {
            "energy": chosen["convergence"]["energy_ev_per_electron"],
            "density": chosen["convergence"]["density"],
            "eigenstates": chosen["convergence"]["eigenstates"],
        },
        "spinpol": magnetic,
        "setups": setups(settings, datasets or {}),
    }
    mixer = {
        key: rung[f"mixer_{key}"] for key in ("beta", "nmaxold", "weight") if f"mixer_{key}" in rung
    }
    if "mixer" in rung or mixer:
        parameters["mixer"] = {"name": rung.get("mixer", "msr1"), **mixer}
    return parameters


def setups(settings: dict[str, Any], datasets: dict[str, str]) -> dict[str, str]:
    """GPAW's names of the PAW datasets: those that are not the standard one, with Hubbard terms.

    ``hubbard_u_ev`` of the settings, such as ``{Fe: {d: 4.0}}``, becomes ``Fe: ':d,4.0'``.
    """
    hubbard = {
        element: ";".join(f"{shell},{u:g}" for shell, u in shells.items())
        for element, shells in settings["hubbard_u_ev"].items()
    }
    return {
        element: datasets.get(element, "") + (f":{hubbard[element]}" if element in hubbard else "")
        for element in sorted({*datasets, *hubbard})
    }
