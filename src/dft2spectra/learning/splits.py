"""Splits that ask different questions of a model, none with a structure on both sides.

Sites of relatives are near copies of each other: a random split of sites would measure memory. What
is left out together decides what the score says:

structure
    a decorated crystal with all its strained copies (equal structure type and formula): further
    compounds of known types.
structure_type
    all relatives (equal space group, Wyckoff positions and formula type: the ``parent``).
chemical_system
    all crystals of the same set of elements.
element
    every crystal that holds the element; those of the test fold are absent from the training.
cluster
    crystals that are near one another in descriptor space. A slight distortion makes a new
    structure type beside the old one; a cluster takes both.

A row may belong to several groups (a ternary crystal to two elements). It is tested once, with the
rarest of them, and trains in those folds only that leave out none of them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage

from dft2spectra.columns import Site
from dft2spectra.learning.soap import Features, distance_scale

SPLITS = ("structure", "structure_type", "cluster", "chemical_system", "element")
# Fold of a row that belongs to no group: it is trained on and never tested.
NEVER = -1
# Crystals per cluster, on average: enough clusters for folds, each wider than one family.
CRYSTALS_PER_CLUSTER = 6
HOST = "Fe"

Groups = Sequence[frozenset[str]]


class Folds(NamedTuple):
    """Parts of a cross-validation."""

    fold: np.ndarray  # int (n_sites,): where each row is tested, or NEVER
    trains: np.ndarray  # bool (n_sites, n_folds): rows that the model of a fold may see

    @property
    def number(self) -> int:
        """How many folds there are; 1 where nothing is left out."""
        return self.trains.shape[1]

    def of(self, rows: np.ndarray) -> "Folds":
        """Those of some rows; ``rows`` is bool (n_sites,)."""
        return Folds(self.fold[rows], self.trains[rows])


def site_groups(sites: pd.DataFrame) -> np.ndarray:
    """Group label of each row, its ``parent``: str (n_sites,).

    Raises
    ------
    ValueError
        A structure with more than one parent, which no grouped split could keep together.
    """
    parents = sites.groupby(Site.STRUCTURE_ID)[Site.PARENT].nunique()
    torn = list(parents.index[parents != 1])
    if torn:
        raise ValueError(f"structures without exactly one parent: {', '.join(torn[:5])}")
    return sites[Site.PARENT].to_numpy(str)


def formula_elements(formulas: pd.Series) -> list[frozenset[str]]:
    """Symbols of the elements in each formula."""
    found = formulas.astype(str).str.findall(r"[A-Z][a-z]?")
    return [frozenset(symbols) for symbols in found]


def split_groups(split: str, sites: pd.DataFrame, features: Features) -> list[frozenset[str]]:
    """Groups of each row in one of :data:`SPLITS`; α-Fe is in no group of ``element``.

    Raises
    ------
    ValueError
        Unknown split.
    """
    if split == "structure":
        names = sites[Site.PARENT].astype(str) + " " + sites[Site.FORMULA].astype(str)
        return single(names.to_numpy(str))
    if split == "structure_type":
        return single(site_groups(sites))
    elements = formula_elements(sites[Site.FORMULA])
    if split == "chemical_system":
        return single(np.array(["-".join(sorted(symbols)) for symbols in elements]))
    if split == "element":
        return [symbols - {HOST} for symbols in elements]
    if split == "cluster":
        return single(descriptor_clusters(features))
    raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")


def single(labels: np.ndarray) -> list[frozenset[str]]:
    """Groups of rows that belong to one group each."""
    return [frozenset([str(label)]) for label in labels]


def descriptor_clusters(features: Features) -> np.ndarray:
    """Cluster of the crystal of each row by its mean fingerprint, str (n_sites,).

    Hierarchical, with average linkage: clusters are as far apart as the data allow, whatever their
    size.
    """
    names, members = np.unique(features.structure_id, return_inverse=True)
    points = features.values * distance_scale(features)
    sums = np.zeros((len(names), points.shape[1]))
    np.add.at(sums, members, points)
    means = sums / np.bincount(members)[:, None]
    if len(names) < 2:
        return np.array(["cluster 1"] * len(members))
    count = max(2, len(names) // CRYSTALS_PER_CLUSTER)
    cluster = fcluster(linkage(means, method="average"), count, criterion="maxclust")
    return np.array([f"cluster {number}" for number in cluster])[members]


def make_folds(groups: Groups, n_folds: int, seed: int) -> Folds:
    """Folds with whole groups left out; which row is tested where, and what may train for it.

    Raises
    ------
    ValueError
        Fewer than two groups or folds.
    """
    tested = rarest(groups)
    member = tested != ""
    fold = np.full(len(groups), NEVER)
    fold[member] = grouped_folds(tested[member], n_folds, seed)
    fold_of_name = dict(zip(tested[member].tolist(), fold[member].tolist(), strict=True))
    trains = np.ones((len(groups), int(fold.max()) + 1), dtype=bool)
    for row, names in enumerate(groups):
        # A name that is nobody's rarest is left out in no fold of its own.
        trains[row, [fold_of_name[name] for name in names if name in fold_of_name]] = False
    return Folds(fold, trains)


def rarest(groups: Groups) -> np.ndarray:
    """Group with the fewest rows of each row's groups, str (n_sites,); empty without groups."""
    rows_of = Counter(name for names in groups for name in names)
    return np.array(
        [min(names, key=lambda name: (rows_of[name], name), default="") for names in groups],
        dtype=str,
    )


def inner_folds(groups: Groups, n_folds: int, seed: int) -> Folds:
    """Folds of training rows; one that hides nothing where a fold could train on nothing."""
    whole = Folds(np.full(len(groups), NEVER), np.ones((len(groups), 1), dtype=bool))
    if len(set(rarest(groups)) - {""}) < 2:
        return whole
    folds = make_folds(groups, n_folds, seed + 1)
    return folds if folds.trains.any(axis=0).all() else whole


def grouped_folds(groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Fold number of each row, int (n,), with whole groups in one fold and folds of similar size.

    Groups in seeded random order, largest first, each go to the fold with the fewest rows.
    (scikit-learn's ``GroupKFold`` balances sizes or shuffles, not both.) With fewer groups than
    folds each group is its own fold. The result does not depend on the order of the rows.

    Raises
    ------
    ValueError
        Fewer than two groups or folds: nothing could be left out.
    """
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2 or n_folds < 2:
        raise ValueError(
            f"{len(names)} structure types and {n_folds} folds: a grouped split needs at least two "
            "of each; add structures of another type"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = np.zeros(min(n_folds, len(names)), dtype=int)
    fold_of_group = np.empty(len(names), dtype=int)
    for group in order:
        fold_of_group[group] = np.argmin(filled)
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[members]
