"""A certificate for the gateway, issued by an authority of the test, and clients that trust that authority."""

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
    """`server.pem` and `server.key` in a folder. An intermediate authority issues them; clients trust its root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = trustme.CA()
        self._authority = self._root.create_child_ca()
        self.context = ssl.create_default_context()
        self._root.configure_trust(self.context)
        self.toml = 'tls = { certificate = "server.pem", key = "server.key" }\n'

    def issue(self, *, days: float = 90.0, begins: float = -1.0) -> datetime:
        """Write a certificate and key, valid from `begins` to `days` days from now; return the end."""
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
        """The options with which asyncio and `exchange` connect to the gateway."""
        return {"ssl": self.context, "server_hostname": HOST}

    def post(self, address: tuple[str, int], raw: bytes, source: tuple[str, int]) -> tuple[int, str]:
        """Send a webhook from a source address, and block until its answer; return what `Answer.outcome` returns."""
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
        """The end of the certificate that a new connection is shown."""
        _, writer = await asyncio.open_connection(*address, **self.options)
        try:
            found = writer.get_extra_info("peercert")["notAfter"]
            return datetime.fromtimestamp(ssl.cert_time_to_seconds(found), UTC)
        finally:
            writer.close()
            await writer.wait_closed()
