"""Fixtures for the tests of sinks: certificates, event loops, a pipe that hangs, and a server of HTTP/1.0."""

from __future__ import annotations

import os
import select
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest
import trustme

from gateway.core.secrets import SecretRef
from tests.sinks.loops import LoopFactory, factories
from tests.sinks.sending import PATIENCE

Certificate = Literal["good", "expired", "untrusted", "wrong host"]
Certificates = Callable[[Certificate], ssl.SSLContext]
LONG_AGO = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    return factories(item.path.name)


@pytest.fixture(scope="session")
def authorities() -> tuple[trustme.CA, trustme.CA]:
    """The authority that our sinks trust, and an unknown one."""
    return trustme.CA(), trustme.CA()


@pytest.fixture
def certificates(
    authorities: tuple[trustme.CA, trustme.CA], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Certificates]:
    """Make server contexts of each kind. Sinks that are built from now on trust only the first authority."""
    trusted, stranger = authorities
    pem = tmp_path / "authority.pem"
    trusted.cert_pem.write_to_path(str(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))

    def context(kind: Certificate) -> ssl.SSLContext:
        match kind:
            case "good":
                certificate = trusted.issue_cert("localhost", "127.0.0.1")
            case "expired":
                certificate = trusted.issue_cert("localhost", "127.0.0.1", not_before=LONG_AGO[0], not_after=LONG_AGO[1])
            case "untrusted":
                certificate = stranger.issue_cert("localhost", "127.0.0.1")
            case "wrong host":
                certificate = trusted.issue_cert("elsewhere.test")
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(made)
        return made

    yield context


@pytest.fixture
def shown(authorities: tuple[trustme.CA, trustme.CA], tmp_path: Path) -> dict[str, SecretRef]:
    """A client certificate of the first authority, and its key, as keys of a sink."""
    leaf = authorities[0].issue_cert("gateway.test", common_name="gateway")
    (tmp_path / "client.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    return {"certificate": SecretRef(file="client.pem"), "key": SecretRef(file="client.key")}


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[int]:
    """Make a full FIFO in place of `events.jsonl`, so that a write blocks until the FIFO is read."""
    path = tmp_path / "events.jsonl"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            os.write(reader, b"\n" * 4096)
    except BlockingIOError:
        pass
    yield reader
    while select.select([reader], [], [], 0.05)[0]:  # lets go of a thread that is still stuck
        os.read(reader, 1 << 20)
    os.close(reader)


class Old(BaseHTTPRequestHandler):
    """A server of HTTP/1.0, which is what Python's own speaks."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"taken")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def old() -> Iterator[int]:
    """The port of a server of HTTP/1.0."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Old) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(PATIENCE)
