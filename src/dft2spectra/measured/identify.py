"""Which phases a spectrum shows: a search over sets of phases, judged by their evidence.

A set of phases is a model with an evidence (:mod:`dft2spectra.measured.fit`). Each phase of the
library is expected with equal odds, one phase in all, so that every phase costs the logarithm of
their number; a stand-in for an unknown phase costs more. From nothing, the phase is added that
raises the evidence most, as long as one does; after each step phases that the evidence no longer
asks for are taken out. Stand-ins compete at every step. A fit that no set describes within the
errors of the counts has these errors raised to its own misfit, so that nothing is found in it that
only mends the shape of lines.

For every phase found, the sets without it and with another candidate in its place are fitted, too.
Their evidence gives the probability that the phase is there, and the candidates that could stand
for it within the errors: its confusable set.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from dft2spectra.measured.calibration import with_free_source
from dft2spectra.measured.fit import Fit, fit, inflation, start_areas
from dft2spectra.measured.library import unknown_phase
from dft2spectra.measured.model import Instrument, Model
from dft2spectra.measured.patterns import POWDER, site_lines
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.measured.scan import Scanner, Start
from dft2spectra.measured.spectrum import Spectrum

# Most phases of a sample, and candidates that are fitted at each step of the search.
MOST_PHASES, FITTED = 7, 4
# Logarithm of the odds that a stand-in pays more than a phase of the library.
UNKNOWN_COST = 2.0
# Least logarithm of the odds at which a phase is taken.
LEAST_ODDS = 0.0
# Probability relative to the phase found from which another one is confusable with it.
CONFUSABLE = 0.05
QUICK_STEPS = 25
# Standard deviations of its prior from which a hyperfine parameter is that of another phase than
# the library means; the fit ends at 3.
FARTHEST = 2.95
# Logarithm of the odds against a set with such a phase, or with one under another. While phases are
# still missing, what is left of them may push a parameter that far, and χ² outweighs this.
IMPLAUSIBLE_COST = 30.0
# Depth of the absorption from which the shape of the source's line can be told from it.
DEEP = 0.15
# Part of the width of lines by which two phases have to differ in one line at least.
RESOLVED = 0.6
# Rounds in which a phase may give way to a better one.
MOST_SWAPS = 3
# Above this inflation phases are missing, and the one that explains most is taken with the errors
# of the counts, if χ² falls by this part at least.
INCOMPLETE, LEAST_FALL = 5.0, 0.03

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Presence:
    """How sure a phase is, and which ones could stand for it with which relative probability."""

    probability: float
    confusable: dict[str, float]


@dataclass(frozen=True)
class Identification:
    """The best set of phases, fitted, and how sure each of them is.

    ``margin`` is the logarithm of the odds of its instrument against the next best one.
    """

    found: Fit
    presence: list[Presence]
    inflation: float
    margin: float = math.inf


class Search:
    """Fits of sets of phases to one spectrum."""

    def __init__(
        self,
        spectrum: Spectrum,
        instrument: Instrument,
        candidates: Sequence[PhasePrior],
        area_range: float,
    ) -> None:
        self.spectrum, self.instrument = spectrum, instrument
        known = {name for name, _ in instrument.free}
        # An uncalibrated spectrum whose absorption is deep shows the line of the source as well.
        self.source_open = (
            instrument.source_open and spectrum.depth > DEEP and ("source.share" not in known)
        )
        self.candidates = list(candidates)
        self.area_range = area_range
        self.cost = math.log(max(len(self.candidates), 2))

    def model(self, phases: Sequence[PhasePrior]) -> Model:
        """Model of a set of phases."""
        n_points = len(self.spectrum.counts)
        baseline = self.spectrum.baseline
        return Model(self.instrument, phases, baseline, self.area_range, n_points)

    def odds(self, found: Fit, inflation: float) -> float:
        """Logarithm of the probability of a set, up to a constant."""
        unknown = sum(not phase.known for phase in found.model.phases)
        cost = self.cost * len(found.model.phases) + UNKNOWN_COST * unknown
        cost += IMPLAUSIBLE_COST * (strange(found) + unresolved(found))
        return found.log_evidence(inflation) - cost

    def empty(self) -> Fit:
        """Fit of the background alone."""
        return fit(self.model([]), self.spectrum)

    def added(self, old: Fit, start: Start, steps: int = QUICK_STEPS) -> Fit:
        """Fit of the phases of ``old`` and one more."""
        model = self.model([*old.model.phases, start.phase])
        values = model.start()
        for name, i in old.model.index.items():
            values[model.index[name]] = old.values[i]
        number = len(old.model.phases)
        for name, value in start.values.items():
            values[model.index[f"{number}.{name}"]] = value
        values[model.index[f"{number}.area"]] = start.area
        return fit(model, self.spectrum, start_areas(model, values, self.spectrum), 1.0, steps)

    def without(self, old: Fit, number: int, steps: int = QUICK_STEPS) -> Fit:
        """Fit of the phases of ``old`` but one."""
        phases = [phase for k, phase in enumerate(old.model.phases) if k != number]
        model = self.model(phases)
        values = model.start()
        for name, i in old.model.index.items():
            head, _, tail = name.partition(".")
            if head.isdigit():
                if int(head) == number:
                    continue
                name = f"{int(head) - (int(head) > number)}.{tail}"
            values[model.index[name]] = old.values[i]
        return fit(model, self.spectrum, start_areas(model, values, self.spectrum), 1.0, steps)

    def starts(self, found: Fit, known: int, unknown: int) -> list[Start]:
        """The most promising phases to add."""
        scanner = Scanner(found, self.spectrum)
        present = {phase.name for phase in found.model.phases}
        series = {phase.series for phase in found.model.phases} - {""}
        starts = [
            scanner.phase(phase)
            for phase in self.candidates
            if phase.name not in present and phase.series not in series
        ]
        starts = sorted(starts, key=lambda start: -start.score)[:known]
        if unknown > 0:
            for kind in ("sextet", "doublet", "singlet"):
                starts.extend(scanner.unknown(unknown_phase(kind), unknown))
        return [start for start in starts if start.score > 0.0 and start.area > 0.0]

    def run(self) -> Fit:
        """The set with the highest odds that adding and removing phases finds."""
        best = self.empty()
        while len(best.model.phases) < MOST_PHASES:
            if self.source_open and best.model.phases:
                best = self.with_source(best)
            trials = [self.added(best, start) for start in self.starts(best, FITTED, 1)]
            if not trials:
                break
            level = self.inflation(min(trials, key=lambda trial: trial.chi2_total))
            incomplete = level > INCOMPLETE
            level = 1.0 if incomplete else level
            better = max(trials, key=lambda trial: self.odds(trial, level))
            if self.odds(better, level) - self.odds(best, level) < LEAST_ODDS:
                break
            if incomplete and better.chi2 > (1.0 - LEAST_FALL) * best.chi2:
                break
            logger.info(
                "added %s, reduced χ² %.3f", better.model.phases[-1].name, better.chi2_reduced
            )
            best = self.pruned(better, self.inflation(better))
        return fit(best.model, self.spectrum, best.values)

    def with_source(self, found: Fit) -> Fit:
        """The fit, with the line of the source free from here on where that mends it."""
        better = with_free_source(found, self.spectrum)
        if better is not found:
            logger.info("source fitted, reduced χ² %.3f", better.chi2_reduced)
            self.instrument, self.source_open = better.model.instrument, False
        return better

    def inflation(self, found: Fit) -> float:
        """Factor on the variances of the counts that the misfit of a model asks for."""
        return inflation(found, self.spectrum)

    def pruned(self, found: Fit, inflation: float) -> Fit:
        """The fit without the phases that its evidence does not ask for."""
        while len(found.model.phases) > 1:
            fewer = [self.without(found, number) for number in range(len(found.model.phases) - 1)]
            best = max(fewer, key=lambda trial: self.odds(trial, inflation))
            if self.odds(best, inflation) < self.odds(found, inflation):
                break
            logger.info("a phase was taken out again, reduced χ² %.3f", best.chi2_reduced)
            found = best
        return found

    def rivals(self, found: Fit, number: int) -> list[Fit]:
        """Fits without one phase, and with other phases in its place."""
        less = self.without(found, number)
        own = found.model.phases[number].name
        starts = [start for start in self.starts(less, FITTED, 1) if start.phase.name != own]
        return [less, *(self.added(less, start) for start in starts)]

    def settled(self, found: Fit) -> tuple[Fit, list[Presence], float]:
        """The fit after phases gave way to better ones, and how sure each phase is."""
        for swap in range(MOST_SWAPS + 1):
            level = self.inflation(found)
            rivals = [self.rivals(found, number) for number in range(len(found.model.phases))]
            best = max(
                (rival for those in rivals for rival in those),
                key=lambda rival: self.odds(rival, level),
                default=found,
            )
            if swap == MOST_SWAPS or self.odds(best, level) <= self.odds(found, level) + 0.1:
                break
            found = fit(best.model, self.spectrum, best.values)
            logger.info("exchanged for %s", ", ".join(p.name for p in found.model.phases))
        return found, [self.presence(found, those, level) for those in rivals], level

    def presence(self, found: Fit, rivals: Sequence[Fit], level: float) -> Presence:
        """How sure a phase is, from the fits without it; the first has nothing in its place."""
        own = self.odds(found, level)
        odds = [self.odds(rival, level) for rival in rivals]
        others: dict[str, float] = {}
        for rival, value in zip(rivals[1:], odds[1:], strict=True):
            name = rival.model.phases[-1].name
            others[name] = max(value, others.get(name, -math.inf))
        total = logsumexp([own, odds[0], *others.values()])
        confusable = {
            name: float(np.exp(min(value - own, 0.0)))
            for name, value in sorted(others.items(), key=lambda item: -item[1])
            if value - own > math.log(CONFUSABLE)
        }
        return Presence(float(np.exp(own - total)), confusable)


def strange(found: Fit) -> bool:
    """Whether a phase of the library would have to be one with other hyperfine parameters."""
    for number, phase in enumerate(found.model.phases):
        if not phase.known:
            continue
        for parameter in found.model.parameters:
            head, _, tail = parameter.name.partition(".")
            if head == str(number) and tail.endswith(("shift", "quadrupole", "field")):
                off = found[parameter.name] - parameter.prior.mean
                if abs(off) > FARTHEST * parameter.prior.sigma:
                    return True
    return False


def unresolved(found: Fit) -> bool:
    """Whether a phase lies under another one, line by line, closer than their widths resolve.

    Such a pair is one phase with a shape of lines that the model does not know, or two that the
    spectrum cannot tell apart: either way it names one of them, and the other as confusable.
    """
    sites = [
        [_lines(found, number, i) for i in range(len(phase.sites))]
        for number, phase in enumerate(found.model.phases)
    ]
    return any(
        all(any(_covers(one, other) for other in others) for one in own)
        for i, own in enumerate(sites)
        for j, others in enumerate(sites)
        if i != j
    )


def _lines(found: Fit, number: int, i: int) -> tuple[np.ndarray, float]:
    """Positions of the lines of a site and their width as seen."""
    site, prefix = found.model.phases[number].sites[i], f"{number}.{i}."
    quadrupole = found[prefix + "quadrupole"] if site.quadrupole is not None else 0.0
    field = found[prefix + "field"] if site.field is not None else 0.0
    lines = site_lines(site.kind, found[prefix + "shift"], quadrupole, field, POWDER, site.orbits)
    source = found.model.fitted_source(found.values).width_mm_s
    return lines.position, math.exp(found[prefix + "log_width"]) + source


def _covers(one: tuple[np.ndarray, float], other: tuple[np.ndarray, float]) -> bool:
    """Whether the lines of two sites coincide, each with its nearest."""
    if (len(one[0]) > 2) != (len(other[0]) > 2):
        return False
    apart = np.abs(one[0][:, None] - other[0][None, :])
    farthest = max(apart.min(axis=0).max(), apart.min(axis=1).max())
    return bool(farthest < RESOLVED * 0.5 * (one[1] + other[1]))


def identify_phases(
    spectrum: Spectrum,
    instruments: Sequence[Instrument],
    candidates: Sequence[PhasePrior],
    area_range: float,
) -> Identification:
    """The phases of a spectrum, fitted together, each with its probability and its rivals.

    Parameters
    ----------
    instruments
        Velocity scale, source and what of them is free; several where it is open, the sign of the
        velocity for example, of which the one is taken under which the phases fit best.
    candidates
        The library.
    area_range
        Largest area of a phase in mm/s.
    """
    searches = [Search(spectrum, one, candidates, area_range) for one in instruments]
    tried = [search.run() for search in searches]
    common = min(search.inflation(found) for search, found in zip(searches, tried, strict=True))
    odds = [search.odds(found, common) for search, found in zip(searches, tried, strict=True)]
    order = np.argsort(odds)
    best = int(order[-1])
    margin = float(odds[best] - odds[order[-2]]) if len(odds) > 1 else math.inf
    search = searches[best]
    found, presence, level = search.settled(tried[best])
    found = fit(found.model, spectrum, found.values, level)
    return Identification(found, presence, level, margin)
