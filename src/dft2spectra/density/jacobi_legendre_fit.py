"""Fit of a Jacobi–Legendre model: weighted ridge regression on points of the training geometries.

Where the functional depends on the kinetic energy density, its Pauli part is fitted at the same
points with the same ridge.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from dft2spectra.density.committee import assign_parts
from dft2spectra.density.electrostatics import electrostatic_rows
from dft2spectra.density.least_squares import NormalEquations
from dft2spectra.density.mixing import channel_covariance, leading_channels
from dft2spectra.density.model import Basis, DensityModel, pauli_model
from dft2spectra.density.sampling_points import Sample, design_matrix, draw_sample, needs_tau

# The first fit, which only decides on channels, takes a part of the points and this ridge.
FIRST_FIT = 4
FIRST_RIDGE = 1e-9
BASIS_KEYS = ("radial_map", "one_body", "two_body", "three_body")

Label = Mapping[str, Any]
Progress = Callable[[str], None]


class JacobiLegendreFit:
    """Normal equations of a model; a context, whose matrices stand in temporary files.

    Parameters
    ----------
    train, validation
        Converged labels of one molecule; validation geometries have no part in this fit.
    settings
        ``target`` (difference or full), the keys of
        :class:`~dft2spectra.density.model.Basis`, ``points_per_geometry``, ``committee`` (number of
        parts that are left out in turn), ``electrostatic_weight`` and ``seed``.
    pyscf_settings
        The ``pyscf`` section, complete.
    progress
        Receives one line per geometry.
    """

    def __init__(
        self,
        train: Sequence[Label],
        validation: Sequence[Label],
        settings: Mapping[str, Any],
        pyscf_settings: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        self.basis = _make_basis(train, settings, pyscf_settings, progress)
        sizes = self.basis.terms.sizes
        with ExitStack() as stack:
            self.equations = stack.enter_context(NormalEquations(sum(sizes)))
            self.pauli = None
            _accumulate(self.equations, self.basis, train, settings, pyscf_settings, progress)
            if needs_tau(pyscf_settings):
                self.pauli = stack.enter_context(NormalEquations(sum(sizes)))
                self.pauli.add_part(
                    _pauli_rows(self.basis, label, settings, pyscf_settings) for label in train
                )
            self._open = stack.pop_all()
        self.card: dict[str, Any] = {
            "terms": dict(zip(("one_body", "two_body", "three_body"), sizes, strict=True)),
            "n_points": self.equations.rows,
        }

    def __enter__(self) -> "JacobiLegendreFit":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def model(self, ridge: float, card: dict[str, Any]) -> DensityModel:
        """The model at a ridge, without a committee.

        Raises
        ------
        SingularFitError
            The equations do not determine it.
        """
        coefficients = self.equations.solve(ridge)
        pauli = None if self.pauli is None else pauli_model(self.basis, self.pauli.solve(ridge))
        nobody = np.empty((0, len(coefficients)))
        return DensityModel(self.basis, coefficients, nobody, card, pauli)

    def committee(self, ridge: float) -> np.ndarray:
        """Coefficients of fits that each leave one part out, (parts, terms)."""
        parts = range(self.equations.parts)
        return np.array([self.equations.solve(ridge, without=part) for part in parts])

    def scores(self, model: DensityModel, ridge: float) -> dict[str, Any]:
        """Share of the weighted sums of squares that the model explains."""
        found = {"fit_r2": self.equations.r2(model.coefficients)}
        if self.pauli is not None and model.pauli is not None:
            found["pauli_fit_r2"] = self.pauli.r2(model.pauli.coefficients)
        return found


def _make_basis(
    train: Sequence[Label],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    progress: Progress,
) -> Basis:
    """Basis of the model, the channels of its three-body terms taken from a first, smaller fit."""
    basis = Basis(
        tuple(sorted(set(train[0]["symbols"]))), {key: settings[key] for key in BASIS_KEYS}
    )
    three = settings["three_body"]
    if three is None or three["channels"] >= len(basis.terms.mixing):
        return basis
    first = {
        **settings,
        "points_per_geometry": max(settings["points_per_geometry"] // FIRST_FIT, 1),
        "committee": 1,
        "electrostatic_weight": 0,
    }
    with NormalEquations(sum(basis.terms.sizes)) as equations:
        _accumulate(equations, basis, train, first, pyscf_settings, lambda line: None)
        coefficients = equations.solve(FIRST_RIDGE)
    progress(
        f"{train[0]['name']}: {three['channels']} of {len(basis.terms.mixing)} three-body channels"
        f" kept after a first fit of {len(coefficients)} terms"
    )
    samples = (_sample(label, first, pyscf_settings) for label in train)
    covariance = channel_covariance(basis, samples)
    mixing = leading_channels(basis.terms, coefficients, three["channels"], covariance)
    return Basis(basis.species, basis.settings, mixing)


def _accumulate(
    equations: NormalEquations,
    basis: Basis,
    train: Sequence[Label],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Add the training geometries, part by part of the committee."""
    parts = assign_parts(train, settings["committee"])
    started, done = time.perf_counter(), 0

    def rows(label: Label) -> tuple[np.ndarray, np.ndarray]:
        nonlocal done
        sample = _sample(label, settings, pyscf_settings)
        root = np.sqrt(sample.weights)
        matrix, right = design_matrix(basis, sample), sample.target * root
        matrix *= root[:, None]
        if settings["electrostatic_weight"]:
            factor = math.sqrt(settings["electrostatic_weight"])
            integrals, wanted = electrostatic_rows(basis, label, pyscf_settings, settings["target"])
            matrix = np.concatenate([matrix, factor * integrals])
            right = np.concatenate([right, factor * wanted])
        done += 1
        left = (time.perf_counter() - started) / done * (len(train) - done)
        progress(
            f"{label['name']} {label['frame']}: {len(root)} points of geometry"
            f" {done}/{len(train)}, {left:.0f} s left"
        )
        return matrix, right

    for part in range(settings["committee"]):
        mine = [label for label, own in zip(train, parts, strict=True) if own == part]
        if mine:
            equations.add_part(rows(label) for label in mine)


def _pauli_rows(
    basis: Basis, label: Label, settings: Mapping[str, Any], pyscf_settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted rows and targets of the Pauli kinetic energy density of a geometry."""
    sample = _sample(label, settings, pyscf_settings)
    assert sample.pauli is not None
    root = np.sqrt(sample.pauli_weights)
    return design_matrix(basis, sample) * root[:, None], sample.pauli * root


def _sample(label: Label, settings: Mapping[str, Any], pyscf_settings: Mapping[str, Any]) -> Sample:
    return draw_sample(
        label,
        pyscf_settings,
        settings["points_per_geometry"],
        settings["seed"],
        settings["target"],
    )
