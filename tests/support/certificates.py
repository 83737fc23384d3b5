"""A certificate for the gateway, issued by an authority of the test, and clients that trust that authority."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

HOST = "gateway.test"
_CONTENT = re.compile(rb"HTTP/1.1 (\d+) .*?\r\ncontent-length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n", re.IGNORECASE | re.DOTALL)


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
        """Send a webhook from a source address, and block until its answer; return what `Answer.outcome` returns.

        The request goes out with the end of the handshake. A thread that is kept from running between the two would look to the
        gateway like a client that has nothing to say.
        """
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = self.context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        with socket.create_connection(address, 60, source) as plain:

            def receive() -> None:
                if outgoing.pending:
                    plain.sendall(outgoing.read())
                if not (data := plain.recv(65536)):
                    raise ConnectionResetError("the gateway ended the connection")
                incoming.write(data)

            while True:
                try:
                    secured.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    receive()
            secured.write(raw)
            answer = b""
            while (found := _CONTENT.search(answer)) is None or len(answer) - found.end() < int(found[2]):
                try:
                    answer += secured.read(65536)
                except ssl.SSLWantReadError:
                    receive()
        content = json.loads(answer[found.end() :])
        return int(found[1]), str(content.get("error", content.get("status")))

    async def shown(self, address: tuple[str, int]) -> datetime:
        """The end of the certificate that a new connection is shown."""
        _, writer = await asyncio.open_connection(*address, **self.options)
        try:
            found = writer.get_extra_info("peercert")["notAfter"]
            return datetime.fromtimestamp(ssl.cert_time_to_seconds(found), UTC)
        finally:
            writer.close()
            await writer.wait_closed()
