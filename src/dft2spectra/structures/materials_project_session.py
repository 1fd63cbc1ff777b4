"""The HTTP session that mp-api is given: patient within limits, and it tells every pause.

mp-api has no limit of time on its first requests, and none on a server that drips.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Timer
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dft2spectra.structures.pinned import RetrievalError

if TYPE_CHECKING:
    from requests import Session

TIMEOUT_S = (10.0, 60.0)  # to connect, and between two bytes of an answer
ANSWER_S = 300.0  # for all of an answer
RETRIES = 5
BACK_OFF_S = 1.0
# In which mp-api sends the key.
KEY_HEADER = "x-api-key"
# Hosts that no network lies before.
HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def patient_session(progress: Callable[[str], None]) -> "Session":
    """Session with limits of time and polite repetition, for mp-api to use.

    ``progress`` receives a line for every pause.
    """
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    from dft2spectra.structures.web import LONGEST_RETRY_AFTER_S

    class Limited(HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            options["timeout"] = TIMEOUT_S
            check_address(request.url, KEY_HEADER in request.headers, key_hosts)
            response = super().send(request, *args, **options)
            with _within(ANSWER_S, response.raw.shutdown):
                _read_whole(response)
            return response

    class Patient(Retry):
        def get_retry_after(self, response: Any) -> float | None:
            pause_s = super().get_retry_after(response)
            if pause_s is not None and pause_s > LONGEST_RETRY_AFTER_S:
                raise RetrievalError(
                    f"the Materials Project answers {response.status} and asks to wait "
                    f"{pause_s:.0f} s; run again after that time"
                )
            return pause_s

        def sleep(self, response: Any = None) -> None:
            asked_s = self.get_retry_after(response) if response is not None else None
            pause_s = asked_s or self.get_backoff_time()
            last = self.history[-1]
            how = f"answers {last.status}" if last.status else f"does not answer ({last.error})"
            progress(f"the Materials Project {words(how)[:200]}; next attempt in {pause_s:.0f} s")
            sleep(pause_s)

    key_hosts: set[str] = set()
    retry = Patient(
        total=RETRIES,
        status_forcelist=[429, 500, 502, 503, 504],
        backoff_factor=BACK_OFF_S,
        backoff_jitter=BACK_OFF_S / 2,
        respect_retry_after_header=True,
        raise_on_status=False,
    )
    session = Session()
    session.headers["user-agent"] = "dft2spectra (mp-api)"
    for scheme in ("http://", "https://"):
        session.mount(scheme, Limited(max_retries=retry))
    return session


def check_address(url: str, with_key: bool, hosts: set[str]) -> None:
    """Return if a request may go there: a key goes to one host, and over https unless that is here.

    The client follows redirects and would take the key along. ``hosts`` holds the host that the key
    went to first.

    Raises
    ------
    RetrievalError
        The key would be read on the way, or by somebody else.
    """
    if not with_key:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and host not in HERE:
        raise RetrievalError(
            f"{parts.scheme}://{host} would get the key unencrypted; use an address with https"
        )
    hosts.add(host)
    if len(hosts) > 1:
        raise RetrievalError(
            f"the Materials Project sends on to {host}, another host, which does not get the key"
        )


def _read_whole(response: Any) -> None:
    """Read an answer into ``response.content``, up to :data:`LARGEST_ANSWER_BYTES`."""
    from dft2spectra.structures.web import LARGEST_ANSWER_BYTES

    blocks, size = [], 0
    for block in response.iter_content(1 << 16):
        blocks.append(block)
        size += len(block)
        if size > LARGEST_ANSWER_BYTES:
            response.close()
            raise RetrievalError(
                f"the Materials Project sends more than {LARGEST_ANSWER_BYTES / 1e6:.0f} MB in one "
                "answer; run again later"
            )
    response._content, response._content_consumed = b"".join(blocks), True


@contextmanager
def _within(seconds: float, stop: Callable[[], object]) -> Iterator[None]:
    """Call ``stop`` if the block takes longer, which is then a `RetrievalError` however it ends."""
    late = Event()

    def end() -> None:
        late.set()
        stop()

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise RetrievalError(
            f"the Materials Project did not send its whole answer within {seconds:g} s; run again "
            "later"
        )


def words(text: str) -> str:
    """Text of a web page or a message in one line, without tags and the terms of searches."""
    return " ".join(re.sub(r"<[^>]*>|\?_\S*|\?\w+=\S*", " ", text).split())
