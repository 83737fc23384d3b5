"""Every message that Slack gets, in each locale, as a file that a person has read; slack-sdk is the judge of its limits.

`REWRITE_EXPECTED=1 pytest tests/sinks/test_slack_golden.py` writes them anew: read what changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway.core.conversation import Thread
from gateway.core.events import Milestone, event_of
from gateway.core.samples import SAMPLES
from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import Writer, edit, first, render, reply
from tests.golden import same
from tests.sinks.parts import MESSAGE_ID, outgoing, ref
from tests.sinks.slack_side import CHANNEL, judged

GOLDEN = Path(__file__).parent / "golden" / "slack"
NOTICES: dict[str, dict[str, Any]] = {
    "gateway.delivery_dead": {
        "sink": "erp",
        "reason": "attempts_exhausted",
        "detail": "HTTP 500 Internal Server Error",
        "message_id": MESSAGE_ID,
        "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718",
        "reference_id": "ITEM-1042",
    },
    "gateway.sink_opened": {"sink": "erp", "reason": "connect", "detail": "erp.internal:443: connection refused"},
    "gateway.message_quarantined": {"message_id": MESSAGE_ID, "detail": "the body is not JSON"},
}
THREAD = Thread(CHANNEL, "1772000000.000100", 0.0)
HOOK = {"webhook_url": ref("HOOK")}
BOT = {"token": ref("TOKEN"), "channel": CHANNEL}


def deliveries() -> dict[str, Outgoing]:
    """Every sample, every event of the gateway itself, a message that can't be read, and a drill."""
    found = {name: outgoing(msgspec.json.encode(values)) for name, values in SAMPLES.items()}
    for name, facts in NOTICES.items():
        body = {
            "event_type": name,
            "timestamp": "2026-03-05T10:30:00Z",
            "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64",
            **facts,
            "message_id": MESSAGE_ID,
        }
        found[name] = msgspec.structs.replace(outgoing(msgspec.json.encode(body)), source="gateway")
    found["unreadable"] = outgoing(b"[1, 2]")
    found["drill"] = msgspec.structs.replace(found["authentic"], drill=True)
    return found


DELIVERIES = deliveries()


def config_of(locale: Locale, **ways: Any) -> SlackConfig:
    return SlackConfig(locale=locale, timezone="Asia/Tokyo", link="https://erp.example/items/{reference_id}", **ways)


def messages(delivery: Outgoing, locale: Locale) -> dict[str, bytes]:
    bot = config_of(locale, **BOT)
    words = Writer(bot).words(delivery)
    return {
        "webhook": render(delivery, config_of(locale, **HOOK)),
        "parent": first(words, CHANNEL),
        "reply": reply(words, THREAD),
        "edit": edit(words, THREAD),
    }


@pytest.mark.parametrize("locale", get_args(Locale))
@pytest.mark.parametrize("name", DELIVERIES)
def test_each_message_is_the_one_that_was_read_and_slack_takes_it(name: str, locale: Locale) -> None:
    said = {kind: json.loads(raw) for kind, raw in messages(DELIVERIES[name], locale).items()}
    for message in said.values():
        judged(message)
    same(json.dumps(said, ensure_ascii=False, indent=2) + "\n", GOLDEN / locale / f"{name}.json")


def test_every_milestone_is_among_them() -> None:
    seen = {event_of(values).milestone for values in SAMPLES.values()}
    assert seen == set(Milestone)


@pytest.mark.parametrize("locale", get_args(Locale))
def test_there_is_no_file_of_a_message_that_is_gone(locale: Locale) -> None:
    assert {path.stem for path in (GOLDEN / locale).iterdir()} == set(DELIVERIES)


@pytest.mark.parametrize("name", DELIVERIES)
def test_both_locales_have_the_same_blocks(name: str) -> None:
    english, japanese = (
        {kind: _shape(json.loads(raw)) for kind, raw in messages(DELIVERIES[name], locale).items()} for locale in get_args(Locale)
    )
    assert english == japanese


def _shape(value: Any) -> Any:
    """A message without its words."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return value if isinstance(value, bool) else None
