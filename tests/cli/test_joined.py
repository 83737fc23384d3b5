"""`gateway deliveries`, `show`, `sr` and `tail` about two events that go out as one message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.backups import admin
from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.gateway_process import Running, no_traceback
from tests.support.stories import bodies

CONFIG = """
[sinks.desk]
type = "slack"
webhook_url = { env = "HOOK" }

[[routes]]
name = "new photos"
match = { milestone = ["qc_rejected", "needs_resubmission"] }
sinks = ["desk"]
join = "10m"
"""
ALONE = "5a0e7c1d-0000-4c8e-9f64-d1c2b3a40718"
BOTH = "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718"


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, list[str]]]:
    """A gateway whose sink is paused, and the ids of a rejection that waits, and of both events of another one."""
    folder: Path = tmp_path_factory.mktemp("joined")
    with (
        Running(folder, CONFIG, {"HOOK": "http://127.0.0.1:9/services/T0/B0/hook-7Qe2-never-shown"}) as running,
        no_traceback(running),
    ):
        assert run(running, "pause", "desk").status == 0
        yield running, asyncio.run(_post(running))


async def _post(running: Running) -> list[str]:
    posted = [*bodies("R20", ALONE), *bodies("M41 R40", BOTH)]
    return [(await running.post(json.dumps(body).encode())).json()["id"] for body in posted]


def run(running: Running, *arguments: str) -> Result:
    return command(*arguments, "--admin", admin(running), cwd=running.folder)


def test_the_list_of_deliveries_says_what_waits_and_what_is_told_by_which(ids: tuple[Running, list[str]]) -> None:
    running, (alone, first, second) = ids
    lines = {line.split("  ")[1]: line for line in run(running, "deliveries").out.splitlines()}
    assert "waits for the other half of the rejection" in lines[f"{alone}-desk"]
    assert lines[f"{first}-desk"].partition(f"tells {second} as well")[1] and "waits for" not in lines[f"{first}-desk"]
    assert f"joined  told by {first}-desk" in lines[f"{second}-desk"]


def test_the_story_of_each_message_names_the_other(ids: tuple[Running, list[str]]) -> None:
    running, (alone, first, second) = ids
    assert "waits for the other half of the rejection" in run(running, "show", alone).out
    assert f"tells {second} as well" in run(running, "show", first).out
    assert f"told by {first}-desk" in run(running, "show", second).out


def test_the_story_of_the_service_request_says_that_both_are_one_message(ids: tuple[Running, list[str]]) -> None:
    running, (_, first, _) = ids
    assert "desk: waits, held: paused, for the other half of the rejection" in run(running, "sr", ALONE).out
    both = run(running, "sr", BOTH).out
    assert f"desk: in one message with the other half of the rejection, by {first}-desk" in both
    assert "desk: waits, held: paused\n" in both


def test_tail_names_the_delivery_that_tells_an_event(ids: tuple[Running, list[str]]) -> None:
    running, (_, first, second) = ids
    (line,) = [line for line in command("tail", "-n", "50", cwd=running.folder).out.splitlines() if "delivery.joined" in line]
    assert f"told by {first}-desk" in line and second in line
