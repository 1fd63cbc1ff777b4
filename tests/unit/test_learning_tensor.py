"""The tensor model: turns with the crystal, knows the symmetry of a site, learns a known law."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dft2spectra.arrays import DamagedFileError
from dft2spectra.learning import band_model
from dft2spectra.learning.splits import Folds, make_folds, single
from dft2spectra.learning.tensor_features import (
    harmonics,
    site_moments,
    to_components,
    to_tensor,
)
from dft2spectra.learning.tensor_model import describe, fit_tensor, reduction
from dft2spectra.learning.tensor_prediction import (
    read_tensor_model,
    write_nothing,
    write_tensor_model,
)

SOAP = {
    **{"cutoff_ang": 5.0, "n_max": 4, "species_weighting": ["electronegativity", "group"]},
    "bands": False,
}
OTHERS = ("Al", "Co", "Ni", "Ti", "Si", "Pd", "V")


def crystal(seed, turned=None, mirrored=False):
    """A cell without symmetry: Fe and two other atoms, turned as a whole."""
    random = np.random.default_rng(seed)
    cell = np.diag([3.2, 3.5, 3.9]) + 0.3 * random.standard_normal((3, 3))
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.1, 0.5]])
    positions = positions + 0.05 * random.standard_normal((3, 3))
    operation = np.eye(3) if turned is None else turned.as_matrix()
    cell = cell @ (-operation if mirrored else operation).T
    symbols = ["Fe", *random.choice(OTHERS, 2)]
    return {
        "structure_id": f"made-{seed}",
        "cell_ang": cell.tolist(),
        "symbols": [str(s) for s in symbols],
        "scaled_positions": positions.tolist(),
    }


def cubic(symbol="Al"):
    """B2: no gradient by symmetry."""
    return {
        "structure_id": "cubic",
        "cell_ang": (2.9 * np.eye(3)).tolist(),
        "symbols": ["Fe", symbol],
        "scaled_positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
    }


def tetragonal(stretch):
    structure = cubic()
    structure["cell_ang"] = np.diag([2.9, 2.9, 2.9 * stretch]).tolist()
    return structure | {"structure_id": f"tetragonal-{stretch}"}


def law(structure):
    """A tensor that is linear in the neighbours: Σ_j q_j (3 d dᵀ − 1)/r³ within the cutoff."""
    charge = {"Al": -1.0, "Ti": -0.5, "Si": 1.0, "Fe": 0.0, "Co": 0.3, "Ni": 0.6, "Pd": 2.0}
    cell, total = np.array(structure["cell_ang"]), np.zeros((3, 3))
    origin = np.array(structure["scaled_positions"][0]) @ cell
    shifts = np.array(np.meshgrid(*[range(-4, 5)] * 3)).reshape(3, -1).T @ cell
    places = zip(structure["symbols"], structure["scaled_positions"], strict=True)
    for symbol, position in places:
        vectors = np.array(position) @ cell + shifts - origin
        distance = np.linalg.norm(vectors, axis=1)
        near = (distance > 1e-6) & (distance < 5.0)
        vectors, distance = vectors[near], distance[near]
        smooth = 0.5 * (1 + np.cos(np.pi * distance / 5.0)) / distance**5
        outer = 3.0 * np.einsum("na,nb,n->ab", vectors, vectors, smooth)
        outer -= np.eye(3) * np.trace(outer) / 3.0
        total += charge.get(symbol, -0.2) * outer
    return total


def features(structures, made):
    moments = [site_moments(structure, 0, SOAP) for structure in structures]
    points = np.zeros((len(structures), 1))
    return describe(points, moments, made)


@pytest.fixture(scope="module")
def trained():
    structures = [crystal(seed) for seed in range(60)]
    made = reduction([site_moments(structure, 0, SOAP) for structure in structures])
    tensors = to_components(np.array([law(structure) for structure in structures]))
    folds = make_folds(single(np.arange(60).astype(str)), 5, 0)
    return fit_tensor(features(structures, made), tensors, folds), made


def test_components_and_tensors_are_the_same():
    random = np.random.default_rng(0)
    tensor = random.standard_normal((4, 3, 3))
    tensor = tensor + tensor.transpose(0, 2, 1)
    tensor -= np.eye(3) * np.trace(tensor, axis1=1, axis2=2)[:, None, None] / 3
    components = to_components(tensor)
    np.testing.assert_allclose(to_tensor(components), tensor, atol=1e-12)
    np.testing.assert_allclose(
        np.sum(components**2, axis=1), np.sum(tensor**2, axis=(1, 2)), rtol=1e-12
    )


def test_harmonics_of_degree_two_are_the_components_of_a_tensor():
    """Their Cartesian forms, written out."""
    x, y, z = vector = np.array([0.3, -0.5, 0.7])
    vector = vector / np.linalg.norm(vector)
    expected = to_components(3 * np.outer(vector, vector)[None] - np.eye(3))[0]
    found = harmonics(2, np.array([[x, y, z]]))[:, 0]
    np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected))


def test_a_law_of_the_neighbours_is_learned(trained):
    """Unseen crystals: only the shape of the radial functions limits it."""
    model, made = trained
    unseen = [crystal(seed) for seed in range(100, 120)]
    truth = to_components(np.array([law(structure) for structure in unseen]))
    found = model.predict(features(unseen, made))
    assert 1 - np.sum((found - truth) ** 2) / np.sum(truth**2) > 0.9


@pytest.mark.parametrize("mirrored", [False, True])
def test_predictions_turn_with_the_crystal(trained, mirrored):
    model, made = trained
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7])
    plain = to_tensor(model.predict(features([crystal(200)], made)))[0]
    other = to_tensor(model.predict(features([crystal(200, turn, mirrored)], made)))[0]
    matrix = turn.as_matrix()
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(other, matrix @ plain @ matrix.T, atol=1e-9)


def test_a_supercell_and_another_order_of_atoms_change_nothing(trained):
    model, made = trained
    structure = crystal(201)
    plain = model.predict(features([structure], made))
    double = dict(structure)
    cell, positions = np.array(structure["cell_ang"]), np.array(structure["scaled_positions"])
    double["cell_ang"] = (cell * np.array([[1], [1], [2]])).tolist()
    halved = positions * [1, 1, 0.5]
    both = np.concatenate([halved, halved + np.array([0, 0, 0.5])])
    order = [0, 5, 2, 4, 1, 3]
    double["scaled_positions"] = both[order].tolist()
    double["symbols"] = [(structure["symbols"] * 2)[k] for k in order]
    np.testing.assert_allclose(model.predict(features([double], made)), plain, atol=1e-9)


def test_symmetry_of_the_site_is_that_of_the_tensor(trained):
    model, made = trained
    sites = features([cubic(), tetragonal(1.06), crystal(202)], made)
    assert [basis.shape[1] for basis in sites.bases] == [0, 1, 5]
    nothing, axial, _ = to_tensor(model.predict(sites))
    assert np.all(nothing == 0.0)
    np.testing.assert_allclose(axial, np.diag(np.diag(axial)), atol=1e-9)
    assert axial[0, 0] == pytest.approx(axial[1, 1], abs=1e-9)
    assert np.trace(axial) == pytest.approx(0.0, abs=1e-9)
    assert abs(axial[2, 2]) > 1e-4


def test_nothing_to_learn_from(trained):
    _, made = trained
    folds = Folds(np.array([-1]), np.ones((1, 1), dtype=bool))
    with pytest.raises(ValueError, match="no training site has a field gradient"):
        fit_tensor(features([cubic()], made), np.zeros((1, 5)), folds)


def test_shells_of_the_tight_binding_model_turn_and_help(monkeypatch):
    """A law that is linear in the quadrupole of the d shell, which no neighbour density is."""
    monkeypatch.setattr(band_model, "KPOINT_DENSITY_ANG", 0.8)
    settings = SOAP | {"bands": True}
    structures = [crystal(seed) for seed in range(16)]
    moments = [site_moments(structure, 0, settings) for structure in structures]
    truth = np.array([site.bands[1] for site in moments])
    points, seen = np.zeros((16, 1)), slice(0, 13)
    made = reduction(moments[seen])
    folds = make_folds(single(np.arange(13).astype(str)), 4, 0)
    model = fit_tensor(describe(points[seen], moments[seen], made), truth[seen], folds)
    found = model.predict(describe(points[13:], moments[13:], made))
    assert np.sum((found - truth[13:]) ** 2) < 0.02 * np.sum(truth[13:] ** 2)

    turn = Rotation.from_euler("xyz", [0.4, -0.8, 2.0])
    turned = [site_moments(crystal(seed, turn), 0, settings) for seed in range(13, 16)]
    expected = turn.as_matrix() @ to_tensor(found) @ turn.as_matrix().T
    found = to_tensor(model.predict(describe(points[13:], turned, made)))
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_model_in_a_file_says_the_same_and_its_interval_holds_what_it_should(trained, tmp_path):
    structures = [crystal(seed) for seed in range(60)]
    moments = [site_moments(structure, 0, SOAP) for structure in structures]
    tensors = to_components(np.array([law(structure) for structure in structures]))
    folds = make_folds(single(np.arange(60).astype(str)), 5, 0)
    errors = np.arange(1.0, 20.0)
    path = tmp_path / "tensor.npz"
    write_tensor_model(path, moments, np.zeros((60, 1)), np.ones(1), tensors, folds, errors)
    predictor = read_tensor_model(path)
    new = [site_moments(crystal(seed), 0, SOAP) for seed in range(100, 105)]
    expected = trained[0].predict(describe(np.zeros((5, 1)), new, trained[1]))
    found = predictor.predict(new, np.zeros((5, 1)))
    np.testing.assert_allclose(found, to_tensor(expected), atol=1e-9 * np.abs(expected).max())
    # The ⌈0.9 · 20⌉-th of 19 errors.
    assert predictor.half_width(0.9) == 18.0

    write_nothing(path)
    assert read_tensor_model(path) is None
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFileError, match=r"tensor\.npz cannot be used"):
        read_tensor_model(path)
