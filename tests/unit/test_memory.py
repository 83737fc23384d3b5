"""The memory that all lanes share is bounded, fairly shared, and always open to a lane that holds nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.memory import DEFAULT_BYTES, Memory

LARGEST = 256 * 1024
_STEPS = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, LARGEST)), max_size=200)


@given(_STEPS, st.integers(0, 4 * LARGEST))
def test_what_is_held_stays_within_the_limit_and_one_delivery_for_each_lane(
    steps: list[tuple[int, bool, int]], limit: int
) -> None:
    memory = Memory(limit)
    lanes = [memory.account() for _ in range(10)]
    holding: list[list[int]] = [[] for _ in lanes]
    for lane, takes, size in steps:
        if not takes and holding[lane]:
            lanes[lane].give(holding[lane].pop())
        elif takes and lanes[lane].has_room_for(size, DEFAULT_BYTES):
            lanes[lane].take(size)
            holding[lane].append(size)
        assert memory.used == sum(map(sum, holding))
        assert [one.held for one in lanes] == list(map(sum, holding))
        assert memory.used <= limit + sum(max(held, default=0) for held in holding)
        assert all(one.has_room_for(LARGEST, DEFAULT_BYTES) for one in lanes if not one.held)


def test_many_greedy_lanes_leave_memory_for_the_next_lane() -> None:
    memory = Memory()
    greedy = [memory.account() for _ in range(200)]
    for _ in range(100):
        for lane in greedy:
            if lane.has_room_for(2048, DEFAULT_BYTES):
                lane.take(2048)
    next_one = memory.account()
    taken = 0
    while next_one.has_room_for(2048, DEFAULT_BYTES):
        next_one.take(2048)
        taken += 1
    assert taken >= 16, "a lane's usual number at a time"
    assert memory.used <= memory.limit


def test_one_lane_alone_may_hold_half_of_it_and_no_more_than_its_own_bound() -> None:
    alone = Memory(1000).account()
    assert (alone.room, alone.has_room_for(5000, 1000)) == (1000, True)
    alone.take(400)
    assert (alone.room, alone.has_room_for(200, 1000), alone.has_room_for(200, 500)) == (200, True, False)
    alone.give(400)
    assert alone.room == 1000
