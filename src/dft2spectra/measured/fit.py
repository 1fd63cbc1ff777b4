"""Least squares with priors: best values, their covariance, and the evidence of a model.

The sum that is made least is χ² = Σ (counts − model)²/σ² + Σ (value − mean)²/σ_prior². At the
minimum the Hessian H = JᵀJ of both parts gives, in the Gaussian approximation (Laplace; D. S. Sivia
and J. Skilling, Data Analysis, Oxford 2006, ch. 4),

* the covariance H⁻¹, split into what the counts and what the priors contribute: with F the part of
  H from the counts and P that of the priors, H⁻¹ F H⁻¹ + H⁻¹ P H⁻¹ = H⁻¹;
* the logarithm of the evidence, −χ²/2 + ½ ln det 2πH⁻¹ − Σ ln(volume of each prior). Parameters
  that all models of a spectrum share leave out their volume.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

from dft2spectra.measured.model import Model
from dft2spectra.measured.spectrum import Spectrum

# Distance in mm/s over which the residuals of a line that is badly described go together.
CORRELATION_MM_S = 0.35
# Below this the sum of their correlations is what chance gives; its σ is 0.2 for 512 channels.
LEAST_INFLATION = 1.35
# Steps of the search; what needs more does not converge.
MOST_STEPS = 60


@dataclass(frozen=True)
class Fit:
    """A model at its best values.

    ``statistical`` and ``prior`` are the two parts of the covariance, both (p, p). ``information``
    is JᵀJ of the counts, ``inflation`` the factor on their variances under which the fit was made.
    """

    model: Model
    values: np.ndarray
    counts: np.ndarray
    residuals: np.ndarray
    chi2: float
    chi2_total: float
    statistical: np.ndarray
    prior: np.ndarray
    information: np.ndarray
    inflation: float

    @property
    def degrees_of_freedom(self) -> int:
        """Points minus parameters."""
        return max(len(self.residuals) - len(self.values), 1)

    @property
    def chi2_reduced(self) -> float:
        """χ² of the counts with their own errors, per degree of freedom."""
        return self.chi2 / self.degrees_of_freedom

    def log_evidence(self, inflation: float = 1.0) -> float:
        """Logarithm of the evidence, the variances of all counts multiplied by ``inflation``."""
        _, weight = prior_rows(self.model)
        hessian = self.information * (self.inflation / inflation) + np.diag(weight**2)
        scale = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
        scaled = hessian / np.outer(scale, scale) + 1e-12 * np.eye(len(scale))
        log_det = np.linalg.slogdet(scaled)[1] + 2.0 * float(np.sum(np.log(scale)))
        priors = self.chi2_total - self.chi2 / self.inflation
        volumes = sum(p.prior.log_volume for p in self.model.parameters if not p.common)
        half = 0.5 * len(scale) * math.log(2.0 * math.pi)
        return -0.5 * (self.chi2 / inflation + priors + log_det) + half - volumes

    def __getitem__(self, name: str) -> float:
        return float(self.values[self.model.index[name]])

    def error(self, name: str) -> float:
        """Standard error of a parameter, both parts."""
        i = self.model.index[name]
        return float(np.sqrt(max(self.statistical[i, i] + self.prior[i, i], 0.0)))


def prior_rows(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Means and inverse σ of all priors; the latter is zero where the prior is flat."""
    mean = np.array([parameter.prior.mean for parameter in model.parameters])
    mean = np.where([p.name.endswith(".spread") for p in model.parameters], 0.0, mean)
    sigma = np.array([parameter.prior.sigma for parameter in model.parameters])
    return mean, np.where(np.isfinite(sigma), 1.0 / sigma, 0.0)


def start_areas(model: Model, values: np.ndarray, spectrum: Spectrum) -> np.ndarray:
    """Values with the areas and the baseline that fit best while all else stays: linear, ≥ 0."""
    used, sigma = spectrum.used, spectrum.sigma[spectrum.used]
    areas = [block.area for block in model.blocks]
    values = values.copy()
    values[areas] = np.maximum(values[areas], 1e-4 * model.area_range)
    for _ in range(3):  # the absorption of a thick sample is not linear in the areas
        counts, jacobian = model.evaluate(values)
        columns = [model.index["baseline"], *areas]
        table = jacobian[used][:, columns] / sigma[:, None]
        wanted = (spectrum.counts - counts)[used] / sigma + table @ values[columns]
        scale = np.linalg.norm(table, axis=0)
        found, _ = nnls(table / scale, wanted)
        values[columns] = np.maximum(found / scale, [1.0] + [1e-6] * len(areas))
    return values


def fit(
    model: Model,
    spectrum: Spectrum,
    start: np.ndarray | None = None,
    inflation: float = 1.0,
    most_steps: int = MOST_STEPS,
) -> Fit:
    """The model at its best values, from ``start`` or from the means of the priors."""
    used = spectrum.used
    sigma = spectrum.sigma[used] * math.sqrt(inflation)
    mean, weight = prior_rows(model)
    bounded = weight > 0.0
    low = np.array([p.prior.low for p in model.parameters])
    high = np.array([p.prior.high for p in model.parameters])
    scale = np.array([p.step for p in model.parameters])
    values = model.start() if start is None else start
    values = np.clip(values, low + 1e-9 * scale, high - 1e-9 * scale)
    last: dict[str, np.ndarray] = {}

    def both(v: np.ndarray) -> None:
        if "at" in last and np.array_equal(last["at"], v):
            return
        counts, jacobian = model.evaluate(v)
        last["at"], last["counts"] = v.copy(), counts
        last["residuals"] = np.concatenate(
            [(counts - spectrum.counts)[used] / sigma, ((v - mean) * weight)[bounded]]
        )
        last["jacobian"] = np.concatenate(
            [jacobian[used] / sigma[:, None], np.diag(weight)[bounded]]
        )

    def residuals(v: np.ndarray) -> np.ndarray:
        both(v)
        return last["residuals"]

    def slopes(v: np.ndarray) -> np.ndarray:
        both(v)
        return last["jacobian"]

    found = least_squares(
        residuals,
        values,
        slopes,
        bounds=(low, high),
        x_scale=scale,
        method="trf",
        ftol=1e-7,
        xtol=1e-7,
        gtol=1e-7,
        max_nfev=most_steps,
    )
    both(found.x)
    n = int(used.sum())
    data = last["jacobian"][:n]
    information = data.T @ data
    scaled = np.sqrt(np.maximum(np.diag(information) + weight**2, 1e-300))
    hessian = (information + np.diag(weight**2)) / np.outer(scaled, scaled)
    inverse = np.linalg.pinv(hessian, hermitian=True) / np.outer(scaled, scaled)
    counted = float(np.sum(last["residuals"][:n] ** 2))
    return Fit(
        model=model,
        values=found.x,
        counts=last["counts"],
        residuals=last["residuals"][:n] * math.sqrt(inflation),
        chi2=counted * inflation,
        chi2_total=2.0 * float(found.cost),
        statistical=inverse @ information @ inverse,
        prior=(inverse * weight**2) @ inverse,
        information=information,
        inflation=inflation,
    )


def inflation(found: Fit, spectrum: Spectrum) -> float:
    """Factor on the variances under which the residuals would be what a right model leaves.

    A wrong shape of lines leaves residuals that go together over the width of a line, and errors
    from independent counts are then too small by more than the root of the reduced χ². The
    variance of a sum of neighbours says by how much (J.-F. Bérar and P. Lelann, J. Appl. Cryst.
    24, 1 (1991)): autocovariances in the order of the velocities, with weights that fall linearly
    to zero over ``CORRELATION_MM_S``. 1 where nothing speaks against the model.
    """
    velocity = found.model.velocity(found.values)[spectrum.used]
    order = np.argsort(velocity, kind="stable")
    residuals = found.residuals[order]
    reach = max(round(CORRELATION_MM_S * len(order) / float(np.ptp(velocity))), 1)
    total = float(np.mean(residuals**2))
    for lag in range(1, min(reach, len(order) - 1) + 1):
        weight = 2.0 * (1.0 - lag / (reach + 1.0))
        total += weight * float(np.mean(residuals[:-lag] * residuals[lag:]))
    total = max(total, found.chi2_reduced)
    return total if total > LEAST_INFLATION else 1.0
