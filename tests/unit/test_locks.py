"""The lock of an output: one process at a time, waited for while it lives, never kept by the dead.

A process on another host is one whose place (see ``processes``) is another; its clock may differ.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dft2spectra import locks
from dft2spectra.locks import (
    LockLostError,
    OutputBusyError,
    OutputLockedError,
    lock_path,
    output_lock,
    read_owner,
    running_owner,
)
from dft2spectra.processes import is_gone, place, started

# Arguments: output, place or nothing. Ends when its input is closed.
HOLD = """
import sys
from dft2spectra import locks
if len(sys.argv) > 2:
    locks.place = lambda: sys.argv[2]
with locks.output_lock(sys.argv[1]) as lock:
    print("held", flush=True)
    sys.stdin.read()
    lock.check()
    print("still mine", flush=True)
"""


def hold(output: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that holds the lock, or waits for it."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(output), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "t.npz"


@pytest.fixture
def holder(output: Path):
    process = hold(output)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def foreign(path: Path, **changes: object) -> None:
    """A lock as a process on another host leaves it."""
    entries = {"host": "elsewhere", "pid": os.getpid(), "place": "elsewhere 1", "token": "abc"}
    entries |= {"process_started": "1", "locked_at": "2026-01-01T00:00:00+00:00", **changes}
    path.write_text(json.dumps(entries))


def test_released_and_gone(output: Path) -> None:
    for _ in range(2):
        with output_lock(output) as lock:
            owner = read_owner(lock_path(output))
            assert (owner.host, owner.pid) == (socket.gethostname(), os.getpid())
            assert running_owner(lock_path(output)) == owner
            lock.check()
        assert list(output.parent.iterdir()) == []
    assert running_owner(lock_path(output)) is None


def test_fault_in_the_block_releases(output: Path) -> None:
    with pytest.raises(MemoryError), output_lock(output):
        raise MemoryError
    assert list(output.parent.iterdir()) == []


def test_sigterm_releases_the_own_lock_alone(output: Path, holder) -> None:
    waiting = hold(output)
    assert "waiting for process" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGTERM)
    waiting.communicate()
    assert waiting.returncode == 128 + signal.SIGTERM
    assert running_owner(lock_path(output)).pid == holder.pid
    for _ in range(2):
        holder.send_signal(signal.SIGTERM)
    holder.communicate()
    assert holder.returncode == 128 + signal.SIGTERM
    assert list(output.parent.iterdir()) == []


def test_handler_is_there_for_the_block_alone(output: Path) -> None:
    with output_lock(output):
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_handler_of_the_program_stays(output: Path) -> None:
    caught: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    try:
        with output_lock(output):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert caught == [signal.SIGTERM] * 2


def test_lock_without_content_is_named_once(output: Path, monkeypatch) -> None:
    """Its maker died before it wrote who it is."""
    monkeypatch.setattr(locks, "STALE_S", 1.0)
    lock_path(output).touch()
    said: list[str] = []
    with output_lock(output, said.append):
        pass
    (sentence,) = said
    assert "process without a number on an unknown host" in sentence


def test_second_process_waits_and_names_the_first(output: Path, holder) -> None:
    said: list[str] = []

    def release(sentence: str) -> None:
        said.append(sentence)
        holder.stdin.close()

    with output_lock(output, release):
        assert read_owner(lock_path(output)).pid == os.getpid()
        assert holder.stdout.readline() == "still mine\n"
    (sentence,) = said
    assert f"waiting for process {holder.pid} on {socket.gethostname()}" in sentence
    with output_lock(output.with_name("other.npz"), pytest.fail):
        pass


def test_job_of_a_queue_gives_way_at_once(output: Path, holder, monkeypatch) -> None:
    """It would hold cores while it waits; the owner keeps its lock."""
    monkeypatch.setenv(locks.GIVE_WAY, "1")
    words = rf"process {holder.pid} .*; {locks.GAVE_WAY}"
    with pytest.raises(OutputBusyError, match=words), output_lock(output):
        raise AssertionError
    assert running_owner(lock_path(output)).pid == holder.pid
    holder.kill()
    holder.wait()
    with output_lock(output):
        pass  # of a dead one it is taken over as ever


@pytest.mark.parametrize("lives", [True, False])
def test_job_of_a_queue_watches_the_lock_of_another_host(
    output: Path, monkeypatch, lives: bool
) -> None:
    """It gives way when the owner is seen to touch its lock, and takes over if it never does."""
    monkeypatch.setenv(locks.GIVE_WAY, "1")
    monkeypatch.setattr(locks, "STALE_S", 1.0)
    foreign(lock_path(output))
    if lives:
        threading.Timer(0.3, os.utime, [lock_path(output)]).start()
        with pytest.raises(OutputBusyError), output_lock(output):
            raise AssertionError
    else:
        with output_lock(output) as lock:
            lock.check()


def test_stopped_owner_on_the_same_host_keeps_its_lock(output: Path, holder, monkeypatch) -> None:
    monkeypatch.setattr(locks, "STALE_S", 0.2)
    holder.send_signal(signal.SIGSTOP)
    second = hold(output)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=2)
    assert running_owner(lock_path(output)).pid == holder.pid
    holder.send_signal(signal.SIGCONT)
    assert holder.communicate("")[0] == "still mine\n"
    assert second.communicate("")[0] == "held\nstill mine\n"


def test_stopped_owner_elsewhere_loses_its_lock_and_is_told(output: Path, monkeypatch) -> None:
    """It was taken over; when it comes back it writes nothing and leaves the lock of the other."""
    monkeypatch.setattr(locks, "STALE_S", 0.5)
    away = hold(output, "elsewhere")
    assert away.stdout.readline() == "held\n"
    away.send_signal(signal.SIGSTOP)
    with output_lock(output) as lock:
        away.send_signal(signal.SIGCONT)
        written, errors = away.communicate("")
        assert away.returncode != 0
        assert written == ""
        assert f"LockLostError: {lock.path}: taken over by process {os.getpid()} on" in errors
        lock.check()
    assert list(output.parent.iterdir()) == []


def test_lock_of_a_killed_process_is_taken_over_at_once(output: Path, holder) -> None:
    holder.kill()
    # Not yet waited for: a zombie.
    while not is_gone(holder.pid):
        time.sleep(0.01)
    assert lock_path(output).exists()
    assert running_owner(lock_path(output)) is None
    with output_lock(output, pytest.fail) as lock:
        assert lock.owner.pid == os.getpid()
    assert list(output.parent.iterdir()) == []


def test_number_given_to_another_process(output: Path) -> None:
    """The owner has ended and its number belongs to a process that lives: this one."""
    foreign(lock_path(output), place=place(), pid=os.getppid(), process_started="1")
    with output_lock(output, pytest.fail):
        pass


def test_lock_of_this_process(output: Path) -> None:
    with output_lock(output), pytest.raises(OutputLockedError), output_lock(output):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": 1}', b"\xff\xfe"])
def test_lock_without_an_owner(output: Path, monkeypatch, content: bytes) -> None:
    """Of a process that died before it had written who it is, or no lock of ours."""
    monkeypatch.setattr(locks, "STALE_S", 0.3)
    lock_path(output).write_bytes(content)
    said: list[str] = []
    begun = time.monotonic()
    with output_lock(output, said.append):
        assert time.monotonic() - begun >= 0.3
    assert "an unknown host" in said[0]


@pytest.mark.parametrize("skew_s", [-1e5, 0.0, 1e5])
def test_silent_lock_of_another_host(output: Path, monkeypatch, skew_s: float) -> None:
    monkeypatch.setattr(locks, "STALE_S", 0.3)
    foreign(lock_path(output))
    then = time.time() + skew_s
    os.utime(lock_path(output), (then, then))
    begun = time.monotonic()
    with output_lock(output, print):
        assert time.monotonic() - begun >= 0.3
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("skew_s", [-1e5, 0.0, 1e5])
def test_touched_lock_of_another_host(output: Path, monkeypatch, skew_s: float) -> None:
    """It is waited for as long as it is touched, whatever the other clock says."""
    monkeypatch.setattr(locks, "STALE_S", 3.0)
    monkeypatch.setattr(locks, "LONGEST_PAUSE_S", 0.1)
    path = lock_path(output)
    foreign(path)
    touched = threading.Event()

    def other() -> None:
        for number in range(30):
            then = time.time() + skew_s + number
            os.utime(path, (then, then))
            time.sleep(0.2)
        touched.set()
        path.unlink()

    thread = threading.Thread(target=other)
    thread.start()
    with output_lock(output, print):
        assert touched.is_set()
    thread.join()


def test_holder_touches_its_lock(output: Path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "TOUCH_S", 0.05)
    with output_lock(output):
        first = lock_path(output).stat().st_mtime_ns
        end = time.monotonic() + 20.0
        while lock_path(output).stat().st_mtime_ns == first:
            assert time.monotonic() < end, "nobody touched the lock"
            time.sleep(0.02)


def test_removed_by_hand(output: Path) -> None:
    with output_lock(output) as lock:
        lock.path.unlink()
        with pytest.raises(LockLostError):
            lock.check()
        lock.touch()
        assert not lock.path.exists()


@pytest.mark.parametrize("flock", [True, False])
def test_live_lock_taken_for_a_dead_one_stays(output: Path, monkeypatch, flock: bool) -> None:
    """Between the judgement and the rename another process may have taken over."""
    path = lock_path(output)
    foreign(path, token="dead")
    if flock:
        foreign(path, token="live")
        locks._remove(path, "dead")
    else:
        # Where flock does nothing, the exchange may come as late as right before the rename.
        rename = os.rename

        def late(source: Path, target: Path) -> None:
            foreign(path, token="live")
            rename(source, target)

        monkeypatch.setattr(locks.os, "rename", late)
        monkeypatch.setattr(locks.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(37)))
        locks._remove(path, "dead")
    assert read_owner(path).token == "live"
    assert list(path.parent.iterdir()) == [path]


RACE = """
import os, pathlib, random, signal, sys, time
from dft2spectra import locks
from dft2spectra.locks import output_lock
def no_flock(*_):
    raise OSError(37, "No locks available")
if sys.argv[3] == "without":
    locks.fcntl.flock = no_flock
folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
end = time.monotonic() + 3.0
while time.monotonic() < end:
    with output_lock(folder / "counter", lambda sentence: None) as lock:
        lock.check()
        # Two at a time would meet here, or lose a count.
        inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)
        count = int((folder / "count").read_text())
        if chance.random() < 0.2:
            time.sleep(0.002)
        (folder / "new").write_text(str(count + 1))
        os.replace(folder / "new", folder / "count")
        os.close(inside)
        os.unlink(folder / "inside")
        with open(folder / f"{seed}.done", "a") as file:
            file.write("x")
        if chance.random() < 0.05:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("flock", ["with", "without"])
def test_many_processes_some_of_which_die_with_the_lock(tmp_path: Path, flock: str) -> None:
    """Nobody is ever in the block with another, though they race for the locks of the dead."""
    (tmp_path / "count").write_text("0")
    chance = random.Random(5)
    running: list[subprocess.Popen] = []
    killed = 0
    end = time.monotonic() + 5.0
    while running or time.monotonic() < end:
        while len(running) < 4 and time.monotonic() < end:
            command = [sys.executable, "-c", RACE, str(tmp_path), str(chance.getrandbits(32))]
            running.append(subprocess.Popen([*command, flock], stderr=subprocess.PIPE))
        for process in [p for p in running if p.poll() is not None]:
            running.remove(process)
            assert process.returncode in (0, -signal.SIGKILL), process.communicate()[1].decode()
            process.stderr.close()
            killed += process.returncode != 0
        time.sleep(0.02)
    done = sum(len(path.read_text()) for path in tmp_path.glob("*.done"))
    assert int((tmp_path / "count").read_text()) == done > 20
    assert killed >= 5


def test_processes_of_this_place() -> None:
    assert not is_gone(os.getpid(), started(os.getpid()))
    assert is_gone(os.getpid(), "1")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_gone(child.pid)
