"""SOAP fingerprints of Fe sites whose length does not depend on which elements occur.

Each atom enters the neighbour density of the Fe site as a Gaussian; the power spectrum of that
density in radial functions n, n' and spherical harmonics l does not change under rotation,
translation, renumbering of atoms or choice of the cell (Bartók, Kondor, Csányi, PRB 87, 184115
(2013)).

Species
-------
Ordinary SOAP has one density per element, so its length grows with the square of the number of
elements in the data set, and an element that was not in the training data has no meaning. Here all
elements share one density ("mu2" compression; Darby, Kermode, Csányi, npj Comput. Mater. 8, 166
(2022)), computed several times, each time with every atom weighted by one physical property of its
element. A channel is one such power spectrum:

density
    weight 1: geometry alone.
electronegativity
    Pauling's scale: charge transfer, which moves the contact density.
covalent_radius
    the size that a neighbour takes, hence overlap.
valence_electrons
    electrons outside closed shells (group number; group − 10 from Zn on; 3 for 4f and 5f elements):
    band filling.
d_electrons
    electrons of the d shell (group number − 2 in the transition metals, zero elsewhere): the
    overlap of d with d.
period, group
    place in the periodic table: extent of the orbitals, number of electrons beyond a closed shell.
magnetic
    typical spin moment of the 3d element in a metal; zero for the others: the magnetic neighbours.

Weights are relative to Fe, so that all channels agree in a pure iron environment. Al and Ga, or Co
and Ni, come out close to one another, and an unseen element lies between its neighbours in the
periodic table.

Beside the power spectra stand the composition of the crystal and, with ``soap.bands``, what a
tight-binding model says of the site (:mod:`dft2spectra.learning.band_states`).

Limits: two environments that agree in all weighted densities cannot be told apart, however
different their elements; a power spectrum holds three-body correlations only; magnetic order does
not enter at all. The vector is not normalised: its length says how dense the environment is, which
trees and a standardised linear model can use. Where distances are needed,
:func:`distance_scale` gives every block of features the same weight.

The polynomial weight 1 − 3x² + 2x³, x = r/cutoff, takes each neighbour smoothly to zero at the
cutoff.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from ase import Atoms
from dscribe.descriptors import SOAP

from dft2spectra.arrays import read_arrays
from dft2spectra.columns import Site
from dft2spectra.learning.band_states import BAND_FEATURES, band_features
from dft2spectra.learning.species import SPECIES, species_weights
from dft2spectra.records import read_json, whole_file

# Counts for the species weights and the tight-binding model too.
METHOD_VERSION = 5

COMPOSITION = "composition"
BANDS = "bands"
COMPOSITION_CHANNELS = ("electronegativity", "covalent_radius", "valence_electrons", "magnetic")

# Power spectrum relative to its largest component below which it is rounding. Components that
# symmetry forbids must be zero: a tree can split, and a scaler blow up, 1e-20.
ROUNDING = 1e-9


class Features(NamedTuple):
    """Fingerprints of a set of sites: content of ``features/soap.npz``."""

    values: np.ndarray  # float32 (n_sites, n_features)
    structure_id: np.ndarray  # str (n_sites,)
    site: np.ndarray  # str (n_sites,)
    role: np.ndarray  # str (n_sites,): a Role
    names: np.ndarray  # str (n_features,): "<block> …"
    settings: dict[str, Any]  # the soap section of the configuration
    weights: dict[str, dict[str, float]]  # channel → element → weight

    def of(self, rows: np.ndarray) -> "Features":
        """Those of some of the sites; ``rows`` is bool (n_sites,)."""
        names = ("values", "structure_id", "site", "role")
        return self._replace(**{name: getattr(self, name)[rows] for name in names})

    @property
    def blocks(self) -> np.ndarray:
        """Channel, "composition" or "bands", that each feature belongs to: str (n_features,)."""
        return feature_blocks(self.names)


def feature_blocks(names: Iterable[str]) -> np.ndarray:
    """Block of each feature by its name, str (n_features,)."""
    return np.array([name.split(" ", 1)[0] for name in names])


def feature_names(settings: dict[str, Any]) -> list[str]:
    """Names of all features in order: "<channel> l=<l> n=<n>,<n'>", composition, bands."""
    n_max, l_max = settings["n_max"], settings["l_max"]
    names = [
        f"{channel} l={degree} n={n},{m}"
        for channel in settings["species_weighting"]
        for degree in range(l_max + 1)
        for n in range(1, n_max + 1)
        for m in range(n, n_max + 1)
    ]
    names += [f"{COMPOSITION} {name}" for name in _COMPOSITION_NAMES]
    return names + [f"{BANDS} {name}" for name in (BAND_FEATURES if settings["bands"] else ())]


def structure_atoms(structure: dict[str, Any]) -> Atoms:
    """Periodic ASE atoms of a structure, checked before they reach compiled code.

    dscribe 2.1.2 ends the whole process on NaN or infinite coordinates.

    Raises
    ------
    ValueError
        Non-finite coordinates or cell, a cell without volume, an element outside :data:`SPECIES`,
        a wrong number of positions.
    """
    name = structure["structure_id"]
    symbols = structure["symbols"]
    cell = np.asarray(structure["cell_ang"], dtype=float)
    positions = np.asarray(structure["scaled_positions"], dtype=float)
    unknown = sorted(set(symbols) - set(SPECIES))
    if unknown:
        raise ValueError(f"{name}: no species weights for {', '.join(unknown)}")
    if cell.shape != (3, 3) or positions.shape != (len(symbols), 3):
        raise ValueError(f"{name}: {len(symbols)} symbols, positions of shape {positions.shape}")
    if not (np.isfinite(cell).all() and np.isfinite(positions).all()):
        raise ValueError(f"{name}: cell or coordinates are not finite")
    if abs(np.linalg.det(cell)) < 1e-6 * np.linalg.norm(cell, axis=1).prod():
        raise ValueError(f"{name}: the cell has no volume")
    return Atoms(symbols, cell=cell, scaled_positions=positions, pbc=True)


@cache
def _descriptor(channel: str, cutoff: float, n_max: int, l_max: int, sigma: float) -> SOAP:
    return SOAP(
        r_cut=cutoff,
        n_max=n_max,
        l_max=l_max,
        sigma=sigma,
        periodic=True,
        species=SPECIES,
        weighting={"function": "poly", "r0": cutoff, "c": 1.0, "m": 1.0},
        compression={"mode": "mu2", "species_weighting": species_weights(channel)},
    )


_COMPOSITION_NAMES = (
    "volume_per_atom",
    "fe_fraction",
    "mean_electronegativity",
    "mean_covalent_radius",
    "mean_valence_electrons",
    "mean_magnetic",
    "spread_electronegativity",
    "spread_valence_electrons",
)


def composition_features(atoms: Atoms) -> np.ndarray:
    """Volume per atom (Å³), Fe fraction, means and standard deviations of the element weights.

    The same for all sites of a structure; free of any choice of cell.
    """
    symbols = atoms.get_chemical_symbols()
    chi, radius, valence, magnetic = (
        np.array([species_weights(channel)[symbol] for symbol in symbols])
        for channel in COMPOSITION_CHANNELS
    )
    values = np.array(
        [
            atoms.get_volume() / len(atoms),
            symbols.count("Fe") / len(symbols),
            chi.mean(),
            radius.mean(),
            valence.mean(),
            magnetic.mean(),
            chi.std(),
            valence.std(),
        ]
    )
    return np.round(values, 9)


def site_features(atoms: Atoms, centers: Sequence[int], settings: dict[str, Any]) -> np.ndarray:
    """Fingerprints (len(centers), n_features), float64, of the atoms with the given indices.

    Parameters
    ----------
    settings
        ``cutoff_ang``, ``n_max``, ``l_max``, ``sigma_ang`` (Å), ``species_weighting``, a list of
        names out of :data:`dft2spectra.learning.species.CHANNELS`, and ``bands``.
    """
    shape = (settings["cutoff_ang"], settings["n_max"], settings["l_max"], settings["sigma_ang"])
    spectra = [
        _descriptor(channel, *shape).create(atoms, centers=list(centers))
        for channel in settings["species_weighting"]
    ]
    for spectrum in spectra:
        spectrum[np.abs(spectrum) < ROUNDING * np.abs(spectrum).max()] = 0.0
    whole = np.tile(composition_features(atoms), (len(centers), 1))
    bands = [band_features(atoms, centers)] if settings["bands"] else []
    return np.hstack([*spectra, whole, *bands])


def site_atom(structure: dict[str, Any], site: str) -> int:
    """Index of the first atom of a site.

    Crystallographically equivalent atoms whose calculated moments differ are sites "Fe1a", "Fe1b"
    of the label "Fe1": they share one fingerprint.

    Raises
    ------
    ValueError
        The structure has no such site.
    """
    labels = list(structure["site_labels"])
    for name in (site, site[:-1]):
        if name in labels:
            return labels.index(name)
    raise ValueError(f"{structure['structure_id']}: no site {site}; it has {sorted(set(labels))}")


def structure_features(
    structure: dict[str, Any], sites: Sequence[str], settings: dict[str, Any]
) -> np.ndarray:
    """Fingerprints (len(sites), n_features) of named sites; equivalent atoms share one.

    Raises
    ------
    ValueError
        What :func:`site_atom` or :func:`structure_atoms` refuses.
    """
    centers = [site_atom(structure, site) for site in sites]
    return site_features(structure_atoms(structure), centers, settings)


def featurize(
    sites_parquet: str | Path,
    structure_paths: Iterable[str | Path],
    soap: dict[str, Any],
    out_npz: str | Path,
) -> None:
    """Write the fingerprints of all sites of the table, in its order, to ``out_npz``.

    Arrays: ``X`` float32 (n_sites, n_features), ``structure_id``, ``site``, ``role``,
    ``feature_names``, and as JSON strings ``species_map`` (channel → element → weight) and ``soap``
    (settings).

    Raises
    ------
    ValueError
        A structure of the table without its file.
    """
    sites = pd.read_parquet(sites_parquet, columns=[Site.STRUCTURE_ID, Site.SITE, Site.ROLE])
    wanted = dict(iter(sites.groupby(Site.STRUCTURE_ID, sort=False)))
    values = np.full((len(sites), len(feature_names(soap))), np.nan, dtype=np.float32)
    for path in structure_paths:
        structure = read_json(path)
        rows = wanted.pop(structure["structure_id"], None)
        if rows is not None:
            values[rows.index] = structure_features(structure, list(rows[Site.SITE]), soap)
    if wanted:
        raise ValueError(f"no structure file for {', '.join(sorted(wanted)[:5])} …")
    weights = {channel: species_weights(channel) for channel in soap["species_weighting"]}
    with whole_file(out_npz) as temporary:
        np.savez_compressed(
            temporary,
            X=values,
            structure_id=sites[Site.STRUCTURE_ID].to_numpy(str),
            site=sites[Site.SITE].to_numpy(str),
            role=sites[Site.ROLE].to_numpy(str),
            feature_names=np.array(feature_names(soap)),
            species_map=json.dumps(weights),
            soap=json.dumps(soap),
        )


def read_features(path: str | Path) -> Features:
    """Read what :func:`featurize` wrote."""
    columns = ("X", "structure_id", "site", "role", "feature_names")
    data = read_arrays(path, [*columns, "soap", "species_map"])
    return Features(
        data["X"],
        data["structure_id"],
        data["site"],
        data["role"],
        data["feature_names"],
        json.loads(str(data["soap"])),
        json.loads(str(data["species_map"])),
    )


def distance_scale(features: Features) -> np.ndarray:
    """Factor per feature, (n_features,), after which Euclidean distances weigh all blocks alike.

    A SOAP block is divided by its root-mean-square length over the sites, which keeps the relative
    size of its features; composition and bands, whose features have different units, by the
    standard deviation of each and the root of their number.
    """
    values = features.values.astype(float)
    scale = np.zeros(values.shape[1])
    for block in np.unique(features.blocks):
        columns = features.blocks == block
        if block in (COMPOSITION, BANDS):
            size = values[:, columns].std(axis=0) * np.sqrt(columns.sum())
        else:
            size = np.full(columns.sum(), np.sqrt(np.mean(np.sum(values[:, columns] ** 2, axis=1))))
        scale[columns] = np.divide(1.0, size, out=np.zeros_like(size), where=size > 1e-9)
    return scale


def scale_choices(scale: np.ndarray, names: Iterable[str]) -> np.ndarray:
    """The scale (n_features,), and the one that leaves the bands out: (1 or 2, n_features).

    The bands say much of moments and little of the density at the nucleus: a model chooses inside
    its training rows.
    """
    bands = feature_blocks(names) == BANDS
    return np.array([scale, np.where(bands, 0.0, scale)]) if bands.any() else scale[None]
