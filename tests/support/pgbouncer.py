"""A real pooler between the gateway and PostgreSQL: Debian's pgbouncer, as a user without rights, on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest

from tests.support.waiting import PATIENCE

MISSING: Final = "pgbouncer is not installed: on Debian, apt install pgbouncer"


@contextmanager
def pgbouncer(url: str, mode: Literal["session", "transaction", "statement"], backends: int = 20) -> Iterator[str]:
    """Run a pooler in front of the server of a URL, and yield the URL that leads through it. Skips the test without pgbouncer.

    Args:
        backends: the most connections that it opens to the server.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="gateway-pgbouncer-"))
    rights: dict[str, Any] = {}
    if os.geteuid() == 0:  # it does not run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        rights = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    try:
        behind = urlsplit(url)
        with socket.socket() as kept:
            kept.bind(("127.0.0.1", 0))
            port = int(kept.getsockname()[1])
        (folder / "pgbouncer.ini").write_text(
            f"""[databases]
* = host={behind.hostname} port={behind.port} user={behind.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {backends}
"""
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, str(folder / "pgbouncer.ini")], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **rights
            )
        try:
            _wait_until_it_listens(port, process, folder / "log")
            yield f"postgresql://{behind.username}@127.0.0.1:{port}{behind.path}"
        finally:
            process.terminate()
            process.wait(PATIENCE)
    finally:
        shutil.rmtree(folder)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8", errors="replace")
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
