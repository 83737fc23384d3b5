"""Tries an event on the rules of this moment, and says what each route does with it. Sends nothing, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from gateway.control.kept_rules import KeptRulesReader
from gateway.core import events
from gateway.core.ledger import Facts
from gateway.core.rules_then import RulesThen
from gateway.core.why_not import WhyNot, reason_of


class RouteVerdict(Struct, frozen=True):
    """The verdict of one route on an event."""

    route: str
    matched: bool
    why: WhyNot | None
    """Why it does not apply; None if it does."""


class Trial(Struct, frozen=True, kw_only=True):
    """The verdict of the rules on an event."""

    milestone: str
    sr_uuid: str | None
    reference_id: str | None
    verdicts: tuple[RouteVerdict, ...]
    """The routes in the order of the file."""
    routes: tuple[str, ...]
    """The routes that apply; none: the event would be unrouted."""
    sinks: tuple[str, ...]
    suppressed: tuple[str, ...]
    """Sinks that are not told, because the event is late."""


class RuleTrial:
    """Knows the rules of this moment."""

    def __init__(self, *, kept: KeptRulesReader, number: Callable[[], int | None]) -> None:
        """
        Args:
            kept: reads rules by their number.
            number: returns the number of the rules of this moment.
        """
        self._kept = kept
        self._number = number

    async def rules(self) -> tuple[int | None, RulesThen | None]:
        """Return the rules of this moment with their number; None if they cannot be read."""
        number = self._number()
        return number, await self._kept.of(number)

    async def of(self, body: bytes, source: str, facts: Facts | None) -> Trial | None:
        """Try an event; None if the rules cannot be read. Raises ValueError if the body is no JSON object."""
        decoded = events.decode(body)
        if not isinstance(decoded, events.Event):
            raise ValueError(f"this is no event: {decoded.detail}")
        _, rules = await self.rules()
        if rules is None:
            return None
        decision = rules.decide(decoded, source, facts)
        traces = rules.router.explain(decoded, source, facts)
        return Trial(
            milestone=decoded.milestone.value,
            sr_uuid=decoded.sr_uuid,
            reference_id=decoded.reference_id,
            verdicts=tuple(
                RouteVerdict(one.name, one.matched, None if one.matched else reason_of(one, judged=facts is not None))
                for one in traces
            ),
            routes=decision.routes,
            sinks=decision.sinks,
            suppressed=decision.suppressed,
        )
