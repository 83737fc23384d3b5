"""The gateway's own words about events, in each locale: `labels/*.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import get_args

import msgspec
from msgspec import Struct

from gateway.sinks.base import Locale

LOCALES: tuple[Locale, ...] = get_args(Locale)
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """The small words around the texts of an event."""

    photos: str
    photo: str
    """The label of a side that has no name."""
    open: str
    more: str
    """The words for further photos, with the placeholder {count}."""
    test: str
    separator: str
    late: str
    """The sentence about a late event, with the placeholders {when} and {since}."""
    late_undated: str
    """The same for an event whose instant is not known."""
    whole_rejection: str
    """The headline of a message that tells both events of a rejection."""
    second_rejection: str
    """The headline of a rejection in the second round, with the placeholder {headline}."""
    third_rejection: str
    later_rejection: str
    """The same for the fourth round and later ones, with the placeholder {round}, too."""
    reconciled: str
    """The origin of an event that was made from an answer of Legitmark's API."""


class Dates(Struct, frozen=True, forbid_unknown_fields=True):
    instant: str
    months: list[str]


class Labels(Struct, frozen=True, forbid_unknown_fields=True):
    headlines: dict[str, str]
    advice: dict[str, str]
    since: dict[str, str]
    """The end of the sentence about a late event, by the milestone of the service request now."""
    own_events: dict[str, str]
    notice_advice: dict[str, str]
    drift_kinds: dict[str, str]
    facts: dict[str, str]
    words: Words
    dates: Dates


@lru_cache
def labels(locale: Locale) -> Labels:
    """Return the catalogue of a locale. It is part of the package, so that an unreadable one is a bug."""
    text = files(__package__).joinpath("labels", f"{locale}.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=Labels)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a label, once: braces inside a value stay as they are."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)
