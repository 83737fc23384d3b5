"""A real gateway in a process of its own, on loopback.

It listens on port 0 and says on stderr which port it got, so that no test can take another test's port.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import forked_gateway
from tests.support.exchange import Answer, Headers, exchange, request_bytes
from tests.support.forked_gateway import CODE
from tests.support.waiting import PATIENCE
from tests.support.webhooks import PATH, SECRET, signed


class Running:
    """A gateway whose configuration, database and audit log lie in one folder. The end of a `with` block kills it."""

    def __init__(self, folder: Path, toml: str, secrets: Mapping[str, str] | None = None) -> None:
        """`toml` is the configuration; the listeners and the source `legitmark` are added if it does not have them."""
        self.folder = folder
        self.config = folder / "gateway.toml"
        self.database = folder / "gateway.db"
        self.audit_file = folder / "audit.jsonl"
        self.stderr_file = folder / "stderr.log"
        self.secrets = {"LEGITMARK": SECRET, **(secrets or {})}
        self.program = forked_gateway.PROGRAM
        self.from_scratch = False
        """Start an interpreter of its own; else fork one that has the code loaded."""
        self.variables: dict[str, str] = {}
        """Environment variables that it gets besides the secrets."""
        self.passed: Sequence[int] = ()
        """File descriptors that it inherits."""
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: dict[str, tuple[str, int] | Path] = {}
        """The listeners of the running process, `webhooks` and `admin`."""
        self.log_from = 0
        """The byte of `stderr_file` at which the log of the last start begins."""
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
        """Start the process, and do not wait for it."""
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_DIRECTORY")}
        environment.pop("GATEWAY_CONFIG", None)
        environment |= {**self.secrets, "PYTHONPATH": str(CODE), **self.variables}
        with self.stderr_file.open("ab") as stderr:
            self.log_from = stderr.tell()
            begin = subprocess.Popen if self.from_scratch else forked_gateway.start
            self.process = begin(
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
        """Wait until it says that it is ready; fail if it ends instead."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, f"it ended: {self.stderr()}"
            if self.is_listening() and self.is_ready():
                self.is_listening()  # there may be more than two listeners, and by now all of them have been named
                return
            time.sleep(0.01)
        raise AssertionError(f"not ready in time: {self.stderr()}")

    def is_listening(self) -> bool:
        """True once the process has said where both of its listeners are; from then on `addresses` has them."""
        self.addresses = {}
        for line in self.stderr_file.read_bytes()[self.log_from :].splitlines():
            if b'"gateway.listening"' in line and line.endswith(b"}"):
                said = json.loads(line[line.index(b"{") :])  # in the journal, a priority stands before it
                self.addresses[said["what"]] = self.address_from(said["address"])
        return len(self.addresses) == 2

    def address_from(self, text: str) -> tuple[str, int] | Path:
        """The address that a line of the log names."""
        host, _, port = text.rpartition(":")
        return Path(port) if host == "unix" else (host, int(port))

    def is_ready(self) -> bool:
        """True if `/-/ready` answers 200. A listener on a unix socket counts as ready once its path exists."""
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
        """End it as `kill -9` does; a second call does nothing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, and return its exit code."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    async def restart(self) -> None:
        """Kill it, and start it again on the same files."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)

    async def stop(self) -> int:
        self.terminate()
        return await self.exit_code()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to the listener for webhooks; it is aborted at the end."""
        address = self.addresses["webhooks"]
        assert isinstance(address, tuple)
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, *parts: bytes, seconds: float = PATIENCE, **options: Any) -> Answer:
        """Send raw bytes to the listener for webhooks; `options` are those of `exchange`."""
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
        """The whole lines of the audit log that have this event and these fields. Without an event, seals are left out."""
        if not self.audit_file.exists():
            return []
        whole = [line for line in self.audit_file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        lines: list[dict[str, Any]] = [json.loads(line) for line in whole]
        if event is None:
            lines = [line for line in lines if line["event"] != "audit.sealed"]
        wanted = {"event": event, **fields} if event else fields
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def cpu_seconds(self) -> float:
        """Seconds of processor time that the process has used (proc_pid_stat(5))."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Query the database file, read-only."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            return connection.execute(sql, values).fetchall()


@contextmanager
def no_traceback(running: Running, *, alive: bool = True) -> Iterator[None]:
    """Fail if the process logs a traceback, a bug or a warning of Python in this block, or does not live at its end."""
    before = len(running.stderr())
    yield
    said = running.stderr()[before:]
    assert running.alive or not alive
    assert "Traceback" not in said and ".bug" not in said and "Warning" not in said, said
