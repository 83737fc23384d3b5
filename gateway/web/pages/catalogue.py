"""The words of the pages in each language: `texts/*.toml`. Every key is in every language, and a test holds that.

A text has placeholders such as `{sink}`. A text that counts is a list of two in a language that has a plural: for one, and for
any other number; its placeholder is `{n}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from gateway.sinks.base import Locale
from gateway.sinks.text.wording import LOCALES, filled

__all__ = ["LOCALES", "Catalogue", "Locale", "catalogue"]

Text = str | tuple[str, str]
"""A text, or its forms for one and for any other number."""


class Catalogue:
    """The texts of one language, by keys such as `overview.title`."""

    def __init__(self, language: Locale, texts: Mapping[str, Text]) -> None:
        self.language = language
        self.texts = texts

    def __contains__(self, key: str) -> bool:
        return key in self.texts

    def text(self, key: str, **values: Any) -> str:
        """Return a text with its placeholders filled. Numbers get separators of thousands.

        Args:
            values: by placeholder; `n` also chooses between the forms of a text that counts.
        Raises KeyError if there is no such text: a template has a mistake.
        """
        found = self.texts[key]
        if not isinstance(found, str):
            found = found[0] if values["n"] == 1 else found[1]
        return filled(found, {name: _shown(value) for name, value in values.items()}) if values else found


@lru_cache
def catalogue(language: Locale) -> Catalogue:
    """Return the texts of a language. They are part of the package, so that an unreadable file is a bug."""
    source = files(__package__).joinpath("texts", f"{language}.toml").read_text(encoding="utf-8")
    return Catalogue(language, dict(_flat(msgspec.toml.decode(source))))


def _flat(texts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Text]]:
    for name, value in texts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            one, many = value
            yield f"{prefix}{name}", (one, many)
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
