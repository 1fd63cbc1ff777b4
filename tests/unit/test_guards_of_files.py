"""Guards of files that a test of behaviour does not miss when they are gone: each is tested here.

Of each, a copy of the code without it passed the tests once.
"""

import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from spring_molecules import SECTION, Springs, spring_water, water

from dft2spectra import locks, processes, records
from dft2spectra.density.kinds import read_model
from dft2spectra.density.model import ModelError
from dft2spectra.dynamics import integration
from dft2spectra.dynamics.trajectory import run_trajectory
from dft2spectra.locks import Lock, LockLostError, Owner, lock_path, output_lock
from dft2spectra.molecules import equilibrium, labels
from dft2spectra.records import kept, kept_path, whole_file

SETTINGS = {"xc": "PBE", "basis": "sto-3g", "grid_level": 0}


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_model_does_not_run_what_is_pickled_in_it(tmp_path: Path) -> None:
    path, trap = tmp_path / "model.npz", tmp_path / "trap"
    np.savez(path, card=np.array(Trap(trap), dtype=object), coefficients=np.zeros(1))
    with pytest.raises(ModelError, match="is no readable density model"):
        read_model(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))  # the trap works
    assert trap.exists()


@pytest.mark.skipif(not Path("/proc/self/ns/pid").is_symlink(), reason="no /proc")
def test_place_tells_the_last_start_of_the_host_and_the_namespace() -> None:
    processes.place.cache_clear()
    words = processes.place().split()
    assert words[1] == Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    assert words[2] == os.readlink("/proc/self/ns/pid")


@pytest.mark.parametrize("what", ["boot_id", "namespace"])
def test_same_number_after_a_restart_or_in_another_container(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock of this very process number is not of this place, so it does not count as ours."""
    here = processes.place().split()
    assert len(here) == 3
    here[1 if what == "boot_id" else 2] = "another"
    path = lock_path(tmp_path / "output")
    with output_lock(tmp_path / "output") as lock:
        owner = lock.owner
    other = Owner(**{**owner.__dict__, "place": " ".join(here), "token": "abc"})
    assert locks._create(path, other)
    monkeypatch.setattr(locks, "STALE_S", 0.3)
    said: list[str] = []
    with output_lock(tmp_path / "output", said.append) as lock:
        assert lock.owner.token != "abc"
    assert len(said) == 1  # waited for as for a lock from elsewhere, not refused as our own
    assert "waiting for process" in said[0]


def test_touch_leaves_the_lock_of_another_alone(tmp_path: Path) -> None:
    path = tmp_path / ".output.lock"
    assert locks._create(path, Owner(token="theirs"))
    os.utime(path, (1.0, 1.0))
    Lock(path, Owner(token="mine")).touch()
    assert path.stat().st_mtime == 1.0
    Lock(path, Owner(token="theirs")).touch()
    assert path.stat().st_mtime > 1.0


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_lock_that_cannot_be_written_is_not_left_empty(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(locks.os, call, full)
        with pytest.raises(OSError, match="No space left"), output_lock(tmp_path / "output"):
            pass
    assert not lock_path(tmp_path / "output").exists()


def test_a_step_is_not_recorded_under_a_lost_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ase import Atoms

    class Lost:
        def check(self) -> None:
            raise LockLostError("taken over")

    molecule = {"name": "h2", "symbols": ["H", "H"], "charge": 0}
    molecule |= {"positions_ang": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]}
    record = tmp_path / "record.json"
    calculator = equilibrium._RecordedKohnSham(
        molecule, SETTINGS, record, Lost(), lambda line: None
    )
    step = {"positions_ang": molecule["positions_ang"], "energy_ev": 0.0}
    step["forces_ev_ang"] = [[0.0] * 3] * 2
    monkeypatch.setattr(calculator, "_compute", lambda positions: step)
    with pytest.raises(LockLostError):
        calculator.calculate(Atoms("H2", positions=molecule["positions_ang"]))
    assert not record.exists()


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        done.append(f"replace {Path(source).name}")
        replace(source, target)

    monkeypatch.setattr(records.os, "fsync", synced)
    monkeypatch.setattr(records.os, "replace", replaced)
    if sys.platform != "linux":
        pytest.skip("no /proc")
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    assert done == [f"fsync {temporary.name}", f"replace {temporary.name}"]


def test_a_copy_that_breaks_off_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no hard links, a kept result is a copy, whole or not there."""

    def no_link(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    def breaks_off(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:3])
        raise OSError(5, "Input/output error")

    path = tmp_path / "result.npz"
    with kept(path):
        path.write_bytes(b"whole result")
    path.unlink()
    monkeypatch.setattr(records.os, "link", no_link)
    with monkeypatch.context() as broken:
        broken.setattr(shutil, "copyfile", breaks_off)
        with pytest.raises(OSError, match="Input/output"), kept(path):
            pass
    assert not path.exists()
    assert kept_path(path).read_bytes() == b"whole result"
    with kept(path):
        assert path.read_bytes() == b"whole result"


class LostAfter:
    """A lock that another process takes over after so many looks at it."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise LockLostError("taken over")


@contextmanager
def lost_after(looks: int) -> Iterator[LostAfter]:
    yield LostAfter(looks)


@pytest.mark.parametrize("looks", [0, 1])
def test_no_label_is_written_under_a_lost_lock(
    looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of the geometry, nor, with it, the batch."""
    molecule = {"name": "h2", "symbols": ["H", "H"], "charge": 0}
    geometry = {"frame": "train-001", "split": "train", "temperature_k": 300.0}
    geometry |= {"positions_ang": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]}
    label = labels._failure(labels.Status.FAILED, "a stub", 2, 2, 0.0)
    monkeypatch.setattr(labels, "label_geometry", lambda *_: label)
    monkeypatch.setattr(labels, "output_lock", lambda *_: lost_after(looks))
    output = tmp_path / "train.npz"
    with pytest.raises(LockLostError):
        labels.label_batch(molecule, [geometry], SETTINGS, output, lambda line: None)
    assert not output.exists()
    assert len(list(tmp_path.glob("*.parts/*.npz"))) == looks


@pytest.mark.parametrize("looks", [0, 4])
def test_no_step_is_written_under_a_lost_lock(
    looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 steps in four chunks, and the trajectory that they become."""
    settings = SECTION | {"trajectory_ps": 0.03, "chunk_steps": 15, "stride": 7}
    monkeypatch.setattr(integration, "output_lock", lambda *_: lost_after(looks))
    atoms = water()
    atoms.set_momenta(np.full((3, 3), 0.1))
    output = tmp_path / "t.npz"
    with pytest.raises(LockLostError):
        run_trajectory(atoms, spring_water(Springs), settings, output)
    assert not output.exists()
    assert len(list(tmp_path.glob("*.chunks/*.chunk"))) == looks
