"""Features, target and groups of the same sites in the same order, checked."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dft2spectra.columns import TARGETS, Site
from dft2spectra.learning.soap import Features, read_features
from dft2spectra.learning.splits import site_groups


class TrainingData(NamedTuple):
    """Features and target of the same sites in the same order."""

    features: Features
    sites: pd.DataFrame
    column: Site
    target: np.ndarray  # (n_sites,)
    groups: np.ndarray  # str (n_sites,)
    trainable: np.ndarray  # bool (n_sites,): representatives

    def counts(self) -> dict[str, int]:
        """Numbers of sites, structures and structure types."""
        return {
            "n_sites": len(self.sites),
            "n_structures": self.sites[Site.STRUCTURE_ID].nunique(),
            "n_parents": self.sites[Site.PARENT].nunique(),
        }

    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of sites, features, target and selection."""
        arrays = (self.features.values, self.target, self.trainable)
        names = (self.features.structure_id, self.features.site, self.groups, self.features.names)
        total = hashlib.sha256()
        for array in arrays:
            total.update(np.ascontiguousarray(array).tobytes())
        for array in names:
            total.update("\n".join(array).encode())
        return total.hexdigest()[:16]


def read_training_data(
    features_npz: str | Path,
    sites_parquet: str | Path,
    target: str,
    representatives_csv: str | Path,
) -> TrainingData:
    """Features, target and groups of the sites that have the target.

    Raises
    ------
    ValueError
        Unknown target, tables that do not describe the same sites, non-finite numbers, no site.
    """
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; known: {', '.join(TARGETS)}")
    features, sites = read_features(features_npz), pd.read_parquet(sites_parquet)
    names = list(zip(features.structure_id, features.site, strict=True))
    if names != list(zip(sites[Site.STRUCTURE_ID], sites[Site.SITE], strict=True)):
        raise ValueError(f"{features_npz} and {sites_parquet} do not list the same sites")
    column = TARGETS[target]
    rows = sites[column].notna().to_numpy()
    if not rows.any():
        raise ValueError(f"{sites_parquet}: no site has a value of {column}")
    features = features._replace(
        values=features.values[rows],
        structure_id=features.structure_id[rows],
        site=features.site[rows],
    )
    sites = sites[rows].reset_index(drop=True)
    values = sites[column].to_numpy(float)
    if not (np.isfinite(values).all() and np.isfinite(features.values).all()):
        raise ValueError(f"{column} or the features hold numbers that are not finite")
    chosen = pd.read_csv(representatives_csv, dtype={"structure_id": str, "site": str})
    representatives = set(zip(chosen["structure_id"], chosen["site"], strict=True))
    names = zip(features.structure_id, features.site, strict=True)
    trainable = np.array([name in representatives for name in names])
    return TrainingData(features, sites, column, values, site_groups(sites), trainable)
