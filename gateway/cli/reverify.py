"""`gateway reverify`: verifies the kept refused requests with the present secrets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.client import RequestRefused, actor, connected
from gateway.cli.completion import source_names
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import printable
from gateway.core.errors import StoreError

_COUNTS = ("kept", "fit", "accepted", "duplicate", "quarantined", "remaining")


def reverify(
    source: Annotated[str | None, Parameter(completer=source_names, help="Only requests to this source.")] = None,
    /,
    *,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Verify the kept refused requests with the present secrets, and accept those that fit.

    The gateway treats them as if they arrived now: it finds duplicates, and the present routes apply. The other requests stay
    refused and kept. A reload that brings a new secret does the same by itself.

    Exit codes: 0 at least one fits, 1 none fits, 2 no such source, 69 no gateway answers, 74 an I/O error.

    Example: gateway reload && gateway reverify legitmark
    """
    return asyncio.run(_reverify(source, json_, config, admin))


async def _reverify(source: str | None, as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        try:
            answer = await client.post("/api/reverify", {"source": source, "actor": actor()}, seconds=None)
        except RequestRefused as error:
            if error.answer.get("error") == StoreError.code:
                raise StoreError(str(error)) from None
            raise error.suggesting(source or "") from None
    sources: list[dict[str, Any]] = answer["sources"]
    total = {count: sum(one[count] for one in sources) for count in _COUNTS}
    if as_json:
        print(json.dumps({**total, "sources": sources}, ensure_ascii=False))
    else:
        for one in sources:
            print(printable(_line(one)))
    return 0 if total["fit"] else 1


def _line(one: dict[str, Any]) -> str:
    if not one["kept"]:
        return f"{one['source']}: no refused request is kept"
    kept = f"{one['source']}: {one['kept']:,} kept, from {one['oldest']} to {one['newest']}"
    if not one["fit"]:
        return f"{kept}; none fits a present secret"
    parts = [f"{one[count]:,} {count}" for count in ("accepted", "duplicate", "quarantined") if one[count]]
    return f"{kept}; {one['fit']:,} fit: {', '.join(parts)}; {one['remaining']:,} stay refused"
