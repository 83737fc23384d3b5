"""The rows of timers, and in which order what is committed with messages is written. It knows no database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from gateway.core.drift import Learned
from gateway.core.lasting import Lasting
from gateway.core.records import Companion
from gateway.core.watches import Entered, Entering, StallsTold, Timer, Watch
from gateway.store.columns import blob, milliseconds, milliseconds_or_none, text

TimerKey = tuple[str, bytes, str]
"""The source, the service request and the rule of a timer."""
ForeignTimer = tuple[str, bytes, str, bytes, int]
"""The key of a timer, which may belong to no rule any more, its state, and when its service request entered that."""
FIRST_TIMER: Final[TimerKey] = ("", b"", "")
"""A key before every timer."""
TIMER_COLUMNS: Final = "source, sr, rule, reference_id, state, entered_ms, arrived_ms, told_ms"
"""The columns of `timer_of`."""


def in_order_of_entering(companions: Iterable[Companion]) -> Iterator[list[Entering] | StallsTold | Lasting | Learned]:
    """Yield what is committed together with messages, in the order of the messages.

    The states that service requests entered come together, before the next telling of stalls or at the end: of several states of
    one request only the last one counts.
    """
    entered: dict[tuple[str, str], Entering] = {}
    for one in companions:
        if isinstance(one, Entering):
            request = (one.entered.source, one.entered.sr_uuid)
            entered.pop(request, None)
            entered[request] = one
            continue
        if isinstance(one, StallsTold) and entered:
            yield list(entered.values())
            entered.clear()
        yield one
    if entered:
        yield list(entered.values())


def foreign(timers: Sequence[ForeignTimer], watches: Mapping[str, Watch]) -> list[ForeignTimer]:
    """Return the timers whose rules are gone or watch other states."""
    return [row for row in timers if row[2] not in watches or not watches[row[2]].watches(text(row[3]) or "")]


def timer_row(one: Entered, rule: str) -> tuple[object, ...]:
    """Return the values of a new timer, without `told_ms`."""
    instants = (milliseconds(one.event_at), milliseconds(one.arrived_at))
    return (one.source, blob(one.sr_uuid), rule, blob(one.reference_id), blob(one.state), *instants)


def told_row(timer: Timer) -> tuple[object, ...]:
    """Return source, request, rule, `entered_ms` and the former `told_ms` of a timer that was told."""
    one = timer.entered
    return (one.source, blob(one.sr_uuid), timer.rule, milliseconds(one.event_at), milliseconds_or_none(timer.told_at))


def timer_of(row: tuple[object, ...]) -> Timer:
    """Build a timer from TIMER_COLUMNS."""
    source, sr, rule, reference_id, state, entered_ms, arrived_ms, told_ms = row
    assert isinstance(source, str) and isinstance(rule, str) and isinstance(entered_ms, int) and isinstance(arrived_ms, int)
    entered = Entered(source, text(sr) or "", text(reference_id), text(state) or "", entered_ms / 1000, arrived_ms / 1000)
    return Timer(rule, entered, told_ms / 1000 if isinstance(told_ms, int) else None)
