"""Rules that say how long a service request may stay in a state, and when people are told that it stays longer. Pure.

A timer belongs to one rule, one service request and one entering of a state. It is due when the request has been in the state for
`after`, counted from the event's own instant; but not within the first minute after the event arrived, because after an outage
the next state often follows at once. The next state ends the timer. A rule tells once, or every `again`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from gateway.core.ledger import ServiceRequest
from gateway.core.values import Duration, rfc3339

SETTLE = 60.0
"""Seconds after the arrival of an event in which no timer of its state is due."""
MOST_IN_A_MINUTE = 20
"""Events about single service requests in a minute. More become one summary."""
MOST_IN_A_SUMMARY = 1000
"""Service requests that one summary stands for, so that its commit stays short. The next summary follows a minute later."""
MOST_NAMED = 20
"""Service requests that a summary names."""
INVALIDATED = "INVALIDATED"
"""The state of a service request that was invalidated; senders have no such state."""
_MINUTE = 60.0


class Watch(Struct, frozen=True):
    """One `[[watch]]` rule."""

    name: str
    states: tuple[str, ...]
    """Each is `PRIMARY/SUPPLEMENT`, or `PRIMARY` for every state that begins with it."""
    after: Duration
    again: Duration | None = None
    """Seconds between two tellings; None tells once for each entering of a state."""

    def watches(self, state: str) -> bool:
        """Return True if the rule is about a state."""
        return any(state == known or state.startswith(f"{known}/") for known in self.states)


class Entered(Struct, frozen=True):
    """A service request that entered a state: its newest one, by the order in which events happened."""

    source: str
    sr_uuid: str
    reference_id: str | None
    state: str
    """`PRIMARY/SUPPLEMENT`, or `PRIMARY` if there is no supplement."""
    event_at: float
    """The instant of the event (Unix seconds, UTC)."""
    arrived_at: float
    """The arrival of the event (Unix seconds, UTC)."""


class Entering(Struct, frozen=True):
    """The timers that a service request has from now on. They replace all that it had."""

    entered: Entered
    rules: tuple[str, ...]
    """The rules that watch the state; empty if none does."""


class TimersPlace(Struct, frozen=True):
    """A place among the service requests that are in some state, in the order of their milestones and of when they entered it."""

    milestone: int
    """The number by which the store keeps the milestone."""
    entered_ms: int
    number: int
    """The number of the request in the ledger."""


class TimersBegun(Struct, frozen=True):
    """A slice of the work that begins timers for service requests which are in a watched state already."""

    number: int
    """Timers that began."""
    after: TimersPlace | None
    """Where to go on; None if the work is done, or has to wait."""
    complete: bool = True
    """False: the ledger does not know all requests yet, because messages of an earlier version are read in."""


class Timer(Struct, frozen=True):
    """A timer that is due: a service request has been in a state for longer than a rule allows."""

    rule: str
    entered: Entered
    told_at: float | None = None
    """The instant at which people were told last; None if they were not told yet."""


class StallsTold(Struct, frozen=True):
    """The timers that people are told about now."""

    timers: tuple[Timer, ...]
    at: float
    """Unix seconds, UTC."""


def present_state(request: ServiceRequest | None) -> tuple[str, float] | None:
    """Return the present state of a service request, and since when it is in it (Unix seconds, UTC); None if it has none yet.

    An invalidation counts as the state `INVALIDATED`, which no rule names: nothing is expected of the request any more.
    """
    if request is None:
        return None
    if request.invalidated and request.invalidated_at_ms is not None:
        return INVALIDATED, request.invalidated_at_ms / 1000
    if request.state is None or request.state_at_ms is None:
        return None
    return request.state, request.state_at_ms / 1000


def entering(watches: Sequence[Watch], entered: Entered) -> Entering:
    """Return the timers that a state begins; they end all that the service request had."""
    return Entering(entered, tuple(watch.name for watch in watches if watch.watches(entered.state)))


def due_at(watch: Watch, entered: Entered) -> float:
    """Return when the first telling is due."""
    return max(entered.event_at + watch.after, entered.arrived_at + SETTLE)


class Pace:
    """How many events there may be: 20 single ones and one summary in a minute."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._told = 0
        self._summed_up = False

    def decide(self, due: int, now: float) -> Literal["each", "summary", "wait"]:
        """Decide what becomes of some timers that are due, and count that as done.

        Args:
            now: monotonic seconds.
        Returns `each` for one event per timer, `summary` for one event about all, `wait` if they have to wait for the next
        minute.
        """
        if now - self._began >= _MINUTE:
            self._began, self._told, self._summed_up = now, 0, False
        if self._told + due <= MOST_IN_A_MINUTE:
            self._told += due
            return "each"
        if self._summed_up:
            return "wait"
        self._summed_up = True
        return "summary"


def stall_values(timer: Timer, watch: Watch) -> dict[str, Any]:
    """Return the fields of the event about one service request."""
    entered = timer.entered
    primary, _, supplement = entered.state.partition("/")
    since = rfc3339(entered.event_at)
    return {
        "watch": timer.rule,
        "source": entered.source,
        "sr_uuid": entered.sr_uuid,
        "reference_id": entered.reference_id,
        "state": {"primary": primary, "supplement": supplement or None},
        "since": since,
        "count": 1,
        "detail": f"{entered.state} since {since}, longer than {watch.after}",
    }


def summary_values(timers: Sequence[Timer], *, more: bool) -> dict[str, Any]:
    """Return the fields of one event about many service requests: how many by rule, and the first of them.

    Args:
        more: there are further ones, which the next summary is about.
    """
    rules: dict[str, int] = {}
    for timer in timers:
        rules[timer.rule] = rules.get(timer.rule, 0) + 1
    named = [
        {"watch": timer.rule, "source": one.source, "sr_uuid": one.sr_uuid, "reference_id": one.reference_id, "state": one.state}
        for timer, one in ((timer, timer.entered) for timer in timers[:MOST_NAMED])
    ]
    by_rule = "; ".join(f"{name}: {number}" for name, number in rules.items())
    return {
        "watch": next(iter(rules)) if len(rules) == 1 else None,
        "count": len(timers),
        "more": more,
        "requests": named,
        "detail": f"{by_rule}{'; …' if more else ''}",
    }
