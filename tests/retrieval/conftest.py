"""The real OPTIMADE server, started once, and a proxy in front of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from optimade_loopback import (
    Proxy,
    bundled_resources,
    running_proxy,
    running_server,
    unusable_resources,
)


@pytest.fixture(scope="session")
def resources() -> list[dict[str, Any]]:
    """The bundled structures as OPTIMADE entries, and three that cannot be used."""
    bundled = bundled_resources()
    return bundled + unusable_resources(bundled[0])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, resources) -> Iterator[str]:
    """Address of the OPTIMADE server with all entries."""
    with running_server(tmp_path_factory.mktemp("optimade"), resources) as address:
        yield address


@pytest.fixture(scope="session")
def one_proxy(server: str) -> Iterator[Proxy]:
    with running_proxy(server) as proxy:
        yield proxy


@pytest.fixture
def proxy(one_proxy: Proxy) -> Proxy:
    """The proxy without a fault and without memory."""
    one_proxy.fault = None
    one_proxy.paths.clear()
    one_proxy.instead.clear()
    return one_proxy


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made, in seconds; none is."""
    from dft2spectra.structures import optimade_pages, web

    made: list[float] = []
    monkeypatch.setattr(web, "sleep", made.append)
    monkeypatch.setattr(optimade_pages, "sleep", made.append)
    return made
