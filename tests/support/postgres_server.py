"""A PostgreSQL server of the tests' own: Debian's programs in a temporary folder, as a user without rights, on loopback."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct

from tests.support.waiting import PATIENCE

MISSING: Final = "PostgreSQL is not installed: on Debian, apt install postgresql"
USER: Final = "gateway"
"""The superuser of the server."""
_DEBIAN: Final = Path("/usr/lib/postgresql")
_SMALL: Final = {
    "shared_buffers": "16MB",
    "max_connections": "60",
    "wal_level": "replica",
    "max_wal_size": "256MB",
    "lc_messages": "C",
    "log_min_messages": "warning",
}


def programs() -> Path | None:
    """Return the folder with `initdb` and `postgres` of the newest version that is installed; None if there is none."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    return Path(beside).resolve().parent if beside and (Path(beside).resolve().parent / "postgres").exists() else None


class PostgresServer:
    """A server in a folder of its own. It is made by `postgres_server`."""

    def __init__(self, folder: Path, bin_folder: Path, port: int, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = port
        self._bin = bin_folder
        self._settings = {**_SMALL, **settings}
        self.data = folder / "data"
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its database `postgres`."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def make(self) -> None:
        """Make the files of the server."""
        arguments = ("-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        done = subprocess.run([str(self._bin / "initdb"), *arguments], capture_output=True, text=True, check=False, **self._as())
        assert done.returncode == 0, f"initdb: {done.stdout}{done.stderr}"

    def give(self, name: str, content: bytes) -> None:
        """Put a file into its data folder that it alone reads, such as a key."""
        path = self.data / name
        path.write_bytes(content)
        path.chmod(0o600)
        os.chown(path, self.data.stat().st_uid, self.data.stat().st_gid)

    def start(self, seconds: float = PATIENCE, *, settings: Mapping[str, str] | None = None) -> None:
        """Start the server, and wait until it takes connections. `settings` are added to those that it had.

        What a killed server left may still be in use for a moment: the start is repeated until it is not.
        """
        self._settings |= settings or {}
        deadline = time.monotonic() + seconds
        while not self._starts():
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop the server, and wait until it is gone.

        Args:
            how: SIGQUIT is a crash that PostgreSQL notices, SIGKILL one that it does not, SIGINT a shutdown.
        """
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(PATIENCE)

    def _starts(self) -> bool:
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder)}
        given = [part for name, value in {**self._settings, **options}.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.data), *given], stdout=log, stderr=log, **self._as()
            )
        asking = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while self.running:
            if subprocess.run(asking, check=False, **self._as()).returncode == 0:
                return True
        return False

    def _as(self) -> dict[str, Any]:
        """Return the arguments of `subprocess`; some take root's rights away, because PostgreSQL does not run as root."""
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.folder)}
        here = {"cwd": self.folder, "env": environment, "stdin": subprocess.DEVNULL}
        if os.geteuid() != 0:
            return here
        nobody = pwd.getpwnam("nobody")
        return here | {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def postgres_server(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Run a server, or skip the test where PostgreSQL is not installed. `settings` are those of its configuration."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
        with socket.socket() as kept:
            # A socket that is bound and does not listen keeps the port from everybody but a server that sets SO_REUSEADDR.
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
            server = PostgresServer(folder, bin_folder, int(kept.getsockname()[1]), settings or {})
            server.make()
            server.start()
            try:
                yield server
            finally:
                if server.running:
                    server.stop()
    finally:
        shutil.rmtree(folder)


class PostgresPlace(Struct, frozen=True):
    """A schema of a test's own, which does not exist yet."""

    url: str
    schema: str


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that the tests of a worker share. Skips them where PostgreSQL is not installed."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_without_fsync() -> Iterator[PostgresServer]:
    """A server that tests share which make many schemas and crash no machine: it makes one four times as fast."""
    with postgres_server({"fsync": "off"}) as server:
        yield server


def new_place(server: PostgresServer) -> PostgresPlace:
    """Return a schema of a server that no test has used."""
    return PostgresPlace(server.url, f"test_{next(_numbers)}")


@pytest.fixture
def postgres_place(postgres: PostgresServer) -> PostgresPlace:
    """A schema that no other test uses."""
    return new_place(postgres)
