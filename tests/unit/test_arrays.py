"""Files of arrays: damaged ones are named with what to do, and none fills the memory."""

import io
import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xgboost

from dft2spectra import arrays
from dft2spectra.arrays import DamagedFileError, read_arrays
from dft2spectra.density.kinds import read_model
from dft2spectra.density.model import ModelError
from dft2spectra.dynamics.equilibration import read_state
from dft2spectra.dynamics.trajectory import run_from_state
from dft2spectra.learning.domain import read_domain
from dft2spectra.learning.models import read_learner
from dft2spectra.learning.soap import read_features
from dft2spectra.molecules.labels import read_labels
from dft2spectra.spectra.infrared import _read_trajectory

REMEDY = "remove it and start again, and it is made anew"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.npz"
    np.savez(path, a=np.arange(1000.0), b=np.array("text"), c=np.zeros((0, 3)), d=np.array(2))
    return path


def test_arrays_come_back(whole: Path, tmp_path: Path) -> None:
    found = read_arrays(whole)
    assert list(found) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(found["a"], np.arange(1000.0))
    assert str(found["b"]) == "text"
    assert found["c"].shape == (0, 3)
    assert list(read_arrays(whole, ["d"])) == ["d"]
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(tmp_path / "small.npz", f=fortran)
    np.testing.assert_array_equal(read_arrays(tmp_path / "small.npz")["f"], fortran)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_off_file_is_named_with_what_to_do(whole: Path, part: float) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DamagedFileError) as caught:
        read_arrays(whole)
    assert str(caught.value).startswith(f"{whole} cannot be used: ")
    assert str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)


def test_a_changed_byte_is_found(whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    content[3000] ^= 255
    whole.write_bytes(content)
    with pytest.raises(DamagedFileError, match="Bad CRC-32"):
        read_arrays(whole)


def test_what_is_not_there_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz")


def member(shape: str, content: bytes, dtype: str = "<f8") -> bytes:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (117 - len(head)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (member("(1000000000000,)", bytes(80)), "has the shape (1000000000000,), which is not its"),
        (member("(-5,)", b""), "impossible shape"),
        (member("(1,1,1,1,1,1,1,1,1,1,1,1)", bytes(8)), "impossible shape"),
        (member("(3,)", bytes(16)), "which is not its size"),
        (member("(1,)", b"x", "|O"), "holds pickled objects, which are not read"),
        (b"no array", "the magic string is not correct"),
        (b"", "EOF"),
    ],
)
def test_no_array_is_believed(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "made.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedFileError) as caught:
        read_arrays(path)
    assert says in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(1_000_000))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(arrays, "MAX_BYTES", 5_000_000)
    with pytest.raises(DamagedFileError, match=r"unpacks to 0\.008 GB, at most 0\.005 are"):
        read_arrays(path)
    monkeypatch.setattr(arrays, "MAX_MEMBERS", 3)
    np.savez(path, *np.zeros((4, 1)))
    with pytest.raises(DamagedFileError, match="has 4 members, at most 3 are read"):
        read_arrays(path)


def test_an_array_that_is_missing_is_named(whole: Path) -> None:
    with pytest.raises(DamagedFileError, match="it has no array x, y"):
        read_arrays(whole, ["a", "x", "y"])


READERS = {
    "model": read_model,
    "labels": lambda path: read_labels([path]),
    "features": read_features,
    "domain": read_domain,
    "states": lambda path: read_state(path, 0),
    "start": lambda path: run_from_state(path, 0, None, {}, path),
    "trajectory": _read_trajectory,
}


@pytest.mark.parametrize("kind", READERS)
def test_every_reader_names_its_damaged_file(kind: str, whole: Path) -> None:
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises((DamagedFileError, ModelError)) as caught:
        READERS[kind](whole)
    assert str(whole) in str(caught.value)
    assert "remove it and start again" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_density_model_that_is_not_finite_is_refused(bad: float, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    card = np.array(json.dumps({"format": "any", "species": ["H"]}))
    np.savez(path, card=card, coefficients=np.array([1.0, bad]))
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert "coefficients holds a number that is not finite" in str(caught.value)
    assert "fitted anew" in str(caught.value)


@pytest.fixture(scope="module")
def trees() -> bytes:
    data = xgboost.DMatrix(np.arange(40.0).reshape(20, 2), np.arange(20.0))
    return bytes(xgboost.train({"max_depth": 2}, data, 3).save_raw("ubj"))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_cut_off_trees_are_named(trees: bytes, part: float, tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(trees[: int(part * len(trees))])
    with pytest.raises(DamagedFileError) as caught:
        read_learner(tmp_path)
    assert "XGBoost finds no whole model in it" in str(caught.value)
    assert str(tmp_path / "model.ubj") in str(caught.value)
    assert "libxgboost" not in str(caught.value)


def kernel(**changes: np.ndarray) -> bytes:
    numbers = {name: np.array(1.0) for name in ("length", "penalty", "centre")}
    columns = {name: np.ones(2) for name in ("points", "scale", "coefficients", "hidden")}
    more = {name: np.ones(2) for name in ("target", "fold", "hidden_of_trees")}
    stream = io.BytesIO()
    np.savez(stream, **(numbers | columns | more | changes))
    return stream.getvalue()


def test_a_kernel_that_is_not_finite_is_refused(trees: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(trees)
    (tmp_path / "kernel.npz").write_bytes(kernel(hidden=np.full(2, np.nan)))
    read_learner(tmp_path)  # NaN: a row that no part had left out
    (tmp_path / "kernel.npz").write_bytes(kernel(coefficients=np.array([1.0, np.nan])))
    with pytest.raises(DamagedFileError, match="coefficients holds a number that is not finite"):
        read_learner(tmp_path)
