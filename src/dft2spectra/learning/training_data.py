"""Features, target and groups of the same sites in the same order, checked."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dft2spectra.columns import TARGETS, Role, Site
from dft2spectra.learning.soap import Features, read_features
from dft2spectra.learning.splits import site_groups


class TrainingData(NamedTuple):
    """Features and target of the same sites in the same order."""

    features: Features
    sites: pd.DataFrame
    name: str  # of the target
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
    """Features, target and groups of all sites that have the target, but the external ones.

    Raises
    ------
    ValueError
        Unknown target, tables that do not describe the same sites, non-finite numbers, no site.
    """
    data = _of_role(Role.TRAIN, features_npz, sites_parquet, target)
    chosen = pd.read_csv(representatives_csv, dtype={"structure_id": str, "site": str})
    representatives = set(zip(chosen["structure_id"], chosen["site"], strict=True))
    names = zip(data.features.structure_id, data.features.site, strict=True)
    return data._replace(trainable=np.array([name in representatives for name in names]))


def read_external_data(
    features_npz: str | Path, sites_parquet: str | Path, target: str
) -> TrainingData:
    """The same of the sites that are kept for the evaluation at the end; none is trainable.

    Raises
    ------
    ValueError
        As :func:`read_training_data`.
    """
    return _of_role(Role.EXTERNAL, features_npz, sites_parquet, target)


def _of_role(
    role: Role, features_npz: str | Path, sites_parquet: str | Path, target: str
) -> TrainingData:
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; known: {', '.join(TARGETS)}")
    features, sites = read_features(features_npz), pd.read_parquet(sites_parquet)
    names = list(zip(features.structure_id, features.site, features.role, strict=True))
    described = (sites[column] for column in (Site.STRUCTURE_ID, Site.SITE, Site.ROLE))
    if names != list(zip(*described, strict=True)):
        raise ValueError(f"{features_npz} and {sites_parquet} do not list the same sites")
    column = TARGETS[target]
    rows = (sites[Site.ROLE] == role).to_numpy()
    if not rows.any():
        raise ValueError(f"{sites_parquet}: no site has the role {role}")
    rows = rows & has_target(sites, target)
    if not rows.any():
        raise ValueError(f"{sites_parquet}: no site of the role {role} has a value of {column}")
    features, sites = features.of(rows), sites[rows].reset_index(drop=True)
    values = sites[column].to_numpy(float)
    if not (np.isfinite(values).all() and np.isfinite(features.values).all()):
        raise ValueError(f"{column} or the features hold numbers that are not finite")
    trainable = np.zeros(len(values), dtype=bool)
    return TrainingData(features, sites, target, column, values, site_groups(sites), trainable)


def has_target(sites: pd.DataFrame, target: str) -> np.ndarray:
    """Rows that have a value to be learned, bool (n_sites,).

    Sites whose symmetry allows no field gradient have none: zero is no achievement of a model
    there, and :mod:`dft2spectra.learning.screening` says zero by symmetry. Only where fewer than
    two structure types have a gradient, too few for any split, all sites count, as in a campaign
    for trying, whose card says that its scores mean nothing.
    """
    known = sites[TARGETS[target]].notna().to_numpy()
    if target == "vzz":
        allowed = known & (sites[Site.EFG_FREE_COMPONENTS].fillna(5) != 0).to_numpy(bool)
        train = allowed & (sites[Site.ROLE] == Role.TRAIN).to_numpy()
        known = allowed if sites.loc[train, Site.PARENT].nunique() > 1 else known
    return known
