"""Fixtures for the tests of sinks: certificates, event loops, and a pipe that hangs."""

from __future__ import annotations

import os
import select
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
import trustme

from tests.sinks.loops import LoopFactory, factories

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
