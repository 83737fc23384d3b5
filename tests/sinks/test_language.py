"""The words for a person, in each language: the catalogues are alike, and the texts of a payload are passed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.drift import KINDS
from gateway.core.events import Milestone, decode
from gateway.core.samples import SAMPLES
from gateway.core.vocabulary import OwnEvent
from gateway.sinks.base import Locale
from gateway.sinks.text.language import Language, Photo, Telling, is_timezone, tell
from gateway.sinks.text.wording import LOCALES, PLACEHOLDER, labels
from tests.sinks.sending import outgoing
from tests.support.webhooks import PAYLOADS

ROOT = Path(__file__).parents[2]
EN, JA = Language("en"), Language("ja", "Asia/Tokyo")
LINK = "https://erp.example/items/{reference_id}"


def told(values: dict[str, Any], language: Language = EN, link: str | None = None, source: str = "legitmark") -> Telling:
    return tell(outgoing(json.dumps(values).encode(), source=source), language, link)


def flat(value: Any, keys: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    if isinstance(value, dict):
        return {found: text for key, inner in value.items() for found, text in flat(inner, (*keys, key)).items()}
    if isinstance(value, list):
        return {found: text for number, inner in enumerate(value) for found, text in flat(inner, (*keys, str(number))).items()}
    return {keys: value}


def test_every_catalogue_is_that_of_a_locale() -> None:
    assert sorted(path.stem for path in (ROOT / "gateway/sinks/text/labels").iterdir()) == sorted(LOCALES)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_catalogue_has_the_same_keys_and_placeholders(locale: Locale) -> None:
    english, other = (flat(msgspec.to_builtins(labels(name))) for name in ("en", locale))
    assert list(other) == list(english)
    for keys, text in english.items():
        assert sorted(PLACEHOLDER.findall(other[keys])) == sorted(PLACEHOLDER.findall(text)), keys
        assert other[keys].strip() == other[keys] or keys == ("words", "separator"), keys


@pytest.mark.parametrize("locale", LOCALES)
def test_there_are_words_for_every_milestone_and_notice(locale: Locale) -> None:
    said = labels(locale)
    assert set(said.headlines) == {milestone.value for milestone in Milestone} | {"untyped", "unreadable"}
    assert set(said.advice) == {milestone.value for milestone in Milestone} | {"unreadable"}
    kinds = {kind.removeprefix("gateway.") for kind in OwnEvent}
    assert set(said.own_events) == set(said.notice_advice) == kinds | {"srs_stalled"}  # of many service requests
    assert set(said.drift_kinds) == set(KINDS)
    assert len({said.headlines[milestone] for milestone in Milestone}) == len(Milestone)
    assert len(said.dates.months) == 12


@pytest.mark.parametrize(
    ("sample", "english", "japanese"),
    [
        ("authentic", "The item is authentic", "商品は本物"),
        ("counterfeit", "The item is NOT authentic", "商品は本物ではない"),
        ("qc_pending", "Photos submitted, in quality review", "品質審査中"),
        ("qc_rejected", "Photos failed the quality review", "品質審査に不合格"),
        ("qc_approved", "Photos passed, authentication starts", "品質審査を通過、鑑定開始"),
        ("in_progress", "An authenticator works on it", "鑑定士が割り当てられた"),
    ],
)
def test_the_words_are_legitmarks_own(sample: str, english: str, japanese: str) -> None:
    assert told(SAMPLES[sample]).headline == english
    assert told(SAMPLES[sample], JA).headline == japanese


def test_every_verdict_looks_different() -> None:
    shown = {name: (told(values).emoji, told(values).tone) for name, values in SAMPLES.items()}
    for name in ("authentic", "counterfeit"):
        assert [other for other in shown if shown[other][0] == shown[name][0] or shown[other][1] == shown[name][1]] == [name]


def test_the_facts_are_labelled_in_the_language_and_the_zone() -> None:
    assert told(SAMPLES["authentic"]).facts == (
        ("Item", "ITEM-1042"),
        ("Service request", "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718"),
        ("State", "COMPLETE / APPROVED"),
        ("When", "5 March 2026, 10:30 UTC"),
    )
    assert told(SAMPLES["authentic"], JA).facts == (
        ("商品", "ITEM-1042"),
        ("サービスリクエスト", "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718"),
        ("状態", "COMPLETE / APPROVED"),
        ("日時", "2026年3月5日 19:30 JST"),
    )


@pytest.mark.parametrize(
    ("timestamp", "zone", "said"),
    [
        ("2026-07-05T10:30:00Z", "Europe/Berlin", "5 July 2026, 12:30 CEST"),
        ("2026-01-05T23:30:00Z", "Asia/Tokyo", "6 January 2026, 08:30 JST"),
        ("2026-01-05T10:30:00", "UTC", "5 January 2026, 10:30 UTC"),
        ("2026-01-05T10:30:00Z", "America/Sao_Paulo", "5 January 2026, 07:30 UTC-03"),
        ("tomorrow\r\nBcc: x", "UTC", "tomorrow  Bcc: x"),
        ("0001-01-01T00:00:00Z", "America/New_York", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "Asia/Tokyo", "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_shown_in_the_zone_of_the_sink_or_as_it_came_if_it_is_not_a_time(timestamp: str, zone: str, said: str) -> None:
    assert told({"event_type": "x", "timestamp": timestamp}, Language("en", zone)).when == said


def test_an_item_is_called_by_the_partners_own_id_first() -> None:
    assert told({"event_type": "invalidate_sr", "sr_uuid": "5a0e7c1d-3b52", "reference_id": "BAG"}).item == "BAG"
    assert told({"event_type": "invalidate_sr", "sr_uuid": "5a0e7c1d-3b52"}).item == "5a0e7c1d"
    assert told({"event_type": "invalidate_sr"}).item == ""


def test_the_photos_of_both_published_shapes_say_what_to_do() -> None:
    assert told(SAMPLES["needs_resubmission"]).photos[0] == Photo(
        "Front", "Out of focus", "Hold the camera still, and fill the frame."
    )
    assert told(SAMPLES["needs_resubmission_coded"]).photos == (Photo("Front", "BLURRY", "The photo is blurred"),)


@pytest.mark.parametrize("language", [EN, JA])
def test_the_texts_of_a_payload_are_never_translated(language: Language) -> None:
    event = decode((PAYLOADS / "media_rejected.ja.json").read_bytes())
    assert not isinstance(event, str)
    said = tell(outgoing((PAYLOADS / "media_rejected.ja.json").read_bytes()), language, None)
    assert said.item == "バッグ-0042"
    assert said.photos[1] == Photo("Interior", "暗すぎます", "内側が暗く写っています。明るい場所で撮影してください。")


def test_an_invalidation_says_why() -> None:
    assert told(SAMPLES["invalidated"]).reason == "The service request was cancelled (CANCELLED)"
    assert ("理由", "The service request was cancelled (CANCELLED)") in told(SAMPLES["invalidated"], JA).facts


def test_an_unknown_event_names_its_type_and_cannot_fill_placeholders() -> None:
    assert told(SAMPLES["unrecognized"]).headline == "An event of the type certificate_issued"
    assert told({"event_type": "{event_type}{sink}"}).headline == "An event of the type {event_type}{sink}"
    assert told({}).headline == "An event without a type"
    assert tell(outgoing(b"[]"), JA, None).headline == "読み取れないメッセージ"


def test_only_an_event_from_the_gateway_is_a_notice() -> None:
    values = {"event_type": "gateway.delivery_dead", "sink": "erp", "reason": "expired", "message_id": "0190"}
    said = told(values, source="gateway")
    assert (said.notice, said.headline, said.item, said.tone) == (True, "Gateway: a delivery is dead", "erp", "act")
    assert said.advice.endswith("gateway replay 0190 --sink erp")
    stranger = told(values)
    assert (stranger.notice, stranger.headline) == (False, "An event of the type gateway.delivery_dead")
    assert told({"event_type": "gateway.new_kind"}, source="gateway").headline == "An event of the type gateway.new_kind"


@pytest.mark.parametrize(
    ("reference", "link"),
    [
        ("BAG-1", "https://erp.example/items/BAG-1"),
        ("a/b?c#d&e", "https://erp.example/items/a%2Fb%3Fc%23d%26e"),
        ("バッグ", "https://erp.example/items/%E3%83%90%E3%83%83%E3%82%B0"),
        ('" onclick="x', "https://erp.example/items/%22%20onclick%3D%22x"),
        ("{sr_uuid}", "https://erp.example/items/%7Bsr_uuid%7D"),
        ("..", None),
        (" ", None),
        ("", None),
        (None, None),
        (7, None),
        ("x" * 5000, None),
    ],
)
def test_a_link_leads_to_the_item_and_nowhere_else(reference: object, link: str | None) -> None:
    assert told({"event_type": "x", "reference_id": reference}, link=LINK).link == link


def test_a_drill_says_so() -> None:
    drill = msgspec.structs.replace(outgoing(), drill=True)
    assert tell(drill, EN, None).headline == "[TEST] The item is authentic"
    assert "[TEST]" in tell(drill, JA, None).headline


BREAKERS = "\n\r\t\x00\x0b\x0c\x1b\x7f\x85\u2028\u2029\u202e\u2066\ufeff"


@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda character: f"U+{ord(character):04X}")
def test_a_control_character_becomes_a_space(breaker: str) -> None:
    hostile = f"a{breaker}Bcc"
    said = told(
        {"event_type": "media_rejected", "sr_uuid": hostile, "reference_id": hostile, "sides": [{"side": hostile}]}, link=LINK
    )
    assert (said.reference, said.sr, said.photos[0].side) == ("a Bcc",) * 3
    assert breaker not in repr(said) or breaker == "\n"


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    said = told({"event_type": "media_rejected", "reference_id": "x" * 100_000, "sides": [{"side": "🧵" * 100_000}]})
    assert said.reference == "x" * 999 + "…"
    assert said.photos[0].side == "🧵" * 999 + "…"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("UTC", True),
        ("Asia/Tokyo", True),
        ("Asia", False),
        ("", False),
        ("../passwd", False),
        ("/etc/passwd", False),
        ("x\0", False),
    ],
)
def test_a_time_zone_is_one_that_this_host_knows(name: str, known: bool) -> None:
    assert is_timezone(name) == known
