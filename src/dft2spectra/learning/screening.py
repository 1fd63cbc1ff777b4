"""Predicted hyperfine parameters of structures that were not calculated, ranked, with warnings.

A prediction is that of the model which the configuration chose. It comes with its interval (the
share of sites that it holds is ``learning.coverage``), with the spread of the committee, with the
distance to the nearest training site and with the elements that no training structure holds. The
field gradient of a site whose symmetry allows none is zero, not predicted. Candidates inside the
tested range come first, those of large predicted magnitude before others.

Vzz comes, with η, from the model of the whole tensor where there was enough to learn one from
(:mod:`dft2spectra.learning.tensor_model`); its interval then has one width, that of the errors at
unseen structure types, and no spread.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import TARGETS, Site
from dft2spectra.learning.domain import Domain, nearest, read_domain
from dft2spectra.learning.figures import plot_ranking
from dft2spectra.learning.models import predict, read_learner
from dft2spectra.learning.soap import feature_names, site_atom, structure_features
from dft2spectra.learning.tensor_evaluation import principal
from dft2spectra.learning.tensor_features import site_moments
from dft2spectra.learning.tensor_prediction import TensorPredictor, read_tensor_model
from dft2spectra.records import read_json, write_csv
from dft2spectra.structures.site_symmetry import free_gradient_components

METHOD_VERSION = 3

# Columns of a predicted quantity, after its name.
ENDINGS = ("", "_low", "_high", "_error", "_spread")

IDENTITY_COLUMNS = (
    "structure_id",
    "formula",
    "spacegroup",
    "prototype",
    "site",
    "multiplicity",
)
DOMAIN_COLUMNS = ("nearest_structure", "nearest_distance", "unseen_elements", "inside_domain")


def candidate_sites(structures: Iterable[dict[str, Any]], trained: set[str]) -> pd.DataFrame:
    """One row per symmetry-distinct Fe site of the structures that are not in ``trained``.

    Columns: :data:`IDENTITY_COLUMNS`, ``elements`` (a set of symbols) and ``gradient_allowed``.
    """
    rows = []
    for structure in structures:
        if structure["structure_id"] in trained:
            continue
        labels = structure["site_labels"]
        free = free_gradient_components(structure)
        fe_labels = {
            label
            for label, symbol in zip(labels, structure["symbols"], strict=True)
            if symbol == "Fe"
        }
        for label in sorted(fe_labels):
            row = {name: structure[name] for name in ("structure_id", "formula", "spacegroup")}
            row |= {"prototype": structure.get("prototype"), "site": label}
            row |= {"multiplicity": labels.count(label), "elements": set(structure["symbols"])}
            row["gradient_allowed"] = free[labels.index(label)] > 0
            rows.append(row)
    return pd.DataFrame(rows, columns=[*IDENTITY_COLUMNS, "elements", "gradient_allowed"])


def domain_columns(
    values: np.ndarray, elements: Iterable[set[str]], domain: Domain
) -> dict[str, Any]:
    """Nearest training structure and distance, unseen elements, and whether the score applies."""
    distance, index = nearest(values * domain.scale, domain.points)
    unseen = [" ".join(sorted(found - set(domain.elements.tolist()))) for found in elements]
    inside = (distance <= domain.limit) & np.array([not names for names in unseen], dtype=bool)
    return dict(
        zip(DOMAIN_COLUMNS, (domain.structure_id[index], distance, unseen, inside), strict=True)
    )


def predict_candidates(
    candidate_structure_paths: Iterable[str | Path],
    model_dirs: Mapping[str, str | Path],
    tensor_npz: str | Path | None,
    soap: dict[str, Any],
    rank_by: str,
    coverage: float,
    out_csv: str | Path,
    out_png: str | Path,
) -> None:
    """Write one row per candidate Fe site with all predictions, best first, and a figure.

    For each target's column: the prediction, its interval ``<column>_low`` and ``_high``, the
    ``_error`` of a normal distribution with this interval, and the ``_spread`` of the committee.
    Distances and the flag ``inside_domain`` refer to the training sites of the ranking target's
    model; ``model_usable`` repeats that model's verdict. Structures of its training set are left
    out. No candidates give a table without rows.

    Parameters
    ----------
    candidate_structure_paths
        Files of accepted structures.
    model_dirs
        Target → folder with ``model.ubj``, ``kernel.npz``, ``card.json`` and ``training.npz``.
    tensor_npz
        The model of the gradient tensor; needed with the target ``vzz``.
    soap
        The section of the configuration; must equal the one that the models were trained with.
    rank_by
        Target whose predicted magnitude sorts the table.
    coverage
        Share of the sites that an interval shall hold.

    Raises
    ------
    ValueError
        ``rank_by`` without a model; a model trained with other descriptors.
    """
    if rank_by not in model_dirs:
        raise ValueError(f"candidates.rank_by is {rank_by!r}; models: {', '.join(model_dirs)}")
    folders = {target: Path(folder) for target, folder in model_dirs.items()}
    cards = {target: read_json(folder / "card.json") for target, folder in folders.items()}
    for target, card in cards.items():
        if card["features"]["soap"] != soap:
            raise ValueError(f"the model of {target} was trained with other soap settings")

    domain = read_domain(folders[rank_by] / "training.npz")
    structures = {s["structure_id"]: s for s in map(read_json, candidate_structure_paths)}
    names = np.array(feature_names(soap))
    sites = candidate_sites(structures.values(), set(domain.structure_id.tolist()))
    values = np.empty((len(sites), len(names)), dtype=np.float32)
    for structure_id, rows in sites.groupby("structure_id"):
        values[rows.index] = structure_features(structures[structure_id], list(rows["site"]), soap)

    table = sites[list(IDENTITY_COLUMNS)].copy()
    half_width = NormalDist().inv_cdf(0.5 * (1.0 + coverage))
    for target, folder in folders.items():
        column, model = str(TARGETS[target]), cards[target]["model"]
        if not len(sites):
            table[[f"{column}{ending}" for ending in ENDINGS]] = np.nan
            continue
        found = predict(read_learner(folder), values, names, coverage)
        width = found[f"{model}_high"] - found[f"{model}_low"]
        found[f"{model}_error"] = width / (2.0 * half_width)
        for ending in ENDINGS:
            table[f"{column}{ending}"] = found[f"{model}{ending}"].to_numpy()
    if "vzz" in folders and tensor_npz is not None:
        predictor = read_tensor_model(tensor_npz)
        allowed = sites["gradient_allowed"].to_numpy(bool)
        if predictor is not None and allowed.any():
            gradients = _gradients(predictor, sites[allowed], structures, values[allowed], soap)
            width = predictor.half_width(coverage)
            edges = ("", 0.0), ("_low", -width), ("_high", width)
            for ending, shift in edges:
                table.loc[allowed, f"{Site.VZZ}{ending}"] = gradients[0] + shift
            table.loc[allowed, f"{Site.VZZ}_error"] = width / half_width
            table.loc[allowed, f"{Site.VZZ}_spread"] = np.nan
            table.loc[allowed, Site.ETA] = gradients[1]
    if "vzz" in folders:
        forbidden = ~sites["gradient_allowed"].to_numpy(bool)
        table.loc[forbidden, [f"{Site.VZZ}{ending}" for ending in ENDINGS]] = 0.0
    if len(sites):
        table = table.assign(**domain_columns(values, sites["elements"], domain))
    else:
        table[list(DOMAIN_COLUMNS)] = None
    table["model_usable"] = cards[rank_by]["usable"]
    ranked = _ranked(table, TARGETS[rank_by])
    write_csv(out_csv, ranked)
    plot_ranking(ranked, TARGETS[rank_by], domain.limit, cards[rank_by]["verdict"], out_png)


def _gradients(
    predictor: TensorPredictor,
    sites: pd.DataFrame,
    structures: Mapping[str, dict[str, Any]],
    values: np.ndarray,
    soap: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Vzz (10²¹ V/m²) and η of the sites, each (n,)."""
    moments = [
        site_moments(structures[name], site_atom(structures[name], label), soap)
        for name, label in zip(sites["structure_id"], sites["site"], strict=True)
    ]
    vzz, eta, _ = principal(predictor.predict(moments, values))
    return vzz, eta


def _ranked(table: pd.DataFrame, column: Site) -> pd.DataFrame:
    order = pd.DataFrame(
        {
            "outside": ~table["inside_domain"].astype(bool),
            "size": -table[column].abs(),
            "structure_id": table["structure_id"],
            "site": table["site"],
        }
    ).sort_values(["outside", "size", "structure_id", "site"])
    table = table.loc[order.index].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
