"""Trajectories in chunks: whatever is on disk, the result is that of an undisturbed run."""

import io
import logging
import shutil

import numpy as np
import pytest
from ase import Atoms
from spring_molecules import SECTION, RememberingSprings, Springs, spring_water, water

from dft2spectra.dynamics import integration
from dft2spectra.dynamics.chunks import merged_samples
from dft2spectra.dynamics.equilibration import equilibrate
from dft2spectra.dynamics.progress import Progress
from dft2spectra.dynamics.trajectory import run_trajectory
from dft2spectra.locks import LockLostError, OutputLockedError, lock_path, output_lock

# 60 steps in chunks of 15: files 0 (steps 0 to 15), 16, 31 and 46.
SHORT = SECTION | {"trajectory_ps": 0.03, "chunk_steps": 15, "stride": 7}


def start(seed: int = 0) -> Atoms:
    atoms = water()
    atoms.set_momenta(np.random.default_rng(seed).standard_normal((3, 3)) * 0.3)
    return atoms


class Interrupted(Exception):
    """In place of a kill."""


def interrupted_after(evaluations: int, kind: type[Springs] = RememberingSprings) -> Springs:
    """Spring water that fails after so many evaluations."""

    class Interrupting(kind):
        def calculate(self, *args, **keywords):
            nonlocal evaluations
            evaluations -= 1
            if evaluations < 0:
                raise Interrupted
            super().calculate(*args, **keywords)

    calculator = spring_water(Interrupting)
    # For the run it is the same calculator as the one that does not fail.
    calculator.identity = "water"
    return calculator


def reliable(kind: type[Springs] = RememberingSprings) -> Springs:
    calculator = spring_water(kind)
    calculator.identity = "water"
    return calculator


@pytest.fixture
def whole(tmp_path):
    """Files of an undisturbed run."""
    run_trajectory(start(), reliable(), SHORT, tmp_path / "whole" / "t.npz")
    return files(tmp_path / "whole")


@pytest.fixture
def interrupted(tmp_path):
    """Folder of a run that ended in the last of its four chunks."""
    folder = tmp_path / "interrupted"
    with pytest.raises(Interrupted):
        run_trajectory(start(), interrupted_after(50), SHORT, folder / "t.npz")
    assert chunk_names(folder) == ["0000000000", "0000000016", "0000000031"]
    return folder


def files(folder):
    assert not list(folder.glob("*.chunks"))
    assert not list(folder.glob(".*"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def chunk_names(folder):
    return sorted(path.stem for path in (folder / "t.npz.chunks").iterdir())


def finish(folder, **changes):
    """Files after the run went on, and how often the calculator was asked."""
    calculator = reliable()
    asked = []
    plain = calculator.calculate
    calculator.calculate = lambda *a, **k: (asked.append(1), plain(*a, **k))
    run_trajectory(start(), calculator, SHORT | changes, folder / "t.npz")
    return files(folder), len(asked)


def test_interrupted_run_goes_on(interrupted, whole):
    """Byte for byte, and only the steps after the last chunk are computed again."""
    assert finish(interrupted) == (whole, 60 - 45)


@pytest.mark.parametrize("evaluations", [0, 1, 15, 16, 17, 31, 32, 60])
def test_interrupted_anywhere(tmp_path, whole, evaluations):
    with pytest.raises(Interrupted):
        run_trajectory(start(), interrupted_after(evaluations), SHORT, tmp_path / "i" / "t.npz")
    assert finish(tmp_path / "i")[0] == whole


def test_chunks_of_another_length_fit(interrupted, whole):
    assert finish(interrupted, chunk_steps=11) == (whole, 60 - 45)


def test_memory_of_the_calculator_matters(interrupted, whole, monkeypatch):
    """Without its state the stateful calculator ends elsewhere: the comparison can fail."""
    monkeypatch.setattr(RememberingSprings, "restore", lambda self, state: None)
    assert finish(interrupted)[0]["t.npz"] != whole["t.npz"]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_damaged_chunk_and_all_after_it_are_computed_again(
    interrupted, whole, caplog, damage, number
):
    path = sorted((interrupted / "t.npz.chunks").iterdir())[number]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(
        {"cut": content[:700], "bit": content, "empty": b"", "text": b"hello\nworld"}[damage]
    )
    with caplog.at_level(logging.WARNING):
        assert finish(interrupted) == (whole, [61, 45, 30][number])
    assert f"{path.name} is damaged: computed again from step {[0, 16, 31][number]}" in caplog.text


def test_missing_chunk(interrupted, whole):
    (interrupted / "t.npz.chunks" / "0000000016.chunk").unlink()
    assert finish(interrupted) == (whole, 45)


@pytest.mark.parametrize(
    "change",
    [{"timestep_fs": 0.4}, {"temperature_k": 310}, {"stride": 5}, {"trajectory_ps": 0.035}],
)
def test_chunks_of_other_settings_are_not_used(interrupted, caplog, change):
    with caplog.at_level(logging.WARNING):
        finish(interrupted, **change)
    assert "comes from another start, other settings or another calculator" in caplog.text


def test_chunks_of_another_start_or_calculator_are_not_used(interrupted, caplog):
    shutil.copytree(interrupted, interrupted.parent / "copy")
    run_trajectory(start(seed=1), reliable(), SHORT, interrupted / "t.npz")
    other = reliable()
    other.identity = "another model"
    run_trajectory(start(), other, SHORT, interrupted.parent / "copy" / "t.npz")
    assert caplog.text.count("comes from another start") == 2


def test_parameters_identify_a_calculator_without_identity(tmp_path):
    """The default identity: class and parameters."""
    first = run_trajectory(start(), spring_water(), SHORT, tmp_path / "1.npz")
    stiff = spring_water()
    stiff.set(springs=[(0, 1, 0.96, 49.0)])
    second = run_trajectory(start(), stiff, SHORT, tmp_path / "2.npz")
    third = run_trajectory(start(), spring_water(), SHORT, tmp_path / "3.npz")
    assert first["identity"] == third["identity"] != second["identity"]


def test_chunk_that_does_not_follow(interrupted, whole, caplog):
    """A whole chunk of the same run in the place of another."""
    folder = interrupted / "t.npz.chunks"
    shutil.copy(folder / "0000000031.chunk", folder / "0000000016.chunk")
    assert finish(interrupted) == (whole, 45)
    assert "does not follow the chunk before it" in caplog.text


def test_chunk_of_a_calculator_that_is_not_what_it_says(interrupted, whole, caplog):
    """Same identity, other numbers: the chunk does not begin where the one before it ends."""
    other = interrupted.parent / "other"
    calculator = interrupted_after(50)
    calculator.set(charges=[-0.6, 0.3, 0.3])
    with pytest.raises(Interrupted):
        run_trajectory(start(), calculator, SHORT, other / "t.npz")
    name = "t.npz.chunks/0000000016.chunk"
    shutil.copy(other / name, interrupted / name)
    assert finish(interrupted) == (whole, 45)
    assert "does not follow the chunk before it" in caplog.text


def test_energy_is_compared_with_the_start_not_with_the_restart(tmp_path):
    """Energies that fall by 15 meV/atom at evaluations 20 and 50; the limit is 20."""

    class Leaking(Springs):
        count = 0
        fails_at = -1

        def calculate(self, *args, **keywords):
            if self.count == self.fails_at:
                raise Interrupted
            super().calculate(*args, **keywords)
            self.results["energy"] -= 0.045 * ((self.count >= 20) + (self.count >= 50))
            self.count += 1

        def state(self):
            return {"count": np.array(self.count)}

        def restore(self, state):
            self.count = int(state["count"])

    first, second = spring_water(Leaking), spring_water(Leaking)
    first.fails_at = 48
    gentle = start()
    gentle.set_momenta(0.1 * gentle.get_momenta())
    with pytest.raises(Interrupted):
        run_trajectory(gentle, first, SHORT, tmp_path / "t.npz")
    result = run_trajectory(gentle, second, SHORT, tmp_path / "t.npz")
    assert str(result["reason"]).startswith("total energy changed by -30.")
    assert len(result["step"]) == 50


def test_merge_refuses_lost_and_repeated_steps(interrupted):
    folder = interrupted / "t.npz.chunks"
    chunks = integration.read_chunks(folder, _run_of(folder))
    assert len(chunks) == 3
    with pytest.raises(RuntimeError, match="not contiguous"):
        merged_samples([chunks[0], chunks[2]])
    with pytest.raises(RuntimeError, match="not contiguous"):
        merged_samples([*chunks, chunks[2]])


def _run_of(folder):
    content = (folder / "0000000000.chunk").read_bytes().partition(b"\n")[2]
    with np.load(io.BytesIO(content)) as file:
        return str(file["run"])


def test_finished_trajectory_is_returned_as_it_is(tmp_path, whole):
    again = run_trajectory(start(), interrupted_after(0), SHORT, tmp_path / "whole" / "t.npz")
    assert files(tmp_path / "whole") == whole
    assert again["status"] == "finished"


def test_damaged_output_is_written_again(tmp_path, whole, caplog):
    (tmp_path / "whole" / "t.npz").write_bytes(whole["t.npz"][:500])
    assert finish(tmp_path / "whole")[0] == whole
    assert "is no trajectory" in caplog.text


def test_output_of_other_settings_is_replaced(tmp_path, whole, caplog):
    result = run_trajectory(
        start(), reliable(), SHORT | {"trajectory_ps": 0.01}, tmp_path / "whole" / "t.npz"
    )
    assert len(result["step"]) == 21
    assert "comes from other settings" in caplog.text


def test_second_process_does_not_touch_the_output(tmp_path):
    with output_lock(tmp_path / "t.npz"), pytest.raises(OutputLockedError):
        run_trajectory(start(), interrupted_after(0), SHORT, tmp_path / "t.npz")


def test_process_that_lost_its_lock_writes_no_more(tmp_path):
    """Another process has taken over: not a chunk, not a result."""
    output = tmp_path / "t.npz"

    class Losing(RememberingSprings):
        def calculate(self, *args, **keywords):
            super().calculate(*args, **keywords)
            if chunk_names(tmp_path):
                lock_path(output).unlink(missing_ok=True)

    (tmp_path / "t.npz.chunks").mkdir()
    with pytest.raises(LockLostError, match="taken over by"):
        run_trajectory(start(), spring_water(Losing), SHORT, output)
    assert chunk_names(tmp_path) == ["0000000000"]
    assert not output.exists()


def test_interrupted_thermostat_goes_on(tmp_path):
    """The random numbers go on too."""
    section = SHORT | {"equilibration_ps": 0.01, "spacing_ps": 0.01, "trajectories": 2}

    def run(calculator, folder):
        folder.mkdir(exist_ok=True)
        equilibrate(water(), calculator, section, folder / "e.npz", folder / "s.npz")

    run(reliable(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(interrupted_after(40), tmp_path / "again")
    run(reliable(), tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "whole")
    with np.load(tmp_path / "whole" / "e.npz") as file:
        assert list(file["step"]) == list(range(61))
        # Every stride of 7 steps, and the snapshots.
        assert list(file["frame_step"]) == sorted({*range(0, 61, 7), 40, 60})
    with np.load(tmp_path / "whole" / "s.npz") as file:
        assert list(file["step"]) == [40, 60]


def test_other_seeds_give_other_states(tmp_path):
    section = SHORT | {"equilibration_ps": 0, "spacing_ps": 0.005, "trajectories": 1}
    states = [
        equilibrate(
            water(),
            spring_water(),
            section | {"seed": seed},
            tmp_path / f"{n}-e.npz",
            tmp_path / f"{n}-s.npz",
        )
        for n, seed in enumerate([0, 1, 0])
    ]
    assert not np.allclose(states[0]["positions_ang"], states[1]["positions_ang"], atol=1e-3)
    heat = [np.load(tmp_path / f"{n}-e.npz")["kinetic_energy_ev"][0] for n in range(2)]
    assert heat[0] != heat[1]
    np.testing.assert_array_equal(states[0]["positions_ang"], states[2]["positions_ang"])


def test_diagnostics_and_flagged_frames_are_kept(tmp_path):
    """The calculator flags the energies above 0.01 eV."""
    result = run_trajectory(start(), reliable(), SHORT, tmp_path / "t.npz")
    high = np.flatnonzero(result["potential_energy_ev"] > 0.01)
    assert 0 < len(high) < 61
    np.testing.assert_array_equal(result["flagged_step"], high)
    assert set(result["flagged_reason"]) == {"high energy"}
    assert result["diagnostic_memory"].shape == (61,)
    assert result["diagnostic_memory"][0] == 0.0
    assert (tmp_path / "t.flagged.xyz").read_text().count("high energy") == len(high)
    frames = dict(zip(result["frame_step"], result["positions_ang"], strict=True))
    for step, positions in zip(
        result["flagged_step"], result["flagged_positions_ang"], strict=True
    ):
        if step in frames:
            np.testing.assert_array_equal(positions, frames[step])


def test_diagnostics_that_come_and_go_are_an_error(tmp_path):
    class Moody(Springs):
        def calculate(self, *args, **keywords):
            super().calculate(*args, **keywords)
            if len(self.results) and np.any(self.atoms.positions != water().positions):
                self.results["diagnostics"] = {"gap_ev": 4.0}

    with pytest.raises(ValueError, match=r"same at every step, but not so: .*gap_ev"):
        run_trajectory(start(), spring_water(Moody), SHORT, tmp_path / "t.npz")


def test_progress_in_a_log_file(tmp_path, monkeypatch):
    """Plain lines with bar, speed, time left, temperature and energy; what was there is said."""
    monkeypatch.setattr("dft2spectra.dynamics.progress.LOG_INTERVAL_S", 0.0)
    log = io.StringIO()
    with pytest.raises(Interrupted):
        run_trajectory(start(), interrupted_after(40), SHORT, tmp_path / "t.npz", log)
    run_trajectory(start(), reliable(), SHORT, tmp_path / "t.npz", log)
    lines = log.getvalue().splitlines()
    assert "trajectory: goes on after step 30 of 60" in lines
    assert "| 60/60 [" in lines[-1]
    assert "100%|####" in lines[-1]
    assert "steps/s" in lines[-1]
    assert lines[-1].endswith(" meV/atom]")
    assert "\r" not in log.getvalue()


def test_progress_lines_come_at_intervals_and_at_the_end(monkeypatch):
    """A line every 5 s of a clock that we set, and the last."""
    clock = iter(np.arange(0.0, 100.0, 0.5))
    monkeypatch.setattr("dft2spectra.dynamics.progress.time.monotonic", lambda: next(clock))
    log = io.StringIO()
    meter = Progress(log, "trajectory", 40, initial=0)
    for step in range(1, 41):
        meter.update(step, "300 K", last=step == 40)
    done = [line.split("| ")[1].split("/")[0] for line in log.getvalue().splitlines()]
    assert done == ["10", "20", "30", "40"]
    assert "2.00 steps/s, 300 K" in log.getvalue()


def test_progress_on_a_terminal_stays_in_its_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("dft2spectra.dynamics.progress.TERMINAL_INTERVAL_S", 0.0)
    screen = Terminal()
    meter = Progress(screen, "trajectory", 2)
    meter.update(1, "300 K")
    meter.update(2, "310 K", last=True)
    assert screen.getvalue().count("\n") == 1
    assert screen.getvalue().count("\r") == 2
