"""Reads what a request to the admin listener asks for, strictly: an input that is not understood is refused, never ignored."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.core.users import Visitor
from gateway.core.values import EARLIEST, LATEST, Actor
from gateway.web.responses import json_response

_LARGEST_BODY = 64 * 1024
_BODY_SECONDS = 5.0
_MOST_FIELDS = 100
_MOST_ROWS = 500
_LONGEST_ACTOR = 256
_LONGEST_PATH = 4096
"""PATH_MAX of Linux."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_WORDS = {"1": True, "true": True, "0": False, "false": False}


class NoFields(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an act that has no fields."""


class SlowBody(Exception):
    """The body did not come in time."""


MISTAKES = (ValueError, OverflowError, RecursionError, SlowBody)
"""The errors that a caller causes by a wrong request. Their texts say what is wrong; see `refusal`."""


def refusal(error: Exception) -> web.Response:
    """Return the answer to a mistake of the caller: 408 for a body that came too slowly, else 400."""
    if isinstance(error, SlowBody):
        late = json_response(408, {"error": "timeout", "detail": str(error)})
        late.force_close()
        return late
    return json_response(400, {"error": "bad_request", "detail": str(error)})


def query(request: web.BaseRequest, *names: str) -> dict[str, str]:
    """Return the parameters of a request. Raises ValueError if one is unknown, given twice, or empty."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in names:
            known = f"it knows {', '.join(names)}" if names else "it knows none"
            raise ValueError(f'there is no parameter "{name[:80]}" here: {known}')
        if name in found:
            raise ValueError(f'the parameter "{name}" is given twice')
        if not value:
            raise ValueError(f'the parameter "{name}" is empty')
        found[name] = value
    return found


def number(given: dict[str, str], name: str, default: int | None = None) -> int | None:
    """Return a parameter as a count. Raises ValueError."""
    if (text := given.get(name)) is None:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f'"{name}" is a number of at most 18 digits')
    return int(text)


def seconds(given: dict[str, str], name: str) -> float | None:
    """Return a parameter as an instant, in Unix seconds, UTC. Raises ValueError."""
    if (text := given.get(name)) is None:
        return None
    try:
        instant = float(text)
    except ValueError:
        instant = math.nan
    if not EARLIEST <= instant <= LATEST or "_" in text:
        raise ValueError(f'"{name}" is an instant in Unix seconds, of the years 1 to 9999')
    return instant


def limit(given: dict[str, str]) -> int:
    """Return how many rows are asked for; 100 by default. Raises ValueError."""
    found = number(given, "limit", 100)
    if found is None or not 1 <= found <= _MOST_ROWS:
        raise ValueError(f'"limit" must be between 1 and {_MOST_ROWS}')
    return found


def flag(given: dict[str, str], name: str) -> bool:
    """Return a parameter that is true or false; False by default. Raises ValueError."""
    if (text := given.get(name)) is None:
        return False
    if text not in _WORDS:
        raise ValueError(f'"{name}" is one of {", ".join(_WORDS)}')
    return _WORDS[text]


def words(given: dict[str, str], name: str, known: Sequence[str]) -> list[str]:
    """Return the words of a parameter, which commas separate; none if it is absent. Raises ValueError for an unknown one."""
    found = given[name].split(",") if name in given else []
    for word in found:
        if word not in known:
            raise ValueError(f'"{name}" is one or several of {", ".join(known)}')
    return found


def path(text: str) -> str:
    """Return the name of a file. Raises ValueError if no file can have that name."""
    if "\0" in text or len(text) > _LONGEST_PATH or not _is_text(text):
        raise ValueError('"file" is the path of a file, without NUL, of at most 4096 characters')
    return text


def actor(visitor: Visitor, claimed: str | None) -> Actor:
    """Return who acts: the visitor. A name in the request is only kept as a claim. Raises ValueError if it is too long."""
    if claimed is not None and (len(claimed) > _LONGEST_ACTOR or not _is_text(claimed)):
        raise ValueError(f'"actor" is text of at most {_LONGEST_ACTOR} characters')
    return visitor.acting(claimed)


async def body(request: web.BaseRequest, kind: Any, *, optional: bool = False) -> Any:
    """Return the JSON of a request. Raises ValueError if it does not fit, SlowBody after 5 s.

    Args:
        kind: the struct that the JSON has to fit; unknown and repeated fields are refused.
        optional: an empty body stands for `{}`.
    """
    if request.content_length is None and not (optional and not request.can_read_body):
        raise ValueError("the body is JSON of at most 64 KiB, with its length")
    raw = await _read(request)
    if optional and not raw.strip():
        raw = b"{}"
    json.loads(raw, object_pairs_hook=_once_each)
    return msgspec.json.decode(raw, type=kind)


async def form(request: web.BaseRequest, *names: str) -> dict[str, str]:
    """Return the fields of a form that a page has posted. Raises ValueError if it is none or does not fit, SlowBody after 5 s.

    Args:
        names: the fields that it may have, each once. An empty one is left out, because browsers send those, too.
    """
    if request.content_type != "application/x-www-form-urlencoded" or request.content_length is None:
        raise ValueError("the body is a form (application/x-www-form-urlencoded) of at most 64 KiB, with its length")
    text = (await _read(request)).decode("utf-8")
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS):
        if name not in names:
            raise ValueError(f'there is no field "{name[:80]}" here')
        if name in found:
            raise ValueError(f'the field "{name}" is given twice')
        found[name] = value
    return {name: value for name, value in found.items() if value}


async def _read(request: web.BaseRequest) -> bytes:
    if (request.content_length or 0) > _LARGEST_BODY:
        raise ValueError("the body has more than 64 KiB")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise SlowBody(f"the body did not come within {_BODY_SECONDS:g} s") from None


def _once_each(pairs: Collection[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the field "{twice[:80]}" is given twice')
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
