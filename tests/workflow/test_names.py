"""Names that a shell would take apart reach the DFT job whole."""

import json
import os

import pandas as pd
import pytest
import yaml
from campaign import CONFIGS, Campaign

NAME = 'a crystal\'s "form" ($1; 100 %).cif'

# The brucite structure with rounded numbers.
HYDROXIDE = """data_hydroxide
_symmetry_space_group_name_H-M 'P -3 m 1'
_symmetry_Int_Tables_number 164
_cell_length_a 3.26
_cell_length_b 3.26
_cell_length_c 4.60
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Fe1 Fe 0 0 0
O1 O 0.3333333 0.6666667 0.22
H1 H 0.3333333 0.6666667 0.43
"""


def test_file_with_quotes_and_blanks(fresh: Campaign) -> None:
    (fresh.folder / NAME).write_text(HYDROXIDE, encoding="utf-8")
    sources = [{"kind": "files", "path": NAME}]
    own = fresh.folder / "own.json"
    own.write_text(json.dumps({"structures": {"sources": sources}, "mossbauer": {"mixtures": []}}))
    fresh.finish("all_hyperfine", "--configfile", str(own))
    (record,) = fresh.folder.glob("results/*/hyperfine/FeH2O2-164-*.json")
    crystal = record.parents[1] / "structures" / "crystals" / record.name
    assert json.loads(crystal.read_text(encoding="utf-8"))["name"] == NAME.removesuffix(".cif")


def test_link_that_leads_nowhere(copied: Campaign) -> None:
    """Rejected with a reason as in every campaign, and it keeps no job from running."""
    (copied.folder / "data" / "structures" / "lost.cif").symlink_to("nowhere.cif")
    settings = yaml.safe_load((CONFIGS / copied.config).read_text("utf-8"))
    lost = {"kind": "files", "path": "data/structures/lost.cif"}
    settings["structures"]["sources"].append(lost)
    own = copied.folder / "own.json"
    own.write_text(json.dumps(settings))
    arguments = ("all_structures", "--configfile", str(own))
    assert copied.planned(*arguments)["screen_structures"] == 1
    copied.finish(*arguments)
    rejected = pd.read_csv(copied.folder / "results" / "stub" / "structures" / "rejected.csv")
    (reason,) = rejected.reason[rejected.origin.str.endswith("lost.cif")]
    assert "a broken link" in reason
    assert copied.planned(*arguments) == {}


@pytest.mark.parametrize("name", [b"a {x} b.vasp", b"f\xfcr.vasp"], ids=["braces", "latin-1"])
def test_name_that_cannot_be_an_input(planning: Campaign, name: bytes) -> None:
    folder = planning.folder / "own"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/" + name, "wb"):
        pass
    own = planning.folder / "own.json"
    own.write_text(json.dumps({"structures": {"sources": [{"kind": "files", "path": "own"}]}}))
    done = planning.run("--dry-run", "--configfile", str(own))
    assert done.returncode != 0
    assert ascii(os.fsdecode(b"own/" + name)) + ": rename this file" in done.stdout
    assert "Traceback" not in done.stdout
