"""Some 300 damaged copies of good files, in every format: no crash, each accounted for, no crystal
under the id of another.

All are read in one process of their own, since a reader in C could take pytest down with it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.io.jsonio import encode
from pymatgen.core import Composition, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from dft2spectra.structures.files import read_file
from dft2spectra.structures.raw import RawStructure, Reason

BUNDLED = Path(__file__).parents[2] / "data" / "structures"
CRYSTALS = ("Fe3Si", "FeS2-marcasite", "FeNi")
LIMITS = {"max_atoms": 24, "max_volume_ang3_per_atom": 60}
NUMBER = re.compile(rb"-?\d+\.\d+")
BOHR_PER_ANG = 1.8897261

READ = """
import json, sys
from dft2spectra.structures.sources import collect
accepted, rejected = collect([{"kind": "files", "path": sys.argv[1]}], json.loads(sys.argv[2]))
found = [[s["structure_id"], [p["path"] for p in s["provenance"]]] for s in accepted]
print(json.dumps([found, rejected]))
"""


# --- the good files ------------------------------------------------------------------------------


def good_files(folder: Path) -> list[Path]:
    """Every crystal in every format that is read."""
    files = []
    for name in CRYSTALS:
        (raw,) = read_file(str(BUNDLED / f"{name}.yaml"))
        atoms = Atoms(raw.symbols, cell=raw.cell, scaled_positions=raw.scaled_positions, pbc=True)
        structure = Structure(raw.cell, raw.symbols, raw.scaled_positions)
        stem = folder / name
        structure.to(f"{stem}-pymatgen.cif")
        ase.io.write(f"{stem}-ase.cif", atoms)
        ase.io.write(f"{stem}.vasp", atoms, format="vasp", direct=True)
        ase.io.write(f"{stem}.xyz", atoms, format="extxyz")
        ase.io.write(f"{stem}-db.json", atoms)
        Path(f"{stem}-atoms.json").write_text(encode(atoms), encoding="utf-8")
        text = json.dumps(structure.as_dict(), indent=1)
        Path(f"{stem}-pymatgen.json").write_text(text, encoding="utf-8")
        Path(f"{stem}.yaml").write_bytes((BUNDLED / f"{name}.yaml").read_bytes())
        files += sorted(folder.glob(f"{name}[-.]*"))
    with ase.db.connect(folder / "FeNi.db") as database:
        database.write(atoms)
    return [*files, folder / "FeNi.db"]


# --- the damage ----------------------------------------------------------------------------------


def truncated(content, rng):
    return content[: int(rng.integers(1, len(content) - 1))]


def lines_shuffled(content, rng):
    lines = content.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)


def lines_swapped(content, rng):
    lines = content.split(b"\n")
    i, j = rng.choice(len(lines), 2, replace=False) if len(lines) > 1 else (0, 0)
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def line_twice(content, rng):
    lines = content.split(b"\n")
    place = int(rng.integers(len(lines)))
    return b"\n".join([*lines[:place], lines[place], *lines[place:]])


def line_lost(content, rng):
    lines = content.split(b"\n")
    del lines[int(rng.integers(len(lines)))]
    return b"\n".join(lines)


def key_twice(content, rng):
    """A JSON or YAML key again with another value; in other formats a line with another number."""
    keys = list(re.finditer(rb'("?[A-Za-z_]+"?): ?([-\d.]+)', content))
    if not keys:
        return line_twice(content, rng)
    key = keys[int(rng.integers(len(keys)))]
    again = key[1] + b": 3.14, " + key[0]
    return content[: key.start()] + again + content[key.end() :]


def _number_as(content, rng, text):
    numbers = list(NUMBER.finditer(content)) or list(re.finditer(rb"\d", content))
    number = numbers[int(rng.integers(len(numbers)))]
    return content[: number.start()] + text + content[number.end() :]


def not_a_number(content, rng):
    return _number_as(content, rng, rng.choice([b"nan", b"NaN", b".nan"]))


def infinite(content, rng):
    return _number_as(content, rng, rng.choice([b"inf", b"-Infinity", b"1e999"]))


def huge(content, rng):
    return _number_as(content, rng, rng.choice([b"1e300", b"-123456789.0", b"9" * 400]))


def comma(content, rng):
    return _number_as(content, rng, b"1,25")


def digit_changed(content, rng):
    digits = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    place = int(rng.choice(digits))
    other = (content[place] - 48 + int(rng.integers(1, 10))) % 10 + 48
    return content[:place] + bytes([other]) + content[place + 1 :]


def in_bohr(content, rng):
    return NUMBER.sub(lambda match: b"%.6f" % (float(match[0]) * BOHR_PER_ANG), content)


def stretched(content, rng):
    """Lengths of the cell (and in files with Cartesian coordinates some of these) by 3 %."""
    return NUMBER.sub(
        lambda m: b"%.6f" % (float(m[0]) * 1.03) if 2.0 < float(m[0]) < 20.0 else m[0], content
    )


def another_element(content, rng):
    return content.replace(b"Fe", rng.choice([b"Co", b"Fx", b"fe", b"X"]), int(rng.integers(1, 4)))


def utf16(content, rng):
    return content.decode("utf-8").encode("utf-16")


def latin1(content, rng):
    place = int(rng.integers(len(content)))
    return content[:place] + b"\xe9" + content[place:]


def with_nul(content, rng):
    place = int(rng.integers(len(content)))
    return content[:place] + b"\0" + content[place:]


def empty(content, rng):
    return b""


def windows(content, rng):
    """Byte order mark and carriage returns, as an editor adds them: no damage."""
    return b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")


def bytes_changed(content, rng):
    content = bytearray(content)
    for place in rng.integers(0, len(content), 8):
        content[place] = int(rng.integers(32, 127))
    return bytes(content)


TEXT_DAMAGE = (
    *(truncated, lines_shuffled, lines_swapped, line_twice, line_lost, key_twice, not_a_number),
    *(
        infinite,
        huge,
        comma,
        digit_changed,
        in_bohr,
        stretched,
        another_element,
        utf16,
        latin1,
        with_nul,
    ),
    *(empty, windows, bytes_changed),
)
BINARY_DAMAGE = (truncated, bytes_changed, with_nul, empty)
ALWAYS_REJECTED = {utf16: {"unreadable"}, with_nul: {"unreadable"}, empty: {"empty_file"}}


# --- what comes of it ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Original and damage of every damaged file, id by file, reason by file."""
    good, folder = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("damaged")
    rng = np.random.default_rng(20261121)
    made = {}
    for original in good_files(good):
        content = original.read_bytes()
        (folder / f"good-{original.name}").write_bytes(content)
        for damage in BINARY_DAMAGE if original.suffix == ".db" else TEXT_DAMAGE:
            path = folder / f"{damage.__name__}-{original.name}"
            path.write_bytes(damage(content, rng))
            made[path.name] = (original, damage)
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", READ, str(folder), json.dumps(LIMITS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    accepted, rejected = json.loads(process.stdout)
    ids = {Path(path).name: name for name, paths in accepted for path in paths}
    reasons = {}
    for row in rejected:
        reasons.setdefault(Path(row["origin"].partition("#")[0]).name, row["reason"])
    return folder, made, ids, reasons


def test_every_file_is_accounted_for(outcome):
    folder, made, ids, reasons = outcome
    assert len(made) >= 300
    assert ids.keys() | reasons.keys() == {path.name for path in folder.iterdir()}
    codes = {reason.partition(":")[0] for reason in reasons.values()}
    assert codes <= set(Reason)
    assert all(len(reason.partition(": ")[2]) > 10 for reason in reasons.values())
    # A name in both lists is a duplicate, whose provenance the accepted crystal carries.
    assert all(reasons[name].startswith("duplicate_of") for name in ids.keys() & reasons.keys())
    assert {"unreadable", "empty_file", "not_finite", "duplicate_of"} <= codes


def test_damage_that_leaves_no_doubt_is_rejected(outcome):
    _, made, ids, reasons = outcome
    for name, (_, damage) in made.items():
        if damage in ALWAYS_REJECTED:
            assert name not in ids, name
            assert reasons[name].partition(":")[0] in ALWAYS_REJECTED[damage], name


def test_an_editor_that_changes_line_ends_does_no_damage(outcome):
    _, made, ids, _ = outcome
    for name, (original, damage) in made.items():
        if damage is windows:
            assert ids.get(name) == ids[f"good-{original.name}"], name


def test_all_formats_of_a_crystal_have_one_id(outcome):
    _, made, ids, _ = outcome
    for crystal in CRYSTALS:
        originals = {path.name for path, _ in made.values() if path.name.startswith(crystal)}
        assert len(originals) >= 8
        assert len({ids[f"good-{name}"] for name in originals}) == 1


def test_no_crystal_stands_under_the_id_of_another(outcome):
    """Under the id of the original only what is the original by a comparison of its own; under
    another id its own formula.
    """
    folder, made, ids, _ = outcome
    matcher = StructureMatcher(ltol=0.01, stol=0.03, angle_tol=0.5, scale=False)
    same = other = 0
    for name, (original, _) in made.items():
        if name not in ids:
            continue
        raw = next(r for r in read_file(str(folder / name)) if isinstance(r, RawStructure))
        read = Structure(raw.cell, raw.symbols, raw.scaled_positions)
        formula = Composition(ids[name].split("-")[0]).reduced_composition
        assert read.composition.reduced_composition == formula, name
        if ids[name] == ids[f"good-{original.name}"]:
            (raw,) = read_file(str(original))
            reference = Structure(raw.cell, raw.symbols, raw.scaled_positions)
            assert abs(read.volume / len(read) / (reference.volume / len(reference)) - 1) < 0.02
            assert matcher.fit(read, reference), name
            same += 1
        else:
            other += 1
    assert same > 30  # the test has something to judge on both sides
    assert other > 10
