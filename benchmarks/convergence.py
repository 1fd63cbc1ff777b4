"""Hyperfine parameters over cutoff and k-mesh: docs/convergence.csv.

    python benchmarks/convergence.py [folder for records]

α-FeSi2 for the field gradient, α-Fe for the contact quantities. Records already there are kept.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
from compare_all_electron import SETTINGS, structure_file

from dft2spectra.crystals.gpaw_runner import compute_hyperfine
from dft2spectra.crystals.identity import record_is_current
from dft2spectra.records import read_json, write_csv

CUTOFFS_EV = (300, 400, 500)
KPOINT_DENSITIES = (2.5, 3.5, 5.0, 7.0)
BASE = (400, 3.5)


def main(folder: Path) -> None:
    """Run the cross of cutoffs and meshes through the base point, write the table."""
    compounds = {c["compound"]: c for c in read_json("data/reference/elk.json")["compounds"]}
    cross = [(e, BASE[1]) for e in CUTOFFS_EV] + [(BASE[0], k) for k in KPOINT_DENSITIES]
    rows = []
    for name in ("bcc Fe (A2)", "alpha-FeSi2"):
        structure = structure_file(compounds[name], folder)
        for cutoff, density in sorted(set(cross)):
            settings = {**SETTINGS, "cutoff_ev": cutoff, "kpoint_density_ang": density}
            settings["smearing_ev"] = 0.1
            output = folder / f"{name.split()[0]}-{cutoff}-{density}.json"
            old = read_json(output) if output.exists() else {}
            if not record_is_current(old, read_json(structure), settings):
                compute_hyperfine(structure, settings, output, output.with_suffix(".log"))
            record = read_json(output)
            site = record["sites"][0]
            rows.append(
                {
                    "compound": name,
                    "cutoff_ev": cutoff,
                    "kpoint_density_ang": density,
                    "n_kpoints": record["n_kpoints"],
                    "moment_mub": site["moment_mub"],
                    "contact_density_e_per_bohr3": site["contact_density_e_per_bohr3"],
                    "bhf_t": site["bhf_t"],
                    "vzz_1e21_v_m2": site["vzz_1e21_v_m2"],
                    "wall_time_s": record["wall_time_s"],
                }
            )
    table = pd.DataFrame(rows)
    write_csv("docs/convergence.csv", table.round(4))
    print(table.round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/convergence"))
