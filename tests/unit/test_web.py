"""Where a link may lead, and how long a server may ask to wait."""

import pytest
import requests

from dft2spectra.structures import web
from dft2spectra.structures.pinned import RetrievalError
from dft2spectra.structures.web import within

HTTPS = "https://optimade.example.org/v1"


@pytest.mark.parametrize(
    ("base", "link", "asked"),
    [
        (HTTPS, "https://optimade.example.org/v1/x?a=1", "https://optimade.example.org/v1/x?a=1"),
        (HTTPS, "https://optimade.example.org:443/x", "https://optimade.example.org:443/x"),
        # Behind a gateway the server writes http; https is kept.
        (HTTPS, "http://optimade.example.org/v1/x", "https://optimade.example.org/v1/x"),
        (
            "http://oqmd.org/optimade",
            "https://oqmd.org/optimade/v1",
            "https://oqmd.org/optimade/v1",
        ),
        ("http://127.0.0.1:5000/v1", "http://127.0.0.1:5000/v1/x", "http://127.0.0.1:5000/v1/x"),
        (HTTPS, "/v1/x", "https://optimade.example.org/v1/x"),
        (HTTPS, "?page=2", "https://optimade.example.org/v1/structures?page=2"),
        (HTTPS, "HTTPS://Optimade.Example.org/x", "https://Optimade.Example.org/x"),
    ],
)
def test_links_within_the_service(base, link, asked):
    assert within(base, f"{base}/structures?page=1", link) == asked


@pytest.mark.parametrize(
    ("base", "link"),
    [
        (HTTPS, "https://example.org/v1/x"),
        (HTTPS, "https://optimade.example.org.evil.net/v1/x"),
        (HTTPS, "https://optimade.example.org@evil.net/v1/x"),
        (HTTPS, "https://optimade.example.org:8443/v1/x"),
        (HTTPS, "http://optimade.example.org:8080/v1/x"),
        (HTTPS, "https://me:word@optimade.example.org/x"),
        (HTTPS, "file:///etc/passwd"),
        (HTTPS, "//example.org/v1/x"),
        (HTTPS, "https://[::1/v1"),
        (HTTPS, "javascript:alert(1)"),
        (HTTPS, "https://optimade.example.org:x/v1"),
        ("http://127.0.0.1:5000/v1", "https://127.0.0.1/v1"),
    ],
)
def test_links_to_other_places_are_refused(base, link):
    with pytest.raises(RetrievalError, match="another place than the configured one"):
        within(base, f"{base}/structures?page=1", link)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("12", 12.0), ("0.5", 0.5), ("-3", 0.0), ("soon", 0.0), ("", 0.0), ("nan", 0.0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after(text, seconds):
    response = requests.Response()
    response.url, response.status_code, response.reason = HTTPS, 429, "Too Many Requests"
    response.headers["Retry-After"] = text
    assert web._retry_after(response) == seconds


def test_retry_after_beyond_patience():
    response = requests.Response()
    response.url, response.status_code, response.reason = HTTPS, 503, "Service Unavailable"
    response.headers["Retry-After"] = "inf"
    with pytest.raises(RetrievalError, match="asks to wait inf s; run again after that time"):
        web._retry_after(response)


def test_the_user_agent_names_the_project():
    assert web.user_agent().startswith("dft2spectra/")
