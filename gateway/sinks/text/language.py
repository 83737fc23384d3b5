"""The words in which an event is told to a person, in a language and a time zone, for Slack and email.

Our own words come from `wording`. The texts of a payload are never translated, only put on one line and cut. This module
knows no markup, so that a caller has to escape its texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from msgspec import Struct

from gateway.core.events import Event, InvalidateSr, MediaRejected, Milestone, Side, StateChange
from gateway.core.instants import parse_instant
from gateway.core.ledger import Facts
from gateway.sinks.base import Locale, Outgoing, ReadableSettings
from gateway.sinks.text.both_events import both_events, main_event
from gateway.sinks.text.wording import PLACEHOLDER, Labels, filled, labels

Tone = Literal["good", "bad", "act", "over", "plain"]
"""The sense of a message: a good or a bad verdict, something to do, an end without a verdict, or news."""

LINK_FIELDS = ("reference_id", "sr_uuid", "message_id")
"""The placeholders of the `link` of a sink."""

_LONGEST = 1000
"""Characters of one text; a text that is cut ends in "…"."""
_LONGEST_LINK = 2000
"""Characters of a link. Slack takes 3,000, mail programs about 2,000."""
_SHORT_SR = 8
"""Characters of a service request's id in the short form that people use: those before the first dash."""
_KEPT = "\u3000\u200c\u200d"
"""Characters that Python calls unprintable and people write: the ideographic space, and the joiners of Persian and of emoji."""
_GATEWAY = "gateway"
"""The source of the gateway's own events; no configured source may have this name."""

_EMOJI = {
    Milestone.DRAFT: "📝",
    Milestone.QC_PENDING: "🔍",
    Milestone.QC_REJECTED: "📷",
    Milestone.QC_APPROVED: "👍",
    Milestone.QC_COMPLETE: "🏁",
    Milestone.QUEUED: "⏳",
    Milestone.AWAITING_ASSIGNMENT: "⏳",
    Milestone.IN_PROGRESS: "🔬",
    Milestone.CONCLUDING: "🏁",
    Milestone.AUTHENTIC: "✅",
    Milestone.COUNTERFEIT: "❌",
    Milestone.DOCUMENTED: "📄",
    Milestone.CANCELLED: "🚫",
    Milestone.NEEDS_RESUBMISSION: "📷",
    Milestone.INVALIDATED: "🚫",
    Milestone.UNRECOGNIZED: "💬",
}
_TONES: dict[Milestone, Tone] = {
    Milestone.AUTHENTIC: "good",
    Milestone.COUNTERFEIT: "bad",
    Milestone.QC_REJECTED: "act",
    Milestone.NEEDS_RESUBMISSION: "act",
    Milestone.CANCELLED: "over",
    Milestone.INVALIDATED: "over",
}
_REJECTIONS = (Milestone.QC_REJECTED, Milestone.NEEDS_RESUBMISSION)
_NOTICE_EMOJI = "🚨"
_SEALED = "sealed"
"""The only notice that asks for nothing but to be kept."""
_SEALED_EMOJI = "🔏"
_UNREADABLE_EMOJI = "❓"
_STALLED = "sr_stalled"
_MANY_STALLED = "srs_stalled"
"""The words about one event for many service requests."""
_SPOKEN = ("source_silent", _STALLED, "drift")
"""The notices whose `detail` repeats, in English, what their other fields say."""


class Language(Struct, frozen=True):
    locale: Locale = "en"
    timezone: str = "UTC"
    """A name of the IANA database that this host knows."""


def language_of(settings: ReadableSettings) -> Language:
    return Language(settings.locale or "en", settings.timezone or "UTC")


class Photo(Struct, frozen=True):
    """A photo that has to be taken again; each text may be ""."""

    side: str
    reason: str
    guidance: str


class Telling(Struct, frozen=True, kw_only=True):
    """The texts about one event. Each is one line without control characters, of at most 1,000 characters; a link has 2,000."""

    emoji: str
    headline: str
    """The verdict in words, without emoji and without the item."""
    advice: str
    """The meaning and what to do, in a sentence or two; may be ""."""
    item: str
    """The name that people use: the reference id, or else the short id of the service request, or else ""; in a notice, the sink
    or the message."""
    reference: str | None
    sr: str | None
    short_sr: str | None
    when: str | None
    """The timestamp in the sink's time zone, or as it came if it is not an instant."""
    facts: tuple[tuple[str, str], ...]
    """The label and value of each known fact, with item, service request, time and reason, but without photos and message id."""
    photos: tuple[Photo, ...]
    reason: str | None
    """The reason of an invalidation."""
    link: str | None
    message_id: str
    milestone: str
    tone: Tone
    drill: bool
    """True for a test that an operator sends; the headline says so already."""
    notice: bool
    """True for an event of the gateway itself."""
    late: str
    """The sentence that says since when the event is outdated; "" unless it is late and the sink says so."""
    stale: bool
    """This fact and those below are those of the event (docs/reference.md, "Facts"); without facts, they say nothing."""
    round: int
    skipped: tuple[str, ...]
    terminal_regression: str
    undated: bool
    future: bool
    state_before: str
    joined: bool
    """True if the message tells both events of a rejection."""
    origin: str | None
    """The words that say that Legitmark's API was asked and no sender signed this; None for everything else."""


def tell(delivery: Outgoing, language: Language, link: str | None, *, marks_late: bool = True) -> Telling:
    """Put a delivery into words.

    Args:
        link: with the placeholders of LINK_FIELDS; the telling has no link if one of them has no value.
        marks_late: say that the event is late, if it is.
    """
    said = labels(language.locale)
    event, both = main_event(delivery), both_events(delivery)
    rejection = both.rejection if both else event
    notice = _notice(delivery)
    reference, sr = (one_line(event.reference_id), one_line(event.sr_uuid)) if event else ("", "")
    when = _when(rejection, language) if rejection else ""
    reason = _reason(event, said) if event else ""
    short = sr.partition("-")[0][:_SHORT_SR]
    item = reference or short
    if event and notice:
        about = _text(event, "value") if notice == "drift" else _text(event, "sink") or _text(event, "message_id")
        item = one_line(about) or item or one_line(_text(event, "source"))
    headline, advice = _words(delivery, notice, said)
    facts = delivery.message.facts or Facts()
    origin = said.words.reconciled if delivery.reconciled else ""
    return Telling(
        emoji=_emoji(delivery, notice),
        headline=f"{said.words.test} {headline}" if delivery.drill else headline,
        advice=advice,
        item=item,
        reference=reference or None,
        sr=sr or None,
        short_sr=short or None,
        when=when or None,
        facts=tuple(_facts(rejection, notice, language, when, reason, origin)) if rejection else (),
        photos=tuple(_photo(side) for side in event.content.sides) if event and isinstance(event.content, MediaRejected) else (),
        reason=reason or None,
        link=_link(link, delivery) if link else None,
        message_id=delivery.message_id,
        milestone=event.milestone.value if both and event else delivery.milestone,
        tone="act" if notice and notice != _SEALED else _TONES.get(event.milestone, "plain") if event else "plain",
        drill=delivery.drill,
        notice=bool(notice),
        late=_late(event, facts, when, said) if event and marks_late else "",
        stale=facts.stale,
        round=facts.round,
        skipped=facts.skipped,
        terminal_regression=facts.terminal_regression or "",
        undated=facts.undated,
        future=facts.future,
        state_before=one_line(facts.before),
        joined=both is not None,
        origin=origin or None,
    )


def is_timezone(name: str) -> bool:
    """Return whether the time zone database of this host has a name."""
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):  # no such name, a path that leaves the database, or a folder of it
        return False
    return True


def one_line(text: str | None) -> str:
    """Put a text on one line, remove control characters, which could begin a header or control a terminal, and cut it."""
    text = text or ""
    cut = printable(text[:_LONGEST]).strip(" ")
    return f"{cut[: _LONGEST - 1]}…" if len(text) > _LONGEST else cut


def printable(text: str, also: str = "") -> str:
    """Return a text with a space in place of each control character, including those that change the direction of writing."""
    return "".join(character if character.isprintable() or character in _KEPT or character in also else " " for character in text)


def _notice(delivery: Outgoing) -> str:
    """Return the kind of a notice, such as `delivery_dead`; "" if the source is not the gateway."""
    kind = (delivery.event.event_type or "") if delivery.event and delivery.source == _GATEWAY else ""
    return kind.removeprefix(f"{_GATEWAY}.") if kind.startswith(f"{_GATEWAY}.") else ""


def _words(delivery: Outgoing, notice: str, said: Labels) -> tuple[str, str]:
    event = main_event(delivery)
    if event is None:
        return said.headlines["unreadable"], said.advice["unreadable"]
    if notice == _STALLED and event.values.get("count") != 1:
        notice = _MANY_STALLED
    if notice in said.own_events:
        values = {name: one_line(_text(event, name)) for name in ("sink", "message_id", "sr_uuid", "seal")}
        return said.own_events[notice], filled(said.notice_advice[notice], values)
    kind = event.milestone.value
    if event.milestone is Milestone.UNRECOGNIZED and not one_line(event.event_type):
        return said.headlines["untyped"], said.advice[kind]
    headline = one_line(filled(said.headlines[kind], {"event_type": one_line(event.event_type)}))
    if delivery.partner_event is not None:
        headline = said.words.whole_rejection
    return _of_round(headline, event, delivery.message.facts, said), said.advice[kind]


def _of_round(headline: str, event: Event, facts: Facts | None, said: Labels) -> str:
    """Say which rejection it is, from the second one on."""
    if facts is None or facts.round < 2 or event.milestone not in _REJECTIONS:
        return headline
    words = {2: said.words.second_rejection, 3: said.words.third_rejection}.get(facts.round, said.words.later_rejection)
    return filled(words, {"headline": headline, "round": str(facts.round)})


def _late(event: Event, facts: Facts, when: str, said: Labels) -> str:
    if not facts.stale or facts.since is None:
        return ""
    since = said.since[facts.since.value]
    if facts.undated or facts.future or event.instant() is None:
        return filled(said.words.late_undated, {"since": since})
    return filled(said.words.late, {"when": when, "since": since})


def _emoji(delivery: Outgoing, notice: str) -> str:
    if delivery.event is None:
        return _UNREADABLE_EMOJI
    if notice == _SEALED:
        return _SEALED_EMOJI
    return _NOTICE_EMOJI if notice else _EMOJI[delivery.event.milestone]


def _facts(event: Event, notice: str, language: Language, when: str, reason: str, origin: str) -> Iterator[tuple[str, str]]:
    said = labels(language.locale)
    states = event.content.state if isinstance(event.content, StateChange) else None
    known = [
        ("item", event.reference_id),
        ("sr", event.sr_uuid),
        ("state", " / ".join(part for part in (states.primary, states.supplement) if part) if states else ""),
        ("type", event.event_type if event.milestone is Milestone.UNRECOGNIZED and not notice else ""),
    ]
    if notice:
        known += _facts_of_a_notice(event, notice, language)
    known += [("reason", reason), ("when", when), ("origin", origin)]
    for name, value in known:
        if text := one_line(value):
            yield said.facts[name], text


def _facts_of_a_notice(event: Event, notice: str, language: Language) -> Iterator[tuple[str, str | None]]:
    """Yield the facts that only the gateway's own events have, by the names of their labels."""
    values, kinds = event.values, labels(language.locale).drift_kinds
    state, count, requests = values.get("state"), values.get("count"), values.get("requests")
    if isinstance(state, dict):
        yield "state", " / ".join(str(state[name]) for name in ("primary", "supplement") if state.get(name))
    yield "watch", _text(event, "watch")
    if notice == _STALLED and isinstance(count, int) and count != 1:
        yield "count", f"{count:,}{'+' if values.get('more') is True else ''}"
        yield "requests", _named(requests)
        yield "detail", "" if _text(event, "watch") else _text(event, "detail")
    if notice in _SPOKEN:
        yield "source", _text(event, "source")
    yield "kind", kinds.get(_text(event, "kind"), "") if notice == "drift" else ""
    yield "value", _text(event, "value")
    yield "path", _text(event, "path")
    for name in ("sink", "reason"):
        yield name, _text(event, name)
    if notice not in _SPOKEN:
        yield "detail", _text(event, "detail")
    yield "message", _text(event, "message_id")
    if notice != "source_refused":  # its detail and advice say what to do, whenever it began
        yield "since", _instant(_text(event, "since"), language)


def _named(requests: object) -> str:
    """Return the names of some service requests, as people know them."""
    listed = [one for one in requests if isinstance(one, dict)] if isinstance(requests, list) else []
    return ", ".join(str(one.get("reference_id") or one.get("sr_uuid")) for one in listed)


def _photo(side: Side) -> Photo:
    return Photo(one_line(side.side), one_line(side.reason), one_line(side.message or side.reason_description))


def _reason(event: Event, said: Labels) -> str:
    """Return the reason that is written for people, or only its code if there is nothing else."""
    if not isinstance(event.content, InvalidateSr) or (given := event.content.invalidation_reason) is None:
        return ""
    message, code = one_line(given.message), one_line(given.code)
    return one_line(f"{message} ({code})" if message and code else message or code)


def _when(event: Event, language: Language) -> str:
    return _instant(event.timestamp, language)


def _instant(timestamp: str | None, language: Language) -> str:
    """Return an instant in words, or as it came if it is none."""
    try:
        instant = parse_instant(timestamp or "")
    except ValueError:
        return one_line(timestamp)
    try:
        at = datetime.fromtimestamp(instant, UTC).astimezone(_zone(language.timezone))
    except (OverflowError, ValueError, OSError):  # the first or last day of the calendar
        return one_line(timestamp)
    dates = labels(language.locale).dates
    zone = at.tzname() or ""
    values = {"day": str(at.day), "month": dates.months[at.month - 1], "year": str(at.year)}
    values |= {"hour": f"{at.hour:02}", "minute": f"{at.minute:02}"}
    return filled(dates.instant, values | {"zone": f"UTC{zone}" if zone[:1] in ("+", "-") else zone})


@lru_cache
def _zone(name: str) -> tzinfo:
    """Return a time zone. UTC exists even if this host has no time zone database."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _link(link: str, delivery: Outgoing) -> str | None:
    event = delivery.event
    values = {"message_id": delivery.message_id}
    if event is not None:
        values |= {"reference_id": event.reference_id or "", "sr_uuid": event.sr_uuid or ""}
    # A browser treats "." and ".." as steps through folders, even if they are escaped.
    if any(values.get(name, "").strip() in ("", ".", "..") for name in PLACEHOLDER.findall(link)):
        return None
    found = filled(link, {name: quote(value, safe="", errors="replace") for name, value in values.items()})
    return found if len(found) <= _LONGEST_LINK else None


def _text(event: Event | None, name: str) -> str:
    value = event.values.get(name) if event else None
    return value if isinstance(value, str) else ""
