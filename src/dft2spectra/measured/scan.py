"""Where a phase would fit into what a model leaves over: starts of a fit, and a first order.

All templates are what a small area of the phase would add to the counts of the present model, thick
absorber and source included. Gain is the fall of χ² that an area ≥ 0 would bring while everything
that the model can change is free to answer, to first order.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from dft2spectra.measured import absorber
from dft2spectra.measured.fit import Fit
from dft2spectra.measured.model import Model
from dft2spectra.measured.patterns import SEXTET_PER_SHIFT, SEXTET_PER_T
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.measured.spectrum import Spectrum

# Points of the prior of each phase that are tried, beside its mean, at most ±2 σ.
SAMPLES = 24
LINE_STEP_MM_S = 0.05
FARTHEST_LINE_MM_S = 12.5
# Widths of absorber lines that an unknown phase is looked for with.
SCAN_WIDTHS_MM_S = (0.14, 0.5)


@dataclass(frozen=True)
class Start:
    """A phase with values of its parameters to start a fit from, by their names in the phase."""

    phase: PhasePrior
    values: dict[str, float]
    score: float
    area: float


class Scanner:
    """What a fit leaves over, and the directions that its own parameters cover."""

    def __init__(self, found: Fit, spectrum: Spectrum) -> None:
        self.found, self.spectrum = found, spectrum
        model = found.model
        used, sigma = spectrum.used, spectrum.sigma[spectrum.used]
        _, jacobian = model.evaluate(found.values)
        table = jacobian[used] / sigma[:, None]
        table = table / np.maximum(np.linalg.norm(table, axis=0), 1e-300)
        left, singular, _ = np.linalg.svd(table, full_matrices=False)
        self.basis = left[:, singular > 1e-6 * singular[0]]
        self.left_over = self._free((spectrum.counts - found.counts)[used] / sigma)
        velocity = model.velocity(found.values)
        self.first, self.weights = absorber.interpolation(model.grid, velocity)
        _, total, _ = model.transforms(found.values)
        x = absorber.to_energies(model.grid, total)
        _, self.by_x, _ = absorber.saturated(x, found["saturation"])
        self.source, _ = absorber.source_transform(model.grid, model.fitted_source(found.values))

    def _free(self, columns: np.ndarray) -> np.ndarray:
        """The part of columns (n, ...) that the parameters of the model cannot imitate."""
        return columns - self.basis @ (self.basis.T @ columns)

    def columns(self, transforms: np.ndarray) -> np.ndarray:
        """Weighted, freed templates (n, k) of transforms (k, frequencies) of area 1."""
        grid, used = self.found.model.grid, self.spectrum.used
        energies = absorber.to_energies(grid, transforms) * self.by_x
        seen = absorber.to_frequencies(grid, energies) * self.source
        values = absorber.at(absorber.to_energies(grid, seen), self.first, self.weights)
        values = -self.found["baseline"] * values[:, used] / self.spectrum.sigma[used]
        return self._free(values.T)

    def gains(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fall of χ² and area for each template."""
        overlap, norm = columns.T @ self.left_over, np.sum(columns**2, axis=0)
        area = np.maximum(overlap, 0.0) / np.maximum(norm, 1e-300)
        return area * np.maximum(overlap, 0.0), area

    def phase(self, phase: PhasePrior) -> Start:
        """Best of some points of the prior of a phase."""
        own = self.found.model
        model = Model(own.instrument, [phase], self.found["baseline"], own.area_range, own.n_points)
        names = [
            p.name
            for p in model.parameters
            if not p.common and p.name.rsplit(".", 1)[1] in ("shift", "quadrupole", "field")
        ]
        index = [model.index[name] for name in names]
        priors = [model.parameters[i].prior for i in index]
        mean, sigma = (np.array([getattr(p, key) for p in priors]) for key in ("mean", "sigma"))
        points = np.zeros((1, len(names)))
        wide = float(np.max(sigma / np.array([model.parameters[i].step for i in index])))
        n_samples = SAMPLES * (1 if wide < 8.0 else 8)
        cube = qmc.Halton(len(names), scramble=False).random(n_samples + 1)[1:]
        points = np.concatenate([points, 4.0 * cube - 2.0])
        start = model.start()
        for name, i in own.index.items():
            if name in model.index and "." not in name.replace("source.", ""):
                start[model.index[name]] = self.found.values[i]
        transforms = np.empty((len(points), len(model.frequency)), complex)
        trial = start.copy()
        trial[model.index["0.area"]] = 1.0
        rows = np.empty((len(points), len(names)))
        for k, point in enumerate(points):
            low = np.array([p.low for p in priors])
            high = np.array([p.high for p in priors])
            rows[k] = np.clip(mean + sigma * point, low, high)
            trial[index] = rows[k]
            transforms[k] = model.transforms(trial)[1]
        gain, area = self.gains(self.columns(transforms))
        score = 0.5 * gain - 0.5 * np.sum(points**2, axis=1)
        best = int(np.argmax(score))
        values = {name.split(".", 1)[1]: rows[best, j] for j, name in enumerate(names)}
        return Start(phase, values, float(score[best]), float(area[best]))

    def unknown(self, phase: PhasePrior, most: int = 2) -> list[Start]:
        """Best places of a phase of one site with flat priors, well apart from each other."""
        grid = self.found.model.grid
        positions = np.arange(-FARTHEST_LINE_MM_S, FARTHEST_LINE_MM_S, LINE_STEP_MM_S)
        bare = absorber.phases(grid, positions + self.found.model.offset(self.found.values))
        shift = np.arange(-0.5, 1.7, 0.06)
        if phase.sites[0].kind == "sextet":
            field, quadrupole = np.arange(4.0, 58.0, 0.6), np.arange(-0.8, 1.01, 0.2)
            shares = np.array([3.0, 2.0, 1.0, 1.0, 2.0, 3.0]) / 12.0
        elif phase.sites[0].kind == "doublet":
            field, quadrupole = np.zeros(1), np.arange(0.06, 4.45, 0.06)
            shares = np.array([0.5, 0.5])
        else:
            field, quadrupole, shares = np.zeros(1), np.zeros(1), np.ones(1)
        d, q, b = (axis.ravel() for axis in np.meshgrid(shift, quadrupole, field, indexing="ij"))
        if len(shares) == 6:
            lines = d[:, None] + b[:, None] * SEXTET_PER_T + q[:, None] * SEXTET_PER_SHIFT
        else:
            lines = d[:, None] + q[:, None] * (np.arange(len(shares)) - (len(shares) - 1) / 2.0)
        place = np.rint((lines + FARTHEST_LINE_MM_S) / LINE_STEP_MM_S).astype(int)
        kept = np.all((place >= 0) & (place < len(positions)), axis=1)
        place, d, q, b = place[kept], d[kept], q[kept], b[kept]
        found: list[Start] = []
        for width in SCAN_WIDTHS_MM_S:
            table = self.columns(bare * absorber.lorentzian(grid, width))
            overlap, gram = table.T @ self.left_over, table.T @ table
            along = overlap[place] @ shares
            norm = np.zeros(len(place))
            for i, share in enumerate(shares):
                for j, other in enumerate(shares):
                    norm += share * other * gram[place[:, i], place[:, j]]
            area = np.maximum(along, 0.0) / np.maximum(norm, 1e-6 * norm.max())
            score = 0.5 * area * np.maximum(along, 0.0)
            for k in np.argsort(-score)[:400]:
                values = {"0.shift": d[k], "0.log_width": math.log(width)}
                if len(shares) > 1:
                    values["0.quadrupole"] = q[k]
                if len(shares) == 6:
                    values["0.field"] = b[k]
                found.append(Start(phase, values, float(score[k]), float(area[k])))
        found.sort(key=lambda start: -start.score)
        chosen: list[Start] = []
        for start in found:
            if all(_apart(start, other) for other in chosen):
                chosen.append(start)
            if len(chosen) == most:
                break
        return chosen


def _apart(one: Start, other: Start) -> bool:
    return (
        abs(one.values["0.shift"] - other.values["0.shift"]) > 0.25
        or abs(one.values.get("0.quadrupole", 0.0) - other.values.get("0.quadrupole", 0.0)) > 0.3
        or abs(one.values.get("0.field", 0.0) - other.values.get("0.field", 0.0)) > 2.5
    )
