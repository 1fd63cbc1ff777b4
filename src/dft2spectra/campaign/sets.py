"""Files and databases that a campaign reads its crystals from; databases by their pinned sets."""

import os
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from dft2spectra.structures.inputs import input_files
from dft2spectra.structures.retrieval import (
    answers_other_settings,
    check_current,
    is_relaxed,
    pinned_path,
    remote_sources,
)

Source = dict[str, Any]


class CampaignError(ValueError):
    """Nothing can be computed as it is asked for; the message says why and what to do."""


def source_files(sources: Sequence[Source], limits: dict[str, Any]) -> list[str]:
    """Files that sources name, pinned sets among them.

    Links that lead nowhere are left out: Snakemake would wait for them, the screening rejects them.

    Raises
    ------
    ValueError
        A path does not exist.
    """
    return [
        path
        for source in sources
        for path in input_files(source, limits)
        if os.path.exists(path) or not os.path.islink(path)
    ]


def refuse_names(paths: Sequence[str]) -> None:
    """Return if Snakemake takes the names of all files as they are.

    Raises
    ------
    CampaignError
        Names the first that is none.
    """
    for path in paths:
        if re.search(r"\{[^{}]*\}|[\ud800-\udfff]", path):
            raise CampaignError(
                f"structures.sources: {path!a}: rename this file; a name with characters in "
                "braces, or that is no text in UTF-8, cannot be an input of a job."
            )


class PinnedSets:
    """Databases of a campaign, and prototypes whose volumes are computed, by name.

    Parameters
    ----------
    sources
        Those of the crystals.
    candidates
        Those of the candidates.
    limits
        As for :func:`dft2spectra.structures.sources.collect`, with ``xc``.
    """

    def __init__(
        self, sources: Sequence[Source], candidates: Sequence[Source], limits: dict[str, Any]
    ) -> None:
        self.limits = limits
        self.all = remote_sources([*sources, *candidates])
        # Those whose sets decide about the jobs of the campaign, as parents of prototypes too.
        named = source_files(sources, limits) if self.all else []
        self.deciding = {
            name: source for name, source in self.all.items() if self.path(name) in named
        }

    @property
    def relaxed(self) -> list[str]:
        """Prototypes among them, whose volumes are computed."""
        return [name for name, source in self.all.items() if is_relaxed(source)]

    def path(self, name: str) -> str:
        """File of a pinned set."""
        return pinned_path(self.all[name], self.limits["pinned"])

    def times(self) -> tuple[int, ...]:
        """Modification times of the sets that decide about the jobs: they tell a new set."""
        paths = [self.path(name) for name in self.deciding]
        return tuple(os.stat(path).st_mtime_ns for path in paths if os.path.exists(path))

    @cached_property
    def missing(self) -> dict[str, str]:
        """Those that decide about the jobs and cannot be used, with the reason; at the start."""
        found = {}
        for name, source in self.deciding.items():
            try:
                check_current(source, self.limits["pinned"], self.limits["xc"])
            except ValueError as error:
                found[name] = str(error)
        return found

    def outdated(self, name: str) -> str | None:
        """File of a set that is whole, but of other settings than those of its source now."""
        like = self.all[name], self.limits["pinned"], self.limits["xc"]
        return self.path(name) if answers_other_settings(*like) else None
