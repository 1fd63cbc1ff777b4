"""SOAP features, their names and guards; choice of representatives."""

import json

import numpy as np
import pandas as pd
import pytest

from dft2spectra.learning.selection import farthest_points, select_representatives
from dft2spectra.learning.soap import (
    Features,
    distance_scale,
    feature_names,
    featurize,
    read_features,
    site_atom,
    structure_features,
)
from dft2spectra.learning.species import CHANNELS, SPECIES, species_weights

SETTINGS = {
    "cutoff_ang": 4.0,
    "n_max": 3,
    "l_max": 2,
    "sigma_ang": 0.5,
    "species_weighting": list(CHANNELS),
    "bands": True,
}


def b2(partner="Al", a=2.9, name="FeAl") -> dict:
    """CsCl structure."""
    return {
        "structure_id": name,
        "symbols": ["Fe", partner],
        "site_labels": ["Fe1", "X1"],
        "cell_ang": [[a, 0, 0], [0, a, 0], [0, 0, a]],
        "scaled_positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
    }


def block(values: np.ndarray, name: str, settings=SETTINGS) -> np.ndarray:
    """Columns of one block of features."""
    columns = [i for i, full in enumerate(feature_names(settings)) if full.split()[0] == name]
    return values[:, columns]


def test_names_follow_dscribe_order():
    """l = 0 has one m, so p_nn' = c_n c_n' and p_12² = p_11 p_22; l = 1 is 0 at a cubic site."""
    density = block(structure_features(b2(), ["Fe1"], SETTINGS), "density")[0]
    names = [n.removeprefix("density ") for n in feature_names(SETTINGS) if n.startswith("density")]
    p = dict(zip(names, density, strict=True))
    for n, m in ((1, 2), (1, 3), (2, 3)):
        product = p[f"l=0 n={n},{n}"] * p[f"l=0 n={m},{m}"]
        assert p[f"l=0 n={n},{m}"] ** 2 == pytest.approx(product, rel=1e-6)
    assert {v for k, v in p.items() if k.startswith(("l=1", "l=2"))} == {0.0}
    assert p["l=0 n=1,1"] > 1e-3


def test_channels_agree_in_pure_iron_and_differ_beside_aluminium():
    iron = structure_features(b2("Fe"), ["Fe1"], SETTINGS)
    assert block(iron, "composition")[0][-2:].tolist() == [0.0, 0.0]
    alloy = structure_features(b2("Al"), ["Fe1"], SETTINGS)
    for channel in CHANNELS[1:]:
        assert block(iron, channel) == pytest.approx(block(iron, "density"), rel=1e-12, abs=1e-14)
        assert np.abs(block(alloy, channel) - block(alloy, "density")).max() > 1e-3


def test_length_does_not_depend_on_the_elements():
    lengths = {structure_features(b2(x), ["Fe1"], SETTINGS).shape for x in ("Al", "U", "He", "H")}
    assert lengths == {(1, len(feature_names(SETTINGS)))}


def test_unknown_elements_lie_between_their_neighbours():
    """Si is nearer to Ge than to Zr, and Co nearer to Ni than to Al."""
    found = {x: structure_features(b2(x), ["Fe1"], SETTINGS)[0] for x in ("Si", "Ge", "Zr", "Co")}
    found |= {x: structure_features(b2(x), ["Fe1"], SETTINGS)[0] for x in ("Ni", "Al")}
    assert np.linalg.norm(found["Si"] - found["Ge"]) < np.linalg.norm(found["Si"] - found["Zr"])
    assert np.linalg.norm(found["Co"] - found["Ni"]) < np.linalg.norm(found["Co"] - found["Al"])


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_element_has_a_finite_weight(channel):
    weights = species_weights(channel)
    assert set(weights) == set(SPECIES)
    assert np.isfinite(list(weights.values())).all()
    assert weights["Fe"] == 1.0


def test_weights_by_hand():
    # Pauling: Fe 1.83, Al 1.61. Valence electrons: Fe 8, Zn 2, Ga 3, La 3, Cu 11.
    assert species_weights("electronegativity")["Al"] == pytest.approx(1.61 / 1.83)
    found = [species_weights("valence_electrons")[x] * 8 for x in ("Zn", "Ga", "La", "Cu", "Si")]
    assert found == pytest.approx([2, 3, 3, 11, 4])
    # d electrons beside two s: Ti 2, Co 7, Zn 10; period and group as in the periodic table.
    found = [species_weights("d_electrons")[x] * 6 for x in ("Ti", "Co", "Zn", "Al", "Ca")]
    assert found == pytest.approx([2, 7, 10, 0, 0])
    assert [species_weights("period")[x] * 4 for x in ("B", "Pt")] == pytest.approx([2, 6])
    assert [species_weights("group")[x] * 8 for x in ("B", "Pt")] == pytest.approx([13, 10])


def test_composition_by_hand():
    values = structure_features(b2("Co", a=3.0), ["Fe1"], SETTINGS)
    volume, fraction, *_, magnetic, _, spread = block(values, "composition")[0]
    # 27/2 Å³; one of two; (1 + 1.6/2.5)/2; valence electrons 8 and 9 relative to 8.
    assert (volume, fraction) == pytest.approx((13.5, 0.5))
    assert (magnetic, spread) == pytest.approx((0.82, 0.0625))


def test_neighbour_fades_out_at_the_cutoff():
    """A neighbour at the cutoff weighs nothing, so that no feature jumps as it passes."""
    inside, outside = (
        structure_features(b2("Co", a=2.0 * 4.0 / np.sqrt(3) * scale), ["Fe1"], SETTINGS)
        for scale in (0.999, 1.001)
    )
    change = np.abs(block(inside, "density") - block(outside, "density")).max()
    assert change < 1e-3 * np.abs(block(inside, "density")).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scaled_positions": [[0, 0, 0], [0.5, float("nan"), 0.5]]}, "not finite"),
        ({"scaled_positions": [[0, 0, 0], [0.5, float("inf"), 0.5]]}, "not finite"),
        ({"cell_ang": [[float("inf"), 0, 0], [0, 3, 0], [0, 0, 3]]}, "not finite"),
        ({"cell_ang": [[3, 0, 0], [0, 3, 0], [3, 3, 0]]}, "no volume"),
        ({"symbols": ["Fe", "Xx"]}, "no species weights for Xx"),
        ({"scaled_positions": [[0, 0, 0]]}, "2 symbols"),
    ],
)
def test_bad_structures_stop_before_compiled_code(changes, message):
    with pytest.raises(ValueError, match=message):
        structure_features(b2() | changes, ["Fe1"], SETTINGS)


def test_unknown_channel_is_named():
    with pytest.raises(ValueError, match=r"'electronegativty'.*electronegativity"):
        species_weights("electronegativty")


def test_sites_split_by_moment_share_the_label():
    structure = b2() | {"site_labels": ["Fe1", "Fe1"], "symbols": ["Fe", "Fe"]}
    assert site_atom(structure, "Fe1b") == site_atom(structure, "Fe1") == 0
    exact = b2() | {"site_labels": ["Fe1", "Fe1b"], "symbols": ["Fe", "Fe"]}
    assert site_atom(exact, "Fe1b") == 1
    with pytest.raises(ValueError, match="no site Fe9"):
        site_atom(structure, "Fe9")


def write_sites(folder, rows):
    table = pd.DataFrame(rows, columns=["structure_id", "site"]).assign(role="train")
    table.to_parquet(folder / "sites.parquet")
    return folder / "sites.parquet"


def test_file_keeps_the_order_of_the_table(tmp_path):
    structures = [b2("Al", name="a"), b2("Co", name="b"), b2("Ti", name="unused")]
    paths = []
    for structure in structures:
        paths.append(tmp_path / f"{structure['structure_id']}.json")
        paths[-1].write_text(json.dumps(structure))
    sites = write_sites(tmp_path, [("b", "Fe1"), ("a", "Fe1")])
    featurize(sites, paths, SETTINGS, tmp_path / "soap.npz")
    features = read_features(tmp_path / "soap.npz")
    assert features.structure_id.tolist() == ["b", "a"]
    assert features.values.dtype == np.float32
    expected = structure_features(structures[1], ["Fe1"], SETTINGS)[0]
    assert features.values[0] == pytest.approx(expected, rel=1e-6)
    assert features.settings == SETTINGS
    assert features.weights["magnetic"]["Al"] == 0.0
    with pytest.raises(ValueError, match="no structure file for a"):
        featurize(sites, paths[1:], SETTINGS, tmp_path / "other.npz")


def test_farthest_points_on_a_line():
    # Nearest to the mean 3.2 is 3; then 10 (7 away), 0 (3 away), 1 and 2 (1 away, lowest first).
    picks, distances = farthest_points(np.array([[0.0], [1.0], [2.0], [3.0], [10.0]]), 5)
    assert picks.tolist() == [3, 4, 0, 1, 2]
    assert distances == pytest.approx([0.2, 7.0, 3.0, 1.0, 1.0])


def test_copies_come_last():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0], [4.0, 3.0]])
    picks, distances = farthest_points(points, 10)
    assert sorted(picks) == [0, 1, 2, 3]
    assert distances[-1] == 0.0


@pytest.mark.parametrize("count", [2, None])
def test_representatives_file(tmp_path, count):
    paths = []
    for i, partner in enumerate(("Al", "Co", "Ti")):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(b2(partner, name=partner)))
    sites = write_sites(tmp_path, [(x, "Fe1") for x in ("Al", "Co", "Ti")])
    featurize(sites, paths, SETTINGS, tmp_path / "soap.npz")
    select_representatives(tmp_path / "soap.npz", count, tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == ["rank", "structure_id", "site", "distance"]
    assert table["rank"].tolist() == list(range(1, (count or 3) + 1))
    assert table["structure_id"].is_unique
    with pytest.raises(ValueError, match=r"representatives is 0"):
        select_representatives(tmp_path / "soap.npz", 0, tmp_path / "none.csv")


def test_blocks_weigh_alike_in_distances():
    names = np.array(["density a", "density b", "composition v", "composition w"])
    values = np.array([[3.0, 4.0, 10.0, 5.0], [3.0, 4.0, 30.0, 5.0]], dtype=np.float32)
    empty = np.array(["", ""])
    scaled = values * distance_scale(Features(values, empty, empty, empty, names, {}, {}))
    assert np.linalg.norm(scaled[:, :2], axis=1) == pytest.approx([1.0, 1.0])
    # Standard deviation 10, over √2 columns; a constant column has no weight.
    assert scaled[1, 2] - scaled[0, 2] == pytest.approx(2.0 / np.sqrt(2.0))
    assert scaled[:, 3].tolist() == [0.0, 0.0]
