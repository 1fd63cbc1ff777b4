"""The optimade package's own server on loopback, and a proxy in front of it that misbehaves.

The server holds the bundled structures, written as OPTIMADE entries by the package's adapter for
pymatgen, and three entries that no calculation can use. It is spoken to over HTTP by the real code.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dft2spectra.structures.files import read_file
from dft2spectra.structures.listing import list_files

BUNDLED = Path(__file__).parents[1] / "data" / "structures"
MODIFIED = "2026-03-01T12:00:00Z"
# Served with the prefix of the example provider: _exmpl_hull_distance and so on.
PROVIDER_FIELDS = [
    {"name": "hull_distance", "type": "float", "unit": "eV/atom", "description": "Above the hull."},
    {"name": "magnetization", "type": "float", "unit": "µB", "description": "Of the cell."},
    {"name": "secret_sauce", "type": "string", "description": "Nothing that is kept."},
]


def bundled_resources() -> list[dict[str, Any]]:
    """The bundled structures as OPTIMADE entries; the id is the name of the file."""
    from optimade.adapters import Structure as Adapter
    from pymatgen.core import Structure

    resources = []
    for path in list_files({"path": str(BUNDLED)}):
        (raw,) = read_file(path)
        crystal = Structure(raw.cell, raw.symbols, raw.scaled_positions)
        entry = Adapter.ingest_from(crystal).entry.model_dump(exclude_unset=True, mode="json")
        entry["attributes"] |= {"last_modified": MODIFIED, "hull_distance": 0.01 * len(resources)}
        entry["attributes"] |= {"magnetization": 2.2, "secret_sauce": "basil"}
        resources.append({**entry, "id": Path(path).stem, "type": "structures"})
    return resources


def unusable_resources(template: dict[str, Any]) -> list[dict[str, Any]]:
    """A mixed site, an entry without positions and a layer, made from a usable entry."""
    mixed = [{"name": "M", "chemical_symbols": ["Fe", "Co"], "concentration": [0.5, 0.5]}]
    changes: dict[str, dict[str, Any]] = {
        "mixed": {
            "species": mixed,
            "species_at_sites": ["M"] * template["attributes"]["nsites"],
            "structure_features": ["disorder"],
        },
        "no-positions": {"cartesian_site_positions": None},
        "layer": {"dimension_types": [1, 1, 0], "nperiodic_dimensions": 2},
    }
    return [
        {**template, "id": name, "attributes": {**template["attributes"], **change}}
        for name, change in changes.items()
    ]


def write_jsonl(path: Path, resources: list[dict[str, Any]]) -> None:
    """OPTIMADE JSON lines, as the server reads them at its start."""
    lines = [{"x-optimade": {"meta": {"api_version": "1.1.0"}}}, *resources]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@contextlib.contextmanager
def running_server(folder: Path, resources: list[dict[str, Any]]) -> Iterator[str]:
    """Address of `optimade.server.main:app` with these entries; stopped at the end."""
    write_jsonl(folder / "entries.jsonl", resources)
    settings = {
        "insert_test_data": False,
        "insert_from_jsonl": str(folder / "entries.jsonl"),
        "database_backend": "mongomock",
        "log_dir": str(folder),
        "provider_fields": {"structures": PROVIDER_FIELDS},
    }
    (folder / "optimade.json").write_text(json.dumps(settings))
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "optimade.server.main:app", "--port", str(port)]
    environment = {**os.environ, "OPTIMADE_CONFIG_FILE": str(folder / "optimade.json")}
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(server, f"{address}/v1/info", folder / "server.log")
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120.0
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5.0).close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"the OPTIMADE server does not start:\n{log.read_text()[-3000:]}")


@dataclass
class Reply:
    """An answer that a fault may change before it is sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def with_json(self, content: Any) -> "Reply":
        return Reply(self.status, self.headers, json.dumps(content).encode())


# Takes the handler, the number of this request for structures from 1 and the server's answer; gives
# the answer to send, or None when it has dealt with the connection itself.
Fault = Callable[[BaseHTTPRequestHandler, int, Reply], Reply | None]


@dataclass
class Proxy:
    """Hands requests on to a server; answers of the structures endpoint go through `fault`.

    ``instead`` holds answers for other paths that the server is not asked for.
    """

    upstream: str
    fault: Fault | None = None
    instead: dict[str, Reply] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def structure_requests(self) -> int:
        return sum("/structures?" in path for path in self.paths)

    def reply(self, path: str) -> Reply:
        """What the server behind says, with its address replaced by the proxy's."""
        try:
            with urllib.request.urlopen(self.upstream + path, timeout=60.0) as answer:
                status, headers, body = answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, dict(error.headers), error.read()
        except urllib.error.URLError:  # nobody there
            detail = json.dumps({"errors": [{"detail": "closed for tea"}]})
            return Reply(418, {"Content-Type": "application/json"}, detail.encode())
        kept = {"Content-Type": headers.get("content-type", headers.get("Content-Type", ""))}
        return Reply(status, kept, body.replace(self.upstream.encode(), self.address.encode()))


@contextlib.contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy on a free port, without a fault at first."""
    proxy = Proxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # every answer ends with its connection

        def do_GET(self) -> None:
            proxy.paths.append(self.path)
            reply: Reply | None = proxy.instead.get(self.path) or proxy.reply(self.path)
            if proxy.fault is not None and "/structures?" in self.path:
                assert reply is not None
                reply = proxy.fault(self, proxy.structure_requests, reply)
            if reply is not None:
                send(self, reply)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    """A complete answer."""
    handler.send_response(reply.status)
    for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):  # the client may have left
        handler.wfile.write(reply.body)
