"""Several crystals in one job: who belongs together.

A bundle is named by its members and written down, one id per line in ``<bundle>.members``, before
it is computed. What is written down stays together: a crystal that joins the campaign later makes
a bundle of its own and leaves the others, finished or not, as they are.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path


def bundle_name(members: Iterable[str]) -> str:
    """Name of a bundle: twelve hexadecimal digits, the same for the same members."""
    return hashlib.sha256("\n".join(sorted(members)).encode()).hexdigest()[:12]


def read_bundles(folder: str | Path) -> dict[str, list[str]]:
    """Members of every bundle that is written down in ``folder``, by its name."""
    return {
        path.stem: path.read_text(encoding="utf-8").split()
        for path in sorted(Path(folder).glob("*.members"))
    }


def assign_bundles(
    structure_ids: Collection[str],
    written: dict[str, list[str]],
    minutes: Callable[[str], float],
    structures_per_job: int,
    job_minutes: float,
) -> dict[str, list[str]]:
    """Members of every bundle of a campaign by its name, each crystal in one bundle.

    Parameters
    ----------
    structure_ids
        Crystals of the campaign.
    written
        What :func:`read_bundles` found. Crystals that have left the campaign are left out; a
        bundle without any other disappears.
    minutes
        Predicted cost of a crystal in core minutes; asked only for crystals in no bundle.
    structures_per_job, job_minutes
        A new bundle is full with so many crystals, or when the next would bring it above so many
        core minutes. Crystals follow each other by cost, so that the members of a job are alike;
        and since they do so from cheap to expensive, a bundle that is written down in the midst
        of others does not change those.
    """
    result: dict[str, list[str]] = {}
    left = set(structure_ids)
    for name, members in written.items():
        kept = [member for member in members if member in left]
        if kept:
            result[name] = kept
            left -= set(kept)
    members, total = [], 0.0
    for cost, structure_id in sorted((minutes(name), name) for name in left):
        if members and (len(members) == structures_per_job or total + cost > job_minutes):
            result[bundle_name(members)] = members
            members, total = [], 0.0
        members.append(structure_id)
        total += cost
    if members:
        result[bundle_name(members)] = members
    return result
