"""A running gateway publishes its addresses: commands find it after an edit of `listen`, and at a port that it chose itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.host.address_file import Addresses, read
from gateway.host.environment import Environment
from tests.cli.running import CONFIG, environment, gateway
from tests.cli.serving import SECONDS, serving, wait_until


def test_commands_find_the_running_gateway_after_an_edit_of_its_admin_address(folder: Path, free_port: Callable[[], int]) -> None:
    file = folder / "gateway.toml"
    before = file.read_text()
    file.write_text(before + f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n')
    with serving(folder) as addresses:
        file.write_text(before + f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n')
        result = gateway("reload", cwd=folder)
        assert result.status == 0
        assert f"the gateway that runs listens at {addresses.admin[0]}, until it is started again" in result.err
        assert "takes effect when the gateway starts again" in result.out
    assert gateway("reload", cwd=folder).status == 69


def test_every_command_finds_a_port_that_the_gateway_chose_itself(folder: Path) -> None:
    (folder / "gateway.toml").write_text(CONFIG.format(port=0) + '[admin]\nlisten = ["127.0.0.1:0"]\n')
    with serving(folder):
        sent = gateway("send", "counterfeit", cwd=folder)
        assert (sent.status, sent.err) == (0, "")
        listed = gateway("messages", cwd=folder)
        assert (listed.status, listed.err) == (0, "")
        assert "counterfeit" in listed.out


def test_a_clean_stop_removes_the_address_file_and_a_stale_one_misleads_no_command(
    folder: Path, free_port: Callable[[], int]
) -> None:
    with (folder / "gateway.toml").open("a") as file:
        file.write(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n')
    with serving(folder):
        pass
    assert read(folder / "gateway.db", Environment({})) is None
    for stale in ('{"admin": ["127.0.0.1:1"], "webhooks": []}', '{"admin": ["x"], "webhooks": []}', "[]", "", "\0"):
        (folder / "gateway.db.addresses").write_text(stale)
        assert gateway("messages", cwd=folder).status in (2, 69)


def test_under_systemd_the_file_lies_in_the_runtime_folder(tmp_path: Path) -> None:
    from gateway.host.address_file import write

    surroundings = Environment({"RUNTIME_DIRECTORY": str(tmp_path)})
    addresses = Addresses(["unix:/run/admin.sock"], ["fd:webhooks"])
    assert write(tmp_path / "gateway.db", surroundings, addresses) == tmp_path / "addresses.json"
    assert read(tmp_path / "gateway.db", surroundings) == addresses


@contextmanager
def demo(folder: Path, *through: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a demo, and yield its process and the process id of its gateway."""
    process = subprocess.Popen(
        [*through, sys.executable, "-m", "gateway", "demo", "--dir", str(folder)],
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: read(folder / "gateway.db", Environment({})) is not None, "the demo's gateway does not start")
        yield process, int((folder / "gateway.db.lock").read_text())
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)


def alive(pid: int) -> bool:
    """Return True if a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL], ids=lambda one: one.name)
def test_the_gateway_of_a_demo_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as (process, gateway_pid):
        assert alive(gateway_pid)
        os.kill(process.pid, number)
        process.wait(SECONDS)
        wait_until(lambda: not alive(gateway_pid), "the demo left an orphan")


def test_a_demo_in_the_background_of_a_script_ends_by_sigterm(tmp_path: Path) -> None:
    """A shell makes background processes ignore Ctrl-C (POSIX, Shell Command Language, section 2.11)."""
    with demo(tmp_path, "/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh") as (process, gateway_pid):
        process.terminate()
        process.wait(SECONDS)
        wait_until(lambda: not alive(gateway_pid), "the demo left an orphan")


def test_two_demos_at_once_have_a_gateway_each(tmp_path: Path) -> None:
    with demo(tmp_path / "one") as (_, one), demo(tmp_path / "two") as (_, two):
        addresses = [read(tmp_path / name / "gateway.db", Environment({})) for name in ("one", "two")]
        assert one != two
        assert addresses[0] is not None and addresses[1] is not None
        assert not {*addresses[0].admin, *addresses[0].webhooks} & {*addresses[1].admin, *addresses[1].webhooks}


def test_show_prints_a_body_of_several_lines_as_it_came(folder: Path) -> None:
    (folder / "gateway.toml").write_text(CONFIG.format(port=0) + '[admin]\nlisten = ["127.0.0.1:0"]\n')
    body = '{\n  "event_type": "note :100:",\r\n  "reference_id": "Réf\u00a0: [b]A\\u0000"\n}\n'
    (folder / "event.json").write_text(body, newline="")
    with serving(folder):
        assert gateway("send", "event.json", cwd=folder).status == 0
        identifier = gateway("messages", cwd=folder).out.split()[1]
        shown = gateway("show", identifier, cwd=folder).out
    assert shown.endswith('  {\n    "event_type": "note :100:",\n    "reference_id": "Réf\u00a0: [b]A\\u0000"\n  }\n')


def test_only_one_of_two_demos_begins_in_the_same_folder(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "gateway", "demo", "--once", "--dir", str(tmp_path / "demo")]
    variables = environment({"PYTHONDONTWRITEBYTECODE": "1"})
    run = [subprocess.Popen(arguments, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=90)[1].decode() for process in run]
    assert sorted(process.returncode for process in run) == [0, 2], said
    assert any("has a gateway.toml already: name another folder" in one for one in said)
