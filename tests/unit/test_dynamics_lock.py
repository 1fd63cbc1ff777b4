"""The lock of an output: held by the living, taken over from the dead."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dft2spectra.dynamics import lock
from dft2spectra.dynamics.lock import OutputLockedError, output_lock

HOLD = (
    "import sys, time\nfrom dft2spectra.dynamics.lock import output_lock\n"
    "with output_lock(sys.argv[1]):\n    print('held', flush=True); time.sleep(60)\n"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of t.npz."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "t.npz")], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def other_host(path):
    """A lock as a process on another host leaves it."""
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))


def test_released_and_gone(tmp_path):
    for _ in range(2):
        with output_lock(tmp_path / "t.npz"):
            content = json.loads((tmp_path / ".t.npz.lock").read_text())
            assert content == {"host": socket.gethostname(), "pid": os.getpid()}
        assert list(tmp_path.iterdir()) == []


def test_second_process_refuses_and_names_the_first(tmp_path, holder):
    refusal = rf"process {holder.pid} on {socket.gethostname()} writes this output"
    with pytest.raises(OutputLockedError, match=refusal), output_lock(tmp_path / "t.npz"):
        pass
    assert (tmp_path / ".t.npz.lock").exists()
    with output_lock(tmp_path / "other.npz"):
        pass


def test_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".t.npz.lock").exists()
    with output_lock(tmp_path / "t.npz"):
        assert json.loads((tmp_path / ".t.npz.lock").read_text())["pid"] == os.getpid()


def test_empty_lock_of_a_process_that_died_early(tmp_path):
    (tmp_path / ".t.npz.lock").touch()
    with output_lock(tmp_path / "t.npz"):
        pass


def test_silent_lock_of_another_host_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "WATCH_S", 0.3)
    other_host(tmp_path / ".t.npz.lock")
    started = time.monotonic()
    with output_lock(tmp_path / "t.npz"):
        assert time.monotonic() - started >= 0.3


def test_touched_lock_of_another_host_is_respected(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "WATCH_S", 30.0)
    path = tmp_path / ".t.npz.lock"
    other_host(path)
    owner = threading.Timer(0.5, os.utime, [path])
    owner.start()
    with (
        pytest.raises(OutputLockedError, match="process 1 on elsewhere"),
        output_lock(tmp_path / "t.npz"),
    ):
        pass
    owner.join()
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_holder_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCH_S", 0.05)
    with output_lock(tmp_path / "t.npz"):
        first = (tmp_path / ".t.npz.lock").stat().st_mtime_ns
        end = time.monotonic() + 20.0
        while (tmp_path / ".t.npz.lock").stat().st_mtime_ns == first:
            assert time.monotonic() < end, "nobody touched the lock"
            time.sleep(0.02)


def test_fault_in_the_block_releases(tmp_path):
    with pytest.raises(MemoryError), output_lock(tmp_path / "t.npz"):
        raise MemoryError
    assert list(tmp_path.iterdir()) == []
