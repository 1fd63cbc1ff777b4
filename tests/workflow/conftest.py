"""Campaigns that tests start from."""

import shutil
from pathlib import Path

import pytest
from campaign import Campaign, new_folder, stub_library


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A finished campaign with stub DFT; tests that use it must leave it as they found it."""
    folder = new_folder(tmp_path_factory.mktemp("finished"))
    campaign = Campaign(folder, library=stub_library(folder))
    campaign.finish()
    return campaign


@pytest.fixture
def fresh(tmp_path: Path) -> Campaign:
    """A campaign with stub DFT of which nothing has run."""
    return Campaign(new_folder(tmp_path / "work"), library=stub_library(tmp_path))


@pytest.fixture
def planning(tmp_path: Path) -> Campaign:
    """A campaign with the real library, to be looked at by dry-runs."""
    return Campaign(new_folder(tmp_path / "work"))


@pytest.fixture
def copied(finished: Campaign, tmp_path: Path) -> Campaign:
    """A copy of the finished campaign that a test may change and run."""
    shutil.copytree(finished.folder, tmp_path / "work", symlinks=True)
    return Campaign(tmp_path / "work", library=tmp_path / "work" / "library")
