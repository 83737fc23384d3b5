"""The facts of events that come to a receiver, which knows nothing but what came to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.caught_facts import ReceiverLedger, event_of_caught
from gateway.core.caught_requests import CaughtRequest
from gateway.core.ledger import Facts
from tests.support.stories import BEGINNING, bodies


def caught(number: int, body: dict[str, Any] | bytes | None, sender_id: str | None = None) -> CaughtRequest:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = [] if sender_id is None else [(b"Svix-Id", sender_id.encode())]
    at = BEGINNING + 1000 + number
    return CaughtRequest(number=number, at=at, method="POST", target="/", headers=headers, body=raw, length=len(raw or b""))


def taken(ledger: ReceiverLedger, story: str, first: int = 1, signed: bool | None = True) -> list[Facts | None]:
    """Let the events of a story come one after the other."""
    found = []
    for number, body in enumerate(bodies(story), first):
        ledger.take(caught(number, body, f"msg_{number}"), signed=signed)
        found.append(ledger.facts(number))
    return found


def test_the_first_event_of_a_request_has_no_facts_and_later_ones_are_judged_against_it() -> None:
    first, second, late = taken(ReceiverLedger(), "P10 U70 A60")
    assert first is None
    assert second is not None and (second.before, second.skipped, second.stale) == ("QC/PENDING", ("QC/APPROVED",), False)
    assert late is not None and late.stale


def test_a_request_whose_signature_is_wrong_is_judged_and_changes_nothing() -> None:
    ledger = ReceiverLedger()
    taken(ledger, "P10")
    (forged,) = taken(ledger, "C80", first=2, signed=False)
    (after,) = taken(ledger, "A60", first=3, signed=None)
    assert forged is not None and forged.before == "QC/PENDING"
    assert after is not None and (after.before, after.stale) == ("QC/PENDING", False)


def test_a_message_that_comes_again_has_the_facts_of_the_first_time() -> None:
    ledger = ReceiverLedger()
    taken(ledger, "P10 R20 P30")
    ledger.take(caught(4, bodies("R20")[0], "msg_2"), signed=True)
    assert ledger.facts(2) is not None and ledger.facts(4) == ledger.facts(2)


@pytest.mark.parametrize("body", [None, b"", b"[]", b"{", b'{"event_type": "state_change"}', b'{"sr_uuid": " "}'])
def test_what_names_no_service_request_is_not_judged(body: bytes | None) -> None:
    ledger = ReceiverLedger()
    request = caught(1, body)
    ledger.take(request, signed=True)
    assert (event_of_caught(request), ledger.facts(1)) == (None, None)


def test_only_the_newest_requests_are_known() -> None:
    ledger = ReceiverLedger(most=3)
    for number in range(10):
        ledger.take(caught(number, bodies("P10", f"sr-{number}")[0], f"msg_{number}"), signed=True)
    ledger.take(caught(10, bodies("A60", "sr-9")[0], "msg_10"), signed=True)
    ledger.take(caught(11, bodies("A60", "sr-0")[0], "msg_11"), signed=True)
    assert ledger.facts(10) is not None and ledger.facts(11) is None
    assert all(len(kept) <= 3 for kept in vars(ledger).values() if hasattr(kept, "__len__"))
