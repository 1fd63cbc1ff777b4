"""Splits in which no structure type, and so no structure, is on both sides.

Sites of relatives (equal space group, Wyckoff positions and formula type) are near copies of each
other: a random split would measure memory instead of prediction. The group is the ``parent`` of
the structure.
"""

import numpy as np
import pandas as pd

from dft2spectra.columns import Site


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
