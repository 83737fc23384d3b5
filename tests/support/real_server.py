"""Starts and stops the real servers and proxies that sinks are tried on, and writes the certificate that they show."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trustme

from tests.support.waiting import PATIENCE


def write_certificate(folder: Path, authority: trustme.CA) -> None:
    """Write `certificate.pem` and `key.pem` for this machine, and `authority.pem` with what issued them."""
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))


@contextmanager
def running(command: Sequence[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that stays in the foreground, from the moment when it listens. Its output goes to the file `said`."""
    with (folder / "said").open("wb") as said:
        environment = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
    try:
        _await_listening(port, process, folder / "said")
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _await_listening(port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"it does not listen: {said.read_text(encoding='utf-8')}")
