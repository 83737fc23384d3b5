"""Every message that Slack gets, in each locale, as a file that a person has read; slack-sdk is the judge of its limits.

`REWRITE_EXPECTED=1 pytest tests/sinks/test_slack_golden.py` writes them anew: read what changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.core.conversation import Conversation
from gateway.core.events import Milestone, event_of
from gateway.core.samples import SAMPLES
from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import Writer, edit, first, render, reply
from tests.golden import same
from tests.sinks.golden_deliveries import FOR_PEOPLE
from tests.sinks.sending import ref
from tests.sinks.slack_side import CHANNEL, judged

GOLDEN = Path(__file__).parent / "golden" / "slack"
THREAD = Conversation(CHANNEL, "1772000000.000100", 0.0)
HOOK = {"webhook_url": ref("HOOK")}
BOT = {"token": ref("TOKEN"), "channel": CHANNEL}


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
@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_each_message_is_the_one_in_its_golden_file_and_slack_takes_it(name: str, locale: Locale) -> None:
    said = {kind: json.loads(raw) for kind, raw in messages(FOR_PEOPLE[name], locale).items()}
    for message in said.values():
        judged(message)
    same(json.dumps(said, ensure_ascii=False, indent=2) + "\n", GOLDEN / locale / f"{name}.json")


def test_every_milestone_has_a_golden_file() -> None:
    seen = {event_of(values).milestone for values in SAMPLES.values()}
    assert seen == set(Milestone)


@pytest.mark.parametrize("locale", get_args(Locale))
def test_every_golden_file_belongs_to_a_message(locale: Locale) -> None:
    assert {path.stem for path in (GOLDEN / locale).iterdir()} == set(FOR_PEOPLE)


@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_both_locales_have_the_same_blocks(name: str) -> None:
    english, japanese = (
        {kind: _shape(json.loads(raw)) for kind, raw in messages(FOR_PEOPLE[name], locale).items()} for locale in get_args(Locale)
    )
    assert english == japanese


def _shape(value: Any) -> Any:
    """Return a message without its words."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return value if isinstance(value, bool) else None
