"""Mixtures of known contents: do errors cover, do false phases stay away, are missing ones seen?"""

import numpy as np
import pytest
from mossbauer_counts import instrument, simulate
from scipy.stats import binom

from dft2spectra.measured.calibration import AREA_RANGE, absorbed
from dft2spectra.measured.identify import identify_phases
from dft2spectra.measured.library import bundled_phases
from dft2spectra.measured.model import Instrument
from dft2spectra.measured.phases import Prior
from dft2spectra.measured.tables import shares

LIBRARY, _ = bundled_phases()
# Candidates that are no solid solution and whose lines differ from each other's.
NAMES = ("Fe", "Fe2B", "Fe2O3", "Fe3Al", "Fe3Si", "FeAl", "FeCO3", "FeS-troilite", "FeS2-pyrite")
NAMES += ("FeTi", "FeTiO3", "FeSn2", "YFe2", "goethite", "fayalite")


def one_mixture(seed: int, left_out: bool) -> dict[str, list]:
    """Deviations of the areas in errors, false phases, and whether a missing phase is unknown."""
    rng = np.random.default_rng(seed)
    library = [phase for phase in LIBRARY if phase.name in NAMES]
    chosen = rng.choice(len(library), size=rng.integers(1, 5), replace=False)
    contents = [library[i] for i in chosen]
    areas = rng.uniform(0.03, 0.2, size=len(contents))
    spectrum, _, _ = simulate(contents, list(areas), rng, counts=float(rng.uniform(2e5, 2e6)))
    if left_out:
        library = [phase for phase in library if phase.name != contents[0].name]
    free = (
        ("folding_channel", Prior(256.0, 3.0, 0.0, 512.0)),
        ("lag", Prior(0.0, 0.02, -0.2, 0.2)),
    )
    ideal = instrument()
    settings = Instrument(ideal.drive, None, ideal.offset_mm_s, free=free)
    area = AREA_RANGE * absorbed(spectrum)
    result = identify_phases(spectrum, (settings,), library, area)
    names = [phase.name for phase in result.found.model.phases]
    truth = dict(zip([phase.name for phase in contents], areas / areas.sum(), strict=True))
    value, gradient = shares(result.found, np.ones(len(names)))
    covariance = result.found.statistical + result.found.prior
    error = np.sqrt(np.einsum("ij,jk,ik->i", gradient, covariance, gradient))
    right = set(names) == set(truth) and len(names) > 1
    return {
        "pulls": [(value[i] - truth[n]) / error[i] for i, n in enumerate(names)] if right else [],
        "sure": [p.probability > 0.9 for p in result.presence],
        "false": [
            phase.known and phase.name not in truth and p.probability > 0.9
            for phase, p in zip(result.found.model.phases, result.presence, strict=True)
        ],
        "unknown": [any(name.startswith("unknown") for name in names)] if left_out else [],
    }


def gathered(seeds: range, left_out: bool = False) -> dict[str, np.ndarray]:
    found = [one_mixture(seed, left_out) for seed in seeds]
    return {key: np.array([x for one in found for x in one[key]]) for key in found[0]}


@pytest.mark.slow
def test_a_few_mixtures():
    found = gathered(range(2))
    assert not found["false"].any()
    assert np.all(np.abs(found["pulls"]) < 4.0)


@pytest.mark.slow
def test_intervals_cover_and_false_phases_are_rare():
    """150 mixtures: 68 and 95 % of the areas within 1 and 1.96 errors, by binomial limits."""
    found = gathered(range(100, 250))
    n = len(found["pulls"])
    print(f"{n} areas, {found['false'].sum()} false of {found['sure'].sum()} sure")
    for level, limit in ((0.683, 1.0), (0.95, 1.96)):
        inside = int(np.sum(np.abs(found["pulls"]) < limit))
        print(f"within {limit} errors: {inside / n:.3f}")
        low, high = binom.interval(0.999, n, level)
        assert low <= inside <= high
    assert found["false"].sum() <= 0.05 * found["sure"].sum()


@pytest.mark.slow
def test_a_phase_that_the_library_lacks_comes_back_as_unknown():
    """50 mixtures, one phase of each taken from the library."""
    found = gathered(range(300, 350), left_out=True)
    print(f"unknown in {found['unknown'].mean():.2f}")
    assert found["unknown"].mean() > 0.8
    assert found["false"].sum() <= 0.05 * max(found["sure"].sum(), 20)
