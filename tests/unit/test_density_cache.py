"""Where compiled kernels are kept: in the home, or with the process if that cannot be written."""

from pathlib import Path

import pytest

from dft2spectra.density import _cache_of_this_version


def test_the_cache_of_the_home_and_of_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = Path(_cache_of_this_version())
    assert folder.parent == tmp_path / "home" / "dft2spectra"
    assert folder.is_dir()
    # Not a mode, which a test that runs as root would pass over.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    other = Path(_cache_of_this_version())
    assert other.is_dir()
    assert other.name.startswith("dft2spectra-")
    assert list(other.iterdir()) == []
