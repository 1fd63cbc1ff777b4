"""What GPAW is given: keywords, and where it finds the semicore dataset."""

from typing import Any

from gpaw import PW, setup_paths

from dft2spectra.crystals.starts import DATASETS

setup_paths.insert(0, str(DATASETS))


def gpaw_parameters(settings: dict[str, Any], rung: dict[str, Any]) -> dict[str, Any]:
    """Keywords of GPAW for the campaign's settings with one rung of the ladder laid over them."""
    chosen = {**settings, **rung}
    parameters: dict[str, Any] = {
        "mode": PW(chosen["cutoff_ev"]),
        "xc": chosen["xc"],
        "kpts": {"density": chosen["kpoint_density_ang"], "gamma": True},
        "occupations": {"name": "fermi-dirac", "width": chosen["smearing_ev"]},
        "maxiter": chosen["max_iterations"],
        "convergence": {
            "energy": chosen["convergence"]["energy_ev_per_electron"],
            "density": chosen["convergence"]["density"],
            "eigenstates": chosen["convergence"]["eigenstates"],
        },
    }
    mixer = {
        key: rung[f"mixer_{key}"] for key in ("beta", "nmaxold", "weight") if f"mixer_{key}" in rung
    }
    if mixer:
        # A rung that speaks of mixing means Pulay's scheme; GPAW's own default is MSR1.
        parameters["mixer"] = {"name": "pulay", "beta": 0.05, "nmaxold": 5, "weight": 50, **mixer}
    return parameters
