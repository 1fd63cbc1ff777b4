"""What is known of a phase before its spectrum is seen: the hyperfine parameters of its sites.

Isomer shifts are relative to α-Fe at room temperature, the second-order Doppler shift included.
"""

import math
from dataclasses import dataclass, field

from dft2spectra.measured.patterns import Orbit


@dataclass(frozen=True)
class Prior:
    """Knowledge of one number: a Gaussian with this mean and σ or, with σ infinite, a range.

    A Gaussian is cut at ``low`` and ``high``; where σ is infinite they are the range, and the mean
    is where a fit starts.
    """

    mean: float
    sigma: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def log_volume(self) -> float:
        """Logarithm of √2π σ, or of the range: what the prior spreads its probability over."""
        if math.isfinite(self.sigma):
            return 0.5 * math.log(2.0 * math.pi) + math.log(self.sigma)
        return math.log(self.high - self.low)


@dataclass(frozen=True)
class SitePrior:
    """A Fe site: its weight among the sites of the phase and its parameters, mean and σ each.

    ``quadrupole`` is ΔEQ of a doublet, 2ε of a sextet, the signed splitting of a Hamiltonian site
    (see :mod:`dft2spectra.measured.patterns`). ``spread`` is the σ of a half-normal prior of the
    width of a distribution: of the field in tesla, or of ΔEQ (doublet) or the shift (singlet) in
    mm/s.
    """

    label: str
    weight: float
    kind: str
    shift: Prior
    quadrupole: Prior | None = None
    field: Prior | None = None
    spread: float = 0.1
    orbits: tuple[Orbit, ...] = ()


@dataclass(frozen=True)
class PhasePrior:
    """A phase: its sites and where the knowledge comes from.

    ``origin`` is ``measured``, ``computed``, ``predicted`` or ``unknown``; the last is what stands
    for a phase that no library holds, with flat priors. ``free_weights`` lets the areas of the
    sites differ from the multiplicities, for phases that are a solid solution. Of the phases of
    one ``series``, the ends of a solid solution, a sample is taken to hold one.
    """

    name: str
    formula: str
    sites: tuple[SitePrior, ...]
    origin: str
    debye_k: Prior = field(default=Prior(400.0, 80.0, 50.0, 1000.0))
    free_weights: bool = False
    source: str = ""
    crystal: str = ""
    series: str = ""

    @property
    def known(self) -> bool:
        """Whether it is a phase and no stand-in for one."""
        return self.origin != "unknown"
