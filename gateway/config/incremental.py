"""Parses TOML table by table, so that a reload parses only the tables that changed. `tomllib` takes 10 ms for 200 sinks.

The text is cut at the headers of tables. If each piece is valid TOML on its own, no string or list crosses a cut, and the pieces
together mean the same as the whole. If that is not certain, or if a piece is not valid TOML, the whole file is parsed, so that
an error names the right line.
"""

from __future__ import annotations

import re
import tomllib
from functools import partial
from typing import Any

from gateway.config.memo import Memo

_HEADER = re.compile(r"^(?:\[([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+))?\]|\[\[([A-Za-z0-9_-]+)\]\])[ \t]*(?:#.*)?$", re.MULTILINE)
"""`[table]`, `[table.name]` or `[[list]]` alone on a line. Deeper tables stay in the piece before them."""


class _Unclear(Exception):
    """The pieces may mean something else together than one by one."""


def parse(text: str, memo: Memo) -> dict[str, Any]:
    """Return the result of `tomllib.loads`, with the same objects as last time for tables that did not change.

    It raises the same errors as `tomllib.loads`.
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
    """Tables made only of `[table.name]` pieces, and lists made only of `[[list]]` pieces."""
    start = 0
    while start < len(headers):
        table, name, listed = headers[start].groups()
        end = start + 1
        while listed and end < len(headers) and headers[end][1] == listed:  # [list.name] belongs to the last element of the list
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
