"""Reads TOML table by table, so that a reload parses only the tables that changed: `tomllib` takes 10 ms for 200 sinks.

The text is cut at the headers of tables. If each piece is TOML on its own, no text or list goes on across a cut, and the whole
means what the pieces mean one after the other. Where that is not plain to see, the whole is parsed, and so is what is no TOML:
its error names the line in the file.
"""

from __future__ import annotations

import re
import tomllib
from functools import partial
from typing import Any

from gateway.config.memo import Memo

_HEADER = re.compile(r"^(?:\[([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+))?\]|\[\[([A-Za-z0-9_-]+)\]\])[ \t]*(?:#.*)?$", re.MULTILINE)
"""`[table]`, `[table.name]` or `[[list]]` alone on a line. Deeper tables stay with what stands before them."""


class _Unclear(Exception):
    """The meaning of the pieces together depends on more than each of them."""


def parse(text: str, memo: Memo) -> dict[str, Any]:
    """Return what `tomllib.loads` does, the tables of pieces that are the same as before being the same objects.

    Raises what it raises.
    """
    text = text.replace("\r\n", "\n")
    try:
        return _joined(text, memo)
    except (_Unclear, ValueError, RecursionError):
        return tomllib.loads(text)


def _joined(text: str, memo: Memo) -> dict[str, Any]:
    headers = list(_HEADER.finditer(text))
    whole = dict(_piece(text[: headers[0].start() if headers else len(text)], memo))
    ours: set[str] = set()
    """Tables that consist of `[table.name]` alone, and lists of `[[list]]` alone."""
    start = 0
    while start < len(headers):
        table, name, listed = headers[start].groups()
        end = start + 1
        while listed and end < len(headers) and headers[end][1] == listed:  # [list.name] is inside the last of the list
            end += 1
        piece = _piece(text[headers[start].start() : headers[end].start() if end < len(headers) else len(text)], memo)
        start, key = end, table or listed
        if len(piece) != 1 or (key in whole and key not in ours):
            raise _Unclear
        if listed:
            before, more = whole.setdefault(key, []), piece[key]
            if not isinstance(before, list):
                raise _Unclear
            before += more
        elif name:
            above, inner = whole.setdefault(key, {}), piece[key]
            if not isinstance(above, dict) or not above.keys().isdisjoint(inner):
                raise _Unclear
            above |= inner
        elif key in whole:
            raise _Unclear
        else:
            whole[key] = piece[key]
            continue
        ours.add(key)
    return whole


def _piece(text: str, memo: Memo) -> dict[str, Any]:
    return memo.get(("toml", text), partial(tomllib.loads, text))
