"""The dialler (RFC 8305), against real sockets on loopback: a listener with a full backlog drops packets as a firewall does."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sinks.net import dial
from gateway.sinks.net.address_guard import AddressGuard, AddressInfo, BlockedAddress, parse_network
from gateway.sinks.net.dial import DELAY_SECONDS, Dialler, interleaved
from tests.sinks.addresses import V4, V6, dropping, info


@contextmanager
def listening(address: str, port: int = 0) -> Iterator[int]:
    with socket.create_server((address, port)) as listener:
        yield listener.getsockname()[1]


def open_sockets() -> int:
    return sum("socket:" in os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if exists(name))  # noqa: PTH115, PTH208


def exists(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")


async def peer_of(found: list[AddressInfo], guard: AddressGuard | None = None) -> str:
    with await Dialler(guard or AddressGuard()).connect(found) as dialled:
        assert dialled.getblocking() is False
        return str(dialled.getpeername()[0])


@pytest.mark.speed
async def test_an_address_that_drops_packets_does_not_delay_the_next_one() -> None:
    before = open_sockets()
    with dropping("127.0.0.1") as port, listening("127.0.0.2", port):
        begun = time.monotonic()
        assert await peer_of([info("127.0.0.1", port), info("127.0.0.2", port)]) == "127.0.0.2"
        assert DELAY_SECONDS - 0.05 <= time.monotonic() - begun < 1.5
    assert open_sockets() == before


@pytest.mark.speed
async def test_three_addresses_that_drop_packets_cost_one_delay_each() -> None:
    with dropping("127.0.0.1") as port, listening("127.0.0.2", port):
        begun = time.monotonic()
        assert await peer_of([info("127.0.0.1", port)] * 3 + [info("127.0.0.2", port)]) == "127.0.0.2"
        assert time.monotonic() - begun < 2.5


@pytest.mark.speed
async def test_an_address_that_refuses_is_left_at_once() -> None:
    with listening("127.0.0.2") as port:
        begun = time.monotonic()
        assert await peer_of([info("127.0.0.1", port)] * 8 + [info("127.0.0.2", port)]) == "127.0.0.2"
        assert time.monotonic() - begun < DELAY_SECONDS


@pytest.mark.speed
async def test_a_refusal_in_the_race_begins_the_next_attempt_before_the_delay_is_over() -> None:
    with dropping("127.0.0.1") as port, listening("127.0.0.3", port):
        begun = time.monotonic()
        found = [info("127.0.0.1", port), info("127.0.0.2", port), info("127.0.0.3", port)]
        assert await peer_of(found) == "127.0.0.3"
        assert time.monotonic() - begun < 2 * DELAY_SECONDS


async def test_a_slow_address_that_answers_first_wins_over_one_that_began_later() -> None:
    """The first attempt goes on while the second one runs: the delay is not a time limit."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as first, ExitStack() as stack:
        place = first.getsockname()
        for _ in range(2):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            with suppress(BlockingIOError):
                filling.connect(place)
        with dropping("127.0.0.2") as other:
            dialling = asyncio.ensure_future(peer_of([info("127.0.0.1", place[1]), info("127.0.0.2", other)]))
            await asyncio.sleep(2 * DELAY_SECONDS)
            for _ in range(2):  # there is room again: the kernel's next SYN gets an answer
                first.settimeout(5)
                stack.enter_context(await asyncio.to_thread(lambda: first.accept()[0]))
            assert await asyncio.wait_for(dialling, 8) == "127.0.0.1"


@pytest.mark.speed
async def test_addresses_that_all_drop_packets_are_given_up_together_and_leave_no_socket() -> None:
    before = open_sockets()
    with dropping("127.0.0.1") as port:
        dialler = Dialler(AddressGuard(), lambda host, port: [info("127.0.0.1", port)] * 3)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await dialler.dial("erp.test", port, 0.6)
        assert time.monotonic() - begun < 2
    assert open_sockets() == before


async def test_a_dial_that_is_cancelled_at_any_moment_leaves_no_socket() -> None:
    before = open_sockets()
    with dropping("127.0.0.1") as port, listening("127.0.0.2", port):
        for turns in range(12):
            found = [info("127.0.0.2", port), info("127.0.0.1", port)] if turns % 2 else [info("127.0.0.1", port)]
            dialling = asyncio.ensure_future(Dialler(AddressGuard()).connect(found))
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            dialling.cancel()
            with suppress(asyncio.CancelledError):
                (await dialling).close()
    assert open_sockets() == before


async def test_a_dial_that_is_cancelled_right_after_it_succeeded_closes_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_sockets()
    with listening("127.0.0.1") as port:
        dialling = asyncio.ensure_future(Dialler(AddressGuard()).connect([info("127.0.0.1", port)]))
        answered = dial._Race._ended

        def ended_and_cut(race: dial._Race, dialled: socket.socket, code: int) -> None:
            answered(race, dialled, code)
            dialling.cancel()

        monkeypatch.setattr(dial._Race, "_ended", ended_and_cut)
        with pytest.raises(asyncio.CancelledError):
            await dialling
    assert open_sockets() == before


async def test_the_error_comes_from_an_address_that_was_dialled(free_port: Callable[[], int]) -> None:
    port = free_port()
    narrow = AddressGuard([parse_network("127.0.0.1/32")])
    for found in ([info("127.0.0.1", port), info("127.0.0.2", port)], [info("127.0.0.2", port), info("127.0.0.1", port)]):
        with pytest.raises(ConnectionRefusedError):
            await Dialler(narrow).connect(found)
    with pytest.raises(BlockedAddress):
        await Dialler(narrow).connect([info("127.0.0.2", port), info("169.254.169.254", port)])
    with pytest.raises(OSError, match="no address"):
        await Dialler(narrow).connect([])


@pytest.mark.speed
async def test_a_blocked_address_is_never_dialled_and_does_not_cost_the_delay() -> None:
    with listening("127.0.0.1") as port, listening("127.0.0.2", port):
        begun = time.monotonic()
        allowed = AddressGuard([parse_network("127.0.0.2/32")])
        assert await peer_of([info("127.0.0.1", port), info("127.0.0.2", port)], allowed) == "127.0.0.2"
        assert time.monotonic() - begun < DELAY_SECONDS


async def test_an_answer_of_dns_is_used_again_until_its_addresses_fail(free_port: Callable[[], int]) -> None:
    asked = 0

    def resolve(host: str, port: int) -> list[AddressInfo]:
        nonlocal asked
        asked += 1
        return [info("127.0.0.1", port)]

    dialler = Dialler(AddressGuard(), resolve)
    with listening("127.0.0.1", free_port()) as port:
        for dialled in await asyncio.gather(*(dialler.dial("erp.test", port) for _ in range(5))):
            dialled.close()
        (await dialler.dial("erp.test", port)).close()
    assert asked == 1
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await dialler.dial("erp.test", port)
    assert asked == 2


async def test_a_name_without_an_address_is_looked_up_again() -> None:
    known = False

    def resolve(host: str, port: int) -> list[AddressInfo]:
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [info("127.0.0.1", port)]

    dialler = Dialler(AddressGuard(), resolve)
    with pytest.raises(socket.gaierror):
        await dialler.dial("erp.test", 1)
    known = True
    with listening("127.0.0.1") as port:
        (await dialler.dial("erp.test", port)).close()


async def test_dns_that_does_not_answer_is_a_timeout() -> None:
    release = threading.Event()

    def resolve(host: str, port: int) -> list[AddressInfo]:
        release.wait(10)
        return []

    dialler = Dialler(AddressGuard(), resolve)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await dialler.dial("erp.test", 1, 0.05)
    assert sum(thread.name == "dns:erp.test" for thread in threading.enumerate()) == 1, "one question, however many wait"
    release.set()


@given(st.lists(st.tuples(st.sampled_from([V4, V6]), st.integers(1, 9))))
def test_families_take_turns_and_keep_their_order(found: list[tuple[int, int]]) -> None:
    infos = [(family, 1, 6, "", ("x", port)) for family, port in found]
    mixed = interleaved(infos)
    assert sorted(mixed) == sorted(infos)
    for family in (V4, V6):
        assert [one for one in mixed if one[0] == family] == [one for one in infos if one[0] == family]
    assert mixed[:1] == infos[:1]
    both = 2 * min(sum(one[0] == V4 for one in infos), sum(one[0] == V6 for one in infos))
    assert all(one[0] != two[0] for one, two in pairwise(mixed[:both]))
