"""A message that tells both events of a rejection says the same whichever of them came first, also by an operator's template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from gateway.core.ledger import Facts
from gateway.core.samples import SAMPLES
from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render as mail_of
from gateway.sinks.email.mail import template_of
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import TEMPLATES, Writer
from gateway.sinks.slack.posts import render as post_of
from gateway.sinks.text.language import Language, tell
from gateway.sinks.text.templates import Template
from gateway.sinks.text.wording import LOCALES
from tests.sinks.golden_deliveries import joined
from tests.sinks.sending import outgoing, ref

FIRST = Facts(round=1)
TEMPLATE = (
    "{% if joined %}{{ partner.state.primary }}/{{ partner.state.supplement }} at {{ partner.timestamp }}{% endif %}"
    " {{ milestone }} {{ event.event_type }} {{ photos | length }}"
)


def both(facts: Facts = FIRST) -> tuple[Outgoing, Outgoing]:
    return joined("qc_rejected", "needs_resubmission", facts), joined("needs_resubmission", "qc_rejected", facts)


def slack(**more: object) -> SlackConfig:
    return SlackConfig(webhook_url=ref("HOOK"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_mail_and_a_slack_message_are_the_same_whichever_event_came_first(locale: Locale) -> None:
    one, other = both()
    assert post_of(one, slack(locale=locale)) == post_of(other, slack(locale=locale))
    config = EmailConfig(host="h", sender="gateway@example.com", recipients=["care@example.com"], locale=locale)
    assert mail_of(one, config, template_of(config)) == mail_of(other, config, template_of(config))


def test_a_joined_message_has_one_headline_the_photos_and_the_instant_of_the_rejection() -> None:
    rejected, media = SAMPLES["qc_rejected"], SAMPLES["needs_resubmission"] | {"timestamp": "2026-03-05T10:31:00Z"}
    alone = outgoing(json.dumps(rejected).encode(), facts=FIRST)
    delivery = structs.replace(alone, partner=outgoing(json.dumps(media).encode(), facts=FIRST).message)
    told, before = tell(delivery, Language(), None), tell(alone, Language(), None)
    assert (told.joined, before.joined) == (True, False)
    assert [photo.side for photo in told.photos] == ["Front", "Label"] and before.photos == ()
    assert told.when == before.when and dict(told.facts)["State"] == "QC / REJECTED"
    assert told.headline != before.headline and "follows in a message of its own" not in told.advice


def test_a_joined_message_of_a_later_round_says_which_rejection_it_is() -> None:
    for delivery in both(Facts(round=2)):
        assert tell(delivery, Language(), None).headline.endswith("(second rejection)")


def test_a_template_finds_the_media_rejected_in_event_and_the_rejection_in_partner(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text(TEMPLATE)
    for delivery in both():
        written = Writer(slack(template=str(file))).words(delivery)
        assert written.failed == ""
        assert written.text == "QC/REJECTED at 2026-03-05T10:30:00.000Z needs_resubmission media_rejected 2"
    alone = Writer(slack(template=str(file))).words(outgoing(json.dumps(SAMPLES["qc_rejected"]).encode()))
    assert alone.text.strip() == "qc_rejected state_change 0"


def test_a_template_is_tried_on_a_joined_rejection_when_it_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{% if joined %}{{ partner.stat.primary }}{% endif %}")
    assert [name for name, _, _ in Template(TEMPLATES, "en", str(file)).trial()] == ["a joined rejection"]
    file.write_text(TEMPLATE)
    assert list(Template(TEMPLATES, "en", str(file)).trial()) == []
