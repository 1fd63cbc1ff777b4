"""Files are whole or absent, and hashes do not depend on the order of keys."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from dft2spectra import records
from dft2spectra.noted import NotedJobs
from dft2spectra.processes import place_hash
from dft2spectra.records import (
    content_hash,
    drop_kept,
    is_cut_off,
    kept,
    kept_path,
    read_json,
    whole_file,
    write_json,
)


def test_json_round_trip_and_no_leftovers(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"μ": 1.0, "list": [1, None]})
    assert read_json(path) == {"μ": 1.0, "list": [1, None]}
    assert os.listdir(path.parent) == ["record.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_json_does_not_know_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"x": value})
    assert os.listdir(tmp_path) == []


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_and_fail():
        with whole_file(path) as temporary:
            temporary.write_text("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"version": 1})
    code = (
        "import sys, time\nfrom dft2spectra.records import whole_file\n"
        "with whole_file(sys.argv[1]) as t:\n"
        "    t.write_text('{\"version\": 2'); print('writing', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"writing\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert read_json(path) == {"version": 1}
    write_json(path, {"version": 3})
    assert read_json(path) == {"version": 3}


def test_broken_json_names_the_file(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match=r"cut\.json: not valid JSON"):
        read_json(path)


def test_hash_depends_on_content_alone():
    assert content_hash({"a": 1, "b": [2.0]}) == content_hash({"b": [2.0], "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    assert len(content_hash({})) == 16


def leftover(path, place, pid):
    """A temporary file as a writer leaves it that was killed."""
    temporary = path.with_name(f".{path.name}.{place}-{pid}-0123abcd{path.suffix}")
    temporary.write_text("half")
    return temporary


@pytest.fixture
def dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_leftovers_of_dead_writers_are_removed(tmp_path, dead_pid):
    """Not those of the living, of writers elsewhere that may live, or what only looks alike."""
    here = place_hash()
    other = tmp_path / "other.csv"
    old, young = leftover(other, "fedcba98", 1), leftover(tmp_path / "a.json", "fedcba98", 1)
    then = time.time() - 2 * records.LEFT_AFTER_S
    os.utime(old, (then, then))
    dead = leftover(tmp_path / "table.json", here, dead_pid)
    stays = [young, leftover(tmp_path / "b.npz", here, os.getppid()), tmp_path / ".table.json.lock"]
    stays[-1].touch()
    write_json(tmp_path / "table.json", {})
    assert not dead.exists()
    assert not old.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*stays, tmp_path / "table.json"])


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Also where their process numbers are the same, as on two hosts: the last one counts."""
    path = tmp_path / "record.json"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize("links", [True, False])
def test_kept_result(tmp_path, monkeypatch, links):
    path = tmp_path / "t.npz"
    if not links:
        monkeypatch.setattr(records.os, "link", lambda *_: (_ for _ in ()).throw(OSError(95)))
    with kept(path) as output:
        assert output == path
        output.write_text("result")
    assert (path.stat().st_ino == kept_path(path).stat().st_ino) == links
    path.unlink()
    with kept(path) as output:
        assert output.read_text() == "result"
        # Newer than what was kept: not taken back over it.
        output.unlink()
        output.write_text("newer")
    with kept(path) as output:
        assert output.read_text() == "newer"
    path.unlink()
    with kept(path):
        assert path.read_text() == "newer"
    with kept(path):
        path.unlink()
    assert kept_path(path).read_text() == "newer"
    drop_kept([path])
    assert list(tmp_path.iterdir()) == []


def event(name: str, **entries) -> logging.LogRecord:
    """What Snakemake tells its logger."""
    return logging.makeLogRecord({"event": SimpleNamespace(name=name), **entries})


def test_second_names_go_when_the_end_of_the_job_is_noted(tmp_path):
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    for path in (first, second):
        with kept(path):
            path.write_text("result")
    noted = NotedJobs()
    noted.handle(event("JOB_INFO", jobid=7, output=[str(first), str(tmp_path / "x (update)")]))
    noted.handle(event("JOB_INFO", jobid=8, output=[str(second)]))
    noted.handle(event("JOB_ERROR", jobid=8))
    noted.handle(logging.makeLogRecord({"msg": "no event"}))
    assert kept_path(first).exists()
    noted.handle(event("JOB_FINISHED", job_id=7))
    noted.handle(event("JOB_FINISHED", job_id=9))
    assert not kept_path(first).exists()
    assert kept_path(second).exists()
    noted.drop_all()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_a_file_of_json_is_cut_off_wherever_the_cut_falls(tmp_path):
    """At the end of a line, too; of one line, of several, and not JSON."""
    path = tmp_path / "crystal.json"
    for indent in (None, 1):
        content = json.dumps({"a": 1, "b": {"c": [1, 2], "d": {"e": 2}}}, indent=indent) + "\n"
        path.write_text(content)
        assert not is_cut_off(path)
        for length in range(len(content)):
            path.write_text(content[:length])
            assert is_cut_off(path), content[:length]
            assert is_cut_off(tmp_path)
    members = tmp_path / "a.members"
    members.write_text("one\ntwo\n")
    assert not is_cut_off(members)
    members.write_text("one\ntw")
    assert is_cut_off(members)
