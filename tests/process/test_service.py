"""A gateway as a service: its messages to systemd, the sockets that it is passed, and its lines in the journal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.host.clock import Clock
from tests.cli.running import gateway as command
from tests.store.kit import fill
from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.service_manager import NotifySocket, listening
from tests.support.socket_activated import SocketActivated
from tests.support.waiting import until, until_answer
from tests.support.webhooks import event, signed

HOSTS = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "20s"\n'


def reload(running: Running, *options: str) -> int:
    host, port = running.addresses["admin"]  # type: ignore[misc]
    return command("reload", *options, "--admin", f"{host}:{port}", cwd=running.folder).status


async def test_systemd_is_notified_of_each_step_from_start_to_stop(tmp_path: Path) -> None:
    with NotifySocket(str(tmp_path / "notify")) as heard, Receiver() as receiver:
        running = Running(tmp_path, HOSTS + http_sink(receiver) + route("erp"))
        running.variables = {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": "1000000"}
        with running:
            first = heard.listen()[0]
            assert first == {"EXTEND_TIMEOUT_USEC": "30000000", "STATUS": "starting: opening the database"}
            ready = await heard.until_said("READY")
            host, port = running.addresses["webhooks"]  # type: ignore[misc]
            assert ready["STATUS"] == f"ready: webhooks on {host}:{port}; 0 received since start"
            assert not heard.said("WATCHDOG") or heard.heard.index(heard.said("WATCHDOG")[0]) > heard.heard.index(ready)

            began, before = time.monotonic(), len(heard.said("WATCHDOG"))
            await heard.until_said("WATCHDOG", before + 4)
            assert time.monotonic() - began < 4 * 1.0, "more often than systemd asks for; half a second apart on an idle machine"
            receiver.hold()
            assert (await running.post(event())).outcome == (200, "accepted")
            await until(lambda: "; 1 received since start, 1 deliveries queued, 0 dead" in heard.said("STATUS")[-1]["STATUS"])

            told = [len(heard.said("RELOADING")), len(heard.said("READY"))]
            assert told == [0, 1]
            asked = Clock().monotonic_microseconds()
            assert await asyncio.to_thread(reload, running) == 0
            (reloading,) = heard.said("RELOADING")
            assert asked < int(reloading["MONOTONIC_USEC"]) < Clock().monotonic_microseconds()
            assert len(heard.said("READY")) == 2 and heard.said("RELOADING") + heard.said("READY")[1:] == [
                one for one in heard.heard if "RELOADING" in one or one == {"READY": "1"}
            ]
            assert await asyncio.to_thread(reload, running, "--diff") == 0
            assert len(heard.said("RELOADING")) == 1, "to ask what would change is no reload"
            good = running.config.read_text()
            running.config.write_text(good + "\n[nonsense]\n")
            assert await asyncio.to_thread(reload, running) == 78
            assert (len(heard.said("RELOADING")), len(heard.said("READY"))) == (2, 3), "refused, and ready as before"
            running.config.write_text(good)

            running.terminate()
            stopping = await heard.until_said("STOPPING")
            assert stopping["EXTEND_TIMEOUT_USEC"] == "50000000" and stopping["STATUS"].startswith("stopping")
            pings = len(heard.said("WATCHDOG"))
            await heard.until_said("WATCHDOG", pings + 3)  # the drain may take longer than the watchdog has patience
            assert heard.heard[-1]["STATUS"].startswith("stopping")
            receiver.release()
            assert await running.exit_code() == 0
            assert len(heard.said("READY")) == 3


async def test_a_gateway_is_ready_only_when_the_audit_log_has_the_lines_that_an_unclean_end_left_out(tmp_path: Path) -> None:
    number = 5_000
    await fill(tmp_path / "gateway.db", number, sinks=("gone",))
    (tmp_path / "gateway.db.lock").write_bytes(b"1".ljust(32))  # as a kill leaves it
    started = {"v": 1, "time": "2001-01-01T00:00:00.000Z", "event": "gateway.started"}
    (tmp_path / "audit.jsonl").write_text(json.dumps(started) + "\n")  # a power cut took the lines behind it
    with NotifySocket(f"@gateway-test-{tmp_path}") as heard:
        running = Running(tmp_path, "")
        running.variables = {"NOTIFY_SOCKET": heard.address}
        try:
            running.launch()
            await heard.until_said("READY")
            assert len(running.audit("message.accepted")) == number
            assert "gateway.listening" in running.stderr()
            assert heard.heard[0]["STATUS"] == "starting: opening the database"
        finally:
            running.kill()


# --- the sockets


async def test_every_kind_of_passed_socket_takes_webhooks_and_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.sock"
    with listening() as four, listening("::1") as six, listening(path) as local, listening() as spare:
        sockets = {"webhooks": four, "six": six, "local": local, "spare": spare}
        running = SocketActivated(tmp_path, '[server]\nlisten = ["fd:webhooks", "fd:six", "fd:local"]\n', sockets)
        addresses = [four.getsockname(), six.getsockname()[:2], path]
        with running:
            for address in addresses:
                body = event()
                assert (await exchange(address, request_bytes(body, signed(body)))).outcome == (200, "accepted")
            unused = [json.loads(line) for line in running.stderr().splitlines() if "gateway.socket_unused" in line]
            assert [(line["name"], line["level"]) for line in unused] == [("spare", "warning")]
            assert await running.stop() == 0

            assert stat.S_ISSOCK(path.stat().st_mode), "the path belongs to systemd"
            bodies = [event() for _ in addresses]
            waiting = [
                asyncio.ensure_future(exchange(address, request_bytes(body, signed(body))))
                for address, body in zip(addresses, bodies, strict=True)
            ]
            await asyncio.to_thread(running.start)
            assert [answer.outcome for answer in await asyncio.gather(*waiting)] == [(200, "accepted")] * 3


async def test_two_passed_sockets_may_have_the_same_name(tmp_path: Path) -> None:
    with listening() as one, listening("::1") as other:
        running = SocketActivated(tmp_path, '[server]\nlisten = ["fd:webhooks"]\n', {"webhooks": one, "other": other})
        running.variables["LISTEN_FDNAMES"] = "webhooks:webhooks"
        with running:
            for passed in (one, other):
                body = event()
                answer = await exchange(passed.getsockname()[:2], request_bytes(body, signed(body)))
                assert answer.outcome == (200, "accepted")


@pytest.mark.parametrize(
    ("listens", "said"),
    [
        (True, "no socket named webhooks (it passed elsewhere): see FileDescriptorName="),
        (False, "the socket webhooks that systemd passed does not listen: it needs ListenStream= and Accept=no"),
    ],
)
async def test_a_missing_or_closed_socket_ends_the_start_with_74(tmp_path: Path, listens: bool, said: str) -> None:
    with listening() as elsewhere, socket.socket() as deaf:
        sockets = {"elsewhere": elsewhere} if listens else {"webhooks": deaf}
        running = SocketActivated(tmp_path, '[server]\nlisten = ["fd:webhooks"]\n', sockets, listening=listens)
        try:
            running.launch()
            assert await running.exit_code() == 74
            assert said in running.stderr() and "Traceback" not in running.stderr()
        finally:
            running.kill()


async def tried(address: tuple[str, int], raw: bytes) -> Answer | None:
    """The answer; None as long as nothing listens at the address."""
    try:
        return await exchange(address, raw)
    except ConnectionRefusedError:
        return None


class SocketActivateProgram(Running):
    """A gateway that is started by `systemd-socket-activate`."""

    def __init__(self, folder: Path, program: str, port: int) -> None:
        super().__init__(folder, '[server]\nlisten = ["fd:webhooks"]\n')
        self._starter = [program, f"--listen=127.0.0.1:{port}", "--fdname=webhooks"]
        self._port = port

    def command(self) -> list[str]:
        return [*self._starter, "--setenv=LEGITMARK", "--setenv=PYTHONPATH", *super().command()]

    def address_from(self, text: str) -> tuple[str, int] | Path:
        return ("127.0.0.1", self._port) if text == "fd:webhooks" else super().address_from(text)


async def test_systemd_socket_activate_starts_the_gateway_with_the_first_connection(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed")
    port = free_port()
    running = SocketActivateProgram(tmp_path, program, port)
    try:
        running.launch()
        body = event()
        raw = request_bytes(body, signed(body))
        answer = await until_answer(lambda: tried(("127.0.0.1", port), raw), lambda answer: answer is not None)
        assert answer is not None and answer.outcome == (200, "accepted"), "it waited in the socket until the gateway was there"
        await asyncio.to_thread(running.await_ready)
        assert await running.stop() == 0
    finally:
        running.kill()


# --- what ends it, for RestartPreventExitStatus=65 78


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "CREDENTIALS_DIRECTORY is not set"),
        ({"CREDENTIALS_DIRECTORY": "/nowhere"}, "/nowhere/legitmark: No such file"),
    ],
)
async def test_a_missing_credential_ends_the_start_as_a_bad_configuration(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    running = Running(tmp_path, '[sources.legitmark]\nsecrets = [{ credential = "legitmark" }]\n')
    running.variables = variables
    try:
        running.launch()
        assert await running.exit_code() == 78
        assert said in running.stderr()
    finally:
        running.kill()


# --- the journal


def journalled(running: Running) -> list[tuple[int, dict[str, object]]]:
    """Each line that was said, with its priority."""
    lines = []
    for line in running.stderr().splitlines():
        assert line[0] == "<" and line[2] == ">", line
        lines.append((int(line[1]), json.loads(line[3:])))
    return lines


def journal(running: Running) -> dict[str, str]:
    """The variable with which systemd says that stderr is the journal; here it names the file that stands in for it."""
    running.stderr_file.touch()
    state = running.stderr_file.stat()
    return {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}


async def test_in_the_journal_each_line_has_its_priority_and_no_time(tmp_path: Path) -> None:
    with NotifySocket(str(tmp_path / "notify")) as heard, listening() as webhooks, listening() as spare:
        sockets = {"webhooks": webhooks, "spare": spare}
        toml = '[server]\nlisten = ["fd:webhooks"]\n[store]\nmin_free = "8000000GiB"\n'
        running = SocketActivated(tmp_path, toml, sockets)
        running.variables |= {**journal(running), "NOTIFY_SOCKET": heard.address}
        try:
            running.launch()
            ready = await heard.until_said("READY")
            assert ready["STATUS"].startswith("not ready: the disk has less than store.min_free left")
            assert await running.stop() == 0
        finally:
            running.kill()
        said = {line["event"]: priority for priority, line in journalled(running)}
        assert {"space.low": 3, "gateway.socket_unused": 4, "gateway.started": 6, "gateway.stopped": 6}.items() <= said.items()
        assert all("time" not in line and "level" in line for _, line in journalled(running))


async def test_in_the_journal_each_problem_that_ends_a_start_is_a_record(tmp_path: Path) -> None:
    running = Running(tmp_path, "[server]\nlisten = ['nonsense']\n[sinks.a]\ntype = 'jsonl'\nretry = 5\n")
    running.variables = journal(running)
    try:
        running.launch()
        assert await running.exit_code() == 78
    finally:
        running.kill()
    *problems, (priority, last) = journalled(running)
    assert {(priority, line["event"]) for priority, line in problems} == {(3, "config.problem")} and len(problems) >= 3
    assert any("gateway.toml:2:" in str(line["problem"]) and "nonsense" in str(line["problem"]) for _, line in problems)
    assert (priority, last["event"], last["exit_code"]) == (2, "gateway.failed", 78)


async def test_in_the_journal_the_end_by_a_truncated_file_is_a_record(tmp_path: Path) -> None:
    running = Running(tmp_path, "")
    running.variables = journal(running)
    with running:
        os.truncate(tmp_path / "gateway.db-shm", 0)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await running.post(event())
        assert await running.exit_code() == 74
    priority, last = journalled(running)[-1]
    assert (priority, last["event"], last["exit_code"], last["level"]) == (2, "gateway.failed", 74, "critical")
    assert "gateway.db-shm was cut" in str(last["error"])


async def test_log_lines_have_times_if_stderr_is_not_the_journal_named_in_the_environment(tmp_path: Path) -> None:
    running = Running(tmp_path, "")
    running.variables = {"JOURNAL_STREAM": "1:2"}
    with running:
        assert await running.stop() == 0
    lines = [line for line in running.stderr().splitlines() if line.startswith("{")]
    assert lines and all("time" in json.loads(line) for line in lines)
