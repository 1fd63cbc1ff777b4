"""Answers of a web service as JSON: patient with a busy server, strict with everything else.

A server that is down, busy, slow, or cuts an answer off is asked again, with growing pauses and
with the pause that it asks for. An answer that will not be better next time stops at once. Nothing
is sent to another host than the one that the user named, and nothing over http once it was https.
"""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata
from time import monotonic, sleep
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import requests
import urllib3

from dft2spectra.structures.pinned import RetrievalError

ATTEMPTS = 5
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
# A server that asks for more than this is left alone until another day.
LONGEST_RETRY_AFTER_S = 600.0
CONNECT_TIMEOUT_S = 15.0
# Decompressed; a page of 1000 structures of 100 atoms is about 15 MB.
LARGEST_ANSWER_BYTES = 100_000_000
MOST_REDIRECTS = 5
ACCEPT = "application/vnd.api+json, application/json"

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
MOVED = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS = {"http": 80, "https": 443}


class _Passing(Exception):
    """A fault that another attempt may find gone."""

    def __init__(self, sentence: str, pause_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.pause_s = pause_s


@dataclass(frozen=True)
class Answer:
    """A complete answer: status, media type without parameters, and the decompressed body."""

    status: int
    media_type: str
    body: bytes


@dataclass
class Service:
    """One web service, asked politely; counts the requests made.

    Parameters
    ----------
    base_url
        Scheme, host and port that no request leaves.
    timeout_s
        Longest wait for the start of an answer, and again for the rest of it.
    progress
        Called with a line for every pause.
    """

    base_url: str
    timeout_s: float
    progress: Callable[[str], None]
    n_requests: int = 0
    session: requests.Session = field(default_factory=requests.Session)

    def json(self, url: str) -> dict[str, Any]:
        """The JSON object at an address of the service.

        Raises
        ------
        RetrievalError
            The service refuses, sends something else than a JSON object, points to another host,
            or stays out of order for `ATTEMPTS` attempts.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _json_object(self._accepted(self._once(url)), url)
            except _Passing as trouble:
                if attempt == ATTEMPTS:
                    raise RetrievalError(
                        f"{shown(url)} {trouble}, {ATTEMPTS} times in a row; run again later, or "
                        "check the address in a browser"
                    ) from None
                pause = max(_pause(attempt), trouble.pause_s)
                self.progress(f"{shown(url)} {trouble}; next attempt in {pause:.0f} s")
                sleep(pause)
        raise AssertionError("unreachable")

    def glance(self, url: str) -> Answer | None:
        """The answer to one attempt, for what is good to know but not needed; else ``None``."""
        try:
            answer = self._once(url)
        except (_Passing, RetrievalError):
            return None
        return answer if answer.status == 200 else None

    def _once(self, url: str) -> Answer:
        """One attempt, with redirects within the service followed."""
        for _ in range(MOST_REDIRECTS + 1):
            self.n_requests += 1
            with _network_faults(url, self.timeout_s):
                response = self.session.get(
                    url,
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(CONNECT_TIMEOUT_S, self.timeout_s), self.timeout_s),
                    headers={"User-Agent": user_agent(), "Accept": ACCEPT},
                )
                with response:
                    if response.status_code not in MOVED:
                        return self._whole(response)
                    location = response.headers.get("Location", "")
            url = within(self.base_url, url, location)
        raise RetrievalError(f"{shown(url)} redirects in circles; check the address in a browser")

    def _whole(self, response: requests.Response) -> Answer:
        """The body, read with a limit on its size and on the time for all of it."""
        end = monotonic() + self.timeout_s
        body = bytearray()
        # read1 returns what has come; read would wait for a full block from a server that drips.
        while block := response.raw.read1(1 << 16, decode_content=True):
            body += block
            if len(body) > LARGEST_ANSWER_BYTES:
                raise RetrievalError(
                    f"{shown(response.url)} sends more than {LARGEST_ANSWER_BYTES / 1e6:.0f} MB in "
                    "one answer; lower page_limit"
                )
            if monotonic() > end:
                raise _Passing(f"did not send its whole answer within {self.timeout_s:g} s")
        if response.status_code in BUSY:
            raise _Passing(
                f"answers {response.status_code} {response.reason}", _retry_after(response)
            )
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Answer(response.status_code, media_type, bytes(body))

    def _accepted(self, answer: Answer) -> Answer:
        if answer.status == 200:
            return answer
        detail = _error_detail(answer)
        raise RetrievalError(
            f"{self.base_url} refuses the request with status {answer.status}"
            + (f": {detail}" if detail else "; check the address in a browser")
        )


def user_agent() -> str:
    """Who asks, as the provider's log shows it."""
    return f"dft2spectra/{metadata.version('dft2spectra')} python-requests/{requests.__version__}"


def within(base_url: str, page_url: str, link: str) -> str:
    """The address that a link on a page of the service leads to, with https kept.

    Raises
    ------
    RetrievalError
        The link leads to another host, port or scheme, or nowhere.
    """
    base = urlsplit(base_url)
    try:
        target = urlsplit(urljoin(page_url, link))
    except ValueError:  # half a bracket
        target = urlsplit("")
    if target.scheme == "http" and base.scheme == "https" and _port(target) == 80:
        # Servers behind a gateway often do not know that they are asked by https.
        target = target._replace(scheme="https", netloc=(target.hostname or ""))
    upgraded = base.scheme == "http" and target.scheme == "https" and _port(base) == 80
    same_port = _port(target) == _port(base) or (upgraded and _port(target) == 443)
    if (
        target.scheme not in DEFAULT_PORTS
        or target.hostname != base.hostname
        or not same_port
        or target.username is not None
        or (target.scheme != base.scheme and not upgraded)
    ):
        raise RetrievalError(
            f"{base.scheme}://{base.netloc} sends on to {shown(urlunsplit(target)) or link[:80]}, "
            "another place than the configured one, which is not followed; if you trust it, make "
            "it the base_url"
        )
    return urlunsplit(target)


def shown(url: str) -> str:
    """An address without its query, for messages."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _port(url: SplitResult) -> int | None:
    try:
        return url.port or DEFAULT_PORTS.get(url.scheme)
    except ValueError:  # not a number
        return None


@contextmanager
def _network_faults(url: str, timeout_s: float) -> Iterator[None]:
    """Faults on the way as `_Passing`, faults of the address as `RetrievalError`."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise RetrievalError(
            f"{shown(url)} has no valid certificate ({last_cause(error)}); check the address"
        ) from None
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        raise _Passing(f"does not answer within {timeout_s:g} s") from None
    except urllib3.exceptions.DecodeError:
        raise _Passing("sends an answer that cannot be decompressed") from None
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError, OSError) as e:
        if isinstance(e, requests.exceptions.RequestException) and not isinstance(
            e, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError
        ):
            raise RetrievalError(f"{url} cannot be asked: {last_cause(e)}") from None
        raise _Passing(f"breaks the connection ({last_cause(e)})") from None


def last_cause(error: BaseException) -> str:
    """The innermost message of a nested network error, in one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return " ".join(str(error).split())[:160] or type(error).__name__


def _json_object(answer: Answer, url: str) -> dict[str, Any]:
    if "json" not in answer.media_type:
        kind = "a web page" if "html" in answer.media_type else "no JSON"
        raise _Passing(f"sends {kind} ({answer.media_type or 'no content type'}) instead of data")
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise _Passing(f"sends broken JSON, perhaps cut off ({str(error)[:80]})") from None
    if not isinstance(content, dict):
        raise RetrievalError(
            f"{shown(url)} sends JSON of another form than OPTIMADE's, a "
            f"{type(content).__name__}; check the address"
        )
    return content


def _error_detail(answer: Answer) -> str:
    """What a JSON error answer says, else nothing."""
    if "json" not in answer.media_type:
        return ""
    try:
        errors = json.loads(answer.body)["errors"]
        texts = [str(error.get("detail") or error.get("title")) for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return " ".join("; ".join(texts).split())[:400]


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: doubled each time, half of it by chance."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait (RFC 9110, 10.2.3: a number or a date)."""
    text = response.headers.get("Retry-After", "").strip()
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    if seconds > LONGEST_RETRY_AFTER_S:
        raise RetrievalError(
            f"{shown(response.url)} answers {response.status_code} {response.reason} and asks to "
            f"wait {seconds:.0f} s; run again after that time"
        )
    return max(seconds, 0.0) if seconds == seconds else 0.0
