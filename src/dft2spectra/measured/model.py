"""Counts that a sample of phases gives in every channel, with derivatives in all parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dft2spectra.measured import absorber, drive, patterns
from dft2spectra.measured.phases import PhasePrior, Prior, SitePrior

NATURAL_MM_S = 0.097
NATURAL = absorber.Source(NATURAL_MM_S)
# Absorber lines of good samples are this wide, within a factor e^±LOG_WIDTH_SIGMA, unless the
# calibration says otherwise.
WIDTH_MM_S, LOG_WIDTH_SIGMA = 0.14, 0.35
NARROWEST_MM_S, WIDEST_MM_S = 0.04, 2.0
# Standard deviations of its prior that a hyperfine parameter may be off.
FARTHEST_SIGMA = 3.0
SATURATION = Prior(1.4, 1.0, 0.0, 8.0)
TEXTURE = Prior(patterns.POWDER, 0.05, 0.0, 1.0)


@dataclass(frozen=True)
class Instrument:
    """What does not depend on the sample.

    Without a drive, ``velocity_mm_s`` are the velocities of the points. ``offset_mm_s`` is the
    velocity at which α-Fe would lie: it is added to all shifts. ``free`` names the parameters that
    the fit may change, with their priors: those of the drive, ``offset``, for given velocities
    ``maximum`` as a factor on them, and fields of the source as ``source.<field>``. Where
    ``source_open``, nothing is known of the source's line.
    """

    drive: drive.Drive | None
    velocity_mm_s: np.ndarray | None
    offset_mm_s: float
    free: tuple[tuple[str, Prior], ...] = ()
    source: absorber.Source = NATURAL
    source_open: bool = False
    width_mm_s: float = WIDTH_MM_S
    texture: Prior = TEXTURE


@dataclass(frozen=True)
class Parameter:
    """One number of the fit; ``common`` ones are in every model of a spectrum."""

    name: str
    value: float
    prior: Prior
    step: float
    common: bool = False


def cut(prior: Prior) -> Prior:
    """The prior of a hyperfine parameter, ended where it would be that of another phase."""
    if not math.isfinite(prior.sigma):
        return prior
    reach = FARTHEST_SIGMA * prior.sigma
    return replace(
        prior,
        low=max(prior.low, prior.mean - reach),
        high=min(prior.high, prior.mean + reach),
    )


@dataclass(frozen=True)
class Block:
    """Indices of the parameters of a phase; those of its sites by name."""

    area: int
    texture: int
    sites: list[dict[str, int]]


class Model:
    """A sample of phases in an instrument, as a function of a vector of parameters.

    ``parameters`` names its entries: background, saturation, instrument, then phase by phase
    (``<number>.area`` and so on). ``evaluate`` gives counts and, if asked, the Jacobian.
    """

    def __init__(
        self,
        instrument: Instrument,
        phases: Sequence[PhasePrior],
        baseline: float,
        area_range: float,
        n_points: int,
    ) -> None:
        self.instrument = instrument
        self.phases = tuple(phases)
        self.n_points = n_points
        self.area_range = area_range
        self.parameters: list[Parameter] = []
        self._common(baseline)
        self.blocks = [self._phase(number, phase) for number, phase in enumerate(self.phases)]
        self.index = {parameter.name: i for i, parameter in enumerate(self.parameters)}
        reach = self._velocity(self.start())[0]
        self.grid = absorber.make_grid(1.05 * reach.min() - 0.5, 1.05 * reach.max() + 0.5)
        self.frequency = self.grid.frequency

    def _add(self, name: str, prior: Prior, step: float, common: bool = False) -> int:
        value = min(max(prior.mean, prior.low), prior.high)
        self.parameters.append(Parameter(name, value, prior, step, common))
        return len(self.parameters) - 1

    def _common(self, baseline: float) -> None:
        free = math.inf
        self._add("baseline", Prior(baseline, free, 0.2 * baseline, 5.0 * baseline), baseline, True)
        if self.instrument.drive is not None:
            self._add("position_effect", Prior(0.0, 0.05, -0.5, 0.5), 1e-3, True)
        self._add("velocity_effect", Prior(0.0, 0.02, -0.5, 0.5), 1e-3, True)
        self._add("saturation", SATURATION, 0.5, True)
        steps = {"folding_channel": 0.1, "lag": 0.01, "bend": 0.001, "cubic": 0.001}
        for name, prior in self.instrument.free:
            self._add(name, prior, steps.get(name, 0.01), True)

    def _phase(self, number: int, phase: PhasePrior) -> Block:
        """Indices of the parameters of a phase."""
        width = self.instrument.width_mm_s
        limits = math.log(NARROWEST_MM_S), math.log(WIDEST_MM_S)
        area = self._add(
            f"{number}.area",
            Prior(0.1 * self.area_range, math.inf, 0.0, self.area_range),
            0.1 * self.area_range,
        )
        texture = self._add(f"{number}.texture", self.instrument.texture, 0.05)
        sites = []
        for i, site in enumerate(phase.sites):
            name = f"{number}.{i}."
            own = {"shift": self._add(name + "shift", cut(site.shift), 0.02)}
            if site.quadrupole is not None:
                own["quadrupole"] = self._add(name + "quadrupole", cut(site.quadrupole), 0.02)
            if site.field is not None:
                own["field"] = self._add(name + "field", cut(site.field), 0.2)
            sigma = LOG_WIDTH_SIGMA if phase.known else 2.0 * LOG_WIDTH_SIGMA
            own["log_width"] = self._add(
                name + "log_width", Prior(math.log(width), sigma, *limits), 0.1
            )
            own["spread"] = self._add(
                name + "spread",
                replace(Prior(0.3 * site.spread, site.spread), low=0.0, high=10.0 * site.spread),
                0.3 * site.spread,
            )
            if phase.free_weights and i > 0:
                own["log_weight"] = self._add(name + "log_weight", Prior(0.0, 1.0, -2.0, 2.0), 0.1)
            sites.append(own)
        return Block(area, texture, sites)

    def start(self) -> np.ndarray:
        """Values to start from: the means of the priors."""
        return np.array([parameter.value for parameter in self.parameters])

    def _get(self, values: np.ndarray, name: str, default: float) -> float:
        i = self.index.get(name) if hasattr(self, "index") else None
        return default if i is None else float(values[i])

    def offset(self, values: np.ndarray) -> float:
        """Velocity at which α-Fe would lie."""
        return self._get(values, "offset", self.instrument.offset_mm_s)

    def fitted_drive(self, values: np.ndarray) -> drive.Drive | None:
        """The drive with the values of the fit."""
        ideal = self.instrument.drive
        if ideal is None:
            return None
        return replace(
            ideal,
            maximum_mm_s=self._get(values, "maximum", ideal.maximum_mm_s),
            folding_channel=self._get(values, "folding_channel", ideal.folding_channel),
            lag=self._get(values, "lag", ideal.lag),
            bend=self._get(values, "bend", ideal.bend),
            cubic=self._get(values, "cubic", ideal.cubic),
        )

    def fitted_source(self, values: np.ndarray) -> absorber.Source:
        """The source with the values of the fit."""
        changed = {
            name.removeprefix("source."): float(values[self.index[name]])
            for name, _ in self.instrument.free
            if name.startswith("source.")
        }
        return replace(self.instrument.source, **changed)

    def _velocity(self, values: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Velocities, their derivatives by name, shapes of the background (k, n)."""
        fitted = self.fitted_drive(values)
        if fitted is not None:
            velocity, slopes = drive.velocities(fitted)
            return velocity, slopes, drive.background(fitted)
        given = self.instrument.velocity_mm_s
        assert given is not None
        largest = np.abs(given).max()
        u = given / largest
        factor, bend, cubic = (
            self._get(values, name, default)
            for name, default in (("maximum", 1.0), ("bend", 0.0), ("cubic", 0.0))
        )
        bends = {"bend": largest * u**2, "cubic": largest * (u**3 - u)}
        velocity = factor * given + bend * bends["bend"] + cubic * bends["cubic"]
        return velocity, {"maximum": given, **bends}, np.array([np.ones_like(u), u])

    def velocity(self, values: np.ndarray) -> np.ndarray:
        """Velocity of every point in mm/s, relative to the source."""
        return self._velocity(values)[0]

    def weights(self, values: np.ndarray, number: int) -> np.ndarray:
        """Shares of the sites of a phase in its area."""
        phase, block = self.phases[number], self.blocks[number]
        weights = np.array([site.weight for site in phase.sites], float)
        for i, own in enumerate(block.sites):
            if "log_weight" in own:
                weights[i] *= math.exp(values[own["log_weight"]])
        return weights / weights.sum()

    def _site(
        self, site: SitePrior, own: dict[str, int], texture: float, values: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Transform of a site of area 1 and its derivatives by parameter."""
        f = self.frequency
        lines = patterns.site_lines(
            site.kind,
            float(values[own["shift"]]) + self.offset(values),
            float(values[own["quadrupole"]]) if "quadrupole" in own else 0.0,
            float(values[own["field"]]) if "field" in own else 0.0,
            texture,
            site.orbits,
        )
        width, spread = math.exp(values[own["log_width"]]), float(values[own["spread"]])
        if "field" in own:
            along = lines.by_field
        else:
            along = lines.by_quadrupole if "quadrupole" in own else np.ones(1)
        shape = absorber.phases(self.grid, lines.position)
        if spread > 0.0:
            # Lines that a distribution broadens alike share one exponential.
            sizes, which = np.unique(np.round(along**2, 12), return_inverse=True)
            damped = np.exp(-2.0 * (np.pi * spread) ** 2 * sizes[:, None] * f**2)
            shape *= damped[which]
        shape *= absorber.lorentzian(self.grid, width)
        i = lines.intensity
        rows = np.array(
            [
                i,
                i * lines.by_quadrupole,
                lines.intensity_by_quadrupole,
                i * lines.by_field,
                lines.intensity_by_field,
                i * along**2,
                lines.intensity_by_texture,
            ]
        )
        x, x_q, i_q, x_b, i_b, x_s, x_t = rows @ shape
        turn = -2j * np.pi * f
        slopes = {
            "shift": turn * x,
            "log_width": -np.pi * width * f * x,
            "spread": turn**2 * spread * x_s,
            "texture": x_t,
        }
        if "quadrupole" in own:
            slopes["quadrupole"] = turn * x_q + i_q
        if "field" in own:
            slopes["field"] = turn * x_b + i_b
        return x, slopes

    def transforms(
        self, values: np.ndarray
    ) -> tuple[list[list[np.ndarray]], np.ndarray, dict[int, np.ndarray]]:
        """Transforms of all sites at area 1, of the sum, and derivatives of the sum by index."""
        sites: list[list[np.ndarray]] = []
        total = np.zeros(len(self.frequency), complex)
        slopes: dict[int, np.ndarray] = {}
        for number, (phase, block) in enumerate(zip(self.phases, self.blocks, strict=True)):
            area, texture = values[block.area], values[block.texture]
            weights = self.weights(values, number)
            found = [
                self._site(site, own, float(texture), values)
                for site, own in zip(phase.sites, block.sites, strict=True)
            ]
            mean = sum(w * x for w, (x, _) in zip(weights, found, strict=True))
            total += area * mean
            slopes[block.area] = mean
            by_texture = np.zeros_like(total)
            for weight, own, (x, own_slopes) in zip(weights, block.sites, found, strict=True):
                by_texture += area * weight * own_slopes.pop("texture")
                for key, slope in own_slopes.items():
                    slopes[own[key]] = area * weight * slope
                if "log_weight" in own:
                    slopes[own["log_weight"]] = area * weight * (x - mean)
            slopes[block.texture] = by_texture
            sites.append([x for x, _ in found])
        return sites, total, slopes

    def evaluate(self, values: np.ndarray, jacobian: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Counts (n,) and, if asked, the Jacobian (n, parameters), else an empty array."""
        velocity, drive_slopes, shapes = self._velocity(values)
        first, weights = absorber.interpolation(self.grid, velocity)
        _, total, slopes = self.transforms(values)
        saturation = float(values[self.index["saturation"]])
        x = absorber.to_energies(self.grid, total)
        y, by_x, by_saturation = absorber.saturated(x, saturation)
        source, source_slopes = absorber.source_transform(self.grid, self.fitted_source(values))
        bare = absorber.to_frequencies(self.grid, y)
        seen = bare * source
        transmission = 1.0 - absorber.at(absorber.to_energies(self.grid, seen), first, weights)
        effects = [k for k in ("position_effect", "velocity_effect") if k in self.index]
        baseline = values[self.index["baseline"]]
        relative = 1.0 + sum(
            values[self.index[key]] * shape for key, shape in zip(effects, shapes[1:], strict=True)
        )
        counts = baseline * relative * transmission
        if not jacobian:
            return counts, np.empty(0)
        out = np.zeros((self.n_points, len(values)))
        out[:, self.index["baseline"]] = relative * transmission
        for key, shape in zip(effects, shapes[1:], strict=True):
            out[:, self.index[key]] = baseline * shape * transmission
        level = baseline * relative
        order = list(slopes)
        moved = np.array([slopes[i] for i in order] + [-2j * np.pi * self.frequency * total])
        # The last one moves all lines up together.
        energies = absorber.to_energies(self.grid, moved)
        stack = np.concatenate([energies * by_x, by_saturation[None]])
        back = absorber.to_frequencies(self.grid, stack) * source
        columns = absorber.at(absorber.to_energies(self.grid, back), first, weights)
        for i, column in zip(order, columns, strict=False):
            out[:, i] = -level * column
        out[:, self.index["saturation"]] = -level * columns[-1]
        by_shift = -level * columns[-2]
        for name, _ in self.instrument.free:
            if name == "offset":
                out[:, self.index[name]] = by_shift
            elif name.startswith("source."):
                moved_line = bare * source_slopes[name.removeprefix("source.")]
                moved_line = absorber.to_energies(self.grid, moved_line)
                out[:, self.index[name]] = -level * absorber.at(moved_line, first, weights)
            else:
                out[:, self.index[name]] = -by_shift * drive_slopes[name]
        # The background moves with the drive, by far less than its own errors.
        return counts, out

    def curves(self, values: np.ndarray, velocity_mm_s: np.ndarray) -> list[list[np.ndarray]]:
        """Absorption of every site of every phase at any velocities, as parts of the baseline.

        In a thick absorber the sites share what they absorb together in proportion to what each
        would absorb alone, energy by energy; the sum is the absorption that is seen.
        """
        first, weights = absorber.interpolation(self.grid, velocity_mm_s)
        sites, total, _ = self.transforms(values)
        x = absorber.to_energies(self.grid, total)
        y, _, _ = absorber.saturated(x, float(values[self.index["saturation"]]))
        share = np.where(np.abs(x) > 1e-12, y / np.where(np.abs(x) > 1e-12, x, 1.0), 1.0)
        source, _ = absorber.source_transform(self.grid, self.fitted_source(values))
        result = []
        for number, block in enumerate(self.blocks):
            area = values[block.area]
            rows = []
            for weight, site in zip(self.weights(values, number), sites[number], strict=True):
                own = absorber.to_energies(self.grid, area * weight * site) * share
                seen = absorber.to_frequencies(self.grid, own) * source
                rows.append(absorber.at(absorber.to_energies(self.grid, seen), first, weights))
            result.append(rows)
        return result
