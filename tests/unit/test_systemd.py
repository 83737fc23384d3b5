"""The messages to systemd, the variables from systemd, and the harmlessness of both."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.core.errors import ListenError
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd, listening_sockets, passed_names, passed_sockets
from tests.fakes import FakeClock
from tests.support.service_manager import DescriptorStore, NotifySocket

PID = str(os.getpid())


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    with NotifySocket(str(tmp_path / "notify") if request.param == "path" else f"@gateway-test-{tmp_path}") as heard:
        yield heard


def systemd(heard: NotifySocket, **more: str) -> Systemd:
    return Systemd(Environment({"NOTIFY_SOCKET": heard.address, **more}), Clock())


async def test_each_step_is_reported_in_the_words_of_the_protocol(heard: NotifySocket) -> None:
    told = systemd(heard, WATCHDOG_USEC="30000000")
    told.starting("starting: opening the database", 30.0)
    told.ready("ready")
    told.alive("ready; 3 received")
    before = Clock().monotonic_microseconds()
    async with told.reloading():
        told.alive("still here")
    told.stopping("stopping", 50.0)
    starting, ready, alive, reloading, _, again, stopping = heard.listen()
    assert starting == {"EXTEND_TIMEOUT_USEC": "30000000", "STATUS": "starting: opening the database"}
    assert ready == {"READY": "1", "STATUS": "ready"} and again == {"READY": "1"}
    assert alive == {"WATCHDOG": "1", "STATUS": "ready; 3 received"}
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"} and reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= Clock().monotonic_microseconds()
    assert stopping == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "50000000", "STATUS": "stopping"}


def wait(condition: Callable[[], bool]) -> None:
    """Receive the messages in another thread."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_open_connections_go_only_to_the_next_process(tmp_path: Path) -> None:
    with DescriptorStore(str(tmp_path / "notify")) as store, ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(450)]
        for pair in pairs:
            for one in pair:
                stack.enter_context(one)
        told = Systemd(Environment({"NOTIFY_SOCKET": store.address, "FDSTORE": "1024"}), Clock())
        assert told.keeps and told.keep([ours for _, ours in pairs]) == len(pairs)
        wait(lambda: len(store.held) == len(pairs))
        for _, ours in pairs:
            ours.close()
        for number, (theirs, _) in enumerate(pairs):
            store.held[number].sendall(b"still here")
            assert theirs.recv(100) == b"still here", "in the order in which they were handed over"
        passed = os.dup(store.held[0].fileno())
        names = ":".join([*["webhooks"] * (passed - 3), store.names[0]])
        variables = Environment({"LISTEN_PID": PID, "LISTEN_FDS": str(passed - 2), "LISTEN_FDNAMES": names})
        (kept,) = told.take_kept(variables)
        with kept:
            assert (kept.fileno(), kept.get_inheritable()) == (passed, False)
        assert passed_names(variables) == {"webhooks"}
        wait(lambda: not store.held)  # systemd lets go, so that the other side sees when we close


@pytest.mark.parametrize("variables", [{}, {"FDSTORE": "0"}, {"FDSTORE": "many"}, {"FDSTORE": "12", "NOTIFY_SOCKET": ""}])
def test_connections_are_kept_only_if_the_unit_says_so(variables: dict[str, str], tmp_path: Path) -> None:
    assert not Systemd(Environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), **variables}), Clock()).keeps


def test_a_connection_that_systemd_does_not_take_stays_ours(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Systemd(Environment({"NOTIFY_SOCKET": str(tmp_path / "nobody")}), Clock()).keep([ours]) == 0


async def test_a_failed_reload_also_ends_as_ready(heard: NotifySocket) -> None:
    with pytest.raises(ZeroDivisionError):
        async with systemd(heard).reloading():
            raise ZeroDivisionError
    assert [next(iter(one)) for one in heard.listen()] == ["RELOADING", "READY"]


async def test_a_reload_that_a_stop_interrupts_does_not_report_ready(heard: NotifySocket) -> None:
    told = systemd(heard)
    async with told.reloading():
        told.stopping("stopping", 1.0)
    async with told.reloading():
        pass
    assert [next(iter(one)) for one in heard.listen()] == ["RELOADING", "STOPPING"]


def test_a_status_is_one_short_line(heard: NotifySocket) -> None:
    systemd(heard).ready("a\nMAINPID=1\r\x1b[31m\u2028b" + "c" * 10_000 + "\udcff")
    (ready,) = heard.listen()
    assert ready.keys() == {"READY", "STATUS"} and ready["STATUS"].startswith("a MAINPID=1  [31m b")
    assert len(ready["STATUS"]) == 300


def test_no_ping_is_sent_without_a_watchdog(heard: NotifySocket) -> None:
    systemd(heard).alive("ready")
    assert heard.listen() == [{"STATUS": "ready"}]


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens-there", "vsock:2:9", "nonsense", "/" + "x" * 300])
def test_the_gateway_continues_if_a_notification_fails(address: str) -> None:
    told = Systemd(Environment({"NOTIFY_SOCKET": address}), Clock())
    told.ready("ready")
    told.alive("ready")


def test_a_service_manager_that_does_not_read_blocks_only_briefly(tmp_path: Path) -> None:
    with NotifySocket(str(tmp_path / "notify")) as deaf, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling:
        filling.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                filling.sendto(b"X=1", deaf.address)
        telling = threading.Thread(target=systemd(deaf).ready, args=("ready",), daemon=True)
        telling.start()
        telling.join(60)
        assert not telling.is_alive()
        before = Clock().monotonic()
        for _ in range(20):
            systemd(deaf).alive("ready")
        assert Clock().monotonic() - before < 30, "a ping does not wait for a reader"


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": PID}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "infinity"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_is_the_one_that_was_meant_for_this_process(
    variables: dict[str, str], seconds: float | None, clock: FakeClock
) -> None:
    assert Systemd(Environment(variables), clock).watchdog == seconds


@pytest.mark.parametrize(
    ("variables", "passed"),
    [
        ({}, []),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "LISTEN_PID": "1"}, []),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, []),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "LISTEN_PID": PID}, [(3, "a"), (4, "b")]),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a", "LISTEN_PID": PID}, [(3, "a"), (4, "unknown")]),
        ({"LISTEN_FDS": "many", "LISTEN_PID": PID}, []),
        ({"LISTEN_PID": PID}, []),
    ],
)
def test_only_sockets_meant_for_this_process_count_as_passed(variables: dict[str, str], passed: list[tuple[int, str]]) -> None:
    assert passed_sockets(Environment(variables)) == passed


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "it passed no sockets"),
        ({"LISTEN_FDS": "3", "LISTEN_FDNAMES": "web:admin:web", "LISTEN_PID": PID}, "it passed admin, web"),
    ],
)
def test_the_error_about_a_missing_socket_names_the_passed_ones(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ListenError, match=rf"no socket named webhooks \({said}\): see FileDescriptorName="):
        listening_sockets("webhooks", Environment(variables))
