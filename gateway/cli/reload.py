"""`gateway reload`: makes the running gateway read its configuration again, or shows why it can't."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from gateway.cli.client import Client, RequestRefused, actor, connected
from gateway.cli.errors import complain
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import agreed, printable, to_json
from gateway.config import find
from gateway.config.diff import Difference, QueuedDeliveries
from gateway.core.errors import ConfigError, Problem
from gateway.host.environment import Environment


def reload(
    *,
    diff: Annotated[bool, Parameter(negative="", help="Show the changes first; then ask on a terminal, or else stop.")] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="With --diff, reload without asking.")] = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Make the running gateway read its configuration again. A bad file changes nothing, and its problems are shown.

    Exit codes: 0 reloaded, or only shown; 69 no gateway answers; 78 the file is bad.

    Example: gateway reload --diff
    """
    return asyncio.run(_reload(config, admin, diff=diff, yes=yes, as_json=json_))


async def _reload(config: Path | None, admin: str | None, *, diff: bool, yes: bool, as_json: bool) -> int:
    means = {"actor": actor()}
    if admin is None or config is not None:
        means["file"] = str(find(config, Environment.of_process()))
    try:
        async with connected(config, admin) as client:
            if diff and not (as_json and yes):  # a program gets one document: the answer that counts
                shown = await _ask(client, {**means, "dry_run": "1"})
                _say(shown, as_json=as_json)
                if not shown["changes"] or as_json or not (yes or (sys.stdin.isatty() and agreed("Reload?"))):
                    return 0
            _say(await _ask(client, means), as_json=as_json)
    except RequestRefused as refused:
        if refused.answer.get("error") != "bad_configuration":
            raise
        if not as_json:
            raise _config_error(refused) from None
        print(to_json(refused.answer))
        return ConfigError.exit_code
    return 0


async def _ask(client: Client, query: dict[str, str]) -> dict[str, Any]:
    return await client.post("/-/reload", {}, query)


def _config_error(refused: RequestRefused) -> ConfigError:
    """Return the problems that the running gateway found, as an error of this process."""
    problems = msgspec.convert(refused.answer.get("problems", []), list[Problem])
    file = problems[0].file if problems else "gateway"
    return ConfigError(file, problems or [Problem(file=file, place="file", wrong=str(refused))])


def _say(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(to_json(answer))
        return
    complain(msgspec.convert(answer["warnings"], list[Problem]))
    changes = msgspec.convert(answer["changes"], list[Difference])
    for change in changes:
        print(printable(f"  {change}"))
    for waiting in msgspec.convert(answer.get("deliveries", []), list[QueuedDeliveries]):
        print(printable(f"  {waiting}"))
    done = answer["status"] == "reloaded"
    if not changes:
        print("reloaded: nothing has changed" if done else "nothing would change")
    elif done:
        print(f"reloaded: {len(changes)} change(s)")
    for what in answer["restart"]:
        print(printable(f"{what} takes effect when the gateway starts again"))
