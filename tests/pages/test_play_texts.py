"""The pages about requests have words for everything that can be found out about one, in both languages."""

from __future__ import annotations

import pytest

from gateway.core.request_pictures import UNREADABLE
from gateway.core.signature_findings import BodyChange, Kind, SignatureFinding
from gateway.sinks.base import Locale
from gateway.web.pages.catalogue import LOCALES, catalogue


@pytest.mark.parametrize("language", LOCALES)
def test_every_finding_every_change_and_every_unreadable_body_has_its_words(language: Locale) -> None:
    texts = catalogue(language)
    expected = {f"finding.{kind.value}" for kind in Kind} | {"finding.stale_ahead"}
    expected |= {f"change.{change.value}" for change in BodyChange}
    expected |= {f"unreadable.{kind}" for kind in UNREADABLE.values()}
    assert {key for key in texts.texts if key.split(".")[0] in ("finding", "change", "unreadable")} == expected


def test_the_english_words_of_the_page_are_those_of_the_terminal() -> None:
    texts = catalogue("en")
    for kind in Kind:
        if kind in (Kind.SIGNED, Kind.STALE, Kind.BODY_CHANGED, Kind.NOT_CHECKED, Kind.NO_SIGNATURE):
            continue  # the page says their beginning in a badge, or has numbers and changes of its own form
        said = texts.text(f"finding.{kind.value}", subject="svix-id")
        assert said == SignatureFinding(kind, "svix-id").words
    for change in BodyChange:
        assert texts.text(f"change.{change.value}") in SignatureFinding(Kind.BODY_CHANGED, change).words
