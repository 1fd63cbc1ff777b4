"""The Materials Project on loopback: answers what mp-api asks for, from documents of its own model.

Search terms, pages and the form of an answer are those that mp-api 0.46.5 sends and reads; a term
that is not known here is an error, as it is at the real server, so that a term that the client
renames is noticed.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from emmet.core.summary import SummaryDoc
from pymatgen.core import Structure

Document = dict[str, Any]
KEY = "0123456789abcdefABCDEF0123456789"
BOUNDS = {
    "nelements": lambda document: document["nelements"],
    "energy_above_hull": lambda document: document["energy_above_hull"],
}
PAGING = {"_fields", "_limit", "_skip", "_sort_fields"}


def document(material_id: str, structure: Structure, **more: Any) -> Document:
    """A document as the server sends it, made and checked by emmet's own model."""
    made = SummaryDoc.from_structure(
        meta_structure=structure,
        material_id=material_id,
        deprecated=False,
        last_updated="2026-10-01T00:00:00Z",
        origins=[],
        **{"energy_above_hull": 0.0, "theoretical": False, **more},
    )
    sent = json.loads(made.model_dump_json())
    SummaryDoc.model_validate(sent)
    return sent


class Server(ThreadingHTTPServer):
    """A server whose tests hang up on it."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class MaterialsProject:
    """Server on a free port of this machine; ``with`` starts and stops it.

    Parameters
    ----------
    documents
        What it holds.
    fault
        Called with the handler, the number of the page (from 1) and the answer before an answer to
        a search is sent; may change the answer, or return true when it has answered itself.
    """

    def __init__(
        self,
        documents: Iterable[Document] = (),
        fault: Callable[[BaseHTTPRequestHandler, int, dict[str, Any]], Any] | None = None,
    ) -> None:
        self.documents = list(documents)
        self.fault = fault
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.database_version = "2026.10.1"

        class Handler(BaseHTTPRequestHandler):
            project = self

            def do_GET(self) -> None:
                self.project.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)

    def __enter__(self) -> "MaterialsProject":
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    @property
    def searches(self) -> list[dict[str, str]]:
        """Terms of every search."""
        return [terms for path, terms, _ in self.requests if "summary" in path]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        terms = dict(parse_qsl(url.query))
        self.requests.append((url.path, terms, dict(handler.headers)))
        if url.path == "/heartbeat":
            state = {"status": "OK", "version": "0.87.1", "db_version": self.database_version}
            send(handler, state | {"access_controlled_batch_ids": []})
        elif url.path != "/materials/summary/":
            send(handler, {"detail": f"no {url.path}"}, 404)
        elif handler.headers.get("x-api-key") != KEY:
            send(handler, {"detail": "Invalid authentication credentials"}, 401)
        else:
            page = self.search(terms)
            if self.fault is None or not self.fault(handler, len(self.searches), page):
                send(handler, page)

    def search(self, terms: dict[str, str]) -> dict[str, Any]:
        found = [document for document in self.documents if matches(document, terms)]
        if terms.get("_sort_fields") == "material_id":
            found.sort(key=lambda document: document["material_id"])
        start = int(terms.get("_skip", 0))
        fields = terms["_fields"].split(",")
        data = [
            {name: document[name] for name in fields if name in document}
            for document in found[start : start + int(terms.get("_limit", 100))]
        ]
        return {"data": data, "meta": {"api_version": "0.87.1", "total_doc": len(found)}}


def matches(document: Document, terms: dict[str, str]) -> bool:
    elements = set(document["elements"])
    for term, value in terms.items():
        name, _, bound = term.rpartition("_")
        if term == "elements":
            right = set(value.split(",")) <= elements
        elif term == "chemsys":
            right = any(in_system(elements, system) for system in value.split(","))
        elif term in ("theoretical", "deprecated"):
            right = document[term] == (value == "True")
        elif name in BOUNDS and bound in ("min", "max"):
            number = BOUNDS[name](document)
            right = number >= float(value) if bound == "min" else number <= float(value)
        elif term in PAGING:
            right = True
        else:
            raise AssertionError(f"the client sends a term that this server does not know: {term}")
        if not right:
            return False
    return True


def in_system(elements: set[str], system: str) -> bool:
    """Whether the elements are those of a system in which * stands for any other."""
    parts = system.split("-")
    return len(parts) == len(elements) and set(parts) - {"*"} <= elements


def send(handler: BaseHTTPRequestHandler, data: Any, status: int = 200) -> None:
    send_bytes(handler, json.dumps(data).encode(), status=status)


def send_bytes(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    *,
    kind: str = "application/json",
    status: int = 200,
    announced: int | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content) if announced is None else announced))
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def bundled(folder: Path, names: Iterable[str], **more: Any) -> list[Document]:
    """Documents of bundled structures, as the database would describe them."""
    from dft2spectra.structures.sources import collect

    found = []
    for name in names:
        source = {"kind": "files", "path": str(folder), "names": [name]}
        (structure,), _ = collect([source], {"max_atoms": 100})
        crystal = Structure(
            structure["cell_ang"],
            structure["symbols"],
            structure["scaled_positions"],
            site_properties={"magmom": structure["initial_moments_mub"]},
        )
        found.append(document(f"mp-{100 + len(found)}", crystal, **more))
    return found


def wait(seconds: float) -> None:
    time.sleep(seconds)
