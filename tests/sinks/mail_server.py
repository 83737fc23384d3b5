"""Mail servers on loopback: one that follows a script, and a real one that keeps the mails it took."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as email_policy
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.sinks.sending import PATIENCE, SECRETS
from tests.sinks.tcp_server import Server, reset_connection


def parsed(raw: bytes) -> EmailMessage:
    """Read a mail as a mail program would, without any knowledge of how it was written."""
    mail = message_from_bytes(raw, policy=email_policy)
    assert isinstance(mail, EmailMessage)
    return mail


CLEAR_SMTP: Mapping[str, bytes] = {
    "": b"220 mail.test ESMTP\r\n",
    "EHLO": b"250-mail.test\r\n250 8BITMIME\r\n",
    "AUTH": b"235 2.7.0 welcome\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go on\r\n",
    ".": b"250 2.0.0 taken\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}
HANG = b"hang"
DROP = b"drop"
RESET = b"reset"


class ScriptedSmtp(Server):
    """An SMTP server that follows a script of one answer per verb; `""` is the greeting and `"."` the end of the data."""

    def __init__(self, **script: bytes) -> None:
        super().__init__(self.converse)
        self._script = {**CLEAR_SMTP, **{{"greeting": "", "end": "."}.get(verb, verb): said for verb, said in script.items()}}
        self.lines: list[bytes] = []
        self.mails: list[bytes] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say("", writer, reader)
        while line := await reader.readline():
            self.lines.append(line)
            verb = line.split(b" ")[0].strip().decode("ascii", "replace").upper()
            await self._say(verb, writer, reader)
            if verb == "DATA" and self._script["DATA"].startswith(b"354"):
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                await self._say(".", writer, reader)
            elif verb == "QUIT":
                return

    async def _say(self, verb: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        said = self._script.get(verb, b"502 5.5.1 no such command\r\n")
        if said == HANG:
            await reader.read()
        if said == RESET:
            reset_connection(writer)
        if said in (HANG, RESET, DROP):
            raise ConnectionAbortedError
        writer.write(said)
        await writer.drain()


class MailServer:
    """aiosmtpd on 127.0.0.1, inside the loop of the test. It keeps the mails that it took."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: bool = False) -> None:
        self._tls = tls
        self._options: dict[str, Any] = {"tls_context": starttls, "require_starttls": starttls is not None}
        self.utf8 = False
        """True if the server offers SMTPUTF8."""
        if login:
            self._options |= {
                "authenticator": self._authenticate,
                "auth_require_tls": starttls is not None,
            }  # by STARTTLS, that is
        self._sessions: list[Any] = []
        self.mails: list[bytes] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.encrypted: list[bool] = []
        self.logins: list[bool] = []
        self.refuse: dict[str, str] = {}
        """The recipients to refuse, each with the answer to its RCPT."""

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        talks = []
        for session in self._sessions:
            if session.transport is not None:
                session.transport.close()
            if session._handler_coroutine is not None:
                session._handler_coroutine.cancel()
                talks.append(session._handler_coroutine)
        await asyncio.gather(*talks, return_exceptions=True)
        await self._server.wait_closed()

    def _session(self) -> Any:
        loop = asyncio.get_running_loop()
        session = SMTP(self, hostname="mail.test", loop=loop, timeout=PATIENCE, enable_SMTPUTF8=self.utf8, **self._options)
        self._sessions.append(session)
        return session

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and data == LoginPassword(b"gateway", SECRETS["PASSWORD"].encode())
        self.logins.append(right)
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content)
        self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        self.encrypted.append(session.ssl is not None or self._tls is not None)
        return "250 2.0.0 taken"
