"""A real gateway without privileges finds paths that it cannot read: a reload changes nothing, and names path and cause."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.cli.running import environment
from tests.support.gateway_process import Running
from tests.support.unprivileged import can_be_dropped, without_override
from tests.support.waiting import until
from tests.support.webhooks import SECRET, event

pytestmark = pytest.mark.skipif(not can_be_dropped(), reason="root can't give up its way past permissions here")

HOOK = "https://hooks.slack.com/services/T0/B0/kq7Zx2Lm9w"
TOML = """include = ["routes.d/*.toml"]
[sources.legitmark]
secrets = [{ file = "secret" }]
[sinks.desk]
type = "slack"
webhook_url = { env = "HOOK" }
template = "desk.j2"
[sinks.erp]
type = "http"
on_stale = "annotate"
url = "https://erp.example/"
ca = "ca.pem"
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
"""
DROP_IN = '[[routes]]\nname = "all"\nsinks = ["archive"]\n'


class Unprivileged(Running):
    def launch(self) -> None:
        # The gateway is started by an interpreter that has given up its capability to read every file; `exec` keeps that.
        if "-c" not in self.program:
            self.program = [sys.executable, "-c", _LAUNCH, *self.program]
        super().launch()


_LAUNCH = """
import os, sys
from tests.support.unprivileged import without_override
without_override()
os.execv(sys.argv[1], sys.argv[1:])
"""


def prepared(folder: Path) -> Running:
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "desk.j2").write_text("{% block text %}x{% endblock %}")
    (folder / "routes.d").mkdir()
    (folder / "routes.d" / "all.toml").write_text(DROP_IN)
    return Unprivileged(folder, TOML, {"HOOK": HOOK})


def fifo(path: Path) -> None:
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def circle(path: Path) -> None:
    path.symlink_to(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def locked(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


def latin_1(path: Path) -> None:
    path.write_bytes(b"# caf\xe9\n")


def folder(path: Path) -> None:
    path.mkdir()


def closed(path: Path) -> None:
    path.mkdir(0)


def listed_and_not_entered(path: Path) -> None:
    path.mkdir()
    (path / "all.toml").write_text(DROP_IN)
    path.chmod(0o400)


def entered_and_not_listed(path: Path) -> None:
    path.mkdir(0o300)


SPOILED: dict[Callable[[Path], None], str] = {
    fifo: "is a pipe, a socket or a device, not a file",
    socket_file: "is a pipe, a socket or a device, not a file",
    device: "is a pipe, a socket or a device, not a file",
    circle: "Too many levels of symbolic links",
    dangling: "No such file or directory",
    locked: "Permission denied",
    latin_1: "is not UTF-8",
    folder: "is a folder, not a file",
}
FOLDERS: dict[Callable[[Path], None], str] = {
    closed: "Permission denied",
    listed_and_not_entered: "Permission denied",
    entered_and_not_listed: "Permission denied",
    fifo: "is not a folder",
    device: "is not a folder",
    locked: "is not a folder",
    circle: "Too many levels of symbolic links",
    dangling: "No such file or directory",
}
OTHER_WORDS: dict[tuple[str, Callable[[Path], None]], str] = {("ca.pem", latin_1): "holds no certificate in PEM"}


def removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink()


async def refused_everywhere(running: Running, name: str, cause: str, *, by_command: bool) -> None:
    before = len(running.audit("config.refused"))
    answer = await running.admin("/-/reload", method="POST")
    assert (answer.status, answer.json()["error"]) == (422, "bad_configuration"), answer
    told = [f"{problem['file']} {problem['message']}" for problem in answer.json()["problems"] if problem["level"] == "error"]
    assert any(Path(name).name in one and cause in one for one in told) or (name == "gateway.toml" and cause in told[0]), told
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    await until(lambda: len(running.audit("config.refused")) == before + 2)
    await until(lambda: running.stderr().count('"config.refused"') == before + 2)
    assert all(cause in line["detail"] for line in running.audit("config.refused")[-2:])
    if by_command:
        said = await asyncio.to_thread(reload, running)
        assert said.returncode == 78 and cause in said.stderr.decode() and b"Traceback" not in said.stderr


def reload(running: Running) -> subprocess.CompletedProcess[bytes]:
    host, port = running.addresses["admin"]  # type: ignore[misc]
    arguments = ["reload", "--config", str(running.config), "--admin", f"{host}:{port}"]
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd="/",
        env=environment(),
        capture_output=True,
        preexec_fn=without_override,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["gateway.toml", "routes.d", "routes.d/all.toml", "secret", "desk.j2", "ca.pem"])
async def test_a_reload_with_an_unreadable_file_changes_nothing(name: str, tmp_path: Path) -> None:
    with prepared(tmp_path) as running:
        path = tmp_path / name
        kept = tmp_path / "kept"
        for spoil, cause in (FOLDERS if name == "routes.d" else SPOILED).items():
            if (name, spoil) == ("routes.d/all.toml", folder):
                continue  # it is passed over, with a warning
            path.rename(kept)
            spoil(path)
            cause = OTHER_WORDS.get((name, spoil), cause)
            await refused_everywhere(running, name, cause, by_command=spoil in (locked, fifo, closed))
            removed(path)
            kept.rename(path)
        assert running.audit("config.reloaded") == []
        assert (await running.post(event())).outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.delivered", sink="archive"))
        answer = await running.admin("/-/reload", method="POST")
        assert (answer.status, answer.json()["changes"]) == (200, [])
        assert "Traceback" not in running.stderr()


async def test_a_gateway_starts_in_a_working_directory_that_was_removed(tmp_path: Path) -> None:
    running = prepared(tmp_path)
    (tmp_path / "work").mkdir()
    moving = f"import os; os.chdir({str(tmp_path / 'work')!r}); os.rmdir(os.getcwd())"
    running.program = [sys.executable, "-c", f"{moving}\n{_LAUNCH}", *running.program]
    with running:
        (tmp_path / "routes.d" / "all.toml").chmod(0)
        await refused_everywhere(running, "routes.d/all.toml", "Permission denied", by_command=True)
        (tmp_path / "routes.d" / "all.toml").chmod(0o600)
        assert (await running.admin("/-/reload", method="POST")).status == 200
        assert (await running.post(event())).outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.delivered", sink="archive"))
