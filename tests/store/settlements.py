"""Settlements of every kind, chosen at random."""

from __future__ import annotations

import random

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.records import Attempt, Settlement
from gateway.core.retry import RetryPolicy, Transition
from tests.store.kit import POLICY, settlement

DISCARDED = Transition(state="discarded")
ONCE = RetryPolicy(schedule=(0.0,))
RETRY = Retry(Reason.TIMEOUT, "no outcome within 30 s")


def random_settlement(chance: random.Random, key: tuple[int, str], number: int, now: float) -> Settlement:
    """A settlement of a delivery with a random outcome; `number` is the number of the attempt."""
    seq, sink = key
    outcomes: list[Outcome] = [Delivered(200), RETRY, Defer(Reason.UNAVAILABLE, 5.0), Reject(Reason.HTTP_STATUS)]
    outcome = chance.choice(outcomes)
    if chance.random() < 0.2:
        return Settlement(seq, sink, DISCARDED, now, None)
    policy = ONCE if chance.random() < 0.2 else POLICY
    transition = settlement(seq, outcome, sink=sink, at=now, policy=policy).transition
    return Settlement(seq, sink, transition, now, Attempt(number, now, 1, outcome))
