"""kill -9 of the process that integrates: no step is lost or repeated, nothing differs."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from spring_molecules import SECTION, RememberingSprings, spring_water, water

from dft2spectra.dynamics.equilibration import equilibrate
from dft2spectra.dynamics.trajectory import run_from_state

KILLS = 10
# 800 thermostatted and 800 constant-energy steps, 1 ms each.
SETTINGS = SECTION | {
    "equilibration_ps": 0.3,
    "spacing_ps": 0.1,
    "trajectories": 1,
    "trajectory_ps": 0.4,
    "chunk_steps": 25,
    "stride": 10,
}
# Every rename counts: 8 chunks, 4 files of results.
SMALL = SETTINGS | {"equilibration_ps": 0.03, "spacing_ps": 0.02, "trajectory_ps": 0.05}
RESULTS = ["e.npz", "e.xyz", "s.npz", "t.npz", "t.xyz"]


def integrate(folder: Path, settings: dict, delay_s: float) -> None:
    """A thermostatted run and a trajectory of a calculator that remembers."""
    calculator = spring_water(RememberingSprings)
    calculator.delay_s = delay_s
    paths = [folder / name for name in ("e.npz", "s.npz", "t.npz")]
    equilibrate(water(), calculator, settings, paths[0], paths[1], sys.stdout)
    calculator = spring_water(RememberingSprings)
    calculator.delay_s = delay_s
    run_from_state(paths[1], 0, calculator, settings, paths[2], sys.stdout)


def results(folder: Path) -> dict[str, bytes]:
    """Content of all files; there must be no others, not even hidden ones."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "log"}
    assert sorted(set(found) - {"e.flagged.xyz", "t.flagged.xyz"}) == RESULTS
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    integrate(folder, SETTINGS, 0.0)
    with np.load(folder / "t.npz") as file:
        np.testing.assert_array_equal(file["step"], np.arange(801))
    return results(folder)


def launch(folder: Path, log) -> subprocess.Popen:
    """The same in a process of its own, which says when it starts."""
    code = (
        "import sys, pathlib\nsys.path[:0] = sys.argv[2].split(':')\n"
        "from test_trajectory_kill import SETTINGS, integrate\n"
        "print('starts', flush=True)\n"
        "integrate(pathlib.Path(sys.argv[1]), SETTINGS, 0.001)\n"
    )
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), f"{here}:{here.parent}"], stdout=log, stderr=log
    )


def test_killed_at_random_moments(tmp_path, undisturbed):
    """At least ten kills while it runs; each loses at most a chunk."""
    chance = random.Random(11)
    kills = resumed = 0
    round_number = 0
    while kills < KILLS:
        folder = tmp_path / str(round_number)
        folder.mkdir()
        round_number += 1
        code = None
        while code is None:
            with open(folder / "log", "a+") as log:
                process = launch(folder, log)
                beginning = log.tell()
                while process.poll() is None and "starts" not in _text(folder, beginning):
                    time.sleep(0.005)
                time.sleep(chance.uniform(0.0, 0.5) if kills < KILLS else 0.0)
                if kills < KILLS and process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                if process.wait() == -signal.SIGKILL:
                    kills += 1
                else:
                    code = process.returncode
        log_text = _text(folder, 0)
        assert code == 0, log_text
        assert "damaged" not in log_text
        resumed += log_text.count("goes on after step")
        assert results(folder) == undisturbed
    assert resumed >= KILLS // 2, "most kills came before the first chunk; let the test wait longer"


def test_second_process_waits_for_the_first(tmp_path, undisturbed):
    """As after a kill of Snakemake alone: what the first one finishes is not computed again."""
    logs = [tmp_path / name for name in ("first", "second")]
    folder = tmp_path / "both"
    folder.mkdir()
    processes = []
    for path in logs:
        with open(path, "w") as log:
            processes.append(launch(folder, log))
        while not (folder / ".e.npz.lock").exists():
            assert processes[0].poll() is None, path.read_text()
            time.sleep(0.005)
    assert [process.wait() for process in processes] == [0, 0]
    assert results(folder) == undisturbed
    text = logs[1].read_text()
    assert f"waiting for process {processes[0].pid} on" in text
    # The thermostatted run is the first one's; the trajectory is that of the one who comes first.
    assert "thermostat" not in text
    assert sum("trajectory:" in path.read_text() for path in logs) == 1


def _text(folder: Path, beginning: int) -> str:
    return (folder / "log").read_text()[beginning:]


def _killed_at_rename(folder: Path, number: int, after: bool) -> None:
    """In a child: integrate, but die at a rename, right before or right after it."""
    rename, count = os.replace, 0

    def dying_rename(source, target):
        nonlocal count
        count += 1
        if count == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = dying_rename
    integrate(folder, SMALL, 0.0)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_rename(tmp_path, after):
    """The moments that matter most: a chunk or a result is about to be there, or just is."""
    (tmp_path / "whole").mkdir()
    integrate(tmp_path / "whole", SMALL, 0.0)
    whole = results(tmp_path / "whole")
    fork = multiprocessing.get_context("fork")
    number, died = 0, True
    while died:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        child = fork.Process(target=_killed_at_rename, args=(folder, number, after))
        child.start()
        child.join()
        died = child.exitcode == -signal.SIGKILL
        assert died or child.exitcode == 0
        integrate(folder, SMALL, 0.0)
        assert results(folder) == whole
    assert number > 12
