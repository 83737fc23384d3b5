"""`/`: what needs a person, how much comes and goes, and how the sinks are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gateway.core.attention import GatewayStatus
from gateway.core.errors import StoreError
from gateway.core.selection import Selection
from gateway.observability.throughput import ByMinute
from gateway.web.door.discretion import status_for
from gateway.web.pages.asking import Asked, Control


class OverviewPage(Struct, frozen=True):
    """The state of the gateway."""

    status: GatewayStatus
    by_minute: ByMinute
    webhook_urls: Sequence[str]
    """The URLs that webhooks are sent to; empty once something has come."""

    @property
    def waiting(self) -> int | None:
        """How many deliveries are queued; None while the store cannot be asked."""
        return _sum([sink.queued for sink in self.status.sinks])

    @property
    def dead(self) -> int | None:
        """How many deliveries are dead; None while the store cannot be asked."""
        return _sum([sink.dead for sink in self.status.sinks])


async def overview(control: Control, asked: Asked) -> OverviewPage:
    """Find the state of the gateway. It answers while the store fails, too."""
    urls = control.webhook_urls() if await _is_empty(control) else ()
    status = status_for(asked.visitor, await control.self_report.status())
    return OverviewPage(status, control.self_report.by_minute(), urls)


async def _is_empty(control: Control) -> bool:
    try:
        page, _ = await control.browse.messages(Selection(), 0, 1)
    except StoreError:
        return False
    return not page


def _sum(numbers: Sequence[int | None]) -> int | None:
    return None if None in numbers else sum(number for number in numbers if number is not None)
