"""CIF: gemmi reads the grammar; what a file means, and whether it agrees with itself, is read here.

A CIF says most things twice: the group by name, number and operations, the atoms by rows,
multiplicities, formula, Z and density. What it says has to agree, else the file is refused with
both values; a guess that changes the crystal is never made. pymatgen's parser was used before and
left: it repairs many files by guessing, and its time grows with the square of some of them.
"""

from collections.abc import Iterator

import numpy as np

from dft2spectra.structures import cif_agreement, cif_magnetic
from dft2spectra.structures.cif_atoms import Atom, crystal_atoms
from dft2spectra.structures.cif_blocks import Block, split_blocks
from dft2spectra.structures.cif_elements import ISOTOPES, plain
from dft2spectra.structures.cif_sites import NOTED_ANG, Orbit, orbit_of
from dft2spectra.structures.cif_symmetry import Found, Stated, symmetry_of
from dft2spectra.structures.raw import RawStructure, Reason, Rejected, one_line
from dft2spectra.terminal import harmless

# Asymmetric atoms times symmetry operations beyond which a file is not expanded.
MAX_EXPANDED_SITES = 20_000
TRIPLETS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
NAMES = (
    *("_symmetry_space_group_name_h-m", "_space_group_name_h-m_alt", "_space_group_name_h-m_full"),
    *("_space_group_name_h-m", "_symmetry_space_group_name_h-m_full"),
)
HALLS = ("_symmetry_space_group_name_hall", "_space_group_name_hall")
NUMBERS = ("_symmetry_int_tables_number", "_space_group_it_number")
CODE = "_space_group_it_coordinate_system_code"
MAGNETIC = "_space_group_symop_magn_operation_xyz"
CENTRINGS = "_space_group_symop_magn_centering_xyz"
MOMENT = "_atom_site_moment_"
# Structures that no cell of this kind holds.
MODULATED = ("_cell_modulation_dimension", "_atom_site_moment_fourier_atom_site_label")


def read_cif(text: str) -> Iterator[RawStructure | Rejected]:
    """One crystal, or the reason against it, per data block that lists atoms.

    Raises
    ------
    Rejected
        No block lists atoms.
    """
    number = 0
    for block in split_blocks(text):
        if isinstance(block, Block) and not block.lists_atoms():
            continue
        number += 1
        try:
            yield block if isinstance(block, Rejected) else _read_block(block)
        except Rejected as rejection:
            yield rejection
        except MemoryError:
            raise
        except Exception as error:  # numerical trouble that no guard foresaw
            yield Rejected(Reason.UNREADABLE, one_line(error))
    if not number:
        raise Rejected(Reason.UNREADABLE, "the CIF lists no atoms (no _atom_site_ entries)")


def _read_block(block: Block) -> RawStructure:
    cell = _cell(block)
    for tag in MODULATED:
        if block.text(tag) not in ("", "0"):
            raise Rejected(Reason.UNREADABLE, f"a modulated structure ({tag})")
    atoms = crystal_atoms(block, cell)
    group, found = _symmetry(block, cell)
    n_operations = len(found.operations.rotations)
    if len(atoms) * n_operations > MAX_EXPANDED_SITES:
        raise Rejected(
            Reason.TOO_MANY_ATOMS, f"{len(atoms)} sites times {n_operations} symmetry operations"
        )
    orbits = [orbit_of(atom.point, found.operations, cell) for atom in atoms]
    formulas = cif_agreement.formulas(block)
    elements = cif_agreement.elements(atoms, orbits, formulas)
    kept, notes = cif_agreement.full_sites(atoms, elements, orbits, cell)
    cif_agreement.check_multiplicities(atoms, orbits, n_operations)
    cif_agreement.check_volume(block, abs(float(np.linalg.det(cell))))
    atoms, orbits = [atoms[i] for i in kept], [orbits[i] for i in kept]
    symbols = [elements[i] for i in kept]
    cif_agreement.check_formula(block, formulas, symbols, [len(o.positions) for o in orbits], cell)
    cif_agreement.check_origin(found, atoms, symbols, orbits, cell)
    return RawStructure(
        cell=cell,
        symbols=[plain(s) for s, orbit in zip(symbols, orbits, strict=True) for _ in orbit.makers],
        scaled_positions=np.concatenate([orbit.positions for orbit in orbits]),
        labels=[a.label for a, orbit in zip(atoms, orbits, strict=True) for _ in orbit.makers],
        moments_mub=_moments(block, atoms, orbits, group, cell),
        keeps_order=group is not None,
        citation=_citation(block),
        notes=[*([found.note] if found.note else []), *notes, *_remarks(atoms, symbols, orbits)],
    )


def _cell(block: Block) -> np.ndarray:
    """(3, 3) lattice vectors as rows, Å, a along x and b in the plane of x and y."""
    from ase.geometry import cellpar_to_cell

    lengths = [f"_cell_length_{axis}" for axis in "abc"]
    angles = [f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    if not any(block.values(key) for key in lengths):
        raise Rejected(Reason.NOT_PERIODIC, "the file gives no cell (_cell_length_a is missing)")
    values = []
    for key in lengths + angles:
        if not block.text(key):
            raise Rejected(Reason.UNREADABLE, f"{key} is missing")
        number = block.number(key)
        shown = harmless(block.text(key), 40)
        if key in lengths and number <= 0.0:
            raise Rejected(Reason.NOT_PERIODIC, f"{key} is {shown}: the cell has no volume")
        if key in lengths and number > 1e4:
            raise Rejected(Reason.HUGE_CELL, f"{key} is {shown} Å")
        if key in angles and not 0.0 < number < 180.0:
            raise Rejected(Reason.NOT_PERIODIC, f"{key} is {shown}, not between 0 and 180°")
        values.append(number)
    cosines = np.cos(np.radians(values[3:]))
    if 1.0 + 2.0 * cosines.prod() - (cosines**2).sum() < 1e-6:
        raise Rejected(Reason.NOT_PERIODIC, "the cell has no volume: its angles do not go together")
    return np.asarray(cellpar_to_cell(values))


def _symmetry(
    block: Block, cell: np.ndarray
) -> tuple[cif_magnetic.MagneticOperations | None, Found]:
    """The operations in force, of a magnetic structure with their time reversals."""
    triplets = [one for tag in TRIPLETS for one in block.values(tag) if one not in (".", "?")]
    names = block.texts(NAMES)
    stated = Stated(
        triplets=triplets,
        names=[name for name in names if not name.isdigit()],
        halls=block.texts(HALLS),
        numbers=[*block.texts(NUMBERS), *filter(str.isdigit, names)],
        code=block.text(CODE),
    )
    listed = block.values(MAGNETIC)
    if listed:
        group = cif_magnetic.magnetic_operations(listed, block.values(CENTRINGS))
        # Names and lists beside it are those of the crystal without moments, or of its parent.
        return group, symmetry_of(Stated(triplets=_as_triplets(group)), cell)
    if any(map(_is_moment, block.values(f"{MOMENT}label"))):
        found = symmetry_of(stated, cell)
        if len(found.operations.rotations) > 1:
            raise Rejected(
                Reason.UNREADABLE,
                f"magnetic moments, but no operations with time reversal ({MAGNETIC})",
            )
        return cif_magnetic.MagneticOperations(found.operations, np.array([1])), found
    return None, symmetry_of(stated, cell)


def _as_triplets(group: cif_magnetic.MagneticOperations) -> list[str]:
    from dft2spectra.structures.space_groups import triplet

    return [triplet(*operation) for operation in zip(*group.operations, strict=True)]


def _is_moment(text: str) -> bool:
    return text not in (".", "?", "")


def _moments(
    block: Block,
    atoms: list[Atom],
    orbits: list[Orbit],
    group: cif_magnetic.MagneticOperations | None,
    cell: np.ndarray,
) -> list[float | None] | None:
    labels = block.values(f"{MOMENT}label")
    if group is None or not labels:
        return None
    tags = [f"{MOMENT}crystalaxis_{axis}" for axis in "xyz"]
    columns = [block.numbers(tag) for tag in tags]
    if any(len(column) != len(labels) for column in columns):
        raise Rejected(
            Reason.UNREADABLE, f"magnetic moments without their components ({tags[0]} and so on)"
        )
    listed = {label: np.array(each) for label, *each in zip(labels, *columns, strict=True)}
    unknown = sorted(set(listed) - {atom.label for atom in atoms})
    if unknown:
        raise Rejected(
            Reason.UNREADABLE,
            f"a magnetic moment of '{harmless(unknown[0], 40)}', which is no atom",
        )
    moments = np.array([listed.get(atom.label, np.zeros(3)) for atom in atoms])
    return cif_magnetic.moments_of(orbits, moments, group, cell)


def _remarks(atoms: list[Atom], symbols: list[str], orbits: list[Orbit]) -> list[str]:
    notes = [
        f"{harmless(atom.label, 40)} was moved by {orbit.moved_ang:.3f} Å onto its special position"
        for atom, orbit in zip(atoms, orbits, strict=True)
        if orbit.moved_ang > NOTED_ANG
    ]
    heavy = sorted(set(symbols) & ISOTOPES.keys())
    return notes + [f"{symbol} is read as hydrogen" for symbol in heavy]


def _citation(block: Block) -> str | None:
    """DOI, or journal and year, as far as the file gives them."""
    doi = block.text("_journal_paper_doi") or block.text("_citation_doi")
    if doi:
        return harmless("doi:" + doi, 200)
    keys = ("_journal_name_full", "_journal_volume", "_journal_page_first", "_journal_year")
    return harmless(" ".join(filter(None, map(block.text, keys))), 200) or None
