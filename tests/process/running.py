"""The real process and real receiving ends around it, for tests of the whole. Loopback only.

The gateway listens on port 0 and says on stderr which port it got, so that no test can take another one's port. The
receiving ends live in threads of their own: whatever a test does with its event loop, they answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as email_policy
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from standardwebhooks import Webhook

import gateway
from tests.conftest import SECRET

PATH = "/webhooks/legitmark"
Headers = Sequence[tuple[str, str | bytes]]

CODE = Path(gateway.__file__).parent.parent
"""Where the gateway under test lies: the process is told to take the same one."""


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that will be true soon; fails when it isn't in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        await asyncio.sleep(0.01)


# --- what a sender does


def hmac_signature(message_id: str, timestamp: str, body: bytes, secret: str = SECRET) -> str:
    """Standard Webhooks by hand, for what no package would sign: odd timestamps, bodies that are not text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed(
    body: bytes,
    message_id: str | None = None,
    *,
    age: float = 0.0,
    timestamp: str | None = None,
    family: str = "svix",
    secret: str = SECRET,
) -> list[tuple[str, str | bytes]]:
    """The three headers, by the package `standardwebhooks` where it can.

    Args:
        age: seconds before now; negative is ahead of it.
        timestamp: stands in the header as it is, and is signed as it is.
    """
    message_id = message_id or new_id()
    instant = int(time.time() - age)
    if timestamp is None:
        timestamp = str(instant)
        try:
            signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(instant, UTC), body.decode())
        except UnicodeDecodeError:
            signature = hmac_signature(message_id, timestamp, body, secret)
    else:
        signature = hmac_signature(message_id, timestamp, body, secret)
    return [(f"{family}-id", message_id), (f"{family}-timestamp", timestamp), (f"{family}-signature", signature)]


_ids = iter(range(1, sys.maxsize))


def new_id() -> str:
    """A message id that no other test of this run has."""
    return f"msg_{os.getpid()}_{next(_ids)}"


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    """Names in small letters."""
    body: bytes
    seconds: float
    """From the first byte sent to the last one read."""
    continued: bool
    """A 100 Continue came first."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> dict[str, Any]:
        assert self.header("content-type") in ("application/json", "application/json; charset=utf-8"), self
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and the word that tells what happened."""
        found = self.json()
        return self.status, str(found["error"] if "error" in found else found["status"])


def request_bytes(body: bytes, headers: Headers = (), *, path: str = PATH, method: str = "POST", length: bool = True) -> bytes:
    """A request as it goes over the wire: nothing in it is normalized, doubled headers stay doubled. One to the admin listener
    says what its body is, which nothing is changed without."""
    if path.startswith(("/api/", "/-/")) and "content-type" not in [name.lower() for name, _ in headers]:
        headers = [("Content-Type", "application/json"), *headers]
    head = bytearray(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode("utf-8", "surrogateescape"))
    if length:
        head += b"Content-Length: %d\r\n" % len(body)
    for name, value in headers:
        head += name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return bytes(head) + b"\r\n" + body


async def exchange(address: tuple[str, int] | Path, *parts: bytes, seconds: float = 20.0, **options: Any) -> Answer:
    """Open a connection, send the parts and read one answer. Raises ConnectionError where it was closed without one.

    `options` are asyncio's: `ssl`, `server_hostname`, `local_addr`.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await (
            asyncio.open_unix_connection(address, **options)
            if isinstance(address, Path)
            else asyncio.open_connection(*address, **options)
        )
        started = time.monotonic()
        try:
            try:
                for part in parts:
                    writer.write(part)
                    await writer.drain()
            except ConnectionError:
                pass  # the other side had enough: its answer may be there all the same
            return await read_answer(reader, started)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader, started: float) -> Answer:
    continued = False
    while True:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"closed after {len(error.partial)} bytes") from None
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        status = int(first.split(" ")[1])
        if status != 100:
            break
        continued = True
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = int(dict(headers).get("content-length", "0"))
    body = await reader.readexactly(length) if length and status != 204 else b""
    return Answer(status, headers, body, time.monotonic() - started, continued)


# --- the gateway


class Running:
    """A gateway in a folder of its own: `gateway.toml`, database and audit log lie there. Used as `with`, it ends dead."""

    def __init__(self, folder: Path, toml: str, secrets: Mapping[str, str] | None = None) -> None:
        """`toml` says everything but the listeners and the source `legitmark`, unless it names them itself."""
        self.folder = folder
        self.config = folder / "gateway.toml"
        self.database = folder / "gateway.db"
        self.audit_file = folder / "audit.jsonl"
        self.stderr_file = folder / "stderr.log"
        self.secrets = {"LEGITMARK": SECRET, **(secrets or {})}
        self.program = [sys.executable, "-m", "gateway"]
        self.variables: dict[str, str] = {}
        """Of its environment, besides the secrets."""
        self.passed: Sequence[int] = ()
        """Descriptors that it inherits."""
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: dict[str, tuple[str, int] | Path] = {}
        """Of `webhooks` and `admin`, while it runs."""
        self.write_config(toml)

    def write_config(self, toml: str) -> None:
        parts = [toml]
        if "[server]" not in toml:
            parts.append('[server]\nlisten = ["127.0.0.1:0"]\n')
        if "[admin]" not in toml:
            parts.append('[admin]\nlisten = ["127.0.0.1:0"]\n')
        if "[sources.legitmark]" not in toml:
            parts.append('[sources.legitmark]\nsecrets = [{ env = "LEGITMARK" }]\n')
        self.config.write_text("\n".join(parts), encoding="utf-8")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Start the process and wait until it says that it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_DIRECTORY")}
        environment.pop("GATEWAY_CONFIG", None)
        environment |= {**self.secrets, "PYTHONPATH": str(CODE), **self.variables}
        with self.stderr_file.open("ab") as stderr:
            self._log_from = stderr.tell()
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=self.passed,
            )

    def command(self) -> list[str]:
        return [*self.program, "serve", "--config", str(self.config)]

    def await_ready(self) -> None:
        for _ in range(1500):
            assert self.process is not None and self.process.poll() is None, f"it ended: {self.stderr()}"
            self._read_addresses()
            if len(self.addresses) == 2 and self._is_ready():
                return
            time.sleep(0.01)
        raise AssertionError(f"not ready in time: {self.stderr()}")

    def _read_addresses(self) -> None:
        self.addresses = {}
        for line in self.stderr_file.read_bytes()[self._log_from :].splitlines():
            if b'"gateway.listening"' in line and line.endswith(b"}"):
                said = json.loads(line[line.index(b"{") :])  # in the journal, behind its priority
                self.addresses[said["what"]] = self._address(said["address"])

    def _address(self, text: str) -> tuple[str, int] | Path:
        host, _, port = text.rpartition(":")
        return Path(port) if host == "unix" else (host, int(port))

    def _is_ready(self) -> bool:
        if isinstance(address := self.addresses["admin"], Path):
            return address.exists()
        connection = http.client.HTTPConnection(*address, timeout=2)
        headers = {"Authorization": f"Bearer {token}"} if (token := self.secrets.get("ADMIN_TOKEN")) else {}
        try:
            connection.request("GET", "/-/ready", headers=headers)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As a power cut would; may be called again."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def terminate(self) -> None:
        """SIGTERM; does not wait."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self, seconds: float = 15.0) -> int:
        """Wait for the end."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    async def restart(self) -> None:
        """kill -9, and start again on what is left."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)

    async def stop(self) -> int:
        self.terminate()
        return await self.exit_code()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to the listener for webhooks, aborted at the end."""
        address = self.addresses["webhooks"]
        assert isinstance(address, tuple)
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, *parts: bytes, seconds: float = 20.0, **options: Any) -> Answer:
        """Send raw bytes to the listener for webhooks; `options` as of `exchange`."""
        return await exchange(self.addresses["webhooks"], *parts, seconds=seconds, **options)

    async def post(self, body: bytes, headers: Headers | None = None, *, path: str = PATH, **options: Any) -> Answer:
        """Post a webhook, signed unless headers are given."""
        return await self.send(request_bytes(body, signed(body) if headers is None else headers, path=path), **options)

    async def admin(self, path: str, headers: Headers = (), *, method: str = "GET", host: str = "127.0.0.1") -> Answer:
        if method not in ("GET", "HEAD"):
            headers = [("Content-Type", "application/json"), *headers]
        lines = "".join(f"{name}: {value!s}\r\n" for name, value in headers)
        raw = f"{method} {path} HTTP/1.1\r\n{f'Host: {host}' if host else 'X-None: 1'}\r\n{lines}Connection: close\r\n\r\n"
        return await exchange(self.addresses["admin"], raw.encode("utf-8", "surrogateescape"))

    def stderr(self) -> str:
        return self.stderr_file.read_text(encoding="utf-8") if self.stderr_file.exists() else ""

    def audit(self, event: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The audit log's lines; those of an event and with these fields, where given."""
        if not self.audit_file.exists():
            return []
        whole = [line for line in self.audit_file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        lines: list[dict[str, Any]] = [json.loads(line) for line in whole]
        wanted = {"event": event, **fields} if event else fields
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database, read-only."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(sql, values).fetchall()


# --- the receiving ends


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    """Names in small letters."""
    body: bytes
    at: float
    """Monotonic seconds."""


class Receiver:
    """An HTTP server that records what it is sent; fails and hangs on demand."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.script: deque[tuple[int, dict[str, str]]] = deque()
        """Status and headers of the next answers; 200 once it is empty."""
        self.always: tuple[int, dict[str, str]] = (200, {})
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._open.set()
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.path, headers, body, time.monotonic()))
        await self._open.wait()
        status, answer_headers = self.script.popleft() if self.script else self.always
        said = "ok" if status == 200 else None  # a Slack webhook that says anything else has taken nothing
        return web.Response(status=status, headers=answer_headers, text=said)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def hold(self) -> None:
        """From now on no request is answered, until `release`."""
        self._call(self._open.clear)

    def release(self) -> None:
        self._call(self._open.set)

    def of(self, body: bytes) -> list[Received]:
        return [request for request in self.requests if request.body == body]

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)


class Mailbox:
    """A real SMTP server that keeps what it is sent."""

    def __init__(self, port: int, *, logins: bool | None = None) -> None:
        """Logins are not asked for (None), or every one is taken (True) or refused (False)."""
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[LoginPassword] = []
        self.port = port
        self._takes_logins = logins
        options: dict[str, Any] = {}
        if logins is not None:
            options = {"authenticator": self._authenticate, "auth_require_tls": False}
        self._controller = Controller(self, hostname="127.0.0.1", port=port, **options)

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append(given)
        return AuthResult(success=bool(self._takes_logins), handled=False)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        assert isinstance(envelope.content, bytes)
        mail = BytesParser(policy=email_policy).parsebytes(envelope.content)
        self.mails.append(mail)
        return "250 OK"


# --- what tests say often


def event(sr_uuid: str | None = None, **fields: Any) -> bytes:
    """A state_change of a service request of its own, as Legitmark would write it."""
    values: dict[str, Any] = {
        "event_type": "state_change",
        "sr_uuid": sr_uuid or f"sr-{next(_ids)}",
        "reference_id": "BAG-1",
        "state": {"primary": "QC", "supplement": "PENDING"},
        "timestamp": "2026-03-01T22:05:59.000Z",
    }
    return json.dumps(values | fields, ensure_ascii=False, separators=(",", ":")).encode()


def http_sink(receiver: Receiver, name: str = "erp", more: str = "", path: str | None = None) -> str:
    return f'[sinks.{name}]\ntype = "http"\nurl = "{receiver.url(path or f"/{name}")}"\n{more}\n'


def route(*sinks: str, more: str = "", source: str = "legitmark") -> str:
    """All events of a source; what the gateway tells of itself has to be asked for."""
    return f'[[routes]]\nsource = "{source}"\nsinks = {json.dumps(sinks)}\n{more}\n'


@contextmanager
def no_traceback(running: Running, *, alive: bool = True) -> Iterator[None]:
    """The process has met no bug of its own, and is alive afterwards."""
    before = len(running.stderr())
    yield
    said = running.stderr()[before:]
    assert running.alive or not alive
    assert "Traceback" not in said and ".bug" not in said and "Warning" not in said, said
