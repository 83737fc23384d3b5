"""Says in the language of a page what the gateway said in English: why a delivery failed, what a store does, what a form lacks.

The gateway keeps and logs these texts in English, so a page translates them when it shows them, by `texts/sayings_LANGUAGE.toml`.
A text without a translation, such as that of another program, stays as it is, between quotation marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from gateway.sinks.base import Locale
from gateway.sinks.text.wording import filled

_LONGEST: Final = 500
"""Characters of a text that is looked up; a longer one is quoted."""
_MOST_PARTS: Final = 4
"""Texts that may be joined by semicolons."""
_DEEPEST: Final = 4
"""How deep a translated text may stand in another one."""
_REMEMBERED: Final = 1024
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LETTER = re.compile("[A-Za-z]")
_WORDS = re.compile(r"[A-Za-z']{2,} [A-Za-z']{2,}")
"""English words beside one another: a place or a code has none."""
_LIST = "; "
_QUOTE = "“"


class _Form(NamedTuple):
    fits: re.Pattern[str]
    other: str
    bare: bool
    """It has no word of its own, so it says nothing unless its parts have a translation."""


class Sayings:
    """The translations of the gateway's own texts into one language."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """
        Args:
            texts: by the English text. A placeholder such as `{host}` stands for anything; that is translated, too, if it can be.
        """
        self.texts = texts
        self._whole = {english: other for english, other in texts.items() if _PLACEHOLDER.search(english) is None}
        forms = [english for english in texts if english not in self._whole]
        # The form that says most counts.
        forms.sort(key=lambda english: len(_PLACEHOLDER.sub("", english)), reverse=True)
        self._forms = [
            _Form(_fitting(english), texts[english], _LETTER.search(_PLACEHOLDER.sub("", english)) is None) for english in forms
        ]

    def translated(self, text: str, depth: int = 0) -> str | None:
        """Return a text in the language; None if there is no translation."""
        if len(text) > _LONGEST or depth > _DEEPEST:
            return None
        if (other := self._whole.get(text)) is not None:
            return other
        if 0 < text.count(_LIST) < _MOST_PARTS:
            every = [self.translated(part, depth + 1) for part in text.split(_LIST)]
            if None not in every:
                return "。".join(filter(None, every))
        for form in self._forms:
            if (found := form.fits.fullmatch(text)) is not None:
                parts = {name: self._part(value, depth + 1) for name, value in found.groupdict().items()}
                if not (form.bare and any(_QUOTE in part for part in parts.values())):
                    return filled(form.other, parts)
        return None

    def text(self, text: str) -> str:
        """Return a text in the language, or as it is: between quotation marks unless it is a code, a place or a number."""
        return self._part(text, 0)

    def _part(self, text: str, depth: int) -> str:
        if (other := self.translated(text, depth)) is not None:
            return other
        return f"{_QUOTE}{text}”" if _WORDS.search(text) else text


def said(text: str, language: Locale) -> str:
    """Return a text of the gateway in a language."""
    return text if language == "en" else _said(text, language)


@lru_cache(_REMEMBERED)
def _said(text: str, language: Locale) -> str:
    return sayings(language).text(text)


@lru_cache
def sayings(language: Locale) -> Sayings:
    """Return the translations into a language. They are part of the package, so that an unreadable file is a bug."""
    source = files(__package__).joinpath("texts", f"sayings_{language}.toml").read_text(encoding="utf-8")
    parts = msgspec.toml.decode(source, type=dict[str, dict[str, str]])
    return Sayings({english: other for part in parts.values() for english, other in part.items()})


def _fitting(english: str) -> re.Pattern[str]:
    pieces = _PLACEHOLDER.split(english)
    return re.compile(
        "".join(re.escape(piece) if number % 2 == 0 else f"(?P<{piece}>.+?)" for number, piece in enumerate(pieces)), re.DOTALL
    )
