"""A message that its sink never takes dies alone, and the others are delivered."""

from __future__ import annotations

from gateway.core.outcome import Delivered
from tests.engine.bench import FAILS, HOUR, Bench
from tests.fakes import FakeClock


async def test_a_poisoned_message_ends_dead_by_its_own_attempts_while_the_others_are_delivered(
    bench: Bench, clock: FakeClock
) -> None:
    """The schedule is the default one. If the poisoned message opens the breaker, the next message closes it."""
    (poison,) = await bench.give()
    bench.sink.answer = lambda one: FAILS if one.delivery_id == poison.delivery_id else Delivered(200)
    began = clock.passed
    while await bench.rows("state") != [("delivered",)]:
        if (await bench.rows("state"))[0] == ("dead",):
            break
        assert clock.passed - began < 12 * HOUR
        await bench.give()
        for _ in range(10):
            await bench.work()
            clock.advance(60.0)
    (first, *others) = await bench.rows()
    assert first[0] == "dead" and first[2:] == (5, "attempts_exhausted")
    assert len(others) > 10 and set(others) == {("delivered", 1, 0, None)}
