"""What is said of a folder that cannot be written, and what is left in it."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dft2spectra.crystals.run_record import obtain_record
from dft2spectra.disk import (
    LEAST_BYTES,
    UnwritableError,
    crowded,
    explained,
    forbidden,
    from_future,
    refusal,
    sentence,
)
from dft2spectra.records import kept, kept_path, read_json, write_json

Mount = Callable[[Path, str], None]


@pytest.fixture
def small_disk(tmp_path: Path, mount: Mount) -> Path:
    """A file system of its own of 256 kB."""
    mount(tmp_path / "disk", "size=256k")
    return tmp_path / "disk"


def fill(folder: Path, left: int = 0) -> Path:
    """A file that takes all room but so many bytes."""
    path = folder / "filler"
    room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    path.write_bytes(bytes(room - left))
    return path


def test_nothing_is_said_and_left_where_all_is_well(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    assert refusal(folder) is None
    assert list(folder.iterdir()) == []
    assert forbidden(folder) is None
    assert crowded(folder) is None


def test_full(small_disk: Path) -> None:
    filler = fill(small_disk, left=8192)
    said = refusal(small_disk / "run")
    assert said is not None
    assert "No space left on device" in said
    assert "has 0.01 MB" in said  # as it was before the probe
    assert "Make room" in said
    assert crowded(small_disk)
    assert forbidden(small_disk) is None
    assert list((small_disk / "run").iterdir()) == []
    filler.unlink()
    assert refusal(small_disk) is None


def test_read_only(small_disk: Path, mount: Mount) -> None:
    mount(small_disk, "ro")
    for said in (refusal(small_disk / "run"), refusal(small_disk), forbidden(small_disk)):
        assert said is not None
        assert "Read-only file system" in said
        assert "run in another folder" in said


def test_what_is_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refusal(tmp_path / "file" / "run")
    assert said is not None
    assert "Not a directory" in said


def test_a_record_is_whole_or_the_one_before(small_disk: Path) -> None:
    path = small_disk / "record.json"
    write_json(path, {"a": 1})
    filler = fill(small_disk)
    with pytest.raises(UnwritableError, match="Make room") as caught:
        write_json(path, {"a": list(range(20000))})
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    assert read_json(path) == {"a": 1}
    assert sorted(entry.name for entry in small_disk.iterdir()) == ["filler", "record.json"]
    filler.unlink()
    write_json(path, {"a": list(range(5000))})


def test_a_result_stays_where_its_second_name_cannot_be_written(
    small_disk: Path, mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "record.json"
    with kept(path):
        write_json(path, {"a": 1})
        mount(small_disk, "ro")
    mount(small_disk, "rw")
    assert read_json(path) == {"a": 1}
    assert not kept_path(path).exists()
    assert "Read-only file system" in caplog.text


def test_no_calculation_that_could_not_be_written(small_disk: Path, tmp_path: Path) -> None:
    """Room for a lock is not enough."""
    write_json(tmp_path / "crystal.json", {"structure_id": "x", "content_hash": "1"})
    filler = fill(small_disk, left=16384)
    log = tmp_path / "log"
    arguments = tmp_path / "crystal.json", {}, small_disk / "x.json", log, ["false"]
    record, how = obtain_record(*arguments)
    assert record is None
    assert how.startswith("was not begun, ")
    assert "Make room" in how
    assert not log.exists()
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    filler.unlink()
    assert obtain_record(*arguments) == (None, "its process ended with code 1")


def test_only_errors_of_writing_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explained(tmp_path / "out"):
        (tmp_path / "in").read_text()
    caught = pytest.raises(UnwritableError, match="inner")
    with caught as found, explained("outer"), explained("inner"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert "quota" in str(found.value)
    assert "in hand is computed again" in sentence("x", OSError(errno.ENOSPC, "full"))
    assert LEAST_BYTES > 10_000


def test_a_link_to_a_disk_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(tmp_path / "scratch" / "results")
    said = refusal(tmp_path / "results" / "demo")
    assert said == (
        f"{tmp_path}/results/demo cannot be written: {tmp_path}/results is a link to "
        f"{tmp_path}/scratch/results, which is not there. Is its disk mounted? Mount it, or make "
        "the folder."
    )


def test_a_file_of_the_future_is_named_with_what_to_do(tmp_path: Path) -> None:
    now, later = tmp_path / "now.cif", tmp_path / "later one.cif"
    for path in (now, later):
        path.touch()
    assert from_future([now, later, tmp_path / "not there"]) is None
    os.utime(later, (time.time() + 5.0,) * 2)  # a clock that is a little ahead
    assert from_future([now, later]) is None
    os.utime(later, (time.time() + 7300.0,) * 2)
    said = from_future([now, later])
    assert said is not None
    assert "is dated 2 hours in the future" in said
    assert f"`touch '{later}'`" in said
