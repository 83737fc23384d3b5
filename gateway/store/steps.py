"""The steps of a commit: what the audit log has to say of it, kept beside the data until its lines are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from gateway.core.delivery_events import settled_event
from gateway.core.outcome import Outcome
from gateway.core.records import Accepted, Settlement, Step, Stored
from gateway.core.values import claim_of
from gateway.store.columns import milliseconds

encode_steps: Final = msgspec.msgpack.Encoder().encode
decode_steps: Final = msgspec.msgpack.Decoder(list[Step]).decode


def accepted_steps(stored: Sequence[Stored]) -> list[Step]:
    """Return a step for each new message. A duplicate has none, because it changed nothing that a line has to report."""
    return [Step(one.seq) for one in stored if isinstance(one, Accepted)]


def settled_steps(settlements: Sequence[Settlement], in_time: Sequence[bool]) -> list[Step]:
    """Return a step for each settled delivery. One that a person had ended counts only if it was delivered."""
    return [
        _settled(one, late=not held)
        for one, held in zip(settlements, in_time, strict=True)
        if held or one.transition.state == "delivered"
    ]


def acted_step(event: str, now: float, actor: str) -> Callable[..., Step]:
    """Return a function that makes the step of a delivery that a person changed, from its `seq` and `sink`."""
    return partial(Step, event=event, at_ms=milliseconds(now), actor=str(actor), claimed=claim_of(actor))


def _settled(settlement: Settlement, *, late: bool) -> Step:
    transition, attempt = settlement.transition, settlement.attempt
    outcome: Outcome | None = attempt.outcome if attempt else None
    return Step(
        settlement.seq,
        settled_event(transition, outcome).name,
        milliseconds(settlement.at),
        settlement.sink,
        attempt.number if attempt else None,
        milliseconds(transition.due_at) if transition.due_at is not None else None,
        transition.reason,
        late,
    )
