"""The words about late events and about rounds, in mails and in Slack, in both languages."""

from __future__ import annotations

import email
import email.policy
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.events import Milestone
from gateway.core.ledger import Facts, Regression
from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render as mail_of
from gateway.sinks.email.mail import template_of
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import Writer
from gateway.sinks.slack.posts import render as post_of
from gateway.sinks.text.language import Language, tell
from gateway.sinks.text.wording import LOCALES, labels
from tests.sinks.sending import outgoing, ref
from tests.support.stories import bodies

LATE = Facts(round=2, before="COMPLETE/APPROVED", stale=True, since=Milestone.AUTHENTIC)
SAID = {
    "en": "late: happened on 25 February 2026, 06:13 UTC, the item has since been found authentic",
    "ja": "遅れて届いた通知：2026年2月25日 06:13 UTC の出来事です。商品はその後、本物と判定されました",
}
SECOND = {"en": "second rejection", "ja": "2回目の不合格"}


def delivery(word: str, facts: Facts | None) -> Outgoing:
    (body,) = bodies(word)
    return outgoing(json.dumps(body).encode(), facts=facts)


def mail(word: str, facts: Facts | None, locale: Locale = "en", **more: Any) -> tuple[str, str, str]:
    """Return the subject, the text and the HTML of a mail."""
    settings: dict[str, Any] = {"host": "h", "sender": "gateway@example.com", "recipients": ["care@example.com"]}
    config = EmailConfig(**settings, locale=locale, timezone="UTC", **more)
    raw = mail_of(delivery(word, facts), config, template_of(config)).raw
    message = email.message_from_bytes(raw, policy=email.policy.default)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and html is not None
    return message["subject"], plain.get_content().replace("\r\n", "\n"), html.get_content()


def slack(locale: Locale = "en", **more: Any) -> SlackConfig:
    return SlackConfig(webhook_url=ref("HOOK"), locale=locale, timezone="UTC", **more)


def shown(locale: Locale, word: str, facts: Facts | None, **more: Any) -> list[str]:
    """Return what a message says in Slack: its text, its blocks, and its blocks as a reply in a thread."""
    written = Writer(slack(locale, **more)).words(delivery(word, facts))
    return [written.text, *(json.dumps(part, ensure_ascii=False) for part in (written.whole, written.reply))]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_late_event_says_when_it_happened_and_what_the_item_has_become_since(locale: Locale) -> None:
    _, text, html = mail("P10", LATE, locale)
    for told in (text, html, *shown(locale, "P10", LATE)):
        assert told.count(SAID[locale]) == 1
    assert f"\n{SAID[locale]}\n" in text and f"\n{SAID[locale]}\n" in shown(locale, "P10", LATE)[0]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("facts", [None, Facts(), Facts(round=1, before="QC/PENDING")], ids=str)
def test_an_event_in_time_is_told_as_without_facts(facts: Facts | None, locale: Locale) -> None:
    assert mail("R20", facts, locale) == mail("R20", None, locale)
    assert shown(locale, "R20", facts) == shown(locale, "R20", None)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_sink_that_delivers_late_events_like_any_other_says_nothing(locale: Locale) -> None:
    late = Facts(round=1, stale=True, since=Milestone.CANCELLED)
    assert mail("P10", late, locale, on_stale="deliver") == mail("P10", None, locale)
    assert shown(locale, "P10", late, on_stale="deliver") == shown(locale, "P10", None)


@pytest.mark.parametrize("doubtful", ["undated", "future"])
def test_a_late_event_without_a_believable_instant_names_none(doubtful: str) -> None:
    facts = Facts(stale=True, undated=doubtful == "undated", future=doubtful == "future", since=Milestone.CANCELLED)
    assert "\nlate: the item has since been cancelled\n" in mail("P10", facts)[1]


@pytest.mark.parametrize("milestone", Milestone)
@pytest.mark.parametrize("locale", LOCALES)
def test_every_milestone_has_words_for_what_the_item_has_become(locale: Locale, milestone: Milestone) -> None:
    told = tell(delivery("P10", Facts(stale=True, since=milestone)), Language(locale), None)
    assert told.late.endswith(labels(locale).since[milestone.value])


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("word", ["R40", "M41"])
def test_the_second_rejection_is_called_the_second(word: str, locale: Locale) -> None:
    second = Facts(round=2, before="QC/PENDING")
    for told in (*mail(word, second, locale)[1:], *shown(locale, word, second)):
        assert SECOND[locale] in told
    for other in (Facts(round=1), None):
        assert SECOND[locale] not in "".join((*mail(word, other, locale), *shown(locale, word, other)))


def test_later_rejections_are_numbered_and_other_events_are_no_rejections() -> None:
    assert "(third rejection)" in mail("R60", Facts(round=3))[1]
    assert "(rejection number 12)" in mail("M60", Facts(round=12))[1]
    assert "rejection" not in mail("P60", Facts(round=2))[1]


def test_the_subject_of_a_mail_tells_rounds_apart() -> None:
    first, second, third = (mail("R20", Facts(round=number))[0] for number in (1, 2, 3))
    assert first == mail("R20", None)[0] == "Legitmark: ITEM-1042 (5a0e7c1d)"
    assert (second, third) == (f"{first}, round 2", f"{first}, round 3")
    assert mail("P30", Facts(round=2))[0] == second
    assert mail("R20", Facts(round=2), "ja")[0] == "Legitmark：ITEM-1042（5a0e7c1d）、2回目"


def test_the_preview_of_a_message_says_it_too() -> None:
    assert SAID["en"] in json.loads(post_of(delivery("P10", LATE), slack()))["text"]


def test_a_template_of_the_operator_reads_every_fact(tmp_path: Path) -> None:
    file = tmp_path / "mail.jinja"
    file.write_text(
        "{{ stale }} {{ round }} {{ skipped | join('+') }} {{ terminal_regression }} {{ undated }} {{ future }}"
        " {{ state.before }} {{ late }}"
    )
    facts = Facts(
        round=2,
        before="COMPLETE/APPROVED",
        stale=True,
        skipped=("QC/PENDING", "QC/APPROVED"),
        terminal_regression=Regression.REOPENED,
        since=Milestone.AUTHENTIC,
    )
    said = f"True 2 QC/PENDING+QC/APPROVED reopened False False COMPLETE/APPROVED {SAID['en']}\n"
    assert mail("P10", facts, template=str(file))[1] == said
    assert mail("P10", None, template=str(file))[1] == "False 0   False False  \n"
