"""Names that a shell would take apart reach the DFT job whole."""

import json

from campaign import Campaign

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
