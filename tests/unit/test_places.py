"""The places for connections: each peer has at most its share, the oldest waiting connection gives way, a working one stays."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from gateway.web.server import places as module
from gateway.web.server.places import MOST_CONNECTIONS, MOST_OF_A_PEER, PATIENCE_SECONDS, Places

SHARE = 3
"""The share of a peer in the comparison with a list. It is small, so that it is often reached."""


class Held:
    def __init__(
        self, peer: str | None, since: float, *, waiting: bool = True, proven: bool = False, bytes_there: bool = False
    ) -> None:
        self.peer = peer
        self.since = since
        self.proven = proven
        self.waiting = waiting
        self.bytes_there = bytes_there

    def waits(self) -> bool:
        return self.waiting

    def unread(self) -> bool:
        return self.bytes_there


def test_there_are_512_places_and_a_quarter_of_them_for_a_peer() -> None:
    assert (MOST_CONNECTIONS, MOST_OF_A_PEER) == (512, 128)


def full(peers: int = 8) -> tuple[Places[Held], list[Held]]:
    places: Places[Held] = Places()
    held = [Held(f"203.0.113.{number % peers}", number / 1000) for number in range(MOST_CONNECTIONS)]
    for one in held:
        places.take(one)
    return places, held


def test_only_the_oldest_waiting_connection_gives_way_to_a_new_one() -> None:
    places, held = full()
    now = 100.0
    assert places.who_gives_way_to("198.51.100.1", now) is held[0]
    held[0].waiting = False  # it is being answered
    held[1].bytes_there = True  # its request has arrived, and has not been read yet
    held[2].proven = True
    assert places.who_gives_way_to("198.51.100.1", now) is held[3]
    places.step(held[3], now)
    assert places.who_gives_way_to("198.51.100.1", now) is held[4]
    for one in held:
        one.proven = True
    assert places.who_gives_way_to("198.51.100.1", now) is held[2], "the oldest of the proven ones, where there are no others"
    for one in held:
        one.waiting = False
    assert places.who_gives_way_to("198.51.100.1", now) is None


def test_no_connection_gives_way_before_its_request_can_have_arrived_or_while_there_is_room() -> None:
    places, held = full()
    assert places.who_gives_way_to(None, held[0].since + PATIENCE_SECONDS - 0.001) is None
    assert places.who_gives_way_to(None, held[0].since + PATIENCE_SECONDS) is held[0]
    places.leave(held[7])
    assert places.who_gives_way_to(None, 100.0) is None and places.room_for(None)


def test_a_peer_that_used_its_share_makes_room_itself_and_leaves_others_alone() -> None:
    places: Places[Held] = Places()
    places.take(quiet := Held("198.51.100.1", 0.0))
    greedy = [Held("203.0.113.1", float(number)) for number in range(MOST_OF_A_PEER)]
    for one in greedy:
        places.take(one)
    assert not places.room_for("203.0.113.1") and places.room_for("198.51.100.1") and places.room_for(None)
    assert places.who_gives_way_to("203.0.113.1", 1000.0) is greedy[0], "though another one has waited for longer"
    assert places.who_gives_way_to("198.51.100.1", 1000.0) is None
    assert quiet in places


def test_a_proxy_is_not_limited_but_its_clients_are() -> None:
    places: Places[Held] = Places()
    proxied = [Held(None, float(number)) for number in range(300)]
    for one in proxied:
        places.take(one)
    assert places.room_for(None) and places.surplus(1000.0) == []
    for one in proxied[: MOST_OF_A_PEER + 1]:
        places.count_for(one, "203.0.113.9")
    assert places.has_surplus and places.surplus(1000.0) == [proxied[0]]
    places.count_for(proxied[0], None)
    assert not places.has_surplus and places.surplus(1000.0) == []


@given(st.lists(st.tuples(st.sampled_from("tlsc"), st.integers(0, 30), st.sampled_from(["a", "b", "c", None])), max_size=300))
def test_the_counts_always_agree_with_a_naive_list(steps: list[tuple[str, int, str | None]]) -> None:
    with patch.object(module, "MOST_OF_A_PEER", SHARE):
        compare(steps)


def compare(steps: list[tuple[str, int, str | None]]) -> None:
    places: Places[Held] = Places()
    naive: list[Held] = []
    for now, (what, which, peer) in enumerate(steps):
        one = naive[which % len(naive)] if naive else Held(peer, 0.0)
        if what == "t":
            naive.append(made := Held(peer, float(now)))
            places.take(made)
        elif what == "l":
            places.leave(one)
            places.leave(one)
            naive = [other for other in naive if other is not one]
        elif what == "s":
            places.step(one, float(now))
        else:
            places.count_for(one, peer)
        assert set(places) == set(naive) and len(places) == len(naive)
        assert [one.since for one in places] == sorted(one.since for one in naive)
        held = {name: sum(one.peer == name for one in naive) for name in "abc"}
        assert {name: places.room_for(name) for name in held} == {name: held[name] < SHARE for name in held}
        assert places.has_surplus == (max(held.values()) > SHARE)
