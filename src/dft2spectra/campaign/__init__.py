"""What a configuration asks for, known before any job runs.

In reading order: :mod:`~dft2spectra.campaign.sets` (databases and their pinned sets),
:mod:`~dft2spectra.campaign.crystals` (what passes the screening, what has a record, what the
calibration is fitted to), :mod:`~dft2spectra.campaign.jobs` (what goes into one DFT job, and what
it costs), :mod:`~dft2spectra.campaign.molecules` (the infrared branch),
:mod:`~dft2spectra.campaign.campaign` (all of these for one configuration). Nothing here knows
Snakemake, and nothing is written.
"""

from dft2spectra.campaign.campaign import Campaign
from dft2spectra.campaign.sets import CampaignError

__all__ = ["Campaign", "CampaignError"]
