"""Every word of a page that is not data is in the language that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Self

import pytest

from gateway.web.pages.catalogue import catalogue
from tests.browser.layout import words
from tests.browser.matrix import PLACES, Place
from tests.browser.stories import Told, origin_of
from tests.browser.visiting import Look, Visiting
from tests.support.gateway_process import Running

LATIN = re.compile(r"[A-Za-z][A-Za-z_]+")
NUMBER = re.compile("⟦U\\+[0-9A-F]+⟧")
"""The form in which a page shows a character that draws nothing."""
END_OF_TITLES = " · legitmark-gateway"
JAPANESE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
EVERYWHERE = {"EN", "ID", "JSON", "TEST", "URL", "UTC", "UUID", "admin", "gateway", "legitmark", "svix"}
EVERYWHERE |= {"API", "HTTP", "KiB", "Legitmark", "Play", "TLS", "base", "curl", "gateway.toml", "toml", "whsec_"}
"""Words that are the same in every language, the name of the visitor, and those of headers and secrets."""
QUOTED = re.compile("“[^”]*”")
"""The words of other systems, such as the answer of a server, and names of routes."""
REASONS = {"answer", "attention", "detail", "do", "error", "failed", "last_error", "not_ready", "reason", "refused", "wrong"}
"""The fields of a twin that say something in English, which a page in another language translates or quotes."""
SENTENCE = re.compile(r"[A-Za-z']{2,} [A-Za-z']{2,} [A-Za-z']{2,}")
"""Three words beside one another. A list of codes has commas."""


class Data(NamedTuple):
    """The data of a page, as its twin has it."""

    text: str
    """Names, numbers and codes, without what the gateway or a receiver says about them."""
    strings: frozenset[str]
    """Every key and every value that is a text."""

    @classmethod
    async def of(cls, told: Told, place: Place) -> Self:
        answer = await told.running.admin(place.twin(told.names))
        data = json.loads(answer.body)
        names = _without(data, REASONS)
        return cls(json.dumps(names, ensure_ascii=False) + str(told.names), frozenset(_strings(names)))


def _without(data: object, fields: Collection[str]) -> object:
    match data:
        case list():
            return [_without(one, fields) for one in data]
        case dict():
            return {key: _without(one, fields) for key, one in data.items() if key not in fields}
    return data


def _strings(data: object) -> Iterator[str]:
    match data:
        case str():
            yield data
        case list():
            for one in data:
                yield from _strings(one)
        case dict():
            for key, one in data.items():
                yield key
                yield from _strings(one)


def english_texts() -> Iterator[re.Pattern[str]]:
    """Every text that reads otherwise in Japanese and has words enough to be known by; a placeholder stands for anything."""
    japanese = catalogue("ja").texts
    for key, text in catalogue("en").texts.items():
        for form in (text,) if isinstance(text, str) else text:
            parts = re.split(r"\{\w+\}", form)
            words = LATIN.findall(" ".join(parts))
            if japanese[key] != text and len(words) >= (1 if len(parts) == 1 else 2):
                yield re.compile(".+".join(map(re.escape, parts)), re.DOTALL)


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_japanese_page_has_no_english_text(visiting: Visiting, told: Told, place: Place) -> None:
    visit = await visiting.begin(told.origin, Look("ja", scripts=False))
    await visit.to(place.path(told.names))
    shown, data, english = await words(visit.page), await Data.of(told, place), list(english_texts())
    assert [text for text in shown if text not in data.strings and any(one.fullmatch(text) for one in english)] == []
    shown = [QUOTED.sub("", text) for text in shown]
    foreign = {word for text in shown for word in LATIN.findall(NUMBER.sub("", text))} - EVERYWHERE
    assert {word for word in foreign if word not in data.text} == set()


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_an_english_page_has_no_japanese_text(visiting: Visiting, told: Told, place: Place) -> None:
    visit = await visiting.begin(told.origin, Look("en", scripts=False))
    await visit.to(place.path(told.names))
    data = await Data.of(told, place)
    shown = [text.removesuffix(END_OF_TITLES) for text in await words(visit.page)]
    assert [text for text in shown if JAPANESE.search(text) and text not in data.text and text != "日本語"] == []


MISTAKES = (
    *("/?nothing=1", "/sr?since=yesterday", "/messages?status=none", "/messages?before=x", "/dead?before=x", "/acts?before=x"),
    *(
        "/act?do=replay",
        "/act?do=fly",
        "/act?do=pause",
        "/rules?sample=none",
        f"/find?q={'x' * 1001}",
        "/sr?milestone=a&milestone=b",
    ),
)


@pytest.mark.parametrize("address", MISTAKES)
async def test_a_mistake_is_told_in_japanese(visiting: Visiting, told: Told, address: str) -> None:
    visit = await visiting.begin(told.origin, Look("ja", scripts=False))
    await visit.to(address, status=400)
    assert sentences(await words(visit.page)) == []


@pytest.mark.parametrize("address", ["/", "/messages", "/sr", "/acts", "/dead"])
async def test_why_the_store_fails_is_told_in_japanese(failing: Running, visiting: Visiting, address: str) -> None:
    visit = await visiting.begin(origin_of(failing), Look("ja", scripts=False))
    await visit.to(address, status={200, 503})
    assert sentences(await words(visit.page)) == []


def sentences(shown: Sequence[str]) -> list[str]:
    """Return the texts of a page that have English words beside one another, outside of quotation marks."""
    return [text for text in shown if SENTENCE.search(QUOTED.sub("", text))]
