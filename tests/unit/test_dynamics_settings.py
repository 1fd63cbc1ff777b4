"""The dynamics section in steps, and time steps that are too long."""

import logging

import pytest
from spring_molecules import SECTION

from dft2spectra.dynamics.settings import check_timestep, read_settings


def test_lengths_in_steps():
    s = read_settings(SECTION)
    assert (s.equilibration_steps, s.spacing_steps, s.trajectory_steps) == (2000, 500, 10000)
    assert s.max_energy_change_ev_per_atom == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature_k", 0),
        ("timestep_fs", float("nan")),
        ("timestep_fs", -0.5),
        ("trajectories", 0),
        ("stride", 0),
        ("equilibration_ps", -1),
        ("trajectory_ps", float("inf")),
        ("trajectory_ps", 1e-5),
    ],
)
def test_impossible_values_name_their_key(key, value):
    with pytest.raises(ValueError, match=key):
        read_settings(SECTION | {key: value})


def test_time_step_against_the_fastest_vibration(caplog):
    """3700 cm⁻¹ has a period of 9.01 fs."""
    with caplog.at_level(logging.WARNING):
        check_timestep(1.12, 3700.0)
        assert not caplog.records
        check_timestep(1.13, 3700.0)
    assert "fewer than 8 steps per period (9.0 fs)" in caplog.text
    with pytest.raises(ValueError, match=r"take 0\.45 fs"):
        check_timestep(2.9, 3700.0)
