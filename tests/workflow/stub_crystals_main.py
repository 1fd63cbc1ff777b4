"""Stands in for ``python -m dft2spectra.crystals``: records of the right form, without any DFT.

Numbers follow from the composition alone. ``STUB_SECONDS`` makes it take time, ``STUB_GATE`` names
a file that it waits for, ``STUB_UNCONVERGED`` holds the formula of a crystal that does not
converge, ``STUB_KILLED`` that of one whose process is killed. ``STUB_LEDGER`` names a folder for a
line per calculation that came to its end; two of the same crystal at a time are an error.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

from dft2spectra.crystals.identity import identity
from dft2spectra.processes import is_gone
from dft2spectra.records import read_json, write_json

KEPT = ("structure_id", "formula", "spacegroup", "prototype", "parent")
CRYSTAL = ("cell_ang", "symbols", "scaled_positions", "site_labels")
STATUSES = ("moment_status", "isomer_shift_status", "vzz_status", "bhf_status")
EFG = [f"efg_{component}_1e21_v_m2" for component in ("xx", "yy", "zz", "xy", "xz", "yz")]


def site_row(label: str, atoms: list[int], iron: float) -> dict:
    """Parameters of a site in a crystal with this share of iron."""
    moment = round(2.2 * iron + 0.01 * len(atoms), 3)
    return {
        "site": label,
        "element": "Fe",
        "atom_indices": atoms,
        "multiplicity": len(atoms),
        "moment_mub": moment,
        "contact_density_e_per_bohr3": 12626.0 - 2.0 * (1.0 - iron),
        **dict.fromkeys(EFG, 0.0),
        "efg_orbit_1e21_v_m2": [[0.0] * 6 for _ in atoms],
        "vzz_1e21_v_m2": 0.0,
        "eta": 0.0,
        "efg_free_components": 0,
        "bhf_contact_t": -13.0 * moment,
        "bhf_core_t": -11.5 * moment,
        "bhf_valence_t": -1.5 * moment,
        "bhf_dipolar_t": 0.0,
        "bhf_lorentz_t": 0.3 * moment,
        "bhf_orbital_t": 1.0 * moment,
        "orbital_moment_mub": 0.02 * moment,
        "bhf_dipolar_orbit_t": [[0.0] * 6 for _ in atoms],
        "bhf_t": -13.0 * moment,
        **dict.fromkeys(STATUSES, "converged"),
        "reasons": {},
    }


def enter(ledger: Path) -> None:
    """Refuse to compute what another process computes."""
    if "STUB_LEDGER" in os.environ:
        running = ledger.with_suffix(".running")
        if running.exists() and not is_gone(int(running.read_text("utf-8"))):
            raise SystemExit(
                f"{ledger.name} is computed by process {running.read_text('utf-8')} too"
            )
        running.write_text(str(os.getpid()), encoding="utf-8")


def leave(ledger: Path) -> None:
    """Note a calculation that came to its end."""
    if "STUB_LEDGER" in os.environ:
        with open(ledger.with_suffix(".done"), "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        ledger.with_suffix(".running").unlink()


def main() -> None:
    """Write the record of one structure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--structure", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--lock-token", required=True)
    arguments = parser.parse_args()
    structure, settings = read_json(arguments.structure), arguments.settings
    ledger = Path(os.environ.get("STUB_LEDGER", "")) / structure["structure_id"]
    enter(ledger)
    time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
    while "STUB_GATE" in os.environ and not Path(os.environ["STUB_GATE"]).exists():
        time.sleep(0.05)
    if structure["formula"] == os.environ.get("STUB_KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
    iron = structure["symbols"].count("Fe") / len(structure["symbols"])
    sites: dict[str, list[int]] = {}
    for number, (symbol, label) in enumerate(
        zip(structure["symbols"], structure["site_labels"], strict=True)
    ):
        if symbol == "Fe":
            sites.setdefault(label, []).append(number)
    good = structure["formula"] != os.environ.get("STUB_UNCONVERGED")
    status = "converged" if good else "not_converged"
    attempt = {"rung": 0, "changes": {}, "converged": good, "error": None}
    attempt |= {"iterations": 10, "wall_time_s": 1.0}
    record = {
        "record_version": 2,
        **identity(structure, settings),
        **{key: structure[key] for key in KEPT},
        "status": status,
        "reason": None if status == "converged" else "no self-consistency in 60 iterations",
        "settings": settings,
        **{key: structure[key] for key in CRYSTAL},
        "energy_ev": -8.0 * len(structure["symbols"]),
        "total_moment_mub": 2.0 * iron,
        "chosen_start": "ferromagnetic",
        "starts": [{"name": "ferromagnetic", "status": status, "attempts": [attempt]}],
        "sites": [site_row(label, atoms, iron) for label, atoms in sites.items()] if good else [],
        "n_atoms": len(structure["symbols"]),
        "n_kpoints": 10,
        "n_electrons": 8.0,
        "wall_time_s": 1.0,
        "states_within_mev": None,
        "ambiguous_state": False,
        "ionic_without_u": False,
        "versions": {},
    }
    write_json(arguments.output, record)
    with open(arguments.log, "a", encoding="utf-8") as file:
        file.write("stub\n")
    leave(ledger)


if __name__ == "__main__":
    main()
