"""The admin listener on a unix socket: root and the gateway's own user need no token; others do, and the answer says so."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import environment, gateway
from tests.support.exchange import Answer, exchange
from tests.support.gateway_process import Running

NOBODY = 65534
TOKEN = "a-token-of-the-operator"
TOML = '[admin]\nlisten = ["unix:run/admin.sock", "127.0.0.1:0"]\ntoken = { credential = "admin-token" }\n'
_ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(f"GET /-/ready HTTP/1.1\\r\\nHost: x\\r\\n{sys.argv[2]}Connection: close\\r\\n\\r\\n".encode())
    while data := client.recv(65536):
        sys.stdout.buffer.write(data)
"""
_RELOAD = f"""
import grp, os, pwd, sys
import aiohttp, gateway.cli.client, gateway.cli.reload  # the interpreter may lie where the other user can't look
from gateway.cli import main
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
sys.argv = ["gateway", "reload"]
main()
"""


@pytest.fixture
def running() -> Iterator[Running]:
    """A gateway in a folder that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-admin-"))
    folder.chmod(0o755)
    (folder / "run").mkdir(0o755)
    (folder / "credentials").mkdir(0o700)
    (folder / "credentials" / "admin-token").write_text(TOKEN)
    running = Running(folder, TOML, {"ADMIN_TOKEN": TOKEN})
    running.variables = {"CREDENTIALS_DIRECTORY": str(folder / "credentials")}
    try:
        with running:
            yield running
    finally:
        shutil.rmtree(folder)


def request(*headers: str, host: str = "localhost") -> bytes:
    return "\r\n".join(["GET /-/ready HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]).encode()


def ask_as_nobody(path: Path, *headers: str) -> str:
    lines = "".join(f"{header}\r\n" for header in headers)
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-I", "-c", _ASK, str(path), lines],
        user=NOBODY,
        group=NOBODY,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout.decode().splitlines()[0]


async def test_the_gateways_own_user_needs_no_token_on_the_unix_socket_and_needs_one_elsewhere(running: Running) -> None:
    path, elsewhere = running.folder / "run" / "admin.sock", running.addresses["admin"]
    assert isinstance(elsewhere, tuple)

    async def ask(address: Path | tuple[str, int], raw: bytes) -> Answer:
        return await exchange(address, raw)

    assert (await ask(path, request())).json() == {"status": "ready"}
    assert (await ask(path, request("Authorization: Bearer wrong"))).status == 200
    assert (await ask(path, request(host="evil.example"))).outcome == (403, "forbidden")
    assert (await ask(path, request("Origin: http://evil.example"))).outcome == (403, "forbidden")
    assert (await ask(elsewhere, request())).outcome == (401, "unauthorized")
    for address in (path, elsewhere):
        assert (await ask(address, request(f"Authorization: Bearer {TOKEN}", host="evil.example"))).status == 200


async def test_a_reload_needs_no_credential_on_the_unix_socket(running: Running) -> None:
    """ExecReload= runs the command as the user of the service, without its credentials."""
    assert "CREDENTIALS_DIRECTORY" not in environment()
    done = await asyncio.to_thread(gateway, "reload", cwd=running.folder)
    assert (done.status, done.out) == (0, "reloaded: nothing has changed\n"), done.err
    elsewhere = running.config.read_text().replace('"unix:run/admin.sock", ', "")
    running.config.write_text(elsewhere)
    running.database.with_name("gateway.db.addresses").unlink()  # otherwise the command would find the socket through it
    done = await asyncio.to_thread(gateway, "reload", cwd=running.folder)
    assert done.status == 2 and "[admin] token: credential admin-token" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
async def test_another_user_needs_the_token_and_the_right_to_connect(running: Running) -> None:
    path = running.folder / "run" / "admin.sock"
    with pytest.raises(subprocess.CalledProcessError):
        ask_as_nobody(path)
    path.chmod(0o666)
    assert ask_as_nobody(path) == "HTTP/1.1 401 Unauthorized"
    assert ask_as_nobody(path, f"Authorization: Bearer {TOKEN}") == "HTTP/1.1 200 OK"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
async def test_a_command_of_a_user_who_may_not_connect_says_why(running: Running) -> None:
    def reload() -> subprocess.CompletedProcess[str]:
        program, here = [sys.executable, "-c", _RELOAD], running.folder
        return subprocess.run(program, cwd=here, env=environment(), capture_output=True, text=True, timeout=60, check=False)

    path = running.folder / "run" / "admin.sock"
    running.config.chmod(0o644)
    done = await asyncio.to_thread(reload)
    assert done.returncode == 69 and "permission denied; allowed are root, and the user " in done.stderr, done.stderr
    assert f"and the group {path.group()}" in done.stderr
    path.parent.chmod(0o750)
    done = await asyncio.to_thread(reload)
    assert done.returncode == 69 and f"and the group {path.group()}" in done.stderr, done.stderr
    path.parent.chmod(0o755)
    path.chmod(0o666)
    done = await asyncio.to_thread(reload)
    assert done.returncode == 2 and "asks for its token, unless you are root or its user: [admin] token: " in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    running.config.chmod(0o600)
    done = await asyncio.to_thread(reload)
    assert done.returncode == 78 and f"{running.config}: error: file: Permission denied" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
async def test_a_folder_of_the_configuration_that_another_user_may_not_enter_is_named(running: Running) -> None:
    closed = running.folder / "etc"
    closed.mkdir(0o700)
    (closed / "gateway.toml").write_text("")

    def reload() -> subprocess.CompletedProcess[str]:
        variables = environment({"CONFIGURATION_DIRECTORY": str(closed)})
        program, here = [sys.executable, "-c", _RELOAD], "/"
        return subprocess.run(program, cwd=here, env=variables, capture_output=True, text=True, timeout=60, check=False)

    done = await asyncio.to_thread(reload)
    assert (
        done.returncode == 78 and f"{closed}/gateway.toml: error: file: is in a folder that this user may not read" in done.stderr
    )
