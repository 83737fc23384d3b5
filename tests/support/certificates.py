"""A gateway's certificate for the tests of TLS, as an authority of the test issued it, and clients that believe in that."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

HOST = "gateway.test"


class Certified:
    """`server.pem` and `server.key` in a folder; an intermediate authority stands between them and the one that is trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = trustme.CA()
        self._authority = self._root.create_child_ca()
        self.context = ssl.create_default_context()
        self._root.configure_trust(self.context)
        self.toml = 'tls = { certificate = "server.pem", key = "server.key" }\n'

    def issue(self, *, days: float = 90.0, begins: float = -1.0) -> datetime:
        """Write a pair that is valid from `begins` to `days` from now; when that ends."""
        now = datetime.now(UTC).replace(microsecond=0)
        ends = now + timedelta(days=days)
        leaf = self._authority.issue_cert(HOST, not_before=now + timedelta(days=begins), not_after=ends)
        chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
        self.write(chain.decode(), leaf.private_key_pem.bytes().decode())
        return ends

    def write(self, certificate: str | None = None, key: str | None = None) -> None:
        for name, text in (("server.pem", certificate), ("server.key", key)):
            if text is not None:
                (self.folder / name).write_text(text)
                (self.folder / name).chmod(0o600)

    @property
    def options(self) -> dict[str, Any]:
        """For `exchange` and asyncio's connections."""
        return {"ssl": self.context, "server_hostname": HOST}

    def post(self, address: tuple[str, int], raw: bytes, source: tuple[str, int]) -> tuple[int, str]:
        """Send a webhook by a thread that waits, from an address of ours; what became of it, as `Answer.outcome` has it."""
        with (
            socket.create_connection(address, 60, source) as plain,
            self.context.wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            secured.sendall(raw)
            answer = http.client.HTTPResponse(secured)
            answer.begin()
            found = json.loads(answer.read())
            return answer.status, str(found.get("error", found.get("status")))

    async def shown(self, address: tuple[str, int]) -> datetime:
        """When the certificate ends that a new connection is shown."""
        _, writer = await asyncio.open_connection(*address, **self.options)
        try:
            found = writer.get_extra_info("peercert")["notAfter"]
            return datetime.fromtimestamp(ssl.cert_time_to_seconds(found), UTC)
        finally:
            writer.close()
            await writer.wait_closed()
