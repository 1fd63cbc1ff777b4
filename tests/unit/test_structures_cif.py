"""CIF: what it says twice has to agree, and what it does not say is not made up."""

import numpy as np
import pytest
from ase.geometry import cellpar_to_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from dft2spectra.structures import space_groups
from dft2spectra.structures.cif import read_cif
from dft2spectra.structures.cif_elements import element_of_type, read_formulas, read_label
from dft2spectra.structures.cif_sites import orbit_of
from dft2spectra.structures.raw import RawStructure, Rejected


def cif(symmetry: str, atoms: str, cell: str = "5 5 5 90 90 90", more: str = "") -> str:
    values = cell.split()
    keys = ["length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"]
    lines = [f"_cell_{key} {value}" for key, value in zip(keys, values, strict=True)]
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z"]
    loop = "\n".join(["loop_", *(f"_atom_site_{name}" for name in columns), atoms])
    return "\n".join(["data_x", *lines, symmetry, more, loop, ""])


def read(text: str) -> RawStructure | Rejected:
    (result,) = read_cif(text)
    return result


def sentence(text: str) -> str:
    result = read(text)
    assert isinstance(result, Rejected), result
    return result.sentence


def operations(*triplets: str) -> str:
    return "\n".join(["loop_", "_space_group_symop_operation_xyz", *(f"'{t}'" for t in triplets)])


NAME = "_space_group_name_H-M_alt '{}'".format
NUMBER = "_space_group_IT_number {}".format
# Cells that fit every setting of the crystal systems, by the number of the group.
CELLS = (
    (2, "50 60 70 80 95 100"),
    (74, "50 60 70 90 90 90"),
    (142, "50 50 70 90 90 90"),
    (194, "50 50 70 90 90 120"),
    (230, "50 50 50 90 90 90"),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 530))
def test_the_setting_in_a_name_is_the_one_that_is_used(hall_number: int) -> None:
    """An atom in a general position becomes what spglib's database of this setting makes of it."""
    setting = space_groups.settings()[hall_number - 1]
    cell = next(cell for most, cell in CELLS if setting.number <= most)
    if setting.choice == "R":
        cell = "50 50 50 80 80 80"
    if setting.choice in ("1", "2", "H", "R") or setting.choice[:1] in ("1", "2"):
        name = f"{setting.name}:{setting.choice}"
    else:
        name = setting.name
    result = read(
        cif(NAME(name) + "\n" + NUMBER(setting.number), "Fe1 Fe 0.1371 0.2213 0.3947", cell)
    )
    assert isinstance(result, RawStructure), result
    import spglib

    found = spglib.get_symmetry_from_database(hall_number)
    point = np.array([0.1371, 0.2213, 0.3947])
    expected = (found["rotations"] @ point + found["translations"]) % 1.0
    assert len(result.symbols) == len(expected)
    difference = result.scaled_positions[:, None] - expected[None]
    distance = np.linalg.norm(difference - np.rint(difference), axis=2)
    assert distance.min(axis=1).max() < 1e-6


def test_what_is_stated_twice_agrees() -> None:
    fm3m = space_groups.operations_of(space_groups.named("F m -3 m")[0][0])
    listed = [space_groups.triplet(*one) for one in zip(*fm3m, strict=True)]
    atoms = "Fe1 Fe 0 0 0\nO1 O 0.5 0.5 0.5"
    good = cif(NAME("F m -3 m") + "\n" + operations(*listed), atoms, more=NUMBER(225))
    result = read(good)
    assert isinstance(result, RawStructure)
    assert sorted(result.symbols) == ["Fe"] * 4 + ["O"] * 4
    half = [one for one in listed if np.linalg.det(np.eye(3)) and "-z" not in one]
    assert "not a group" in sentence(cif(operations(*half[:-1]), atoms))
    f432 = space_groups.operations_of(space_groups.named("F 4 3 2")[0][0])
    half = [space_groups.triplet(*one) for one in zip(*f432, strict=True)]
    text = cif(NAME("F m -3 m") + "\n" + operations(*half), atoms)
    assert sentence(text) == (
        "the 96 symmetry operations are those of space group 209, not of F m -3 m (225), which the "
        "file states"
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (NUMBER(221), "the file states P m -3 m, and 'F m -3 m' is not that"),
        ("_chemical_formula_sum 'Fe2 O'", "add up to Fe4 O4 in the cell, not to the formula"),
        (
            "_chemical_formula_sum 'Fe O'\n_cell_formula_units_Z 2",
            "the cell holds 4 formula units of Fe1 O1, and _cell_formula_units_Z is 2",
        ),
        ("_exptl_crystal_density_diffrn 7.9", "the density is 3.818 g/cm³ by the atoms"),
        ("_cell_volume 130", "_cell_volume is 130 Å³, but 125.00"),
        ("_symmetry_space_group_name_Hall '-P 4 2 3'", "is not one of F m -3 m"),
        ("_space_group_IT_coordinate_system_code 2", "code '2' does not belong to F m -3 m"),
    ],
)
def test_contradictions(more: str, says: str) -> None:
    text = cif(NAME("F m -3 m"), "Fe1 Fe 0 0 0\nO1 O 0.5 0.5 0.5", more=more)
    assert says in sentence(text)


def test_density_of_a_deuteride() -> None:
    """Mg2FeD6, a = 6.43 Å: 4 (2·24.305 + 55.845 + 6·2.0141) u in 265.85 Å³ are 2.912 g/cm³."""
    atoms = "Mg1 Mg 0.25 0.25 0.25\nFe1 Fe 0 0 0\nD1 D 0.2425 0 0"
    text = cif(NAME("F m -3 m"), atoms, "6.43 6.43 6.43 90 90 90", "{}")
    assert isinstance(read(text.format("_exptl_crystal_density_diffrn 2.91")), RawStructure)
    said = sentence(text.format("_exptl_crystal_density_diffrn 2.5"))
    assert "the density is 2.912 g/cm³ by the atoms" in said


@pytest.mark.parametrize("name", ["221", "P m -3 m (221)", "Pm3m", "'P  M  -3 M'"])
def test_ways_to_name_a_group(name: str) -> None:
    text = cif(f"_symmetry_space_group_name_H-M {name}", "Fe1 Fe 0 0 0\nAl1 Al 0.5 0.5 0.5")
    if "(" in name:
        text = text.replace(name, f"'{name}'")
    result = read(text)
    assert isinstance(result, RawStructure)
    assert result.symbols == ["Fe", "Al"]


@pytest.mark.parametrize(
    "listed",
    [
        ("+x,+y,+z", "+x+1/2,+y+1/2,+z+1/2"),
        ("X, Y, Z", "1/2+X, 1/2+Y, 1/2+Z"),
        ("x,y,z", "x+0.5,y+.5,z+0.5000"),
        ("x,y,z", "x,y,z", "x-1/2,y-1/2,z-1/2"),
    ],
)
def test_ways_to_write_operations(listed: tuple[str, ...]) -> None:
    result = read(cif(operations(*listed), "Fe1 Fe 0 0 0", "2.87 2.87 2.87 90 90 90"))
    assert isinstance(result, RawStructure)
    assert len(result.symbols) == 2


def test_content_of_the_cell_for_a_formula_as_pymatgen_writes_it() -> None:
    more = "_chemical_formula_sum 'Fe4 O4'\n_cell_formula_units_Z 4"
    text = cif(NAME("F m -3 m"), "Fe1 Fe 0 0 0\nO1 O 0.5 0.5 0.5", more=more)
    assert isinstance(read(text), RawStructure)


@pytest.mark.parametrize(
    ("multiplicities", "good"), [("4 4", True), ("48 48", True), ("4 8", False), ("1 1", False)]
)
def test_multiplicities(multiplicities: str, good: bool) -> None:
    """Those of the sites, or the order of the site symmetry (192/4) as SHELXL-97 wrote it."""
    first, second = multiplicities.split()
    text = cif(NAME("F m -3 m"), f"Fe1 Fe 0 0 0 {first}\nO1 O 0.5 0.5 0.5 {second}")
    text = text.replace(
        "_atom_site_fract_z", "_atom_site_fract_z\n_atom_site_symmetry_multiplicity"
    )
    if good:
        assert isinstance(read(text), RawStructure)
    else:
        assert "by its 192 symmetry operations" in sentence(text)


@pytest.mark.parametrize(
    ("symmetry", "cell", "says"),
    [
        ("", "5 5 5 90 90 90", "states no symmetry; write the space group 'P 1'"),
        (NUMBER(62), "5 6 7 90 90 90", "space group 62 has several settings"),
        (NUMBER(14), "5 6 7 90 95 90", "space group 14 has several settings"),
        (NAME("P 4/n m m"), "4 4 5 90 90 90", "space group 129 has two origins"),
        (NAME("F m -3 m"), "5 5 6 90 90 90", "do not leave the cell as it is"),
        (NAME("A2/q"), "5 6 7 90 95 90", "'A2/q' is not a known space group"),
        (NUMBER(231), "5 5 5 90 90 90", "'231' is not the number of a space group"),
        (operations("x,y,z", "-y,x,z"), "4 4 5 90 90 90", "not a group: -x,-y,z is missing"),
        (operations("x,y,z", "-y,x,z", "-x,-y,z", "y,-x,z"), "4 5 5 90 90 90", "do not leave"),
    ],
)
def test_symmetry_that_is_not_said(symmetry: str, cell: str, says: str) -> None:
    assert says in sentence(cif(symmetry, "Fe1 Fe 0.1 0.2 0.3", cell))


def test_axes_of_rhombohedral_groups_are_those_of_the_cell() -> None:
    for cell, number in (("50 50 140 90 90 120", 36), ("50 50 50 60 60 60", 12)):
        result = read(cif(NAME("R -3 m"), "Fe1 Fe 0.11 0.23 0.38", cell))
        assert isinstance(result, RawStructure)
        assert len(result.symbols) == number


def test_few_digits_are_moved_onto_the_special_position() -> None:
    """(1/3, 2/3, 1/4) of P 63/m m c given as 0.33 0.67 0.25: two atoms, not twelve."""
    group = space_groups.operations_of(space_groups.named("P 63/m m c")[0][0])
    cell = np.asarray(cellpar_to_cell([4.0, 4.0, 6.5, 90, 90, 120]))
    orbit = orbit_of(np.array([0.33, 0.67, 0.25]), group, cell)
    assert len(orbit.positions) == 2
    assert np.allclose(sorted(orbit.positions[:, 0]), [1 / 3, 2 / 3])
    # 1/300 of a and -1/300 of b, at 120°: a √3/300
    assert orbit.moved_ang == pytest.approx(4.0 * 3**0.5 / 300)
    general = orbit_of(np.array([0.30, 0.67, 0.1]), group, cell)
    assert len(general.positions) == 24


def test_magnetic_structure_of_its_own_cell() -> None:
    """Collinear order along x that -1 as time reversal turns: atoms of one orbit with two signs."""
    text = cif(
        "",
        "Fe1 Fe 0.25 0 0\nAl1 Al 0 0.5 0.5",
        "5 4 4 90 90 90",
        "loop_\n_space_group_symop_magn_operation.xyz\n'x,y,z,+1'\n'-x,-y,-z,-1'\n"
        "loop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_x\n"
        "_atom_site_moment.crystalaxis_y\n_atom_site_moment.crystalaxis_z\nFe1 2.0(1) 0 0",
    )
    result = read(text)
    assert isinstance(result, RawStructure)
    found = list(zip(result.symbols, result.moments_mub or [], strict=True))
    assert found == [("Fe", 2.0), ("Fe", -2.0), ("Al", 0.0)]
    assert "turned by an operation" in sentence(text.replace("0.25 0 0", "0 0 0"))
    canted = text.replace("Fe1 2.0(1) 0 0", "Fe1 2.0(1) 0 0\nAl1 0 0 1.0").replace(
        "'-x,-y,-z,-1'", "'-x,-y,-z,+1'"
    )
    assert "no common axis" in sentence(canted)
    assert "no operations with time reversal" in sentence(
        text.replace("_magn_operation", "_operation").replace(",+1", "").replace(",-1", "")
    )


@pytest.mark.parametrize(
    ("text", "element"),
    [("Fe", "Fe"), ("FE3+", "Fe"), ("Fe+2", "Fe"), ("57Fe", "Fe"), ("D", "D"), ("o2-", "O")],
)
def test_types(text: str, element: str) -> None:
    assert element_of_type(text) == element


@pytest.mark.parametrize("text", ["Iron", "OH", "O2-H2", "0.8Fe + 0.2Al", "Fe,Al", "Fe/Al", "Qq"])
def test_types_that_are_no_element(text: str) -> None:
    with pytest.raises(Rejected):
        element_of_type(text)


def test_type_in_capitals_against_its_label() -> None:
    assert element_of_type("CO", "Co1") == "Co"
    with pytest.raises(Rejected, match="can be Co, or C and O"):
        element_of_type("CO", "C1")


@pytest.mark.parametrize(
    ("label", "elements", "hides"),
    [
        ("Fe1", ["Fe"], False),
        ("FE1", ["Fe"], False),
        ("FeM1", ["Fe"], False),
        ("Fe(1)", ["Fe"], False),
        ("SiT", ["Si"], False),
        ("FeOH", ["Fe", "F"], False),
        ("CA1", ["Ca", "C"], False),
        ("HO", ["Ho", "H"], False),
        ("Ho1", ["Ho"], False),
        ("Hw", ["H"], False),
        ("NO3", ["No", "N"], False),
        ("OH", ["O"], True),
        ("Oh1", ["O"], True),
        ("OW2", ["O"], True),
        ("O1W", ["O"], True),
        ("O2", ["O"], False),
        ("Wat1", ["O"], True),
        ("H2O", ["O"], True),
        ("D1", ["D"], False),
    ],
)
def test_labels(label: str, elements: list[str], hides: bool) -> None:
    reading = read_label(label)
    assert list(reading.elements) == elements
    assert reading.may_hide_hydrogen is hides


@pytest.mark.parametrize("label", ["M1", "Qq1", "Fx", "Cg1", "X1", "1", "Iron"])
def test_labels_that_are_no_element(label: str) -> None:
    with pytest.raises(Rejected, match="is not an element"):
        read_label(label)


def test_formulas() -> None:
    assert read_formulas("Fe2 O3") == [{"Fe": 2, "O": 3}]
    assert read_formulas("C2 H6 O") == [{"C": 2, "H": 6, "O": 1}]
    assert read_formulas("FE AL2") == [{"Fe": 1, "Al": 2}]
    assert read_formulas("D2 O") == [{"H": 2, "O": 1}]
    assert {"Co": 1.0} in read_formulas("CO")
    assert {"C": 1.0, "O": 1.0} in read_formulas("CO")
    assert read_formulas("Fe Al (x=1)") == [{"Fe": 1, "Al": 1}]
    assert read_formulas("iron aluminide") == []
