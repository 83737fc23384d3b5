"""What the tests of the sinks share: deliveries, secrets, and the other side as a real server on loopback.

Each server records what it heard, and ends with its `async with`, whatever its client does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as email_policy
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from gateway.core.events import Event, decode
from gateway.core.outcome import Outcome
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.sinks import open_sink, type_of
from gateway.sinks.base import Found, Opening, Outgoing, Sink, SinkSettings
from tests.fakes import START, FakeClock
from tests.support.waiting import until
from tests.support.webhooks import SECRET

MESSAGE_ID = "019c8f0e7a417c55b1d204a96bd3e871"
DELIVERY_ID = f"{MESSAGE_ID}-erp"
PATIENCE = 15.0
"""Seconds after which a test says that something hangs."""
SHORT = Duration("300ms")
LONG = Duration("30s")

SECRETS = {
    "SIGNING": SECRET,
    "BEARER": "bearer-8Hq2-never-shown",
    "TENANT": "tenant-41xZ-never-shown",
    "PASSWORD": "password-7Kp9-never-shown",
    "HOOK": "http://127.0.0.1:1/services/T0/B0/hook-5Wd3-never-shown",
}


def ref(name: str) -> SecretRef:
    return SecretRef(env=name)


def opening(base: Path, clock: Clock | None = None, **secrets: str) -> Opening:
    """With the real environment's rules for secrets, but not with the environment of this process."""
    environment = Environment(SECRETS | secrets)
    return Opening(name="erp", base=base, secret=lambda ref: environment.secret(ref, base), clock=clock or FakeClock())


def opened(config: SinkSettings, base: Path, clock: Clock | None = None, **secrets: str) -> contextlib.aclosing[Sink]:
    return contextlib.aclosing(open_sink(config, opening(base, clock, **secrets)))


def outgoing(
    body: bytes = b'{"event_type":"state_change","sr_uuid":"sr-1","reference_id":"BAG-1",'
    b'"state":{"primary":"COMPLETE","supplement":"APPROVED"},"timestamp":"2026-03-02T09:14:27.512Z"}',
    *,
    delivery_id: str = DELIVERY_ID,
    sender_id: str | None = "msg_2f9b",
    content_type: str | None = "application/json",
    attempt: int = 1,
) -> Outgoing:
    """What a lane makes of a message: the event is None where the body is no JSON object."""
    event = decode(body)
    return Outgoing(
        delivery_id=delivery_id,
        message_id=MESSAGE_ID,
        sender_id=sender_id,
        source="legitmark",
        received_at=START,
        event=event if isinstance(event, Event) else None,
        body=body,
        content_type=content_type,
        attempt=attempt,
    )


async def probe(config: SinkSettings, base: Path, clock: Clock | None = None, **secrets: str) -> Found:
    return await type_of(config).probe(config, opening(base, clock, **secrets))


async def send(sink: Sink, delivery: Outgoing | None = None) -> Outcome:
    async with asyncio.timeout(PATIENCE):
        return await sink.send(delivery or outgoing())


async def attempt(sink: Sink, timeout: float) -> Outcome:
    """Send as a lane does: cut when the time of the attempt, in seconds, is over. Raises TimeoutError then, and at once."""

    async def cut() -> Outcome:
        async with asyncio.timeout(timeout):
            return await sink.send(outgoing())

    sending = asyncio.ensure_future(cut())
    await asyncio.wait([sending], timeout=timeout + 3)
    assert sending.done(), "it goes on after its time is over"
    return await sending


def parsed(raw: bytes) -> EmailMessage:
    """A mail as a program reads it that knows nothing of how it was written."""
    mail = message_from_bytes(raw, policy=email_policy)
    assert isinstance(mail, EmailMessage)
    return mail


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A TCP server on 127.0.0.1 that talks as it is told to."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.met = asyncio.Event()
        """Set when a client connected."""
        self.gone = asyncio.Event()
        """Set when a client closed its connection."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/hook"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.met.set()
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self.gone.set()
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class Heard(NamedTuple):
    """A request as it came over the wire."""

    line: bytes
    headers: list[tuple[str, bytes]]
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value.decode() for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


async def read_request(reader: asyncio.StreamReader) -> Heard:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head[:-4].split(b"\r\n")
    headers = [(name.decode().lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields)]
    length = int(dict(headers).get("content-length", b"0"))
    return Heard(line, headers, await reader.readexactly(length))


def answer(status: int = 200, body: bytes = b"", /, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if status >= 200 and status not in (204, 304) and "content_length" not in headers:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class HttpServer(Server):
    """Answers each request by `reply`; connections are kept alive."""

    def __init__(self, reply: bytes | Callable[[Heard], bytes] = answer(), tls: ssl.SSLContext | None = None) -> None:  # noqa: B008
        super().__init__(self._converse, tls)
        self.reply = reply
        self.heard: list[Heard] = []

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            heard = await read_request(reader)
            self.heard.append(heard)
            said = self.reply(heard) if callable(self.reply) else self.reply
            writer.write(said)
            await writer.drain()
            if b" 101 " in said or b"connection: close" in said:
                return


def after_request(*, says: bytes = b"", hang: bool = False, reset: bool = False) -> Server:
    """A server that reads one request, says some bytes, and then hangs until the client leaves, resets, or closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if says:
            writer.write(says)
            await writer.drain()
        if hang:
            await reader.read()
        if reset:
            reset_connection(writer)

    return Server(talk)


def reset_connection(writer: asyncio.StreamWriter) -> None:
    """Send RST in place of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


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
    """An SMTP server by script: an answer per verb, `""` being the greeting and `"."` the end of the data."""

    def __init__(self, **script: bytes) -> None:
        super().__init__(self._converse)
        self._script = {**CLEAR_SMTP, **{{"greeting": "", "end": "."}.get(verb, verb): said for verb, said in script.items()}}
        self.lines: list[bytes] = []
        self.mails: list[bytes] = []

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
    """aiosmtpd on 127.0.0.1, inside the loop of the test; keeps the mails it took."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: bool = False) -> None:
        self._tls = tls
        self._options: dict[str, Any] = {"tls_context": starttls, "require_starttls": starttls is not None}
        self.utf8 = False
        """Whether it offers SMTPUTF8."""
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
        """Recipients and the answers to their RCPT."""

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


async def drain(reader: int, lines: int) -> list[bytes]:
    """Read until so many lines have come that are not empty."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(reader, ready.set)
    read = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while len(found := [line for line in read.splitlines(keepends=True) if line != b"\n"]) < lines or read[-1:] != b"\n":
                await ready.wait()
                ready.clear()
                try:
                    read += os.read(reader, 1 << 20)
                except BlockingIOError:
                    continue
    finally:
        loop.remove_reader(reader)
    return [bytes(line) for line in found]


def writers() -> int:
    """How many threads of JSONL sinks there are."""
    return sum(thread.name == "jsonl" for thread in threading.enumerate())


async def written_to_the_end() -> None:
    """Wait until no thread of a JSONL sink is left, and the loop has heard of it."""
    await until(lambda: not writers(), PATIENCE)
    for _ in range(5):
        await asyncio.sleep(0)


def descriptors() -> set[str]:
    """Return what this process has open: the numbers, and what they lead to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (the numbers are all that is asked for)
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")  # noqa: PTH115 (to a socket, not to a path)
    return found


def connections_to(*ports: int) -> int:
    """Count the connections of this process to ports of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    leading = {f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) in ports}
    return sum(descriptor.split()[1] in leading for descriptor in descriptors())
