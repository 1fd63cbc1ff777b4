"""How good predicted field-gradient tensors of unseen crystals are, in every split.

Only sites whose symmetry allows a gradient are scored. Columns of the table, a row per split:

tensor_r2
    1 − Σ|V̂ − V|² / Σ|V|² over whole tensors: against the guess that there is no gradient.
vzz_r2, vzz_mae, abs_vzz_r2
    of the largest principal value, with its sign and without; 10²¹ V/m².
sign
    share of right signs of Vzz.
eta_mae, angle_deg
    mean error of η; median angle between the main axes.
splitting_mae
    of the quadrupole splitting, mm/s.
scalar_vzz_r2, scalar_vzz_mae
    the kernel model that learns Vzz as a number, on the same folds.

Sign and axis are scored where η < 0.8 (near 1 they are a matter of rounding), these two and η where
|Vzz| exceeds 1: a direction of next to nothing is no direction. Intervals (95 %) draw whole groups.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import EFG_COMPONENTS, Site
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.learning.cleaning import fe_sites
from dft2spectra.learning.evaluation import MAIN_SPLIT, MIN_TRAINED
from dft2spectra.learning.kernel import fit_kernel
from dft2spectra.learning.soap import distance_scale, scale_choices
from dft2spectra.learning.splits import SPLITS, inner_folds, make_folds, rarest, split_groups
from dft2spectra.learning.tensor_features import (
    Moments,
    site_moments,
    to_components,
    to_tensor,
)
from dft2spectra.learning.tensor_model import describe, fit_tensor, reduction
from dft2spectra.learning.tensor_prediction import write_nothing, write_tensor_model
from dft2spectra.learning.training_data import TrainingData, read_training_data
from dft2spectra.records import read_json, write_csv, write_json, write_table
from dft2spectra.units import splitting_per_vzz

# Counts for features and model too.
METHOD_VERSION = 2

# Row and column of the columns EFG_COMPONENTS.
PLACES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
DEFINITE_ETA = 0.8
DEFINITE_VZZ = 1.0  # 10²¹ V/m²
SCORES = (
    *("tensor_r2", "vzz_r2", "vzz_mae", "abs_vzz_r2", "sign", "eta_mae", "angle_deg"),
    *("splitting_mae", "scalar_vzz_r2", "scalar_vzz_mae"),
)


def principal(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vzz (n,), η (n,) and main axis (n, 3) of tensors (n, 3, 3); η of no tensor is 0."""
    values, vectors = np.linalg.eigh(tensors)
    order = np.argsort(np.abs(values), axis=1)
    xx, yy, zz = np.take_along_axis(values, order, axis=1).T
    axes = np.take_along_axis(vectors, order[:, None, 2:], axis=2)[..., 0]
    eta = np.divide(xx - yy, zz, out=np.zeros_like(zz), where=np.abs(zz) > 1e-9)
    return zz, np.clip(eta, 0.0, 1.0), axes


def tensor_scores(truth: np.ndarray, found: np.ndarray, scalar: np.ndarray) -> dict[str, float]:
    """Scores of predicted tensors (n, 3, 3), and of Vzz predicted as a number (n,)."""
    zz, eta, axis = principal(truth)
    zz_found, eta_found, axis_found = principal(found)
    definite = np.abs(zz) > DEFINITE_VZZ
    directed = definite & (eta < DEFINITE_ETA)
    cosine = np.abs(np.einsum("na,na->n", axis, axis_found))
    angle = np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0)))
    splitting, splitting_found = (
        splitting_per_vzz() * value * np.sqrt(1.0 + asymmetry**2 / 3.0)
        for value, asymmetry in ((zz, eta), (zz_found, eta_found))
    )
    return {
        "tensor_r2": 1.0 - _ratio(np.sum((found - truth) ** 2), np.sum(truth**2)),
        "vzz_r2": _r2(zz, zz_found),
        "vzz_mae": float(np.mean(np.abs(zz_found - zz))),
        "abs_vzz_r2": _r2(np.abs(zz), np.abs(zz_found)),
        "sign": _mean((np.sign(zz) == np.sign(zz_found))[directed]),
        "eta_mae": _mean(np.abs(eta_found - eta)[definite]),
        "angle_deg": float(np.median(angle[directed])) if directed.any() else np.nan,
        "splitting_mae": float(np.mean(np.abs(splitting_found - splitting))),
        "scalar_vzz_r2": _r2(zz, scalar),
        "scalar_vzz_mae": float(np.mean(np.abs(scalar - zz))),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0.0 else np.nan


def _r2(truth: np.ndarray, found: np.ndarray) -> float:
    return 1.0 - _ratio(np.sum((found - truth) ** 2), np.sum((truth - truth.mean()) ** 2))


def true_tensors(sites: pd.DataFrame) -> np.ndarray:
    """Tensors (n, 3, 3) of a site table, those of the first atom of each site."""
    xx, yy, zz, xy, xz, yz = sites[list(map(str, EFG_COMPONENTS))].to_numpy(float).T
    rows = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    return np.moveaxis(np.array(rows), -1, 0)


def moments_of(
    sites: pd.DataFrame, records: Mapping[str, dict[str, Any]], soap: dict[str, Any]
) -> list[Moments]:
    """Moments of the first atom of every site, from the records, which hold their crystals.

    Raises
    ------
    ValueError
        A site without its record.
    """
    found = []
    for name, label in zip(sites[Site.STRUCTURE_ID], sites[Site.SITE], strict=True):
        if name not in records:
            raise ValueError(f"no record of {name}, which the site table holds")
        (site,) = (site for site in fe_sites(records[name]) if site["site"] == label)
        found.append(site_moments(records[name], site["atom_indices"][0], soap))
    return found


def out_of_fold(
    data: TrainingData, moments: list[Moments], split: str, learning: dict[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tensors (n, 3, 3) and numbers Vzz (n,) of sites by models that saw nothing of their groups.

    NaN for sites that belong to no group, and for a fold with nothing to learn from.
    """
    groups = split_groups(split, data.sites, data.features)
    folds = make_folds(groups, learning["folds"], seed)
    truth = to_components(true_tensors(data.sites))
    found, scalar = np.full((len(truth), 5), np.nan), np.full(len(truth), np.nan)
    for fold in range(folds.number):
        test, train = folds.fold == fold, folds.trains[:, fold] & data.trainable
        if train.sum() < MIN_TRAINED:
            continue
        known = data.features.of(train)
        scale = distance_scale(known)
        made = reduction([moments[row] for row in np.flatnonzero(train)])
        inner = inner_folds(
            [names for names, row in zip(groups, train, strict=True) if row],
            learning["folds"],
            seed,
        )
        parts = [
            describe(
                data.features.values[rows] * scale,
                [moments[row] for row in np.flatnonzero(rows)],
                made,
            )
            for rows in (train, test)
        ]
        found[test] = fit_tensor(parts[0], truth[train], inner).predict(parts[1])
        scales = scale_choices(scale, known.names)
        number = fit_kernel(known.values, data.target[train], inner, scales)
        scalar[test] = number.predict(data.features.values[test])[0]
    return to_tensor(found), scalar


def evaluate_tensor(
    features_npz: str | Path,
    sites_parquet: str | Path,
    representatives_csv: str | Path,
    record_paths: Iterable[str | Path],
    soap: dict[str, Any],
    learning: dict[str, Any],
    out_parquet: str | Path,
    out_metrics: str | Path,
    out_figure: str | Path,
) -> None:
    """Write tensors predicted out of fold, scores, a figure, and the model of all training sites.

    Beside the scores stand ``splits.csv`` and ``tensor.npz``, the model
    (:mod:`dft2spectra.learning.tensor_prediction`). With fewer than two structure types that have a
    gradient nothing can be learned: the tables are empty and the figure says so.

    Parameters
    ----------
    soap, learning
        Sections of the configuration, the latter without ``targets`` and ``representatives``.
    """
    data = read_training_data(features_npz, sites_parquet, "vzz", representatives_csv)
    out_splits = Path(out_metrics).with_name("splits.csv")
    out_model = Path(out_metrics).with_name("tensor.npz")
    kept = data.sites[Site.EFG_FREE_COMPONENTS].fillna(5).to_numpy() != 0
    if data.sites.loc[kept, Site.PARENT].nunique() < 2 or kept.sum() < 2 * MIN_TRAINED:
        write_table(out_parquet, pd.DataFrame({str(Site.STRUCTURE_ID): []}))
        write_csv(out_splits, pd.DataFrame(columns=["split", *SCORES]))
        write_json(out_metrics, {"n_sites": int(kept.sum()), "splits": []})
        write_nothing(out_model)
        _plot(None, None, {}, out_figure)
        return
    records = {record["structure_id"]: record for record in map(read_json, record_paths)}
    moments = moments_of(data.sites, records, soap)
    truth = true_tensors(data.sites)
    rows = []
    first = (np.full(truth.shape, np.nan), np.full(len(truth), np.nan))
    for split in SPLITS:
        groups = split_groups(split, data.sites, data.features)
        if len(set(rarest(groups)) - {""}) < 2:
            continue
        seeds = range(learning["seed"], learning["seed"] + learning["seeds"])
        every = [out_of_fold(data, moments, split, learning, seed) for seed in seeds]
        tested = np.all([np.isfinite(scalar) for _, scalar in every], axis=0)
        if tested.sum() < 2:
            continue
        parts = [(found[tested], scalar[tested]) for found, scalar in every]
        names = rarest(groups)[tested]
        rows.append(
            {"split": split, "n_sites": int(tested.sum()), "n_groups": len(set(names))}
            | {"n_seeds": len(parts)}
            | _with_intervals(truth[tested], parts, names, learning["bootstrap"])
        )
        if split == MAIN_SPLIT:
            first = every[0]
    table = pd.DataFrame(rows)
    write_csv(out_splits, table)
    sites = data.sites[[Site.STRUCTURE_ID, Site.FORMULA, Site.PARENT, Site.SITE]].copy()
    for name, tensors in (("", truth), ("_predicted", first[0])):
        known = np.nan_to_num(tensors)
        sites[f"{Site.VZZ}{name}"], sites[f"{Site.ETA}{name}"], _ = principal(known)
        for column, (i, j) in zip(EFG_COMPONENTS, PLACES, strict=True):
            sites[f"{column}{name}"] = tensors[:, i, j]
    write_table(out_parquet, sites)
    metrics = {
        "n_sites": len(data.sites),
        "n_structures": int(data.sites[Site.STRUCTURE_ID].nunique()),
        "n_parents": int(data.sites[Site.PARENT].nunique()),
        "method_version": METHOD_VERSION,
        "splits": table.replace({np.nan: None}).to_dict("records"),
    }
    write_json(out_metrics, metrics)
    tested = np.isfinite(first[1])
    if tested.any():
        errors = np.abs(sites[f"{Site.VZZ}_predicted"] - sites[Site.VZZ]).to_numpy()
        _write_model(out_model, data, moments, learning, errors[tested])
    else:
        write_nothing(out_model)
    _plot(truth, first[0] if tested.any() else None, metrics, out_figure)


def _write_model(
    path: Path,
    data: TrainingData,
    moments: list[Moments],
    learning: dict[str, Any],
    vzz_errors: np.ndarray,
) -> None:
    """The model of all sites that may train."""
    rows = data.trainable
    groups = split_groups(MAIN_SPLIT, data.sites, data.features)
    chosen = [names for names, row in zip(groups, rows, strict=True) if row]
    scale = distance_scale(data.features.of(rows))
    write_tensor_model(
        path,
        [moments[row] for row in np.flatnonzero(rows)],
        data.features.values[rows] * scale,
        scale,
        to_components(true_tensors(data.sites))[rows],
        inner_folds(chosen, learning["folds"], learning["seed"]),
        vzz_errors,
    )


def _with_intervals(
    truth: np.ndarray,
    parts: list[tuple[np.ndarray, np.ndarray]],
    groups: np.ndarray,
    draws: int,
) -> dict[str, float]:
    """Scores as means over the seeds, with 95 % intervals of whole groups drawn anew."""
    single = [tensor_scores(truth, found, scalar) for found, scalar in parts]
    names, members = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(members == k) for k in range(len(names))]
    random = np.random.default_rng(0)
    samples = []
    for _ in range(draws):
        drawn = random.integers(len(names), size=len(names))
        chosen = np.concatenate([rows_of[k] for k in drawn])
        found, scalar = parts[0]
        samples.append(tensor_scores(truth[chosen], found[chosen], scalar[chosen]))
    result = {}
    for name in SCORES:
        result[name] = float(np.mean([one[name] for one in single]))
        sample = np.array([one[name] for one in samples])
        sample = sample[np.isfinite(sample)]
        bounds = np.percentile(sample, [2.5, 97.5]) if len(sample) else (np.nan, np.nan)
        result |= {f"{name}_low": float(bounds[0]), f"{name}_high": float(bounds[1])}
    return result


def _plot(
    truth: np.ndarray | None,
    found: np.ndarray | None,
    metrics: dict[str, Any],
    path: str | Path,
) -> None:
    """Parity of the allowed tensor components and of Vzz with structure types left out."""
    figure, axes = new_figure(8.0, 4.3, ncols=2)
    if truth is None or found is None:
        for axis in axes:
            axis.set_axis_off()
        figure.suptitle("too few sites with a field gradient to learn its tensor", fontsize=9)
        save_figure(figure, path)
        return
    known = np.isfinite(found).all(axis=(1, 2))
    truth, found = truth[known], found[known]
    components = [np.concatenate([t[:, i, j] for i, j in PLACES]) for t in (truth, found)]
    values = [principal(truth)[0], principal(found)[0]]
    labels = ("components of the tensor", "Vzz")
    for axis, (x, y), label in zip(axes, (components, values), labels, strict=True):
        size = 1.06 * max(np.abs(x).max(), np.abs(y).max())
        axis.plot([-size, size], [-size, size], color="black", linewidth=0.8)
        axis.scatter(x, y, s=12, color="#1f5a94", alpha=0.6, linewidth=0)
        axis.set(xlim=(-size, size), ylim=(-size, size), aspect="equal")
        axis.set_xlabel("calculated (10²¹ V/m²)")
        axis.set_ylabel("predicted (10²¹ V/m²)")
        axis.set_title(label)
    rows = {row["split"]: row for row in metrics["splits"]}
    row = rows[MAIN_SPLIT]
    sign = "" if row["sign"] is None else f", sign right at {100 * row['sign']:.0f} %"
    figure.suptitle(
        f"field gradient, {row['n_sites']} sites, structure types left out: tensor R² "
        f"{row['tensor_r2']:.2f} [{row['tensor_r2_low']:.2f}, {row['tensor_r2_high']:.2f}]{sign}",
        fontsize=9,
    )
    save_figure(figure, path)
