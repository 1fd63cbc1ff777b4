"""Bombs end their child and nothing else: within seconds, in bounded memory, with a sentence."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dft2spectra import foreign
from dft2spectra.structures.files import IN_CHILD, read_file
from dft2spectra.structures.raw import Rejected
from dft2spectra.terminal import harmless

IRON = "iron\n1.0\n2.866 0 0\n0 2.866 0\n0 0 2.866\nFe\n2\nDirect\n0 0 0\n0.5 0.5 0.5\n"


def array_of(number: int) -> str:
    return f'{{"__ndarray__": [[{number}], "float64", [0]]}}'


def aliases(depth: int) -> str:
    lines = ["name: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    parts = [f"&x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join([*lines, f"formula: [{', '.join(parts)}]", f"spacegroup: *x{depth - 1}\n"])


def many_atoms(number: int) -> str:
    rows = "".join(
        f"Fe {3 * (i % 30)} {3 * (i // 30 % 30)} {3 * (i // 900)}\n" for i in range(number)
    )
    cell = 'Lattice="90 0 0 0 90 0 0 0 90" Properties=species:S:1:pos:R:3 pbc="T T T"'
    return f"{number}\n{cell}\n{rows}"


BOMBS = {
    "columns.xyz": "1\nProperties=x:R:20000000:species:S:1:pos:R:3\nFe 0 0 0\n",
    "announced.xyz": "999999999\n\n",
    "many_atoms.xyz": many_atoms(20_000),
    "long_word.xyz": "1\n" + "a" * 10_000_000 + "\nFe 0 0 0\n",
    "aliases.yaml": aliases(9),
    "comment.cif": "#" + "x" * 51_000_000,
    "blank_lines.cif": "data_x\n_atom_site_label Fe\n" + "\n" * 20_000_000,
    "semicolons.cif": ";\n" * 10_000_000 + "data_x\n",
    "blocks.cif": "data_\n" * 1_000_000,
    "keys_twice.json": "{" + ",".join(f'"{i % 200_000}":1' for i in range(400_000)) + "}",
    "nested.json": "[" * 5_000_000,
    "array.json": (
        f'{{"__ase_objtype__": "atoms", "cell": {array_of(9)}, "numbers": {array_of(10**9)}, '
        f'"positions": {array_of(10**9)}}}'
    ),
}
MOST_S, MOST_BYTES = 5.0, 500_000_000


# In a process of its own: the memory of a child begins with that of the process that starts it.
MEASURED = """
import resource, sys
from dft2spectra.structures.files import read_files
for path, (crystal,) in read_files(sys.argv[1:]):
    print(type(crystal).__name__)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(BOMBS[name], encoding="utf-8")
    (tmp_path / "iron.vasp").write_text(IRON, encoding="utf-8")
    paths = [str(tmp_path / name), str(tmp_path / "iron.vasp")]
    command = [sys.executable, "-c", MEASURED, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bomb, iron, numbers = done.stdout.splitlines()
    # The first of these is a crystal, and the screening says that the other has too many atoms.
    assert bomb == "Rejected" or name in ("long_word.xyz", "many_atoms.xyz")
    assert iron == "RawStructure"
    # Processor time and not the clock's, which other tests on this machine would lengthen.
    seconds, peak_bytes = map(float, numbers.split())
    assert seconds < MOST_S
    assert peak_bytes < MOST_BYTES


def test_memory_and_time_have_sentences(tmp_path: Path) -> None:
    (tmp_path / "array.json").write_text(BOMBS["array.json"], encoding="utf-8")
    (rejection,) = read_file(str(tmp_path / "array.json"))
    assert isinstance(rejection, Rejected)
    assert rejection.sentence == (
        "reading it takes more than 320 MB of memory; nothing more of it is read"
    )
    (tmp_path / "comment.cif").write_text(BOMBS["comment.cif"], encoding="utf-8")
    (rejection,) = read_file(str(tmp_path / "comment.cif"))
    assert isinstance(rejection, Rejected)
    assert rejection.sentence == "the file has 51 MB, at most 50 are read; split it"


SLOW = """
import os, time, ctypes

def read(path):
    name = os.path.basename(path)
    yield len(name)
    if name == "loop":
        while True:
            pass
    if name == "crash":
        ctypes.string_at(0)
    if name == "exit":
        os._exit(3)
    if name == "print":
        os.write(1, b"noise")
        print("noise", flush=True)
    if name == "file":
        with open(path, "wb") as handle:
            handle.write(bytes(5_000_000))
"""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "slow_reader.py").write_text(SLOW, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with foreign.Reader("slow_reader:read") as made:
        yield made


def test_order_and_a_new_child_after_each_end(reader: foreign.Reader) -> None:
    paths = [f"/{name}" for name in ("a", "loop", "bb", "crash", "ccc", "exit", "print", "dddd")]
    found = [(path, item) for path, item in reader.read(paths) if item is not None]
    assert [path for path, item in found if isinstance(item, int)] == paths
    ends = {path: str(item) for path, item in found if isinstance(item, foreign.TooMuchError)}
    assert ends == {
        "/loop": "reading it takes more than 3 s of processor time",
        "/crash": "its reader was ended by SIGSEGV",
        "/exit": "its reader ended with code 3",
    }


def test_a_silent_child_is_ended(reader: foreign.Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file server that hangs: stopped, the child uses no processor time."""
    items = reader.read(["/a", "/bb"])
    assert next(items) == ("/a", 1)
    list(items)
    monkeypatch.setattr(foreign, "WALL_S", 0.2)
    child = reader._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()
    ((_, error), (_, end)) = list(reader.read(["/ccc"]))
    assert str(error) == "reading it did nothing for 0 s"
    assert end is None
    assert time.monotonic() - began < 5.0


def test_a_child_that_works_is_waited_for(
    reader: foreign.Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an overloaded machine a good file takes long; here its time runs out by the processor."""
    list(reader.read(["/a"]))
    monkeypatch.setattr(foreign, "WALL_S", 1.0)
    items = [item for _, item in reader.read(["/loop"]) if item is not None]
    assert [str(item) for item in items] == [
        "4",
        "reading it takes more than 3 s of processor time",
    ]


def test_a_child_cannot_fill_the_disk(reader: foreign.Reader, tmp_path: Path) -> None:
    """Its files are limited too; the reader's own mistakes come as the end of the child."""
    *_, (_, error), (_, _) = reader.read([str(tmp_path / "file")])
    assert isinstance(error, foreign.TooMuchError)
    assert (tmp_path / "file").stat().st_size <= foreign.MAX_WRITTEN_BYTES


def test_only_known_classes_come_out_of_a_child() -> None:
    import io

    bad = pickle.dumps((os.getpid,))
    with pytest.raises(pickle.UnpicklingError, match="is not expected"):
        foreign._Unpickler(io.BytesIO(bad)).load()


def test_a_reader_that_does_not_start_says_why() -> None:
    with foreign.Reader("no_such_module:read") as made, pytest.raises(RuntimeError) as caught:
        list(made.read(["/a"]))
    assert "No module named 'no_such_module'" in str(caught.value)


def test_the_child_ends_with_its_reader(tmp_path: Path) -> None:
    (tmp_path / "iron.vasp").write_text(IRON, encoding="utf-8")
    with foreign.Reader(IN_CHILD) as made:
        list(made.read([str(tmp_path / "iron.vasp")]))
        assert made._child
        pid = made._child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of other kernels differ")
def test_more_paths_than_a_pipe_holds(reader: foreign.Reader) -> None:
    paths = ["/" + "x" * 250 for _ in range(1000)]
    assert sum(item is not None for _, item in reader.read(paths)) == 1000


def test_characters_that_act_become_their_codes() -> None:
    assert harmless("a\x1b[31mb\rc\u202ed\x9b\udc80") == r"a\x1b[31mb\rc\u202ed\x9b\udc80"
    assert harmless("Müller, Å, 57Fe") == "Müller, Å, 57Fe"
    assert harmless("x" * 50, 10) == "xxxxxxx..."
