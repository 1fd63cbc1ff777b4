"""How much goes into one DFT job: crystals, predicted costs, time, memory and priority.

A job is named by its crystal or, where several share one, by its bundle.
"""

import json
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft2spectra.campaign.crystals import Crystals
from dft2spectra.crystals.bundles import assign_bundles, read_bundles
from dft2spectra.crystals.run_record import current_record

if TYPE_CHECKING:
    from dft2spectra.crystals.cost import Cost

# The least that a DFT job asks for, and the room for an estimate that is too low.
LEAST_MINUTES, LEAST_MB = 120, 3000
MORE_TIME, MORE_MEMORY = 4, 2
# Priority of the DFT of the first crystal of a design.
MOST_PRIORITY = 100_000


def is_bundled(results: Path, sizes: dict[str, Any]) -> bool:
    """Whether several crystals share a job; a campaign that began with bundles keeps them."""
    return sizes["structures_per_job"] > 1 or any(results.glob("hyperfine/bundles/*.members"))


class DftJobs:
    """DFT jobs of the crystals of a campaign; each cost is predicted once.

    Parameters
    ----------
    crystals
        Those of the campaign.
    results
        Folder of the campaign.
    settings, sizes
        The ``gpaw`` section in two, as :func:`dft2spectra.config.split_gpaw` gives it.
    bundled
        Whether several crystals share a job.
    computed_only
        Whether no job starts a calculation: those of a bundle without a record are left out.
    say_once
        Called with what the user should know once.
    main
        As for :class:`~dft2spectra.campaign.crystals.Crystals`.
    """

    def __init__(
        self,
        crystals: Crystals,
        results: Path,
        settings: dict[str, Any],
        sizes: dict[str, Any],
        bundled: bool,
        computed_only: bool,
        say_once: Callable[[str], None],
        main: bool,
    ) -> None:
        self.crystals, self.bundled = crystals, bundled
        self._results, self._folder = results, results / "hyperfine"
        self._settings, self._sizes = settings, sizes
        self._computed_only, self._say_once, self._main = computed_only, say_once, main
        self._costs: dict[str, Cost] = {}

    @cached_property
    def bundles(self) -> dict[str, list[str]]:
        """Crystals of every bundle by its name."""
        return assign_bundles(
            self.crystals.screened,
            read_bundles(self._folder / "bundles"),
            lambda name: self.cost(name).core_seconds / 60,
            **self._sizes,
        )

    @cached_property
    def bundle_of(self) -> dict[str, str]:
        """Name of the bundle of every crystal."""
        return {name: bundle for bundle, names in self.bundles.items() for name in names}

    def members(self, job: str) -> list[str]:
        """Crystals of a job; a job reads what is written down of its bundle."""
        if not self.bundled:
            return [job]
        path = self._folder / "bundles" / f"{job}.members"
        if not self._main and path.exists():
            return path.read_text("utf-8").split()
        return self.bundles[job]

    def running_members(self, job: str) -> list[str]:
        """Crystals that a job computes, or takes the records of."""
        if not (self.bundled and self._computed_only):
            return self.members(job)
        one, has_record = self.crystals.one, self.crystals.has_record
        return [name for name in self.members(job) if has_record(one(name))]

    @cached_property
    def machine_factor(self) -> float:
        """Speed of this machine against that of the estimate, as `snakemake plan` found it."""
        path = self._results / "plan" / "plan.json"
        plan = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return float(plan.get("machine_factor", 1.0))

    def cost(self, name: str) -> "Cost":
        """Predicted cost of a crystal."""
        if name not in self._costs:
            self._costs[name] = self._estimate(name, symmetry=True)
        return self._costs[name]

    def largest_cost(self, name: str) -> "Cost":
        """Upper limit of the cost of a crystal, and the predicted one where the limit matters.

        Finding the symmetry of thousands of small crystals takes time.
        """
        limit = self._estimate(name, symmetry=False)
        small = MORE_TIME * limit.core_seconds / 60 <= LEAST_MINUTES
        return limit if small and MORE_MEMORY * limit.memory_mb <= LEAST_MB else self.cost(name)

    def _estimate(self, name: str, symmetry: bool) -> "Cost":
        # Brings ASE, which other jobs do not need.
        from dft2spectra.crystals.cost import estimate

        return estimate(self.crystals.one(name), self._settings, self.machine_factor, symmetry)

    def _job_costs(self, job: str) -> list["Cost"]:
        predict = self.cost if self.bundled else self.largest_cost
        return [predict(name) for name in self.members(job)]

    def minutes(self, job: str) -> int:
        """Time for a job, with room for an estimate that is far too low."""
        predicted = sum(cost.core_seconds for cost in self._job_costs(job)) / 60
        return max(LEAST_MINUTES, math.ceil(MORE_TIME * predicted))

    def memory_mb(self, job: str) -> int:
        """Memory for a job, whose crystals are computed one by one."""
        predicted = max(cost.memory_mb for cost in self._job_costs(job))
        return max(LEAST_MB, math.ceil(MORE_MEMORY * predicted))

    def priority(self, job: str) -> int:
        """Priority of a job, that of its first crystal: what the design puts first comes first."""
        orders = [self.crystals.one(name).get("order") for name in self.members(job)]
        return max(0 if order is None else max(1, MOST_PRIORITY - order) for order in orders)

    def outdated_record(self, name: str) -> Path | None:
        """The record of a crystal if it is there and no longer good.

        The record itself decides, not what Snakemake remembers of its job: that is gone with the
        folder ``.snakemake``, and no file that was damaged, or copied from elsewhere, is in it.
        """
        path = self._folder / f"{name}.json"
        return path if path.exists() and self._is_outdated(path, name) else None

    def outdated_job(self, job: str) -> Path | None:
        """The result of a job if it is there and a record behind it is no longer good, or gone."""
        if not self.bundled:
            return self.outdated_record(job)
        path = self._folder / "bundles" / f"{job}.json"
        records = self._folder / "bundles" / "records"
        outdated = path.exists() and any(
            self._is_outdated(records / f"{name}.json", name) for name in self.running_members(job)
        )
        return path if outdated else None

    def _is_outdated(self, record: Path, name: str) -> bool:
        """Whether a record is not what a calculation of the crystal would give now."""
        if current_record(record, self.crystals.one(name), self._settings) is not None:
            return False
        self._say_once(
            f"Records in {self._folder} that are damaged, or of another version of their crystal, "
            "of other settings or an older method, are computed again."
        )
        return True
