"""Where the key of the Materials Project goes, and how much of an answer is read."""

import pytest

from dft2spectra.structures import materials_project_session as session
from dft2spectra.structures import web
from dft2spectra.structures.pinned import RetrievalError


def test_the_key_goes_to_one_host_over_https() -> None:
    hosts: set[str] = set()
    session.check_address("https://api.example.org/materials", True, hosts)
    session.check_address("https://api.example.org/more", True, hosts)
    with pytest.raises(RetrievalError, match=r"other\.example\.org, another host, which does not"):
        session.check_address("https://other.example.org/", True, hosts)


@pytest.mark.parametrize("url", ["http://api.example.org/x", "http://localhost.example.org/"])
def test_the_key_does_not_go_over_plain_http(url: str) -> None:
    with pytest.raises(RetrievalError, match="would get the key unencrypted"):
        session.check_address(url, True, set())
    session.check_address(url, False, set())
    session.check_address("http://127.0.0.1:8000/x", True, set())  # a proxy of one's own


class Answer:
    """As much of requests' answer as is read."""

    def __init__(self, blocks: int) -> None:
        self.blocks, self.read, self.closed = blocks, 0, False

    def iter_content(self, size: int):
        for _ in range(self.blocks):
            self.read += 1
            yield bytes(size)

    def close(self) -> None:
        self.closed = True


def test_an_answer_without_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LARGEST_ANSWER_BYTES", 10 * (1 << 16))
    answer = Answer(10)
    session._read_whole(answer)
    assert len(answer._content) == 10 * (1 << 16)
    endless = Answer(10_000)
    with pytest.raises(RetrievalError, match="sends more than 1 MB in one answer"):
        session._read_whole(endless)
    assert endless.read == 11
    assert endless.closed


def test_what_a_provider_writes_does_not_act() -> None:
    assert str(RetrievalError("refused: \x1b[2J\x07 now")) == r"refused: \x1b[2J\x07 now"
