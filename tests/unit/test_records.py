"""Files are whole or absent, and hashes do not depend on the order of keys."""

import math
import os
import signal
import subprocess
import sys

import pytest

from dft2spectra.records import content_hash, read_json, whole_file, write_json


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
