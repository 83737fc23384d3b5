"""The ring of watched requests: bounded in number and in bytes, whatever comes, and true in what it says of itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from gateway.core.caught_requests import MOST_BYTES, MOST_REQUESTS, Answered, CaughtRequest, RequestRing


def caught(number: int, *, body: bytes | None = b"", headers: int = 1, target: str = "/") -> CaughtRequest:
    fields = [(b"x-%d" % at, b"v" * 50) for at in range(headers)]
    length = len(body or b"")
    return CaughtRequest(number=number, at=0.0, method="POST", target=target, headers=fields, body=body, length=length)


def test_the_bounds_are_those_of_the_design() -> None:
    assert (MOST_REQUESTS, MOST_BYTES) == (200, 4 * 1024 * 1024)


def test_the_newest_stay_and_are_read_page_by_page() -> None:
    ring = RequestRing()
    for number in range(1, 301):
        ring.put(caught(number))
    assert len(ring) == MOST_REQUESTS and ring.newest == 300
    first = ring.newest_first(50)
    assert [one.number for one in first] == list(range(300, 250, -1))
    assert [one.number for one in ring.newest_first(500, before=251)] == list(range(250, 100, -1))
    assert ring.get(100) is None and ring.get(101) is not None and ring.get(301) is None and ring.get(-1) is None


def test_a_request_is_changed_in_its_place_and_one_that_has_gone_is_not() -> None:
    ring = RequestRing(most=2)
    for number in (1, 2, 3):
        ring.put(caught(number))
    assert ring.change(structs.replace(caught(2), answered=Answered(503, b"later")))
    assert ring.get(2) == structs.replace(caught(2), answered=Answered(503, b"later"))
    assert not ring.change(caught(1)) and ring.get(1) is None


def test_a_body_that_is_longer_than_the_ring_is_not_kept_and_its_length_is() -> None:
    ring = RequestRing(most_bytes=10_000)
    ring.put(caught(1, body=b"x" * 20_000))
    kept = ring.get(1)
    assert kept is not None and kept.body is None and kept.length == 20_000 and kept.headers
    ring.put(caught(2, headers=200, target="/" + "x" * 20_000))
    kept = ring.get(2)
    assert kept is not None and kept.headers == () and kept.target.startswith("/xxx")


def test_what_is_cleared_is_gone_and_numbers_go_on() -> None:
    ring = RequestRing()
    ring.put(caught(1, body=b"secret"))
    ring.clear()
    assert (len(ring), ring.bytes, ring.get(1), ring.newest) == (0, 0, None, 1)
    ring.put(caught(2))
    assert [one.number for one in ring.newest_first(5)] == [2]


class Ring(RuleBasedStateMachine):
    """Any sequence of requests and answers."""

    MOST, BYTES = 5, 20_000

    def __init__(self) -> None:
        super().__init__()
        self.ring = RequestRing(self.MOST, self.BYTES)
        self.number = 0

    @rule(size=st.integers(0, 30_000), headers=st.integers(0, 150), path=st.integers(1, 30_000))
    def put(self, size: int, headers: int, path: int) -> None:
        self.number += 1
        self.ring.put(caught(self.number, body=b"x" * size, headers=headers, target="/" * path))

    @rule(back=st.integers(0, 8), size=st.integers(0, 30_000), answer=st.integers(0, 30_000))
    def change(self, back: int, size: int, answer: int) -> None:
        request = caught(self.number - back, body=b"y" * size)
        there = self.ring.get(request.number) is not None
        assert self.ring.change(structs.replace(request, answered=Answered(200, b"a" * answer))) is there

    @precondition(lambda self: len(self.ring) > 0)
    @rule()
    def clear(self) -> None:
        self.ring.clear()

    @invariant()
    def is_bounded(self) -> None:
        kept = self.ring.newest_first(1000)
        assert len(kept) == len(self.ring) <= self.MOST
        assert sum(one.size for one in kept) == self.ring.bytes <= self.BYTES
        assert all(self.ring.get(one.number) is one for one in kept)
        assert [one.number for one in kept] == sorted((one.number for one in kept), reverse=True)


TestRing = Ring.TestCase


@given(st.binary(max_size=200), st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=20))
def test_the_size_of_a_request_is_not_less_than_its_texts(body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    request = CaughtRequest(number=1, at=0.0, method="POST", target="/x", headers=headers, body=body, length=len(body))
    assert request.size >= len(body) + sum(len(name) + len(value) for name, value in headers)
