"""Prototypes whose volumes are computed: once, before the screening, and not for other strains."""

import json

import numpy as np
import yaml
from campaign import CONFIGS, Campaign

OWN = ("--configfile", str(CONFIGS / "stub.yaml"), "own.yaml")

# Stands for the energies of DFT, with the minimum at 1.05 times the predicted volume.
STUB = """
def relaxed_record(crystal, xc, log):
    from ase.eos import birchmurnaghan

    predicted = abs(np.linalg.det(np.array(crystal["cell_ang"])))
    return lowest_volume(lambda v: birchmurnaghan(v, 0.0, 1.1, 4.0, 1.05 * predicted), predicted)


if __name__ == "__main__":
"""


def configure(campaign: Campaign, **changes) -> None:
    local = {"kind": "files", "path": "data/structures", "names": ["Fe", "FeAl", "FeTi"]}
    prototypes = {"kind": "prototypes", "name": "cscl", "parents": ["B2"], "elements": ["V"]}
    prototypes |= {"n_elements": [2, 2], "relax_volume": True}
    content = {
        "branches": ["mossbauer"],
        "structures": {"sources": [local, prototypes | changes]},
        "calibration": {"sources": [local]},
        "candidates": {"sources": []},
        "mossbauer": {"mixtures": []},
    }
    (campaign.folder / "own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def accepted(campaign: Campaign) -> list[dict]:
    """Accepted decorations and strained copies."""
    folder = campaign.folder / "results" / "stub" / "structures" / "accepted"
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    return [one for one in found if one["provenance"][0]["source"] == "prototypes"]


def test_volumes_are_relaxed_once_and_before_the_screening(fresh):
    module = fresh.library / "dft2spectra" / "crystals" / "equation_of_state.py"
    text = module.read_text("utf-8")
    module.write_text(text.replace('\nif __name__ == "__main__":\n', STUB), encoding="utf-8")
    configure(fresh)
    assert fresh.planned(*OWN)["relax_volumes"] == 1

    assert fresh.planned("plan", *OWN) == {"plan": 1, "screen_predicted": 1}
    shown = fresh.finish("plan", *OWN)
    assert "Volumes of cscl are predicted: relax_volumes computes 1 first, about 0.0" in shown
    assert "prototypes:cscl of B2: decorations × copies = 1 × 1 = 1 structures" in shown
    assert not (fresh.folder / "data" / "retrieved" / "cscl.json").exists()

    fresh.finish("all_structures", *OWN)
    (relaxed,) = accepted(fresh)
    provenance = relaxed["provenance"][0]
    volume = abs(np.linalg.det(relaxed["cell_ang"]))
    assert abs(volume / provenance["predicted_volume_ang3"] - 1.05) < 1e-3

    jobs = fresh.planned(*OWN)
    assert "relax_volumes" not in jobs
    assert jobs["compute_hyperfine"] == 4

    configure(fresh, strains={"tetragonal": [0.03]})
    assert "relax_volumes" not in fresh.planned(*OWN)
    pinned = fresh.folder / "data" / "retrieved" / "cscl.json"
    before = pinned.read_bytes()
    fresh.finish("all_structures", *OWN)
    assert pinned.read_bytes() == before
    assert len({one["parent"] for one in accepted(fresh)}) == 1
    assert len({one["spacegroup"] for one in accepted(fresh)}) == 2

    assert fresh.planned("plan", *OWN) == {"plan": 1}
    configure(fresh, elements=["V", "Cr"], at_most=1)
    assert fresh.run("all_retrieved", *OWN).returncode == 1
    log = fresh.folder / "results" / "stub" / "logs" / "relax_volumes" / "cscl.log"
    assert "at most 1 are allowed" in log.read_text("utf-8")
    assert pinned.read_bytes() == before

    configure(fresh, elements=["V", "Cr"], at_most=2)
    assert fresh.planned("all_retrieved", *OWN) == {"relax_volumes": 1}
    fresh.finish("all_structures", *OWN)
    assert {one["formula"] for one in accepted(fresh)} == {"VFe", "CrFe"}
    scratch = fresh.folder / "results" / "stub" / "relax_volumes" / "cscl"
    assert len(list(scratch.glob("*.record.json"))) == 2  # that of V was taken over
